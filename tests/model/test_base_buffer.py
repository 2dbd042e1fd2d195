"""Buffers equal byte strings in spaces of fixed size, and none ever reaches into another or past its pool."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.probe.base_buffer import LARGE, SMALL, PoolsProbe
from tests.probe.base_slab import PROFILE, forbidden
from tests.probe.wire_guard import Guard

OK, FULL = 0, -3
BUFS, MOST_SMALL, MOST_LARGE = 4, 3, 2
SMALLS, LARGES, INPUT = Guard(MOST_SMALL * SMALL // 4096), Guard(MOST_LARGE * LARGE // 4096), Guard(LARGE // 4096 + 1)

edges = st.sampled_from([0, 1, SMALL - 1, SMALL, SMALL + 1, LARGE - 1, LARGE, LARGE + 1])
sizes = st.integers(0, 40) | st.integers(0, SMALL) | edges
claims = sizes | st.sampled_from([2**31, 2**32 - 1])
numbers = st.integers(0, BUFS - 1)
fillings = st.integers(0, 255)


def pattern(n: int, filling: int) -> bytes:
    """n bytes no two neighbouring runs of which are alike: what moved by one is seen."""
    return (bytes((filling + i * 7) & 255 for i in range(251)) * (n // 251 + 1))[:n]


@dataclass
class Model:
    cap: int = 0  # 0: no buffer is held
    r: int = 0
    data: bytes = b""

    @property
    def room(self) -> int:
        return self.cap - self.r - len(self.data)


class BufferMachine(RuleBasedStateMachine):
    """Both pools lie flush against forbidden pages; what goes in is read from memory that ends at one."""

    pools: PoolsProbe

    @initialize(small=st.integers(0, MOST_SMALL), large=st.integers(0, MOST_LARGE), own=st.booleans())
    def start(self, small: int, large: int, own: bool) -> None:
        places = (0, 0) if own else (SMALLS.back(small * SMALL), LARGES.back(large * LARGE))
        self.pools = PoolsProbe(small, large, BUFS, *places)
        self.free = {SMALL: small, LARGE: large}
        self.takes = {SMALL: 0, LARGE: 0}
        self.newest: dict[int, list[int]] = {SMALL: [], LARGE: []}  # addresses given back, the newest last
        self.bufs = [Model() for _ in range(BUFS)]

    def taken(self, i: int, cap: int) -> None:
        self.free[cap] -= 1
        self.takes[cap] += 1
        address = self.pools.address(i)
        if self.newest[cap]:
            assert address == self.newest[cap].pop()
        base = self.pools.bases()[cap == LARGE]
        assert (address - base) % cap == 0

    def given(self, cap: int, address: int) -> None:
        self.free[cap] += 1
        self.newest[cap].append(address)
        if PROFILE != "release":
            assert forbidden(address, cap) == cap

    @rule(i=numbers, n=sizes)
    def take_or_give(self, i: int, n: int) -> None:
        if self.bufs[i].cap:
            self.give(i)
            return
        cap = SMALL if n <= SMALL else LARGE
        if n > LARGE or not self.free[cap]:
            assert self.pools.take(i, n) == FULL
            assert self.pools.address(i) is None
            return
        assert self.pools.take(i, n) == OK
        self.taken(i, cap)
        self.bufs[i] = Model(cap)

    @rule(i=numbers)
    def give(self, i: int) -> None:
        cap, address = self.bufs[i].cap, self.pools.address(i)
        self.pools.give(i)
        assert self.pools.address(i) is None
        if cap:
            self.given(cap, address)
        self.bufs[i] = Model()

    @rule(i=numbers)
    def grow(self, i: int) -> None:
        before, address = self.bufs[i], self.pools.address(i)
        if before.cap == LARGE or not self.free[LARGE]:
            assert self.pools.grow(i) == FULL
            assert self.pools.address(i) == address
            return
        assert self.pools.grow(i) == OK
        self.taken(i, LARGE)
        if before.cap:
            self.given(before.cap, address)
        self.bufs[i] = Model(LARGE, 0, before.data)

    @rule(i=numbers, n=sizes, filling=fillings)
    def append(self, i: int, n: int, filling: int) -> None:
        buf, data = self.bufs[i], pattern(n, filling)
        fits = n <= buf.room
        assert self.pools.append_at(i, INPUT.put_back(data), n) == (OK if fits else FULL)
        if fits:
            buf.data += data

    @rule(i=numbers, filling=fillings)
    def append_what_just_fits(self, i: int, filling: int) -> None:
        self.append(i, self.bufs[i].room + 1, filling)
        self.append(i, self.bufs[i].room, filling)

    @rule(i=numbers, n=sizes, filling=fillings, claimed=claims)
    def receive(self, i: int, n: int, filling: int, claimed: int) -> None:
        """A commit of more than there is room for stops at the end."""
        buf = self.bufs[i]
        data = pattern(max(n, min(claimed, buf.room)), filling)
        self.pools.receive(i, data, claimed)
        buf.data += data[: min(claimed, buf.room)]

    @rule(i=numbers, n=claims)
    def consume(self, i: int, n: int) -> None:
        buf = self.bufs[i]
        buf.r += min(n, len(buf.data))
        buf.data = buf.data[n:]
        if not buf.data:
            buf.r = 0
        self.pools.consume(i, n)

    @rule(i=numbers)
    def compact(self, i: int) -> None:
        self.pools.compact(i)
        self.bufs[i].r = 0

    @rule(i=numbers, offset=claims, n=claims)
    def cut(self, i: int, offset: int, n: int) -> None:
        buf = self.bufs[i]
        self.pools.cut(i, offset, n)
        if offset + n <= len(buf.data):
            buf.data = buf.data[:offset] + buf.data[offset + n :]

    @rule(i=numbers, data=st.data())
    def cut_inside(self, i: int, data: st.DataObject) -> None:
        held = len(self.bufs[i].data)
        offset = data.draw(st.integers(0, held))
        self.cut(i, offset, data.draw(st.integers(0, held - offset) | st.just(held - offset + 1)))

    @rule(i=numbers, offset=claims, n=sizes, filling=fillings)
    def insert(self, i: int, offset: int, n: int, filling: int) -> None:
        buf, data = self.bufs[i], pattern(n, filling)
        fits = offset <= len(buf.data) and n <= buf.room
        assert self.pools.insert_at(i, offset, INPUT.put_back(data), n) == (OK if fits else FULL)
        if fits:
            buf.data = buf.data[:offset] + data + buf.data[offset:]

    @rule(i=numbers, data=st.data(), filling=fillings)
    def insert_inside(self, i: int, data: st.DataObject, filling: int) -> None:
        buf = self.bufs[i]
        offset = data.draw(st.integers(0, len(buf.data)))
        self.insert(i, offset, data.draw(st.integers(0, min(buf.room, 1000)) | st.just(buf.room)), filling)

    @rule(i=numbers, offset=claims, n=sizes, filling=fillings)
    def overwrite(self, i: int, offset: int, n: int, filling: int) -> None:
        buf, data = self.bufs[i], pattern(n, filling)
        fits = offset + n <= len(buf.data)
        assert self.pools.overwrite_at(i, offset, INPUT.put_back(data), n) == (OK if fits else FULL)
        if fits:
            buf.data = buf.data[:offset] + data + buf.data[offset + n :]

    @rule(i=numbers, data=st.data(), filling=fillings)
    def overwrite_inside(self, i: int, data: st.DataObject, filling: int) -> None:
        held = len(self.bufs[i].data)
        offset = data.draw(st.integers(0, held))
        self.overwrite(i, offset, data.draw(st.integers(0, held - offset) | st.just(held - offset + 1)), filling)

    @rule(i=numbers, offset=claims)
    def after(self, i: int, offset: int) -> None:
        assert self.pools.after(i, offset) == max(0, len(self.bufs[i].data) - offset)

    @invariant()
    def every_buffer_holds_its_own(self) -> None:
        for i, buf in enumerate(self.bufs):
            w = buf.r + len(buf.data)
            assert self.pools.view(i) == ((buf.cap, buf.r, w), (len(buf.data), buf.room, buf.r, w))
            assert self.pools.data(i) == buf.data

    @invariant()
    def counted(self) -> None:
        held = [buf.cap for buf in self.bufs]
        for cap, (takes, gives) in zip((SMALL, LARGE), self.pools.counts(), strict=True):
            assert takes == self.takes[cap]
            assert takes - gives == held.count(cap)
        addresses = [self.pools.address(i) for i in range(BUFS) if held[i]]
        assert len(set(addresses)) == len(addresses)

    def teardown(self) -> None:
        if not hasattr(self, "pools"):
            return
        for i in range(BUFS):
            self.pools.give(i)
        assert all(takes == gives for takes, gives in self.pools.counts())
        self.pools.close()


# The time is for a failure, which is made smaller for up to 300 s.
TestBuffers = pytest.mark.timeout(400)(BufferMachine.TestCase)
TestBuffers.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
