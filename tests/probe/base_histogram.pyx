"""The latency histogram's arithmetic, shown to Python tests."""

from fastmesh._core.base.histogram cimport (
    HISTOGRAM_BUCKETS, HISTOGRAM_SHIFT, HISTOGRAM_SUB, histogram_bound_ns, histogram_bucket,
)
from fastmesh._core.base.types cimport u32, u64

BUCKETS = HISTOGRAM_BUCKETS
SHIFT = HISTOGRAM_SHIFT
SUB = HISTOGRAM_SUB


def bucket(u64 value_ns):
    return histogram_bucket(value_ns)


def bound_ns(u32 index):
    return histogram_bound_ns(index)


def spin(u64 value_ns, u64 step_ns, long rounds):
    """Bench: sum of the buckets of `rounds` values."""
    cdef long i
    cdef u64 total = 0
    for i in range(rounds):
        total += histogram_bucket(value_ns)
        value_ns += step_ns
    return total
