# A log-linear latency histogram. Law: the bucket's bounds hold the value; a bucket's midpoint is within 3.2% of any value in it.
from fastmesh._core.base.types cimport u32, u64, i64

cdef enum:
    HISTOGRAM_SUB = 16            # linear buckets per power of two
    HISTOGRAM_SHIFT = 10          # unit: 1024 ns; values below count in it linearly
    HISTOGRAM_BUCKETS = 464       # up to about 2^38 ns (4.5 minutes) and a last bucket for everything above

# Inline: one count-leading-zeros and a shift.
cdef u32 histogram_bucket(u64 value_ns) noexcept nogil
# Exclusive upper bound in ns of a bucket.
cdef u64 histogram_bound_ns(u32 bucket) noexcept nogil
