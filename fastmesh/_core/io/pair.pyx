from libc.string cimport memcpy, memset

from fastmesh._core.base.meter cimport (
    COUNT_SLAB_FULL, COUNT_STALE, COUNT_TCP, COUNT_TCP_BYTES_IN, COUNT_TCP_BYTES_OUT, meters_count,
)
from fastmesh._core.base.slab cimport slab_get, slab_give, slab_handle, slab_index, slab_live, slab_take
from fastmesh._core.base.types cimport i64, u8, u32, u64
from fastmesh._core.base.wheel cimport wheel_cancel
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.ffi.linux cimport sys_keepalive, sys_user_timeout
from fastmesh._core.io.client cimport client_close
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_shut
from fastmesh._core.io.fault cimport (
    FAULT_CLIENT_CLOSED, FAULT_OVERLOAD, FAULT_STOPPED, FAULT_STREAM_TIMEOUT, FAULT_UPSTREAM_RESET,
)
from fastmesh._core.io.finish cimport STARVED_MOST_NS, STARVED_NS, exchange_fail, exchange_uncount, relay_account
from fastmesh._core.io.pipe cimport (
    PUMP_BAD, PUMP_DONE, PUMP_FULL, PUMP_SINK_FAILED, PUMP_SOURCE_FAILED, PUMP_YIELD, pipe_init, pipe_pump,
)
from fastmesh._core.io.splice cimport splice_close, splice_pump, splice_rests, splice_review
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_DOWN, CONN_PAIR, EX_COUNTED, EX_TCP, EX_TLS, Half, Pipe, ServerName,
)
from fastmesh._core.io.upstream cimport upstream_close
from fastmesh._core.wire.http1_head cimport FRAMING_CLOSE

cdef enum:
    SPLICE_REST_NS = 1000000000     # after so long without a byte a pipe is closed


cdef inline Conn* down_of(Worker* w, const Relay* r) noexcept nogil:
    return <Conn*>slab_live(&w.conns, r.down)


cdef inline Conn* up_of(Worker* w, const Relay* r) noexcept nogil:
    return <Conn*>slab_live(&w.conns, r.up)


cdef void pair_socket(Worker* w, const Conn* c) noexcept nogil:
    # A connection may be silent for as long as it likes, but not outlive its peers.
    sys_keepalive(c.fd)
    sys_user_timeout(c.fd, w.snap.policy.tcp_user_timeout_ms)


# For the line that the access log has of it in the end.
cdef void keep_name(Worker* w, const Exchange* x, const Conn* down) noexcept nogil:
    cdef ServerName* name = &w.server_names[slab_index(&w.conns, down)]
    if x.offered_len and w.snap.policy.access_log:
        name.generation = down.generation
        name.n = x.offered_len
        memcpy(name.text, x.offered, x.offered_len)


cdef void pair_open(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef Relay* r = <Relay*>slab_take(&w.relays)
    if r == NULL:
        meters_count(&w.meters, COUNT_SLAB_FULL, 1)
        exchange_fail(w, x, FAULT_OVERLOAD)
        return
    r.down = slab_index(&w.conns, down)
    r.up = slab_index(&w.conns, up)
    r.block = x.block
    r.start_ns = x.start_ns
    r.active_ns = w.now_ns
    r.route = x.route
    r.version = <u32>x.version
    r.tls = x.flags & EX_TLS != 0
    r.retries = <u8>(x.retries & 0xFF)
    keep_name(w, x, down)
    slab_give(&w.exchanges, x)
    meters_count(&w.meters, COUNT_TCP, 1)
    meter_add(&r.block.connections, 1)
    down.exchange = slab_handle(&w.relays, r)
    up.exchange = down.exchange
    down.state = CONN_PAIR
    up.state = CONN_PAIR
    pair_socket(w, down)
    pair_socket(w, up)
    if w.snap.policy.tcp_idle_timeout_ns:
        conn_deadline(w, down, w.now_ns + w.snap.policy.tcp_idle_timeout_ns)
    else:
        wheel_cancel(&w.wheel, r.down)
    pair_drive(w, r, down, up)


# The exchange it was until it opened, for whoever counts and logs those.
cdef void pair_describe(Worker* w, const Relay* r, const Conn* down, const Conn* up, Exchange* x) noexcept nogil:
    cdef const ServerName* name = &w.server_names[r.down]
    memset(x, 0, sizeof(Exchange))
    x.flags = EX_TCP | EX_COUNTED
    if r.tls:
        x.flags |= EX_TLS
    x.route = r.route
    x.version = w.snap.version if r.version == <u32>w.snap.version else 0
    x.slot = up.slot
    x.slot_gen = up.slot_gen
    x.block = r.block
    x.start_ns = r.start_ns
    x.retries = r.retries
    x.request_bytes = r.there.moved_bytes
    x.response_bytes = r.back.moved_bytes
    x.response.moved_bytes = r.back.moved_bytes
    if name.generation == down.generation:
        x.offered_len = name.n
        memcpy(x.offered, name.text, name.n)


# reset: neither side may take it for a proper end.
cdef void pair_close(Worker* w, Relay* r, u32 fault, bint reset) noexcept nogil:
    cdef Conn* down = down_of(w, r)
    cdef Conn* up = up_of(w, r)
    cdef Exchange x
    pair_describe(w, r, down, up, &x)
    x.fault = fault
    relay_account(w, &x, down)
    exchange_uncount(w, &x, 1)
    w.relay_count -= 1
    splice_close(w, &r.there)
    splice_close(w, &r.back)
    slab_give(&w.relays, r)
    up.exchange = 0
    upstream_close(w, up, reset)
    client_close(w, down, reset)


cdef void pair_starve(Worker* w, Relay* r, Conn* up) noexcept nogil:
    if r.starved_ns == 0 or r.starved_ns < r.active_ns:
        r.starved_ns = w.now_ns
    conn_deadline(w, up, w.now_ns + <i64>STARVED_NS)


# Bytes are counted as they move: the end may be days away.
cdef void pair_moved(Worker* w, Relay* r, bint there, u64 n) noexcept nogil:
    r.active_ns = w.now_ns
    meter_add(&r.block.connection_bytes_in if there else &r.block.connection_bytes_out, n)
    meters_count(&w.meters, COUNT_TCP_BYTES_IN if there else COUNT_TCP_BYTES_OUT, n)


# Through a buffer, by the pipe that bodies go through.
cdef int pair_copy(Worker* w, Half* half, Conn* source, Conn* sink) noexcept nogil:
    cdef Pipe p
    cdef u32 flags = 0
    cdef int outcome
    pipe_init(&p, FRAMING_CLOSE, 0)
    p.done = half.done
    p.ended = half.ended
    p.wide = half.wide
    p.ready = half.ready
    p.moved_bytes = half.moved_bytes
    outcome = pipe_pump(w, &p, source, sink, &flags)
    half.done = p.done
    half.ended = p.ended
    half.wide = p.wide
    half.ready = p.ready
    half.moved_bytes = p.moved_bytes
    return outcome


# One direction. False: it broke.
cdef bint pair_pump(Worker* w, Relay* r, bint there, Conn* source, Conn* sink) noexcept nogil:
    cdef Half* half = &r.there if there else &r.back
    cdef u64 before = half.moved_bytes
    cdef int outcome = splice_pump(w, half, source, sink) if half.pipe else pair_copy(w, half, source, sink)
    if half.moved_bytes != before:
        pair_moved(w, r, there, half.moved_bytes - before)
    if half.ended:
        splice_close(w, half)
    else:
        splice_review(w, half, half.moved_bytes - before)
    if half.pipe:
        conn_deadline(w, sink if there else source, w.now_ns + <i64>SPLICE_REST_NS)
    if outcome == PUMP_YIELD:
        conn_defer(w, source)
    elif outcome == PUMP_DONE:
        # Half-close: what the other side still has to say goes on. After the second end both are closed at once.
        if not (r.back.ended if there else r.there.ended):
            conn_shut(w, sink)
    elif outcome == PUMP_FULL:
        pair_starve(w, r, sink if there else source)
    return outcome != PUMP_SOURCE_FAILED and outcome != PUMP_SINK_FAILED and outcome != PUMP_BAD


cdef void pair_drive(Worker* w, Relay* r, Conn* down, Conn* up) noexcept nogil:
    if not pair_pump(w, r, 1, down, up) or not pair_pump(w, r, 0, up, down):
        pair_close(w, r, FAULT_CLIENT_CLOSED if down.flags & CONN_BROKEN else FAULT_UPSTREAM_RESET, 1)
    elif r.there.ended and r.back.ended:
        pair_close(w, r, 0, 0)


cdef void pair_event(Worker* w, Conn* c) noexcept nogil:
    cdef Relay* r = <Relay*>slab_get(&w.relays, c.exchange)
    if r == NULL:
        meters_count(&w.meters, COUNT_STALE, 1)
    else:
        pair_drive(w, r, down_of(w, r), up_of(w, r))


cdef void pair_idle(Worker* w, Relay* r, Conn* down) noexcept nogil:
    cdef i64 idle = w.snap.policy.tcp_idle_timeout_ns
    if idle == 0:
        return
    if w.now_ns >= r.active_ns + idle:
        pair_close(w, r, FAULT_STREAM_TIMEOUT, 0)
    else:
        conn_deadline(w, down, r.active_ns + idle)


# A direction that has come to rest needs no pipe.
cdef void pair_rest(Worker* w, Relay* r) noexcept nogil:
    if w.now_ns < r.active_ns + <i64>SPLICE_REST_NS:
        return
    if splice_rests(w, &r.there):
        splice_close(w, &r.there)
    if splice_rests(w, &r.back):
        splice_close(w, &r.back)


cdef void pair_timer(Worker* w, Conn* c) noexcept nogil:
    cdef Relay* r = <Relay*>slab_get(&w.relays, c.exchange)
    if r == NULL:
        meters_count(&w.meters, COUNT_STALE, 1)
    elif c.kind == CONN_DOWN:
        pair_idle(w, r, c)
    elif w.now_ns >= r.starved_ns + <i64>STARVED_MOST_NS and r.active_ns <= r.starved_ns:
        # Connections that wait for each other's buffers would wait for ever.
        pair_close(w, r, FAULT_OVERLOAD, 1)
    else:
        pair_rest(w, r)
        pair_drive(w, r, down_of(w, r), c)


cdef void pair_stop(Worker* w, Relay* r) noexcept nogil:
    pair_close(w, r, FAULT_STOPPED, 1)
