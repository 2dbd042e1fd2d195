from libc.string cimport memset

from fastmesh._core.base.buffer cimport BUFFER_LARGE, buf_head, buf_len
from fastmesh._core.base.meter cimport COUNT_CONNECT_FAILURES, COUNT_RETRIES, COUNT_SLAB_FULL, METER_NONE, meters_count
from fastmesh._core.base.slab cimport slab_handle, slab_take
from fastmesh._core.base.status cimport AGAIN, BAD, BLOCKED, FULL, LIMIT, OK
from fastmesh._core.base.types cimport i64, u8, u64
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.ffi.linux cimport ETIMEDOUT
from fastmesh._core.io.access_log cimport access_log_begin
from fastmesh._core.io.client cimport client_refuse
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_get, conn_handle
from fastmesh._core.io.fault cimport (
    FAULT_CONNECT, FAULT_CONNECT_TIMEOUT, FAULT_LOOP, FAULT_NO_ENDPOINT, FAULT_NO_ROUTE, FAULT_OVERLOAD,
    FAULT_PENDING_LIMIT, FAULT_UPGRADE_UNSUPPORTED, FAULT_UPSTREAM_RESET,
)
from fastmesh._core.io.finish cimport (
    exchange_abort, exchange_fail, exchange_fly, exchange_get, exchange_land, exchange_last_hop, exchange_starve,
    exchange_uncount, exchange_unqueue, request_pipe,
)
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.originals cimport original_pick, original_route, originals_came_back
from fastmesh._core.io.pipe cimport (
    PUMP_BAD, PUMP_FULL, PUMP_SINK_FAILED, PUMP_SOURCE_END, PUMP_SOURCE_FAILED, PUMP_YIELD, STRIP_FRAMING, pipe_forget,
    pipe_init, pipe_over, pipe_pump, pipe_start, pipe_take,
)
from fastmesh._core.io.proxy cimport proxy_announce, proxy_wanted
from fastmesh._core.io.request_head cimport request_compose
from fastmesh._core.io.session cimport session_of, session_wait
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_EOF, CONN_RDHUP, CONN_READABLE, CONN_REUSED, DOWN_BUSY, EVENT_ENDPOINT_OUT,
    EVENT_ENDPOINT_READY, EX_COUNTED, EX_DOWN_KEEP, EX_EXTENDED, EX_FRESH, EX_GRPC, EX_HEAD_ONLY, EX_HTTP1, EX_HTTP10,
    EX_HTTP2, EX_IDEMPOTENT, EX_NEVER, EX_PROXY_V1, EX_PROXY_V2, EX_REPLAY, EX_RESPONDED, EX_RETRIED, EX_SIZED,
    EX_TCP, EX_UPGRADE, EX_WEB, EX_WEB_TEXT, FRAMING_STREAM, OFFERED_BYTES, PHASE_CONNECT, PHASE_PENDING,
    PHASE_RESPONSE, PHASE_ROUTE, PICK_ORIGINAL, PIPE_DECODE, SESSION_CONNECT, SESSION_SETTINGS, STREAM_GRPC,
    STREAM_NEVER, STREAM_UNDONE, Session, Waiting,
)
from fastmesh._core.io.stream cimport stream_flush
from fastmesh._core.io.tcp cimport tcp_route
from fastmesh._core.io.tunnel cimport tunnel_asked, tunnel_extends
from fastmesh._core.io.upstream cimport (
    upstream_backend, upstream_close, upstream_connected, upstream_event, upstream_freed, upstream_has_room,
    upstream_take,
)
from fastmesh._core.io.web cimport web_route
from fastmesh._core.routing.balancer cimport (
    ENDPOINT_OUT, ENDPOINT_READY, PICK_NONE, balancer_begin, balancer_connect_failed, balancer_connected, balancer_pick,
)
from fastmesh._core.routing.router cimport RouteQuery, router_match
from fastmesh._core.routing.snapshot cimport ROUTE_NONE, UPSTREAM_AUTO, UPSTREAM_HTTP2, Route
from fastmesh._core.wire.grpc cimport grpc_timeout_ns
from fastmesh._core.wire.headers cimport FIELD_GRPC_TIMEOUT, HEADERS_MAX
from fastmesh._core.wire.http1_head cimport (
    FRAMING_CHUNKED, FRAMING_NONE, FRAMING_TUNNEL, HEAD_HAS_LENGTH, HEAD_KEEP_ALIVE, HEAD_MAX_FORWARDS, HEAD_UPGRADE,
    METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_PUT, METHOD_TRACE, Http1Head,
    Http1Limits, Http1Resume, http1_request_parse,
)

cdef enum:
    UNDONE_MOST = 3         # times a request is sent again because its stream was refused
    # GET HEAD PUT DELETE OPTIONS TRACE (RFC 9110 9.2.2), as bits of Method
    IDEMPOTENT = (1 << METHOD_GET | 1 << METHOD_HEAD | 1 << METHOD_PUT | 1 << METHOD_DELETE | 1 << METHOD_OPTIONS
                  | 1 << METHOD_TRACE)


# A head that was lawful when it came stays so, whatever limits a later snapshot has.
cdef Http1Limits RECALL
RECALL.head_bytes = BUFFER_LARGE
RECALL.line_bytes = BUFFER_LARGE
RECALL.field_line_bytes = BUFFER_LARGE
RECALL.fields = HEADERS_MAX


# Puts the exchange's request head back into w.head: it was parsed before, and its bytes are still held.
cdef void recall_head(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef Http1Resume resume
    cdef u64 handle = slab_handle(&w.exchanges, x)
    if w.head_of == handle:
        return
    memset(&resume, 0, sizeof(Http1Resume))
    http1_request_parse(&w.head, &resume, buf_head(&down.inb), buf_len(&down.inb), &RECALL)
    w.head_of = handle


# Finds the route in the adopted snapshot. False: there is none.
cdef bint request_route(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef RouteQuery query
    cdef const Route* route
    cdef const u8* data = buf_head(&down.inb)
    recall_head(w, x, down)
    query.base = data
    query.host = data + w.head.authority_off
    query.host_len = w.head.host_len
    query.path = data + w.head.path_off
    query.path_len = <u32>(w.head.query_off - 1 - w.head.path_off) if w.head.query_off else w.head.path_len
    query.listener = down.listener
    query.method = w.head.method
    query.fields = w.head.fields
    query.nfields = w.head.nfields
    x.version = w.snap.version
    x.endpoint = PICK_NONE
    x.route = router_match(w.snap, &query)
    if x.route == ROUTE_NONE:
        x.route = original_route(w, down)
        if x.route == ROUTE_NONE:
            return 0
    route = &w.snap.routes[x.route]
    x.backend = route.backend
    x.retry_connect = route.retry_connect
    if route.grpc_web or x.flags & EX_WEB:
        web_route(w, x, route, data)
    x.retry_grpc = route.retry_grpc if x.flags & EX_GRPC else 0
    x.per_try_ns = route.per_try_timeout_ns
    x.deadline_ns = x.start_ns + route.request_timeout_ns if route.request_timeout_ns else 0
    request_deadline(w, x, data)
    return 1


cdef u32 request_flags(Worker* w, const Conn* down) noexcept nogil:
    cdef const Http1Head* head = &w.head
    cdef u32 most = w.snap.policy.keepalive_requests
    cdef u32 flags = EX_REPLAY
    # After a refused CONNECT nobody can say where the next request would begin.
    if head.flags & HEAD_KEEP_ALIVE and head.method != METHOD_CONNECT and (most == 0 or down.served + 1 < most):
        flags |= EX_DOWN_KEEP
    if head.method == METHOD_HEAD:
        flags |= EX_HEAD_ONLY
    if head.minor == 0:
        flags |= EX_HTTP10
    if (IDEMPOTENT >> head.method) & 1:
        flags |= EX_IDEMPOTENT
    if (head.flags & HEAD_UPGRADE and head.upgrade_len <= OFFERED_BYTES) or head.method == METHOD_CONNECT:
        flags |= EX_UPGRADE
    if down.id:
        flags |= EX_HTTP2 | EX_DOWN_KEEP
        if down.stream & STREAM_GRPC:
            flags |= EX_GRPC
        if down.stream & STREAM_NEVER:
            flags |= EX_NEVER
        if head.flags & HEAD_HAS_LENGTH:
            flags |= EX_SIZED
    return flags


# How the body ends. A stream has one until its END_STREAM, whatever the head says; what follows an upgrade is no body.
cdef u8 request_framing(Worker* w, const Exchange* x, const Conn* down) noexcept nogil:
    if x.flags & EX_UPGRADE:
        return FRAMING_TUNNEL
    if not down.id:
        return w.head.framing
    if down.flags & CONN_EOF and buf_len(&down.inb) == w.head.head_bytes and w.head.framing == FRAMING_NONE:
        return FRAMING_NONE
    return FRAMING_STREAM


# The client gives up after grpc-timeout: so do we, and tell the server by a reset.
cdef void request_deadline(Worker* w, Exchange* x, const u8* data) noexcept nogil:
    cdef u32 i
    cdef i64 at
    if not x.flags & EX_GRPC or not w.snap.policy.grpc_timeout:
        return
    for i in range(w.head.nfields):
        if w.head.fields[i].id == FIELD_GRPC_TIMEOUT:
            at = grpc_timeout_ns(data + w.head.fields[i].value_off, w.head.fields[i].value_len)
            if at and (x.deadline_ns == 0 or x.start_ns + at < x.deadline_ns):
                x.deadline_ns = x.start_ns + at


cdef void request_begin(Worker* w, Conn* down) noexcept nogil:
    cdef Exchange* x = <Exchange*>slab_take(&w.exchanges)
    cdef bint routed
    if x == NULL:
        meters_count(&w.meters, COUNT_SLAB_FULL, 1)
        client_refuse(w, down, FAULT_OVERLOAD)
        return
    w.exchange_count += 1
    x.down = conn_handle(w, down)
    down.exchange = slab_handle(&w.exchanges, x)
    w.head_of = down.exchange
    down.state = DOWN_BUSY
    x.method = w.head.method
    x.flags = request_flags(w, down)
    if x.flags & EX_UPGRADE and w.head.flags & HEAD_UPGRADE:
        tunnel_asked(w, x, buf_head(&down.inb))
    x.head_bytes = w.head.head_bytes
    x.request_framing = request_framing(w, x, down)
    x.request_length = w.head.content_length if w.head.flags & HEAD_HAS_LENGTH else 0
    x.request_bytes = w.head.head_bytes
    request_pipe(x)
    x.start_ns = w.now_ns
    x.active_ns = w.now_ns
    x.block = block_of(w, down.listener, METER_NONE)
    routed = request_route(w, x, down)
    if routed:
        x.block = block_of(w, down.listener, w.snap.routes[x.route].meter)
    meter_add(&x.block.requests, 1)
    if w.snap.policy.access_log:
        access_log_begin(w, x, buf_head(&down.inb))
    request_arm(w, x, down)
    if (x.method == METHOD_TRACE or x.method == METHOD_OPTIONS) and (
        w.head.flags & HEAD_MAX_FORWARDS and w.head.max_forwards == 0
    ):
        exchange_last_hop(w, x, down)
    elif not routed:
        exchange_fail(w, x, FAULT_NO_ROUTE)
    else:
        request_connect(w, x, down)


cdef void request_arm(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef i64 at = w.now_ns + w.snap.policy.stream_timeout_ns if w.snap.policy.stream_timeout_ns else 0
    if x.deadline_ns and (at == 0 or x.deadline_ns < at):
        at = x.deadline_ns
    if at:
        conn_deadline(w, down, at)


# The backend without endpoints stands for where the client was going.
cdef inline u32 request_pick(Worker* w, Exchange* x, const Conn* down) noexcept nogil:
    if w.snap.original_count and x.backend == w.snap.backend_count - 1:
        return original_pick(w, down)
    return balancer_pick(&w.balancer, w.snap, x.backend, x.endpoint, w.now_ns)


cdef inline void request_assign(Worker* w, Exchange* x, u32 picked) noexcept nogil:
    x.endpoint = picked
    if picked & <u32>PICK_ORIGINAL:
        x.slot = w.original_slot + (picked & ~<u32>PICK_ORIGINAL)
        x.slot_gen = w.balancer.slots[x.slot].slot_gen
    else:
        x.slot = w.snap.endpoints[picked].slot
        x.slot_gen = w.snap.endpoints[picked].slot_gen
    balancer_begin(&w.balancer, x.slot)
    x.flags |= EX_COUNTED
    meter_add(&w.meters.endpoints[x.slot].requests, 1)


# Against another snapshot than before.
cdef bint request_reroute(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    if x.flags & EX_TCP:
        return tcp_route(w, x, down)
    if not request_route(w, x, down):
        return 0
    request_arm(w, x, down)
    return 1


cdef void request_connect(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef u32 picked
    if down.slot_gen and down.served == 0 and originals_came_back(w, down):
        exchange_fail(w, x, FAULT_LOOP)
        return
    while True:
        if x.version != w.snap.version:
            if not request_reroute(w, x, down):
                exchange_fail(w, x, FAULT_NO_ROUTE)
                return
        picked = request_pick(w, x, down)
        if picked == PICK_NONE:
            exchange_fail(w, x, FAULT_NO_ENDPOINT)
            return
        request_assign(w, x, picked)
        if request_take(w, x, down, w.waiting[x.slot].count > 0) or not request_connect_failed(w, x, FAULT_CONNECT):
            return


cdef inline bint speaks_http2(Worker* w, const Exchange* x) noexcept nogil:
    cdef u8 protocol = w.snap.backends[x.backend].protocol
    if w.snap.backends[x.backend].send_proxy:
        # A connection is announced as one client's, and HTTP/2 would share it.
        return 0
    if protocol == UPSTREAM_AUTO:
        return x.flags & (EX_HTTP2 | EX_HTTP1) == EX_HTTP2 or x.flags & EX_WEB != 0
    return protocol == UPSTREAM_HTTP2 and not x.flags & EX_TCP


# Takes a connection of the chosen endpoint, or queues when others wait already. False: it cannot be connected to (x.error).
cdef bint request_take(Worker* w, Exchange* x, Conn* down, bint queue) noexcept nogil:
    cdef Conn* up = NULL
    cdef bint http2 = speaks_http2(w, x)
    cdef bint proxied = w.snap.backends[x.backend].send_proxy or x.flags & (EX_PROXY_V1 | EX_PROXY_V2)
    cdef bint fresh = (proxied and proxy_wanted(w, x, x.backend)) or x.flags & EX_FRESH
    cdef int r = FULL if queue else upstream_take(w, x.slot, http2, fresh, &up, &x.error)
    if r == FULL:
        request_enqueue(w, x)
        return 1
    if r == LIMIT:
        exchange_fail(w, x, FAULT_OVERLOAD)
        return 1
    if r != OK and r != AGAIN:
        return 0
    x.error = 0
    x.up = conn_handle(w, up)
    up.exchange = slab_handle(&w.exchanges, x)
    if r == AGAIN:
        x.phase = PHASE_CONNECT
        return 1
    request_send(w, x, down, up)
    return 1


# Marks the endpoint; False: the exchange has failed for good.
cdef bint request_connect_failed(Worker* w, Exchange* x, u32 fault) noexcept nogil:
    cdef u32 backend = upstream_backend(w, x.slot, x.slot_gen)
    cdef u8 before
    meters_count(&w.meters, COUNT_CONNECT_FAILURES, 1)
    meter_add(&w.meters.endpoints[x.slot].connect_failures, 1)
    if backend != PICK_NONE and x.slot < w.original_slot:
        before = w.balancer.slots[x.slot].health
        w.waiting[x.slot].error = x.error
        balancer_connect_failed(&w.balancer, w.snap, backend, x.slot, x.slot_gen, w.now_ns)
        if before == ENDPOINT_READY and w.balancer.slots[x.slot].health == ENDPOINT_OUT:
            upstream_event(w, EVENT_ENDPOINT_OUT, x.slot, x.error)
    exchange_uncount(w, x, 0)
    x.phase = PHASE_ROUTE
    if x.tries >= x.retry_connect:
        exchange_fail(w, x, fault)
        return 0
    x.tries += 1
    x.retries += 1
    meters_count(&w.meters, COUNT_RETRIES, 1)
    return 1


cdef void request_connected(Worker* w, u32 slot, u32 slot_gen) noexcept nogil:
    cdef u8 before
    if w.balancer.slots[slot].slot_gen != slot_gen or slot >= w.original_slot:
        return
    before = w.balancer.slots[slot].health
    balancer_connected(&w.balancer, slot, slot_gen, w.now_ns)
    if before != ENDPOINT_READY:
        upstream_event(w, EVENT_ENDPOINT_READY, slot, 0)


cdef void request_unconnected(Worker* w, Exchange* x, Conn* up, int error) noexcept nogil:
    cdef u32 fault = FAULT_CONNECT_TIMEOUT if error == ETIMEDOUT else FAULT_CONNECT
    exchange_land(w, x)
    x.up = 0
    up.exchange = 0
    upstream_close(w, up, 0)
    x.error = error
    x.sent_ns = 0
    if not x.flags & EX_REPLAY:
        x.tries = x.retry_connect
    if request_connect_failed(w, x, fault):
        request_connect(w, x, conn_get(w, x.down))


cdef void request_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef int r
    x.error = ETIMEDOUT
    if not timed_out:
        r = upstream_connected(w, up, &x.error)
        if r == AGAIN:
            return
        if r == OK:
            x.error = 0
            request_connected(w, x.slot, x.slot_gen)
            if x.flags & (EX_PROXY_V1 | EX_PROXY_V2):
                proxy_announce(w, x, down, up)
            # What it said at once came with this edge; no other will follow.
            if up.flags & (CONN_READABLE | CONN_RDHUP):
                conn_defer(w, up)
            request_send(w, x, down, up)
            return
    x.up = 0
    up.exchange = 0
    upstream_close(w, up, 0)
    if request_connect_failed(w, x, FAULT_CONNECT_TIMEOUT if timed_out else FAULT_CONNECT):
        request_connect(w, x, down)


# Begins the request's pipe for this receiver and takes what has arrived of the body. False: the exchange has failed.
cdef bint request_prepare(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    request_pipe(x)
    if up.id and x.request_framing == FRAMING_TUNNEL and not x.flags & EX_EXTENDED and x.method != METHOD_CONNECT:
        # An upgrade that HTTP/2 has no form for stays behind, and a request without a body is left.
        pipe_init(&x.request, FRAMING_NONE, 0)
    x.request.sent = x.head_bytes
    x.request.head = x.head_bytes
    if up.id and x.flags & EX_GRPC:
        up.stream |= STREAM_GRPC
    if up.id and x.request_framing == FRAMING_CHUNKED:
        # Its framing is undone where it stands: what was sent so cannot be sent again.
        x.request.strip = STRIP_FRAMING
    if x.flags & EX_WEB_TEXT:
        x.request.web = PIPE_DECODE
    x.request.wrap = <u8>(not up.id and x.request_framing == FRAMING_STREAM and not x.request.sized)
    if not x.request.done and pipe_take(w, &x.request, down) == BAD:
        exchange_fail(w, x, x.request.fault)
        return 0
    recall_head(w, x, down)
    return 1


# Over HTTP/1 instead, where upgrades are at home.
cdef void request_downgrade(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    x.up = 0
    up.exchange = 0
    upstream_close(w, up, 0)
    exchange_uncount(w, x, 1)
    x.flags |= EX_HTTP1
    x.phase = PHASE_ROUTE
    x.endpoint = PICK_NONE
    request_connect(w, x, down)


# An upgrade goes out on a stream only to a server that has said that it takes it (RFC 8441 3). False: not now, or not here.
cdef bint upgrade_prepare(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef Session* s = session_of(w, up)
    cdef u32 backend = upstream_backend(w, x.slot, x.slot_gen)
    x.flags &= ~<u32>EX_EXTENDED
    recall_head(w, x, down)
    if s == NULL or not tunnel_extends(w, x, buf_head(&down.inb)):
        return 1
    if s.flags & SESSION_CONNECT:
        x.flags |= EX_EXTENDED
        return 1
    if not s.flags & SESSION_SETTINGS:
        session_wait(w, s, up, 1)
    elif backend != PICK_NONE and w.snap.backends[backend].protocol == UPSTREAM_AUTO:
        request_downgrade(w, x, down, up)
    else:
        exchange_fail(w, x, FAULT_UPGRADE_UNSUPPORTED)
    return 0


# Sends the head and what has arrived of the body.
cdef void request_send(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef i64 head_n
    cdef int r = OK
    x.phase = PHASE_CONNECT
    # First what waits for the peer: with a buffer in hand it would be looked at again with every flush of that.
    if up.id and x.offered_len and not up.flags & CONN_BROKEN and not upgrade_prepare(w, x, down, up):
        return
    if up.id:
        r = stream_flush(w, up, x.head_bytes)
    if r == BLOCKED:
        return
    if r == FULL:
        exchange_starve(w, x, up)
        return
    if r == OK and not request_prepare(w, x, down, up):
        return
    head_n = request_compose(w, x, down, up) if r == OK else 0
    if head_n < 0:
        exchange_fail(w, x, FAULT_OVERLOAD)
        return
    if r == OK:
        r = pipe_start(w, &x.request, down, up, <size_t>head_n)
    if x.request.strip:
        x.flags &= ~<u32>EX_REPLAY
        pipe_forget(w, &x.request, down)
    x.phase = PHASE_RESPONSE
    x.sent_ns = w.now_ns
    x.active_ns = w.now_ns
    x.first_ns = 0
    exchange_fly(w, x)
    if x.per_try_ns:
        conn_deadline(w, up, w.now_ns + x.per_try_ns)
    if r == FULL:
        exchange_fail(w, x, FAULT_OVERLOAD)
    elif r != OK:
        # Not one byte was taken by the kernel: as safe to repeat as if nothing had been tried.
        x.flags |= EX_IDEMPOTENT
        request_lost(w, x, up, FAULT_UPSTREAM_RESET)
    elif not pipe_over(&x.request):
        request_body(w, x, down, up)


cdef bint request_body(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef u64 before = x.request.moved_bytes
    cdef int r
    if up.flags & CONN_BROKEN or (pipe_over(&x.request) and up.outb.data == NULL):
        return 1
    r = pipe_pump(w, &x.request, down, up, &x.flags)
    if x.request.moved_bytes != before:
        x.active_ns = w.now_ns
    if r == PUMP_YIELD:
        conn_defer(w, down)
    elif r == PUMP_SINK_FAILED:
        # It may have answered before it closed: the read tells.
        up.flags |= CONN_READABLE
        conn_defer(w, up)
    elif r == PUMP_SOURCE_END or r == PUMP_SOURCE_FAILED:
        exchange_abort(w, x)
        return 0
    elif r == PUMP_BAD:
        exchange_fail(w, x, x.request.fault)
        return 0
    elif r == PUMP_FULL:
        exchange_starve(w, x, up)
    return 1


cdef void request_lost(Worker* w, Exchange* x, Conn* up, u32 fault) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    # What the peer says it did not do may be sent again, whatever it was (RFC 9113 6.8, 8.7).
    cdef bint undone = up.stream & STREAM_UNDONE and x.retries < UNDONE_MOST
    cdef bint stale = up.flags & CONN_REUSED and x.flags & EX_IDEMPOTENT and not x.flags & EX_RETRIED
    if not (undone or stale) or not x.flags & EX_REPLAY or x.flags & EX_RESPONDED:
        exchange_fail(w, x, fault)
        return
    x.up = 0
    up.exchange = 0
    upstream_close(w, up, 0)
    # A pooled connection that had died says nothing about the endpoint.
    x.sent_ns = 0
    exchange_uncount(w, x, 1)
    x.flags |= <u32>(EX_FRESH if undone else EX_RETRIED | EX_FRESH)
    x.phase = PHASE_ROUTE
    x.endpoint = PICK_NONE
    x.retries += 1
    meters_count(&w.meters, COUNT_RETRIES, 1)
    request_connect(w, x, down)


cdef bint request_elsewhere(Worker* w, Exchange* x, Conn* up, bint ok) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef u32 picked = PICK_NONE
    if not x.flags & EX_REPLAY or x.tries >= x.retry_connect:
        return 0
    if x.version == w.snap.version:
        picked = request_pick(w, x, down)
        if picked == PICK_NONE or picked == x.endpoint:
            return 0
    x.up = 0
    up.exchange = 0
    upstream_close(w, up, 0)
    x.first_ns = w.now_ns
    exchange_uncount(w, x, ok)
    x.sent_ns = 0
    x.first_ns = 0
    x.phase = PHASE_ROUTE
    x.tries += 1
    x.retries += 1
    meters_count(&w.meters, COUNT_RETRIES, 1)
    if picked == PICK_NONE:
        request_connect(w, x, down)
        return 1
    request_assign(w, x, picked)
    if not request_take(w, x, down, w.waiting[x.slot].count > 0) and request_connect_failed(w, x, FAULT_CONNECT):
        request_connect(w, x, down)
    return 1


cdef void request_enqueue(Worker* w, Exchange* x) noexcept nogil:
    cdef Waiting* waiting = &w.waiting[x.slot]
    cdef u64 handle = slab_handle(&w.exchanges, x)
    cdef Exchange* last = exchange_get(w, waiting.last)
    if waiting.count >= w.snap.backends[x.backend].max_pending:
        exchange_fail(w, x, FAULT_PENDING_LIMIT)
        return
    x.phase = PHASE_PENDING
    x.pending_next = 0
    if last != NULL:
        last.pending_next = handle
    else:
        waiting.first = handle
    waiting.last = handle
    waiting.count += 1
    w.pending_count += 1


cdef void serve_slot(Worker* w, Waiting* waiting, u32 slot) noexcept nogil:
    cdef Exchange* x
    cdef u32 left = waiting.count
    while left:
        left -= 1
        x = exchange_get(w, waiting.first)
        if x == NULL or waiting.backend == PICK_NONE:
            return
        if not upstream_has_room(w, slot):
            return
        exchange_unqueue(w, x)
        x.phase = PHASE_ROUTE
        if not request_take(w, x, conn_get(w, x.down), 0):
            if request_connect_failed(w, x, FAULT_CONNECT):
                request_connect(w, x, conn_get(w, x.down))
    if upstream_has_room(w, slot):
        upstream_freed(w, slot)


cdef void request_serve_pending(Worker* w) noexcept nogil:
    cdef u32 i, slot, n = w.freed_count
    # Serving may free more slots, for the next turn; each is in the list once at a time, so twice the slots are room enough.
    for i in range(n):
        slot = w.freed[i]
        w.waiting[slot].freed = 0
        serve_slot(w, &w.waiting[slot], slot)
    for i in range(n, w.freed_count):
        w.freed[i - n] = w.freed[i]
    w.freed_count -= n


# An index in a new snapshot names another endpoint: all that wait for it route anew.
cdef void adopt_slot(Worker* w, u32 slot) noexcept nogil:
    cdef Waiting* waiting = &w.waiting[slot]
    cdef Exchange* x = exchange_get(w, waiting.first)
    while x != NULL:
        exchange_unqueue(w, x)
        exchange_uncount(w, x, 1)
        x.phase = PHASE_ROUTE
        request_connect(w, x, conn_get(w, x.down))
        x = exchange_get(w, waiting.first)
        if x != NULL and x.version == w.snap.version:
            break
    upstream_freed(w, slot)


cdef void request_adopt(Worker* w) noexcept nogil:
    cdef u32 i
    for i in range(w.slot_high):
        adopt_slot(w, i)
    for i in range(w.original_high):
        adopt_slot(w, w.original_slot + i)
