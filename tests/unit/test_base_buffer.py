"""What pools and Bufs do at their ends: exhausted, without a buffer, untouched."""

import pytest

from tests.probe.base_buffer import HUGE, LARGE, SMALL, PoolsProbe
from tests.probe.base_slab import PAGE, PROFILE, forbidden, resident
from tests.probe.wire_guard import Guard

OK, FULL = 0, -3
INPUT = Guard(1)


def append(pools: PoolsProbe, i: int, data: bytes) -> int:
    return pools.append_at(i, INPUT.put_back(data), len(data))


@pytest.mark.parametrize(
    ("n", "cap"),
    [(0, SMALL), (1, SMALL), (SMALL, SMALL), (SMALL + 1, LARGE), (LARGE, LARGE), (LARGE + 1, 0), (2**63, 0)],
)
def test_the_smaller_buffer_that_holds_it(n: int, cap: int) -> None:
    pools = PoolsProbe(1, 1, 1)
    assert pools.take(0, n) == (OK if cap else FULL)
    assert pools.view(0) == ((cap, 0, 0), (0, cap, 0, 0))


def test_an_exhausted_pool_is_full_and_the_other_one_does_not_help() -> None:
    pools = PoolsProbe(1, 1, 3)
    assert [pools.take(0, 1), pools.take(1, 1), pools.take(1, LARGE), pools.take(2, LARGE)] == [OK, FULL, OK, FULL]
    pools.give(0)
    assert pools.take(2, 1) == OK
    assert pools.counts() == ((2, 1), (1, 0))


def test_the_newest_buffer_given_back_is_taken_first() -> None:
    pools = PoolsProbe(3, 0, 3)
    assert [pools.take(i, 1) for i in range(3)] == [OK] * 3
    addresses = [pools.address(i) for i in range(3)]
    for i in (1, 0, 2):
        pools.give(i)
    assert [pools.take(i, 1) for i in range(3)] == [OK] * 3
    assert [pools.address(i) for i in range(3)] == [addresses[i] for i in (2, 0, 1)]


def test_without_a_buffer_everything_is_empty_and_nothing_but_nothing_fits() -> None:
    pools = PoolsProbe(1, 0, 1)
    assert append(pools, 0, b"") == OK
    assert append(pools, 0, b"x") == FULL
    assert pools.overwrite_at(0, 0, INPUT.put_back(b""), 0) == OK
    assert pools.overwrite_at(0, 0, INPUT.put_back(b"x"), 1) == FULL
    pools.receive(0, b"abc", 3)
    pools.consume(0, 3)
    pools.compact(0)
    pools.cut(0, 0, 0)
    pools.cut(0, 0, 1)
    assert pools.grow(0) == FULL
    pools.give(0)
    assert pools.view(0) == ((0, 0, 0), (0, 0, 0, 0))
    assert pools.counts() == ((0, 0), (0, 0))


def test_giving_back_twice_gives_once() -> None:
    pools = PoolsProbe(2, 0, 2)
    assert pools.take(0, 1) == OK
    pools.give(0)
    pools.give(0)
    assert pools.counts() == ((1, 1), (0, 0))
    assert [pools.take(0, 1), pools.take(1, 1)] == [OK, OK]
    assert pools.address(0) != pools.address(1)


def test_a_grown_buffer_holds_what_was_not_consumed() -> None:
    pools = PoolsProbe(1, 1, 2)
    assert pools.take(0, 1) == OK
    assert append(pools, 0, b"abcdef") == OK
    pools.consume(0, 2)
    assert pools.grow(0) == OK
    assert (pools.view(0)[0], pools.data(0)) == ((LARGE, 0, 4), b"cdef")
    assert pools.counts() == ((1, 1), (1, 0))
    assert pools.grow(0) == FULL
    assert pools.take(1, 1) == OK
    assert pools.grow(1) == FULL
    assert pools.view(1)[0] == (SMALL, 0, 0)


def test_only_a_full_grown_buffer_is_widened_and_keeps_its_bytes() -> None:
    pools = PoolsProbe(1, 8, 3)
    assert pools.huge() == (2, 0, 0)
    assert pools.take(0, 1) == OK
    assert append(pools, 0, b"abcdef") == OK
    assert pools.widen(0) == FULL
    assert pools.grow(0) == OK
    pools.consume(0, 2)
    assert pools.widen(0) == OK
    assert (pools.view(0)[0], pools.data(0)) == ((HUGE, 0, 4), b"cdef")
    assert (pools.counts()[1], pools.huge()) == ((1, 1), (2, 1, 0))
    for i in (1, 2):
        assert pools.take(i, LARGE) == OK
    assert [pools.widen(1), pools.widen(2)] == [OK, FULL]
    assert pools.view(2)[0] == (LARGE, 0, 0)
    for i in range(3):
        pools.give(i)
    assert (pools.counts()[1], pools.huge()) == ((3, 3), (2, 2, 2))


@pytest.mark.parametrize("claimed", [2**32, 2**63, 2**64 - 1])
def test_lengths_beyond_32_bits_do_not_wrap(claimed: int) -> None:
    pools = PoolsProbe(1, 0, 1)
    assert pools.take(0, 1) == OK
    assert append(pools, 0, b"abc") == OK
    at = INPUT.put_back(b"")
    assert pools.append_at(0, at, claimed) == FULL
    assert pools.overwrite_at(0, 3, at, claimed) == FULL
    assert pools.overwrite_at(0, 1, at, claimed) == FULL
    assert (pools.view(0)[0], pools.data(0)) == ((SMALL, 0, 3), b"abc")


def test_a_buffer_costs_nothing_until_its_bytes_are_written() -> None:
    pools = PoolsProbe(4, 2, 3)
    small, large = pools.bases()
    assert [pools.take(i, n) for i, n in enumerate((1, 1, LARGE))] == [OK] * 3
    assert (resident(small, 4 * SMALL), resident(large, 2 * LARGE)) == ([], [])
    assert append(pools, 1, b"x") == OK
    assert append(pools, 2, bytes(PAGE)) == OK
    assert append(pools, 2, b"x") == OK
    assert (resident(small, 4 * SMALL), resident(large, 2 * LARGE)) == ([SMALL // PAGE], [0, 1])


@pytest.mark.skipif(PROFILE == "release", reason="a release build does not mark free memory")
def test_free_buffers_are_forbidden_and_held_ones_are_not() -> None:
    pools = PoolsProbe(2, 0, 2)
    base = pools.bases()[0]
    assert [pools.take(i, 1) for i in range(2)] == [OK] * 2
    assert forbidden(base, 2 * SMALL) == 0
    pools.give(0)
    assert (forbidden(base, SMALL), forbidden(base + SMALL, SMALL)) == (SMALL, 0)
    assert pools.take(0, 1) == OK
    assert PROFILE != "asan" or forbidden(base, 2 * SMALL) == 0
