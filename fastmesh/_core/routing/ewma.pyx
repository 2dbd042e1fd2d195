from libc.math cimport exp

from fastmesh._core.base.types cimport i64, f64


# exp(-age/decay). A busy endpoint's age is a sliver of the decay, where four terms of the series are exact to 1e-14.
cdef f64 kept_share(f64 age_ns, f64 decay_ns) noexcept nogil:
    cdef f64 x
    if age_ns <= 0:
        return 1.0
    if decay_ns <= 0:
        return 0.0
    x = age_ns / decay_ns
    if x < 0.001:
        return 1.0 - x * (1.0 - x * (0.5 - x * (1.0 / 6.0)))
    return exp(-x)


cdef void ewma_init(Ewma* e, f64 value_ns, i64 now_ns) noexcept nogil:
    e.value_ns = value_ns
    e.stamp_ns = now_ns


cdef void ewma_add(Ewma* e, f64 rtt_ns, i64 now_ns, f64 decay_ns) noexcept nogil:
    cdef f64 share
    if rtt_ns < 0:
        rtt_ns = 0
    if rtt_ns >= e.value_ns:
        e.value_ns = rtt_ns
    else:
        share = kept_share(<f64>(now_ns - e.stamp_ns), decay_ns)
        e.value_ns = e.value_ns * share + rtt_ns * (1.0 - share)
    if now_ns > e.stamp_ns:
        e.stamp_ns = now_ns


cdef f64 ewma_read(const Ewma* e, i64 now_ns, f64 decay_ns) noexcept nogil:
    return e.value_ns * kept_share(<f64>(now_ns - e.stamp_ns), decay_ns)
