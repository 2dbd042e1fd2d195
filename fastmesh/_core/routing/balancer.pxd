# Which endpoint of a backend takes an exchange, and what is learnt from how it went.
# Law: time and randomness are arguments; one worker owns the state; a pick reads a bounded number of endpoints.
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64, f64
from fastmesh._core.routing.snapshot cimport Snapshot
from fastmesh._core.routing.ewma cimport Ewma

cdef enum EndpointHealth:
    ENDPOINT_READY = 0
    ENDPOINT_OUT         # failed to connect; left out until retry_ns
    ENDPOINT_PROBING     # retry_ns has passed and one exchange is trying it

cdef enum:
    PICK_NONE = 0xFFFFFFFF

# A worker's view of one endpoint, in an array indexed by Endpoint.slot. It fills one cache line: among ten thousand
# endpoints each pick reads two that are cold. Other threads may read single words of it (relaxed), for what they show.
ctypedef struct EndpointState:
    u32 slot_gen         # of the endpoint this state belongs to; 0 = unused
    u32 in_flight        # exchanges
    Ewma ewma
    i64 born_ns          # slow start counts from here
    i64 oldest_ns        # when the oldest exchange that waits for its response head was sent, 0: none; kept by io
    i64 retry_ns         # when ENDPOINT_OUT
    u16 failures         # connect failures in a row, at most 0xFFFF
    u8 health            # EndpointHealth
    u8 measured          # private: 0 until the first sample since it was new or came back
    # for io/upstream alone, kept here so that one lookup serves both
    u32 idle_head        # connection index of the newest pooled connection, 0xFFFFFFFF none
    u32 idle_count
    u32 open_count       # connections, idle + busy + connecting

ctypedef struct BalancerState:
    EndpointState* slots     # borrows the worker's region
    u32 slot_capacity
    u64 rng                  # xorshift state, never 0
    u64* cursors             # borrows: one per backend index for round_robin, reset at publish
    u32 cursor_capacity

# How an endpoint is chosen:
#   p2c_ewma       two distinct ones drawn evenly; the lower load takes it, the first drawn on a tie:
#                      load    = latency * (in_flight + 1) / weight * max(1, latency / (2 * known of the other))^2
#                      latency = max(estimate, now - oldest_ns)
#                      known   = max(latency, estimate as it was at the last answer)
#                  Peak EWMA and the product are Finagle's. Our own: an endpoint counts as slow from the moment its oldest
#                  exchange is later than the estimate, not when that returns; and one more than twice as slow as the other
#                  is late and loses by the square more, or else whoever answers in 2 s beside others that have a queue
#                  would be sent an exchange whenever it has none. It is tried again when its estimate has decayed, and is
#                  back soon after it answers well (routing/ewma). bench/sim has what was tried and what came of it.
#                  One that was never measured stands at the backend's default, and takes the exchange when it is idle and
#                  the other was measured: its first sample replaces the default instead of being worn in. An estimate
#                  counts as at least 1/1024 of the default, so that in_flight still speaks against an endpoint that takes
#                  exchanges and answers none.
#   least_request  the same draw; the lower (in_flight + 1) / weight
#   round_robin    the next number of a fixed walk through the weights (routing/weights): exact over one period
#   random         a random number of the same table
# Ramp: an endpoint's effective weight rises from 10% to 100% over ramp_ns after it came back or joined others that were
# there already (a backend that is new as a whole does not ramp). round_robin and random pass a ramping endpoint over in
# the same proportion.
# Bounds: 8 draws (4 of pairs), then one pass over the backend's endpoints from a random one, which ends at the first that
# is ready: only a backend that is out nearly as a whole is read whole.
# Health: OUT after one failed connect, for backoff_min_ns doubled by each further failure up to backoff_max_ns, the last
# quarter of it random. Concurrent failures of one outage count once. The pick that finds the time up makes it PROBING and
# takes it, one pick alone; connected (or an answered exchange) makes it READY with a ramp, a failure OUT again. A probe
# that is never decided (cancelled) may be repeated after the same wait, at least connect_timeout_ns.

cdef int balancer_build(Snapshot* s) noexcept nogil     # compiled tables; OK or FULL (no memory)
cdef void balancer_free(Snapshot* s) noexcept nogil
# Makes worker state agree with a new snapshot: new slots (or generations) start fresh, others keep what they learnt.
# Fresh is all of EndpointState: whoever pools connections of the old generation lets go of them first. Round robin starts
# at a random place, so that workers do not march in step.
cdef void balancer_adopt(BalancerState* b, const Snapshot* s, i64 now_ns) noexcept nogil
# Index into s.endpoints, or PICK_NONE when all are out. `avoid`: an endpoint index not to take while another is ready
# (the one that just failed), PICK_NONE for no wish; with a wish no probe is made while one is ready.
# A pick of an endpoint whose retry time has come makes it PROBING.
cdef u32 balancer_pick(BalancerState* b, const Snapshot* s, u32 backend, u32 avoid, i64 now_ns) noexcept nogil
# Counts of READY and not-READY endpoints, for the 503's text. Walks all; only on the error path and for metrics.
cdef void balancer_count(const BalancerState* b, const Snapshot* s, u32 backend, u32* ready, u32* out) noexcept nogil
# An exchange begins on an endpoint (call it with the pick, before anything can adopt another snapshot) / ended. rtt_ns:
# from sent to response head; < 0 when it ended before one and that says nothing about the endpoint.
# ok = 0 counts as a slow sample whatever rtt_ns is: max(rtt, 2 * estimate, default), at most 100 * default (or rtt itself).
# An end whose slot_gen is no longer the slot's is ignored: its count went with the old state.
cdef void balancer_begin(BalancerState* b, u32 slot) noexcept nogil
cdef void balancer_end(BalancerState* b, const Snapshot* s, u32 backend, u32 slot, u32 slot_gen, i64 rtt_ns, bint ok,
                       i64 now_ns) noexcept nogil
cdef void balancer_connected(BalancerState* b, u32 slot, u32 slot_gen, i64 now_ns) noexcept nogil
cdef void balancer_connect_failed(BalancerState* b, const Snapshot* s, u32 backend, u32 slot, u32 slot_gen,
                                  i64 now_ns) noexcept nogil
