"""What a slab does at its ends: full, empty, untouched, and after four billion lives of one object."""

import pytest

from tests.probe.base_slab import HEADER_BYTES, NONE, PAGE, PROFILE, SlabProbe, forbidden, resident
from tests.probe.wire_guard import Guard


def test_full_then_one_given_back_then_full() -> None:
    slab = SlabProbe(32, 3)
    addresses = [slab.take() for _ in range(3)]
    assert len(set(addresses)) == 3
    assert None not in addresses
    assert slab.take() is None
    slab.give(addresses[1])
    assert slab.take() == addresses[1]
    assert slab.take() is None
    assert slab.counts() == (4, 1)


def test_a_new_life_is_another_handle_and_starts_zeroed() -> None:
    slab = SlabProbe(32, 1)
    address = slab.take()
    old = slab.handle(address)
    slab.fill(address, 0xAB)
    slab.give(address)
    assert slab.get(old) is None
    assert slab.take() == address
    new = slab.handle(address)
    assert new != old
    assert (slab.get(old), slab.get(new)) == (None, address)
    assert slab.read(address) == bytes(32 - HEADER_BYTES)


def test_no_handle_and_no_index_resolve_to_nothing() -> None:
    slab = SlabProbe(16, 2)
    for _ in range(2):
        assert slab.get(0) is None
        assert slab.get(NONE) is None
        assert slab.live(NONE) is None
        assert slab.live(1) is None
        slab.take()


def test_generations_wrap_without_zero_becoming_a_handle() -> None:
    slab = SlabProbe(16, 1)
    address = slab.take()
    slab.age(address, 0xFFFFFFFF)
    last = slab.handle(address)
    assert slab.get(last) == address
    slab.give(address)
    assert slab.get(last) is None
    assert slab.get(0) is None  # the free object's generation is 0 now
    assert slab.live(0) is None
    assert slab.take() == address
    assert slab.handle(address) == 1 << 32
    assert (slab.get(last), slab.get(0), slab.get(1 << 32)) == (None, None, address)


def test_a_page_costs_nothing_until_its_first_object() -> None:
    pages, each = 48, 4
    slab = SlabProbe(PAGE // each, pages * each)
    for taken in range(3 * each + 1):
        assert resident(slab.base, pages * PAGE) == list(range(-(-taken // each)))
        slab.take()
    # What was given back is taken again before anything new is touched.
    for index in range(3 * each):
        slab.give(slab.base + index * (PAGE // each))
    for _ in range(3 * each):
        slab.take()
    assert resident(slab.base, pages * PAGE) == [0, 1, 2, 3]


@pytest.mark.parametrize(("stride", "capacity"), [(16, 0), (1 << 31, 0xFFFFFFFF)])
def test_what_cannot_be_reserved_is_refused(stride: int, capacity: int) -> None:
    with pytest.raises(MemoryError):
        SlabProbe(stride, capacity)


@pytest.mark.skipif(PROFILE == "release", reason="a release build does not mark free memory")
def test_free_objects_are_forbidden_behind_their_header_and_live_ones_are_not() -> None:
    guard = Guard(1)
    slab = SlabProbe(64, 2, guard.back(128))
    one, two = slab.take(), slab.take()
    assert forbidden(one, 128) == 0
    slab.give(two)
    assert forbidden(two + HEADER_BYTES, 64 - HEADER_BYTES) == 64 - HEADER_BYTES
    assert forbidden(one, 64 + HEADER_BYTES) == 0
    assert slab.take() == two
    assert forbidden(one, 128) == 0
    slab.give(one)
    slab.close()
    assert guard.get(guard.back(128), 8) == (2).to_bytes(4, "little") + NONE.to_bytes(4, "little")
