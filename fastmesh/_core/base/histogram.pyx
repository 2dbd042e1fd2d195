from fastmesh._core.base.types cimport u32, u64


cdef u64 histogram_bound_ns(u32 bucket) noexcept nogil:
    cdef u32 next_bucket = bucket + 1
    cdef u32 row
    if bucket >= <u32>(HISTOGRAM_BUCKETS - 1):
        return <u64>0xFFFFFFFFFFFFFFFF
    if next_bucket < 2 * HISTOGRAM_SUB:
        return <u64>next_bucket << HISTOGRAM_SHIFT
    # The inverse of histogram_bucket: the least value of the next bucket.
    row = next_bucket // HISTOGRAM_SUB - 1
    return <u64>(next_bucket - row * HISTOGRAM_SUB) << (row + HISTOGRAM_SHIFT)
