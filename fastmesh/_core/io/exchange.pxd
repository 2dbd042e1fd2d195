# One request and its response between a client and an endpoint: the only place where the two sides meet.
# Law: one request in becomes at most one request that an upstream acts on; one response becomes one; every exchange that
# begins is counted and ends exactly once.
from fastmesh._core.base.slab cimport slab_get
from fastmesh._core.base.types cimport u32, u64
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Begins with the head just parsed into w.head from down.inb.
cdef void exchange_begin(Worker* w, Conn* down) noexcept nogil
# Something happened on either connection: moves all that can be moved.
cdef void exchange_drive(Worker* w, Exchange* x) noexcept nogil
# The client's connection was reset, or ended before its request did.
cdef void exchange_abort(Worker* w, Exchange* x) noexcept nogil
# An event or the timeout of a connection in UP_CONNECTING.
cdef void exchange_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil
# The timers of either side.
cdef void exchange_down_timer(Worker* w, Exchange* x) noexcept nogil
cdef void exchange_up_timer(Worker* w, Exchange* x) noexcept nogil
# Ends it with a proxy-made error (or a cut response).
cdef void exchange_fail(Worker* w, Exchange* x, u32 fault) noexcept nogil
# Serves exchanges that wait for a connection where one has come free; after adopting, those whose endpoint has gone.
cdef void exchange_serve_pending(Worker* w) noexcept nogil
cdef void exchange_adopt(Worker* w) noexcept nogil

cdef inline Exchange* exchange_get(Worker* w, u64 handle) noexcept nogil:
    return <Exchange*>slab_get(&w.exchanges, handle)
