# Peak EWMA of round trip times. Law: a sample above the estimate replaces it; below, the estimate decays toward it with
# share = exp(-elapsed/decay). (Finagle's peak EWMA; Linkerd's documented defaults 30 ms, 10 s.)
# Elapsed is the time since the last sample. While it is under decay/64 the mean is of the times, as in Finagle; after a
# longer silence it is of their logarithms, estimate^share * sample^(1-share): who was slow, was left alone for one decay
# and now answers in a tenth of the time comes back at 0.23 of the estimate instead of 0.43. (Our own: a busy endpoint's
# estimate never meets it; what it brings is in bench/sim.)
from libc.math cimport exp, log

from fastmesh._core.base.types cimport i64, f64

ctypedef struct Ewma:
    f64 value_ns
    i64 stamp_ns            # of the last sample

cdef enum:
    EWMA_SILENCES = 64      # a decay has so many: this part of it without a sample is one

# exp(-age/decay). A busy endpoint's age is a sliver of the decay, where six terms of the series are exact to 2e-14.
cdef inline f64 ewma_share(i64 age_ns, f64 decay_ns) noexcept nogil:
    cdef f64 x
    if age_ns <= 0:
        return 1.0
    if decay_ns <= 0:
        return 0.0
    x = <f64>age_ns / decay_ns
    if x < 1.0 / <f64>EWMA_SILENCES:
        return 1.0 - x * (1.0 - x * (0.5 - x * (1.0 / 6.0 - x * (1.0 / 24.0 - x * (1.0 / 120.0)))))
    return exp(-x)

cdef inline void ewma_init(Ewma* e, f64 value_ns, i64 now_ns) noexcept nogil:
    e.value_ns = value_ns
    e.stamp_ns = now_ns

# One sample; less than 1 ns counts as 1. A clock that stands still or steps back leaves the estimate where it is unless the sample is above it.
cdef inline void ewma_add(Ewma* e, f64 rtt_ns, i64 now_ns, f64 decay_ns) noexcept nogil:
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

# The estimate as it is worth now: without samples it decays toward 0 by the same exp (as in Finagle and Tower), so that
# an endpoint which was slow once is tried again. A decay of 0 or less remembers nothing.
cdef inline f64 ewma_read(const Ewma* e, i64 now_ns, f64 decay_ns) noexcept nogil:
    return e.value_ns * ewma_share(now_ns - e.stamp_ns, decay_ns)
