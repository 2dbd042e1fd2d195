# How an exchange ends: completed, failed with a proxy-made answer, or abandoned by its client.
# Law: every exchange that began is counted, logged and given back here, exactly once.
from fastmesh._core.base.slab cimport slab_get
from fastmesh._core.base.types cimport u32, u64
from fastmesh._core.io.pipe cimport pipe_init
from fastmesh._core.io.state cimport EX_SIZED, Conn, Exchange, Worker

cdef enum:
    STARVED_NS = 10000000           # until another look for a free buffer
    STARVED_MOST_NS = 5000000000    # who finds none for so long, and moved nothing meanwhile, is ended

cdef inline Exchange* exchange_get(Worker* w, u64 handle) noexcept nogil:
    return <Exchange*>slab_get(&w.exchanges, handle)

# Whether a grpc-status (and one) speaks against the endpoint that gave it as 503 would: RESOURCE_EXHAUSTED, UNAVAILABLE.
cdef inline bint grpc_overloaded(u32 status) noexcept nogil:
    return status == 9 or status == 15

# Both messages are through: each connection goes back to where it came from.
cdef void exchange_complete(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# The response is through, but the upstream will not take the rest of the request.
cdef void exchange_cut_request(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# A proxy-made answer, or a reset when part of a response was already delivered.
cdef void exchange_fail(Worker* w, Exchange* x, u32 fault) noexcept nogil
# The client has gone.
cdef void exchange_abort(Worker* w, Exchange* x) noexcept nogil
# A tunnel is over; reset: it broke.
cdef void exchange_end_tunnel(Worker* w, Exchange* x, Conn* down, Conn* up, bint reset) noexcept nogil
# A relayed connection could not be made; reset: its client may not take it for a proper end.
cdef void exchange_end_relay(Worker* w, Exchange* x, bint reset) noexcept nogil
# The client speaks something else than was dialled for. pool: the connection can be of use to the next request, even one that is
# still being made (relay_orphan). Nothing is counted.
cdef void exchange_forget_relay(Worker* w, Exchange* x, bint pool) noexcept nogil
# Counts and logs the end of a relayed connection.
cdef void relay_account(Worker* w, Exchange* x, const Conn* down) noexcept nogil
# Answers OPTIONS and TRACE whose Max-Forwards is used up.
cdef void exchange_last_hop(Worker* w, Exchange* x, Conn* down) noexcept nogil
# Begins the request's pipe, at first or anew.
cdef inline void request_pipe(Exchange* x) noexcept nogil:
    pipe_init(&x.request, x.request_framing, x.request_length)
    x.request.sized = 1 if x.flags & EX_SIZED else 0
# Pays balancer_begin back with what was learnt of the endpoint.
cdef void exchange_uncount(Worker* w, Exchange* x, bint ok) noexcept nogil
# No buffer is free: tries again in a moment, which is back-pressure to whoever was to be read.
cdef void exchange_starve(Worker* w, Exchange* x, Conn* up) noexcept nogil
# Its request was sent / its wait for a response head is over (any number of times): the balancer sees who is late now.
cdef void exchange_fly(Worker* w, Exchange* x) noexcept nogil
cdef void exchange_land(Worker* w, Exchange* x) noexcept nogil
# Takes it out of the queue of its slot.
cdef void exchange_unqueue(Worker* w, Exchange* x) noexcept nogil
