from libc.math cimport exp, log

from fastmesh._core.base.types cimport i64, f64


cdef void ewma_init(Ewma* e, f64 value_ns, i64 now_ns) noexcept nogil:
    e.value_ns = value_ns
    e.stamp_ns = now_ns


cdef void ewma_add(Ewma* e, f64 rtt_ns, i64 now_ns, f64 decay_ns) noexcept nogil:
    cdef i64 age_ns = now_ns - e.stamp_ns
    cdef f64 share
    if rtt_ns < 1.0:
        rtt_ns = 1.0
    if rtt_ns >= e.value_ns:
        e.value_ns = rtt_ns
    else:
        share = ewma_share(age_ns, decay_ns)
        if <f64>age_ns * <f64>EWMA_SILENCES < decay_ns:
            e.value_ns = e.value_ns * share + rtt_ns * (1.0 - share)
        else:
            e.value_ns = rtt_ns * exp(share * log(e.value_ns / rtt_ns))
    if age_ns > 0:
        e.stamp_ns = now_ns
