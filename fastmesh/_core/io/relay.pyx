from fastmesh._core.base.meter cimport COUNT_SLAB_FULL, COUNT_TCP, METER_NONE, meters_count
from fastmesh._core.base.slab cimport slab_handle, slab_index, slab_take
from fastmesh._core.base.status cimport AGAIN, IO, OK
from fastmesh._core.base.types cimport i64
from fastmesh._core.base.wheel cimport wheel_cancel
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.ffi.linux cimport ETIMEDOUT, sys_keepalive, sys_user_timeout
from fastmesh._core.io.client cimport client_close
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_get, conn_handle
from fastmesh._core.io.fault cimport FAULT_NO_ROUTE, FAULT_STREAM_TIMEOUT
from fastmesh._core.io.finish cimport exchange_count_relay, exchange_end_relay, exchange_fail
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.pipe cimport pipe_init
from fastmesh._core.io.proxy cimport proxy_announce
from fastmesh._core.io.request cimport request_connect, request_connected, request_unconnected
from fastmesh._core.io.state cimport (
    CONN_RDHUP, CONN_READABLE, CONN_RELAY, DOWN_BUSY, EX_EARLY, EX_FRESH, EX_PROXY_V1, EX_PROXY_V2, EX_REPLAY, EX_TCP, EX_TLS, PHASE_TUNNEL, UP_BUSY,
)
from fastmesh._core.io.tcp cimport tcp_route
from fastmesh._core.io.tunnel cimport tunnel_drive
from fastmesh._core.io.upstream cimport upstream_close, upstream_connected, upstream_give
from fastmesh._core.wire.http1_head cimport FRAMING_CLOSE


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
    x.block = block_of(w, down.listener, w.snap.routes[x.route].meter)
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
        relay_open(w, x, down, up)


cdef bint relay_suits(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef u32 backend = x.backend
    cdef u32 endpoint = x.endpoint
    if x.version != w.snap.version:
        return 0
    x.flags |= EX_TLS
    if not tcp_route(w, x, down) or x.backend != backend:
        return 0
    x.endpoint = endpoint
    x.block = block_of(w, down.listener, w.snap.routes[x.route].meter)
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
    if r != OK:
        request_unconnected(w, x, up, error)
        return
    x.error = 0
    request_connected(w, x.slot, x.slot_gen)
    wheel_cancel(&w.wheel, slab_index(&w.conns, up))
    if x.flags & (EX_PROXY_V1 | EX_PROXY_V2):
        proxy_announce(w, x, conn_get(w, x.down), up)
    if not x.flags & EX_EARLY:
        relay_open(w, x, conn_get(w, x.down), up)
    elif up.flags & (CONN_READABLE | CONN_RDHUP):
        # What it said at once came with this edge; no other will follow.
        conn_defer(w, up)


cdef void relay_socket(Worker* w, const Conn* c) noexcept nogil:
    # A connection may be silent for as long as it likes, but not outlive its peers.
    sys_keepalive(c.fd)
    sys_user_timeout(c.fd, w.snap.policy.tcp_user_timeout_ms)


cdef void relay_open(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    x.flags &= ~<u32>EX_REPLAY
    x.phase = PHASE_TUNNEL
    x.active_ns = w.now_ns
    meters_count(&w.meters, COUNT_TCP, 1)
    meter_add(&x.block.connections, 1)
    pipe_init(&x.request, FRAMING_CLOSE, 0)
    pipe_init(&x.response, FRAMING_CLOSE, 0)
    down.state = CONN_RELAY
    up.state = CONN_RELAY
    relay_socket(w, down)
    relay_socket(w, up)
    if w.snap.policy.tcp_idle_timeout_ns:
        conn_deadline(w, down, w.now_ns + w.snap.policy.tcp_idle_timeout_ns)
    else:
        wheel_cancel(&w.wheel, slab_index(&w.conns, down))
    relay_drive(w, x, down, up)


cdef void relay_drive(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    if tunnel_drive(w, x, down, up):
        exchange_count_relay(w, x)


cdef void relay_timer(Worker* w, Exchange* x) noexcept nogil:
    cdef i64 idle = w.snap.policy.tcp_idle_timeout_ns
    if idle == 0:
        return
    if w.now_ns >= x.active_ns + idle:
        x.fault = FAULT_STREAM_TIMEOUT
        exchange_end_relay(w, x, 0)
    else:
        conn_deadline(w, conn_get(w, x.down), x.active_ns + idle)
