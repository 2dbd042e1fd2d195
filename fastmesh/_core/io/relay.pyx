from fastmesh._core.base.meter cimport COUNT_SLAB_FULL, METER_NONE, Block, meters_count
from fastmesh._core.base.slab cimport slab_handle, slab_index, slab_take
from fastmesh._core.base.status cimport AGAIN, IO, OK
from fastmesh._core.base.wheel cimport wheel_cancel
from fastmesh._core.ffi.linux cimport ECONNRESET, ETIMEDOUT
from fastmesh._core.io.client cimport client_close
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_get, conn_handle
from fastmesh._core.io.fault cimport FAULT_NO_ROUTE, FAULT_UPSTREAM_RESET
from fastmesh._core.io.finish cimport exchange_end_relay, exchange_fail
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.pair cimport pair_open
from fastmesh._core.io.proxy cimport proxy_announce
from fastmesh._core.io.request cimport request_connect, request_connected, request_unconnected
from fastmesh._core.io.state cimport (
    CONN_RDHUP, CONN_READABLE, DOWN_BUSY, EX_EARLY, EX_FRESH, EX_PROXY_V1, EX_PROXY_V2, EX_REPLAY, EX_TCP, EX_TLS,
    UP_BUSY,
)
from fastmesh._core.io.tcp cimport tcp_route
from fastmesh._core.io.upstream cimport upstream_close, upstream_connected, upstream_give
from fastmesh._core.routing.snapshot cimport Route


# TLS is counted by the server name of its route, which is bounded, not by the one a client makes up.
cdef Block* relay_block(Worker* w, const Exchange* x, const Conn* down) noexcept nogil:
    cdef const Route* route = &w.snap.routes[x.route]
    return block_of(w, down.listener, route.tls_meter if x.flags & EX_TLS else route.meter)


cdef void relay_begin(Worker* w, Conn* down, u32 flags) noexcept nogil:
    cdef Exchange* x = <Exchange*>slab_take(&w.exchanges)
    if x == NULL:
        meters_count(&w.meters, COUNT_SLAB_FULL, 1)
        client_close(w, down, 1)
        return
    w.relay_count += 1
    x.down = conn_handle(w, down)
    down.exchange = slab_handle(&w.exchanges, x)
    x.flags = EX_TCP | EX_REPLAY | EX_FRESH | flags
    x.start_ns = w.now_ns
    x.active_ns = w.now_ns
    x.block = block_of(w, down.listener, METER_NONE)
    if not flags & EX_EARLY:
        relay_settle(w, x, down)
    if not tcp_route(w, x, down):
        exchange_fail(w, x, FAULT_NO_ROUTE)
        return
    x.block = relay_block(w, x, down)
    request_connect(w, x, down)


# From here on it is a connection that is counted, whatever becomes of it.
cdef void relay_settle(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    down.state = DOWN_BUSY
    if w.snap.policy.stream_timeout_ns:
        # Of the wait for a connection; an open one has its own.
        conn_deadline(w, down, w.now_ns + w.snap.policy.stream_timeout_ns)
    else:
        wheel_cancel(&w.wheel, slab_index(&w.conns, down))


cdef void relay_decide(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef Conn* up = conn_get(w, x.up)
    x.flags &= ~<u32>EX_EARLY
    relay_settle(w, x, down)
    if up != NULL and up.state == UP_BUSY:
        pair_open(w, x, down, up)


cdef bint relay_suits(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef u32 backend = x.backend
    cdef u32 endpoint = x.endpoint
    if x.version != w.snap.version:
        return 0
    x.flags |= EX_TLS
    if not tcp_route(w, x, down) or x.backend != backend:
        return 0
    x.endpoint = endpoint
    x.block = relay_block(w, x, down)
    return 1


cdef void relay_orphan(Worker* w, Conn* up, bint timed_out) noexcept nogil:
    cdef int error = 0
    cdef int r = IO if timed_out else upstream_connected(w, up, &error)
    if r == OK:
        request_connected(w, up.slot, up.slot_gen)
        upstream_give(w, up)
    elif r != AGAIN:
        upstream_close(w, up, 0)


cdef void relay_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil:
    cdef int error = ETIMEDOUT
    cdef int r = IO if timed_out else upstream_connected(w, up, &error)
    if r == AGAIN:
        return
    if r != OK and error != ECONNRESET:
        request_unconnected(w, x, up, error)
        return
    x.error = 0
    request_connected(w, x.slot, x.slot_gen)
    if r != OK:
        # It was there, and its server has ended it since: a refusal says ECONNREFUSED.
        x.fault = FAULT_UPSTREAM_RESET
        exchange_end_relay(w, x, 1)
        return
    wheel_cancel(&w.wheel, slab_index(&w.conns, up))
    if x.flags & (EX_PROXY_V1 | EX_PROXY_V2):
        proxy_announce(w, x, conn_get(w, x.down), up)
    if not x.flags & EX_EARLY:
        pair_open(w, x, conn_get(w, x.down), up)
    elif up.flags & (CONN_READABLE | CONN_RDHUP):
        # What it said at once came with this edge; no other will follow.
        conn_defer(w, up)
