# Peak EWMA of round trip times. Law: a sample above the estimate replaces it; below, the estimate decays toward it with
# exp(-elapsed/decay). (Finagle's peak EWMA; Linkerd's documented defaults 30 ms, 10 s.)
from fastmesh._core.base.types cimport i64, f64

ctypedef struct Ewma:
    f64 value_ns
    i64 stamp_ns            # of the last sample

cdef void ewma_init(Ewma* e, f64 value_ns, i64 now_ns) noexcept nogil
# One sample. A clock that stands still or steps back leaves the estimate where it is unless the sample is above it.
cdef void ewma_add(Ewma* e, f64 rtt_ns, i64 now_ns, f64 decay_ns) noexcept nogil
# The estimate as it is worth now: without samples it decays toward 0 by the same exp (as in Finagle and Tower), so that
# an endpoint which was slow once is tried again. A decay of 0 or less remembers nothing.
cdef f64 ewma_read(const Ewma* e, i64 now_ns, f64 decay_ns) noexcept nogil
