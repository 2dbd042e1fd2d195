# Peak EWMA of round trip times. Law: a sample above the estimate replaces it; below, the estimate decays toward it with
# exp(-elapsed/decay). (Finagle's peak EWMA; Linkerd's documented defaults 30 ms, 10 s.)
from libc.math cimport exp

from fastmesh._core.base.types cimport i64, f64

ctypedef struct Ewma:
    f64 value_ns
    i64 stamp_ns            # of the last sample

# exp(-age/decay). A busy endpoint's age is a sliver of the decay, where six terms of the series are exact to 2e-14.
cdef inline f64 ewma_share(i64 age_ns, f64 decay_ns) noexcept nogil:
    cdef f64 x
    if age_ns <= 0:
        return 1.0
    if decay_ns <= 0:
        return 0.0
    x = <f64>age_ns / decay_ns
    if x < 1.0 / 64.0:
        return 1.0 - x * (1.0 - x * (0.5 - x * (1.0 / 6.0 - x * (1.0 / 24.0 - x * (1.0 / 120.0)))))
    return exp(-x)

cdef void ewma_init(Ewma* e, f64 value_ns, i64 now_ns) noexcept nogil
# One sample. A clock that stands still or steps back leaves the estimate where it is unless the sample is above it.
cdef void ewma_add(Ewma* e, f64 rtt_ns, i64 now_ns, f64 decay_ns) noexcept nogil
# The estimate as it is worth now: without samples it decays toward 0 by the same exp (as in Finagle and Tower), so that
# an endpoint which was slow once is tried again. A decay of 0 or less remembers nothing.
cdef inline f64 ewma_read(const Ewma* e, i64 now_ns, f64 decay_ns) noexcept nogil:
    return e.value_ns * ewma_share(now_ns - e.stamp_ns, decay_ns)
