"""The slab equals a dict from handle to object, whatever is taken, given back and asked for in whatever order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.probe.base_slab import HEADER_BYTES, PROFILE, SlabProbe, forbidden
from tests.probe.wire_guard import Guard

GUARD = Guard(8)
CAPACITY = 6
strides = st.sampled_from([HEADER_BYTES, 16, 24, 64, 200, 4096])


class SlabMachine(RuleBasedStateMachine):
    """Objects lie flush against a forbidden page, each filled with a byte of its own."""

    slab: SlabProbe

    @initialize(stride=strides, capacity=st.integers(1, CAPACITY), own=st.booleans())
    def start(self, stride: int, capacity: int, own: bool) -> None:
        self.slab = SlabProbe(stride, capacity, 0 if own else GUARD.back(stride * capacity))
        self.stride, self.capacity = stride, capacity
        self.live: dict[int, int] = {}  # handle: address
        self.filling: dict[int, int] = {}  # address of a live object: what it is filled with
        self.gone: list[int] = []
        self.issued: set[int] = set()
        self.takes = self.gives = 0

    @rule(filling=st.integers(1, 255))
    def take(self, filling: int) -> None:
        address = self.slab.take()
        if len(self.live) == self.capacity:
            assert address is None
            return
        self.takes += 1
        assert address not in self.filling
        assert (address - self.slab.base) % self.stride == 0
        assert 0 <= address - self.slab.base < self.stride * self.capacity
        assert self.slab.read(address) == bytes(self.stride - HEADER_BYTES)
        handle = self.slab.handle(address)
        assert handle not in self.issued
        assert handle & 0xFFFFFFFF == self.slab.index(address) == (address - self.slab.base) // self.stride
        self.slab.fill(address, filling)
        self.live[handle], self.filling[address] = address, filling
        self.issued.add(handle)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted(self.live)))
        address = self.live.pop(handle)
        del self.filling[address]
        self.slab.give(address)
        self.gives += 1
        self.gone.append(handle)
        size = self.stride - HEADER_BYTES
        if PROFILE != "release":
            assert forbidden(address + HEADER_BYTES, size) == size

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), generation=st.integers(-3, 3), index=st.integers(-2, 2))
    def get_near_a_handle(self, data: st.DataObject, generation: int, index: int) -> None:
        handle = data.draw(st.sampled_from(sorted(self.issued)))
        self.get(((handle >> 32) + generation) % 2**32 << 32 | (handle + index) % 2**32)

    @rule(handle=st.integers(0, 2**64 - 1) | st.integers(0, 3 << 32))
    def get(self, handle: int) -> None:
        assert self.slab.get(handle) == self.live.get(handle)

    @rule(index=st.integers(0, CAPACITY + 1) | st.integers(0, 2**32 - 1))
    def live_at(self, index: int) -> None:
        address = self.slab.base + index * self.stride
        assert self.slab.live(index) == (address if address in self.filling else None)

    @invariant()
    def every_handle_resolves_to_its_own(self) -> None:
        for handle, address in self.live.items():
            assert self.slab.get(handle) == address
            assert self.slab.read(address) == bytes([self.filling[address]]) * (self.stride - HEADER_BYTES)
        assert all(self.slab.get(handle) is None for handle in self.gone)

    @invariant()
    def counted(self) -> None:
        assert self.slab.counts() == (self.takes, self.gives)
        assert self.takes - self.gives == len(self.live)

    def teardown(self) -> None:
        if not hasattr(self, "slab"):
            return
        for handle in list(self.live):
            self.slab.give(self.live.pop(handle))
        takes, gives = self.slab.counts()
        assert takes == gives
        self.slab.close()


# The time is for a failure, which is made smaller for up to 300 s.
TestSlab = pytest.mark.timeout(400)(SlabMachine.TestCase)
TestSlab.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
