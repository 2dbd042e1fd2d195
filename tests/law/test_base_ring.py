"""A record is in the ring whole or not at all: at every offset, and between two threads that run at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.probe.base_ring import RingProbe
from tests.probe.wire_guard import Guard

OK, FULL = 0, -3
SIZE = 64
PATIENCE_NS = 20_000_000_000  # ended by a reader that is dead, not by one that is slow
GUARD, INPUT = Guard(1), Guard(1)


@pytest.mark.parametrize("offset", range(SIZE))
def test_wrap_at_every_offset_with_every_length(offset: int) -> None:
    for n in range(SIZE + 2):
        ring = RingProbe(SIZE, GUARD.back(SIZE))
        ring.write_at(INPUT.put_back(bytes(offset)), offset)
        ring.consume(offset)
        record = bytes(range(1, n + 1))
        assert ring.write_at(INPUT.put_back(record), n) == (OK if n <= SIZE else FULL)
        first, second = ring.peek()
        if n > SIZE:
            assert (first, second) == (b"", b"")
            continue
        assert first + second == record
        assert len(first) == min(n, SIZE - offset)
        at = INPUT.put_back(bytes(n))
        assert ring.read_at(at, n) == OK
        assert INPUT.get(at, n) == record
        assert ring.peek() == (b"", b"")


def transfer(size: int, count: int, longest: int, patience_ns: int, piecewise: bool) -> tuple[int, int, RingProbe]:
    """(records read, records left out by the writer, the ring), after what the reader saw was found right."""
    ring = RingProbe(size)
    together = threading.Barrier(2)

    def produce() -> tuple[int, int]:
        together.wait(10)
        return ring.produce(count, longest, patience_ns)

    def drain() -> tuple[int, int, int]:
        together.wait(10)
        return ring.drain(count, piecewise)

    with ThreadPoolExecutor(2) as threads:
        produced, drained = threads.submit(produce), threads.submit(drain)
        (lost, full), (records, missed, failure) = produced.result(50), drained.result(50)
    assert failure == 0, {-1: "a record was not whole", -2: "a record was out of order or changed"}[failure]
    assert ring.counts() == (records, full)
    assert (records + lost, missed) == (count, lost)
    assert ring.peek() == (b"", b"")
    return records, lost, ring


@pytest.mark.parametrize("piecewise", [True, False])
@pytest.mark.parametrize(("size", "longest"), [(64, 64), (256, 40), (4096, 1000), (65536, 4096)])
def test_two_threads_lose_nothing_when_the_writer_waits(size: int, longest: int, piecewise: bool) -> None:
    records, lost, _ = transfer(size, 200_000, longest, PATIENCE_NS, piecewise)
    assert (records, lost) == (200_000, 0)


@pytest.mark.parametrize("piecewise", [True, False])
@pytest.mark.parametrize(("size", "longest"), [(64, 64), (256, 40), (4096, 1000)])
def test_two_threads_count_every_record_that_a_full_ring_drops(size: int, longest: int, piecewise: bool) -> None:
    records, lost, ring = transfer(size, 400_000, longest, 0, piecewise)
    assert records > 0
    assert ring.counts()[1] == lost


def test_a_reader_that_never_comes_costs_the_writer_nothing_but_records() -> None:
    ring = RingProbe(256)
    lost, full = ring.produce(10_000, 40, 0)
    assert lost == full == ring.counts()[1]
    records, missed, failure = ring.drain(10_000, False)
    assert (records + missed, missed, failure) == (10_000, lost, 0)
    assert records >= 256 // 40
