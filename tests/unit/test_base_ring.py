"""What a ring does at its ends: full to the byte, empty, untouched."""

import pytest

from tests.probe.base_ring import RingProbe
from tests.probe.base_slab import PAGE, resident
from tests.probe.wire_guard import Guard

OK, AGAIN, FULL = 0, -1, -3
INPUT = Guard(1)


def write(ring: RingProbe, record: bytes) -> int:
    return ring.write_at(INPUT.put_back(record), len(record))


def test_full_to_the_last_byte_then_dropped_then_room_again() -> None:
    ring = RingProbe(16)
    assert [write(ring, b"a" * 10), write(ring, b"b" * 6), write(ring, b"c")] == [OK, OK, FULL]
    assert ring.counts() == (2, 1)
    ring.consume(1)
    assert write(ring, b"d") == OK
    assert ring.peek() == (b"a" * 9 + b"b" * 6, b"d")
    assert ring.counts() == (3, 1)


def test_a_record_larger_than_the_ring_never_fits() -> None:
    ring = RingProbe(16)
    assert write(ring, b"x" * 17) == FULL
    assert ring.counts() == (0, 1)
    assert ring.peek() == (b"", b"")


def test_an_empty_record_fits_even_a_full_ring() -> None:
    ring = RingProbe(4)
    assert [write(ring, b"full"), write(ring, b"")] == [OK, OK]
    assert ring.peek() == (b"full", b"")


def test_read_waits_for_a_whole_record() -> None:
    ring = RingProbe(8)
    at = INPUT.put_back(bytes(4))
    assert write(ring, b"abc") == OK
    assert ring.read_at(at, 4) == AGAIN
    assert ring.peek() == (b"abc", b"")
    assert write(ring, b"defg") == OK
    assert ring.read_at(at, 4) == OK
    assert INPUT.get(at, 4) == b"abcd"


def test_consumed_in_pieces_that_are_no_records() -> None:
    ring = RingProbe(8)
    assert write(ring, b"abcdef") == OK
    ring.consume(5)
    assert write(ring, b"ghijk") == OK
    assert ring.peek() == (b"fgh", b"ijk")
    ring.consume(4)
    assert ring.peek() == (b"jk", b"")


def test_a_page_costs_nothing_until_it_is_written() -> None:
    ring = RingProbe(16 * PAGE)
    assert ring.peek() == (b"", b"")
    assert resident(ring.base, 16 * PAGE) == []
    assert write(ring, b"x" * PAGE) == OK
    assert write(ring, b"x") == OK
    assert resident(ring.base, 16 * PAGE) == [0, 1]


@pytest.mark.parametrize("size", [0, 1 << 62])
def test_what_cannot_be_reserved_is_refused(size: int) -> None:
    with pytest.raises(MemoryError):
        RingProbe(size)
