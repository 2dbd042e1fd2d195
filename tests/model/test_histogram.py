"""The latency histogram's buckets hold their values, grow with them and keep the stated error."""

from hypothesis import given
from hypothesis import strategies as st

from tests.probe.base_histogram import BUCKETS, SHIFT, SUB, bound_ns, bucket

NO_BOUND = 2**64 - 1
TOP_NS = 2**42  # where the last bucket would end if it did not hold everything above
values = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, TOP_NS),
    st.tuples(st.integers(0, 63), st.integers(-2, 2)).map(lambda t: max(0, 2 ** t[0] + t[1])),
    st.integers(0, BUCKETS - 2).flatmap(lambda b: st.integers(bound_ns(b) - 1, bound_ns(b) + 1)),
)


def lower_ns(index: int) -> int:
    return bound_ns(index - 1) if index else 0


@given(values)
def test_bounds_hold_the_value(value: int) -> None:
    index = bucket(value)
    assert 0 <= index < BUCKETS
    assert lower_ns(index) <= value
    assert value < bound_ns(index) or index == BUCKETS - 1


@given(values, values)
def test_monotone(one: int, two: int) -> None:
    low, high = sorted((one, two))
    assert bucket(low) <= bucket(high)


@given(st.integers(0, TOP_NS - 1))
def test_midpoint_error(value: int) -> None:
    index = bucket(value)
    upper = bound_ns(index) if index < BUCKETS - 1 else TOP_NS
    middle = (lower_ns(index) + upper) / 2
    if value >= SUB << SHIFT:
        assert abs(middle - value) <= 0.032 * value
    else:
        assert abs(middle - value) <= (1 << SHIFT) / 2


def test_every_bucket_is_reached_and_bounds_rise() -> None:
    bounds = [bound_ns(index) for index in range(BUCKETS)]
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == NO_BOUND
    assert [bucket(lower_ns(index)) for index in range(BUCKETS)] == list(range(BUCKETS))
    assert bound_ns(BUCKETS) == NO_BOUND
    assert bucket(2**64 - 1) == BUCKETS - 1
