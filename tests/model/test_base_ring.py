"""The ring equals a queue of bytes of bounded length."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.probe.base_ring import RingProbe
from tests.probe.wire_guard import Guard

OK, AGAIN, FULL = 0, -1, -3
LARGEST = 64
BEHIND, BEFORE, DATA = Guard(1), Guard(1), Guard(1)


class RingMachine(RuleBasedStateMachine):
    """The ring's bytes lie flush against a forbidden page behind or before; so do the records."""

    @initialize(size=st.sampled_from([1, 2, 8, 16, LARGEST]), place=st.sampled_from(["own", "behind", "before"]))
    def start(self, size: int, place: str) -> None:
        at = {"own": 0, "behind": BEHIND.back(size), "before": BEFORE.put_front(b"")}[place]
        self.ring, self.size = RingProbe(size, at), size
        self.unread = b""
        self.written = self.dropped = 0

    @rule(record=st.binary(max_size=LARGEST + 8))
    def write(self, record: bytes) -> None:
        fits = len(self.unread) + len(record) <= self.size
        assert self.ring.write_at(DATA.put_back(record), len(record)) == (OK if fits else FULL)
        if fits:
            self.unread += record
            self.written += 1
        else:
            self.dropped += 1

    @rule(filling=st.integers(0, 255))
    def write_what_just_fits(self, filling: int) -> None:
        free = self.size - len(self.unread)
        self.write(bytes([filling]) * (free + 1))
        self.write(bytes([filling]) * free)

    @rule(n=st.sampled_from([2**32, 2**63, 2**64 - 1]))
    def write_what_can_never_fit(self, n: int) -> None:
        assert self.ring.write_at(DATA.put_back(b""), n) == FULL
        self.dropped += 1

    @rule(data=st.data())
    def consume(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(0, len(self.unread)))
        self.ring.consume(n)
        self.unread = self.unread[n:]

    @rule(n=st.integers(0, LARGEST + 8))
    def read(self, n: int) -> None:
        at = DATA.put_back(b"\xee" * n)
        if n > len(self.unread):
            assert self.ring.read_at(at, n) == AGAIN
            assert DATA.get(at, n) == b"\xee" * n
            return
        assert self.ring.read_at(at, n) == OK
        assert DATA.get(at, n) == self.unread[:n]
        self.unread = self.unread[n:]

    @invariant()
    def equal(self) -> None:
        first, second = self.ring.peek()
        assert first + second == self.unread
        assert not second or first
        assert self.ring.counts() == (self.written, self.dropped)


# The time is for a failure, which is made smaller for up to 300 s.
TestRing = pytest.mark.timeout(400)(RingMachine.TestCase)
TestRing.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
