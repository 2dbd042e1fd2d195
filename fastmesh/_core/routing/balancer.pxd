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

# A worker's view of one endpoint, in an array indexed by Endpoint.slot.
ctypedef struct EndpointState:
    u32 slot_gen         # of the endpoint this state belongs to; 0 = unused
    u32 in_flight        # exchanges
    Ewma ewma
    i64 born_ns          # slow start counts from here
    i64 retry_ns         # when ENDPOINT_OUT
    u32 failures         # connect failures in a row
    u8 health            # EndpointHealth
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

cdef int balancer_build(Snapshot* s) noexcept nogil     # compiled tables (weighted random, round robin)
cdef void balancer_free(Snapshot* s) noexcept nogil
# Makes worker state agree with a new snapshot: new slots (or generations) start fresh, others keep what they learnt.
cdef void balancer_adopt(BalancerState* b, const Snapshot* s, i64 now_ns) noexcept nogil
# Index into s.endpoints, or PICK_NONE when all are out. `avoid`: an endpoint index not to take while another is ready
# (the one that just failed), PICK_NONE for no wish. A pick of an endpoint whose retry time has come makes it PROBING.
cdef u32 balancer_pick(BalancerState* b, const Snapshot* s, u32 backend, u32 avoid, i64 now_ns) noexcept nogil
# Counts of READY and not-READY endpoints, for the 503's text. Walks all; only on the error path and for metrics.
cdef void balancer_count(const BalancerState* b, const Snapshot* s, u32 backend, u32* ready, u32* out) noexcept nogil
# An exchange begins on an endpoint / ended: rtt_ns from sent to response head, ok = 0 counts as a slow sample.
cdef void balancer_begin(BalancerState* b, u32 slot) noexcept nogil
cdef void balancer_end(BalancerState* b, const Snapshot* s, u32 backend, u32 slot, u32 slot_gen, i64 rtt_ns, bint ok,
                       i64 now_ns) noexcept nogil
cdef void balancer_connected(BalancerState* b, u32 slot, u32 slot_gen, i64 now_ns) noexcept nogil
cdef void balancer_connect_failed(BalancerState* b, const Snapshot* s, u32 backend, u32 slot, u32 slot_gen,
                                  i64 now_ns) noexcept nogil
