# A log-linear latency histogram.
# Law: the bucket's bounds hold the value; buckets are monotone in it; from 16 units (16.4 us) up a bucket's midpoint is
# within 3.2% of any value in it, below that within 512 ns.
from fastmesh._core.base.types cimport u32, u64, i64

cdef enum:
    HISTOGRAM_SUB = 16            # linear buckets per power of two
    HISTOGRAM_SHIFT = 10          # unit: 1024 ns; values below count in it linearly
    HISTOGRAM_BUCKETS = 464       # up to 2^42 ns (73 minutes); the last bucket also holds everything above

cdef extern from * nogil:
    int histogram_clz "__builtin_clzll"(unsigned long long value) noexcept

# Inline: one count-leading-zeros and a shift.
cdef inline u32 histogram_bucket(u64 value_ns) noexcept nogil:
    cdef u64 units = value_ns >> HISTOGRAM_SHIFT
    if units < HISTOGRAM_SUB:
        return <u32>units
    # The top five bits of `units` are 1xxxx: the power of two picks the row of 16, xxxx the bucket in it.
    cdef u32 row = <u32>(59 - histogram_clz(units))
    cdef u32 bucket = row * HISTOGRAM_SUB + <u32>(units >> row)
    return bucket if bucket < HISTOGRAM_BUCKETS else <u32>(HISTOGRAM_BUCKETS - 1)

# Exclusive upper bound in ns of a bucket; 0xFFFFFFFFFFFFFFFF (no bound) for the last and for anything beyond it.
cdef inline u64 histogram_bound_ns(u32 bucket) noexcept nogil:
    cdef u32 next_bucket = bucket + 1
    cdef u32 row
    if bucket >= <u32>(HISTOGRAM_BUCKETS - 1):
        return <u64>0xFFFFFFFFFFFFFFFF
    if next_bucket < 2 * HISTOGRAM_SUB:
        return <u64>next_bucket << HISTOGRAM_SHIFT
    # The inverse of histogram_bucket: the least value of the next bucket.
    row = next_bucket // HISTOGRAM_SUB - 1
    return <u64>(next_bucket - row * HISTOGRAM_SUB) << (row + HISTOGRAM_SHIFT)
