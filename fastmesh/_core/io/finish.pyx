from fastmesh._core.base.buffer cimport buf_consume, buf_give
from fastmesh._core.base.histogram cimport histogram_bucket
from fastmesh._core.base.meter cimport (
    COUNT_CLIENT_ABORTS, COUNT_TUNNEL_BYTES_IN, COUNT_TUNNEL_BYTES_OUT, METER_GRPC, Block, meters_count,
)
from fastmesh._core.base.slab cimport slab_give, slab_handle
from fastmesh._core.base.text cimport Text, text_init, text_str, text_u64
from fastmesh._core.base.types cimport i64, u8
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.ffi.linux cimport ECONNREFUSED, ECONNRESET, ETIMEDOUT
from fastmesh._core.io.access_log cimport access_log_end
from fastmesh._core.io.client cimport (
    Answer, client_answer_fault, client_answer_last_hop, client_answer_web, client_close, client_end_grpc,
    client_end_web, client_finish, client_rest,
)
from fastmesh._core.io.connection cimport conn_deadline, conn_get
from fastmesh._core.io.fault cimport (
    FAULT_CLIENT_CLOSED, FAULT_CONNECT, FAULT_LOCAL, FAULT_NO_ENDPOINT, FAULT_NO_ROUTE, FAULT_UPSTREAM_RESPONSE,
    fault_row,
)
from fastmesh._core.io.pipe cimport PUMP_DONE, pipe_over, pipe_pump
from fastmesh._core.io.state cimport (
    CONN_BROKEN, DOWN_SNIFF, EX_ANSWERED, EX_COUNTED, EX_DOWN_KEEP, EX_EARLY, EX_FLYING, EX_GRPC, EX_HEAD_ONLY,
    EX_HTTP10, EX_REPLAY, EX_STARVED, EX_TCP, EX_UP_KEEP, EX_WEB, EX_WEB_ANSWER_TEXT, PHASE_PENDING, PHASE_TUNNEL,
    PIPE_ENCODE, PIPE_PLAIN, SNIFF_FAILED, STREAM_BAD, UP_BUSY, Waiting,
)
from fastmesh._core.io.upstream cimport upstream_backend, upstream_close, upstream_give
from fastmesh._core.routing.balancer cimport EndpointState, PICK_NONE, balancer_count, balancer_end
from fastmesh._core.routing.snapshot cimport UPSTREAM_HTTP2, Backend
from fastmesh._core.wire.grpc_web cimport web_between

cdef void exchange_uncount(Worker* w, Exchange* x, bint ok) noexcept nogil:
    cdef u32 backend
    cdef i64 rtt = -1
    exchange_land(w, x)
    if not x.flags & EX_COUNTED:
        return
    x.flags &= ~<u32>EX_COUNTED
    # An exchange that ended well without a response head was given up by its client: that measures nobody.
    if x.sent_ns and (x.first_ns or not ok):
        rtt = (x.first_ns if x.first_ns else w.now_ns) - x.sent_ns
    backend = upstream_backend(w, x.slot, x.slot_gen)
    if backend == PICK_NONE:
        # Its endpoint was published away; the slot may come back to it.
        if w.balancer.slots[x.slot].slot_gen == x.slot_gen and w.balancer.slots[x.slot].in_flight > 0:
            w.balancer.slots[x.slot].in_flight -= 1
        return
    if not ok:
        meter_add(&w.meters.endpoints[x.slot].failures, 1)
    balancer_end(&w.balancer, w.snap, backend, x.slot, x.slot_gen, rtt, ok, w.now_ns)


# Its endpoint did badly: a failure we saw, or a gateway error it answered itself.
cdef inline bint is_upstream_failure(const Exchange* x) noexcept nogil:
    if x.fault:
        # What was never sent cannot have been answered late.
        return x.sent_ns != 0 and fault_row(x.fault).upstream
    return x.first_ns != 0 and (502 <= x.status <= 504 or (x.flags & EX_GRPC and grpc_overloaded(x.response.grpc)))


# Counts a gRPC call by its status, which is in the trailers, or in the head when there are no others.
cdef void exchange_grpc(Exchange* x, Block* block) noexcept nogil:
    if not x.flags & EX_GRPC:
        return
    if x.response.grpc:
        x.grpc_status = x.response.grpc
    meter_add(&block.grpc[x.grpc_status - 1 if 0 < x.grpc_status <= METER_GRPC else METER_GRPC - 1], 1)


# Counts, logs and gives the exchange back. Both connections are the caller's from here on.
cdef void exchange_end(Worker* w, Exchange* x, const Conn* down) noexcept nogil:
    cdef Block* block = x.block
    cdef i64 duration = w.now_ns - x.start_ns
    exchange_uncount(w, x, not is_upstream_failure(x))
    if x.phase == PHASE_TUNNEL:
        w.tunnel_count -= 1
        meters_count(&w.meters, COUNT_TUNNEL_BYTES_IN, x.request.moved_bytes)
        meters_count(&w.meters, COUNT_TUNNEL_BYTES_OUT, x.response.moved_bytes)
    exchange_grpc(x, block)
    x.request_bytes += x.request.moved_bytes
    x.response_bytes += x.response.moved_bytes
    meter_add(&block.codes[x.status], 1)
    meter_add(&block.request_bytes, x.request_bytes)
    meter_add(&block.response_bytes, x.response_bytes)
    meter_add(&block.duration_sum_ns, <u64>duration if duration > 0 else 0)
    meter_add(&block.durations[histogram_bucket(<u64>duration if duration > 0 else 0)], 1)
    if x.retries:
        meter_add(&block.retries, x.retries)
    if x.fault:
        meter_add(&block.faults[x.fault], 1)
    if w.snap.policy.access_log:
        access_log_end(w, x, down)
    if w.head_of == slab_handle(&w.exchanges, x):
        w.head_of = 0
    buf_give(&w.pools, &x.log)
    w.exchange_count -= 1
    slab_give(&w.exchanges, x)


cdef void relay_account(Worker* w, Exchange* x, const Conn* down) noexcept nogil:
    cdef i64 duration = w.now_ns - x.start_ns
    meter_add(&x.block.connection_ns, <u64>duration if duration > 0 else 0)
    if x.retries:
        meter_add(&x.block.retries, x.retries)
    if x.fault:
        meter_add(&x.block.faults[x.fault], 1)
    if w.snap.policy.access_log:
        access_log_end(w, x, down)


# Gives the exchange of a TCP connection back, and its place in a queue.
cdef void relay_drop(Worker* w, Exchange* x) noexcept nogil:
    if x.phase == PHASE_PENDING:
        exchange_unqueue(w, x)
    exchange_uncount(w, x, 1)
    w.relay_count -= 1
    slab_give(&w.exchanges, x)


cdef void exchange_end_relay(Worker* w, Exchange* x, bint reset) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef Conn* up = conn_get(w, x.up)
    relay_account(w, x, down)
    relay_drop(w, x)
    if up != NULL:
        up.exchange = 0
        upstream_close(w, up, reset)
    client_close(w, down, reset)


cdef void exchange_forget_relay(Worker* w, Exchange* x, bint pool) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef Conn* up = conn_get(w, x.up)
    cdef u32 backend = upstream_backend(w, x.slot, x.slot_gen) if up != NULL else PICK_NONE
    down.exchange = 0
    relay_drop(w, x)
    if up == NULL:
        return
    up.exchange = 0
    if not pool or backend == PICK_NONE or w.snap.backends[backend].protocol == UPSTREAM_HTTP2:
        upstream_close(w, up, 0)
    elif up.state == UP_BUSY:
        upstream_give(w, up)


# What was dialled early cannot be reached: the client may still say that it speaks HTTP, and then hear why. If not, or not soon,
# it sees what it would have seen at the server.
cdef void relay_fail(Worker* w, Exchange* x) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef i64 ns
    if not x.flags & EX_EARLY or down.state != DOWN_SNIFF:
        exchange_end_relay(w, x, 1)
        return
    ns = w.snap.policy.header_timeout_ns if x.fault == FAULT_NO_ROUTE else w.snap.policy.detect_timeout_ns
    exchange_forget_relay(w, x, 0)
    down.sniffed |= SNIFF_FAILED
    conn_deadline(w, down, w.now_ns + ns)


cdef void flight_publish(Worker* w, u32 slot) noexcept nogil:
    cdef Exchange* oldest = exchange_get(w, w.waiting[slot].flight_first)
    cdef EndpointState* state = &w.balancer.slots[slot]
    # Exchanges with the endpoint that had the slot before say nothing of this one.
    state.oldest_ns = oldest.sent_ns if oldest != NULL and oldest.slot_gen == state.slot_gen else 0


cdef void exchange_fly(Worker* w, Exchange* x) noexcept nogil:
    cdef Waiting* slot = &w.waiting[x.slot]
    cdef Exchange* last = exchange_get(w, slot.flight_last)
    cdef u64 handle = slab_handle(&w.exchanges, x)
    x.flags |= EX_FLYING
    x.flight_before = slot.flight_last
    x.flight_after = 0
    if last != NULL:
        last.flight_after = handle
    else:
        slot.flight_first = handle
        flight_publish(w, x.slot)
    slot.flight_last = handle


cdef void exchange_land(Worker* w, Exchange* x) noexcept nogil:
    cdef Waiting* slot = &w.waiting[x.slot]
    cdef Exchange* before
    cdef Exchange* after
    if not x.flags & EX_FLYING:
        return
    x.flags &= ~<u32>EX_FLYING
    before = exchange_get(w, x.flight_before)
    after = exchange_get(w, x.flight_after)
    if after != NULL:
        after.flight_before = x.flight_before
    else:
        slot.flight_last = x.flight_before
    if before != NULL:
        before.flight_after = x.flight_after
    else:
        slot.flight_first = x.flight_after
        flight_publish(w, x.slot)


cdef void exchange_starve(Worker* w, Exchange* x, Conn* up) noexcept nogil:
    x.flags |= EX_STARVED
    if x.starved_ns == 0 or x.starved_ns < x.active_ns:
        x.starved_ns = w.now_ns
    conn_deadline(w, up, w.now_ns + <i64>STARVED_NS)


cdef void exchange_unqueue(Worker* w, Exchange* x) noexcept nogil:
    cdef Waiting* waiting = &w.waiting[x.slot]
    cdef u64 handle = slab_handle(&w.exchanges, x)
    cdef Exchange* before = NULL
    cdef Exchange* at = exchange_get(w, waiting.first)
    while at != NULL and at != x:
        before = at
        at = exchange_get(w, at.pending_next)
    if at == NULL:
        return
    if before == NULL:
        waiting.first = x.pending_next
    else:
        before.pending_next = x.pending_next
    if waiting.last == handle:
        waiting.last = slab_handle(&w.exchanges, before) if before != NULL else 0
    x.pending_next = 0
    waiting.count -= 1
    w.pending_count -= 1


# Why the endpoints of a backend are out: what the first that failed to connect said.
cdef int backend_error(Worker* w, u32 backend) noexcept nogil:
    cdef const Backend* which = &w.snap.backends[backend]
    cdef u32 i
    cdef int error
    for i in range(which.endpoint_count):
        error = w.waiting[w.snap.endpoints[which.endpoint_first + i].slot].error
        if error:
            return error
    return 0


# What the client is told: for a missing endpoint also how many there are and why.
cdef void fault_text(Worker* w, const Exchange* x, u32 fault, Text* t) noexcept nogil:
    cdef u32 ready = 0, out = 0
    cdef int error = x.error
    text_str(t, fault_row(fault).text)
    if fault != FAULT_NO_ENDPOINT and fault != FAULT_CONNECT:
        return
    if fault == FAULT_NO_ENDPOINT and x.backend < w.snap.backend_count and x.version == w.snap.version:
        balancer_count(&w.balancer, w.snap, x.backend, &ready, &out)
        text_str(t, ": ")
        text_u64(t, out)
        text_str(t, " of ")
        text_u64(t, ready + out)
        text_str(t, " out")
        error = error if error else backend_error(w, x.backend)
    if error == ECONNREFUSED:
        text_str(t, " (connection refused)")
    elif error == ETIMEDOUT:
        text_str(t, " (connect timed out)")
    elif error == ECONNRESET:
        text_str(t, " (connection reset)")
    elif error:
        text_str(t, " (errno ")
        text_u64(t, <u64>error)
        text_str(t, ")")


# Reads off what has arrived of a request that nobody wants any more. True when that was all of it.
cdef bint swallow_request(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    x.request.web = PIPE_PLAIN
    if x.flags & EX_REPLAY:
        x.flags &= ~<u32>EX_REPLAY
        buf_consume(&down.inb, x.head_bytes)
        request_pipe(x)
    return pipe_pump(w, &x.request, down, NULL, &x.flags) == PUMP_DONE


cdef void answered(Exchange* x, Answer answer) noexcept nogil:
    x.status = answer.status
    x.grpc_status = answer.grpc_status
    x.response_bytes += answer.head_bytes
    x.response.moved_bytes = answer.body_bytes


# After a proxy-made answer; those do not say keep-alive, which an HTTP/1.0 client would have to read.
cdef inline bint may_keep(Worker* w, const Exchange* x) noexcept nogil:
    return x.flags & EX_DOWN_KEEP and not x.flags & EX_HTTP10 and not w.draining


cdef void drop_upstream(Worker* w, Exchange* x) noexcept nogil:
    cdef Conn* up = conn_get(w, x.up)
    if x.phase == PHASE_PENDING:
        exchange_unqueue(w, x)
    x.up = 0
    if up != NULL:
        up.exchange = 0
        if x.fault == FAULT_UPSTREAM_RESPONSE:
            up.stream |= STREAM_BAD
        # Reset: an upstream must not take what it has of the request for the whole.
        upstream_close(w, up, not x.request.done)


# A gRPC-Web response that has begun is ended by a last message, where one may begin.
cdef bint end_web(Worker* w, Exchange* x, Conn* down, const Text* text) noexcept nogil:
    if not x.response.web or x.response.ready or not web_between(&x.response.frames):
        return 0
    return client_end_web(w, down, x.fault, text.data, text.n, x.response.wrap, x.response.web == PIPE_ENCODE)


# A gRPC response that has begun is ended by a status. Content that is announced and will not come leaves but a reset.
cdef bint end_grpc(Worker* w, Exchange* x, Conn* down, const Text* text) noexcept nogil:
    if not x.flags & EX_GRPC or (x.response.sized and not x.response.web):
        return 0
    if not (end_web(w, x, down, text) if x.flags & EX_WEB
            else client_end_grpc(w, down, x.fault, text.data, text.n)):
        return 0
    x.response.grpc = fault_row(x.fault).grpc + 1
    return 1


cdef void exchange_fail(Worker* w, Exchange* x, u32 fault) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef u8[256] space
    cdef Text text
    cdef bint keep, whole
    x.fault = fault
    if x.flags & EX_TCP:
        relay_fail(w, x)
        return
    text_init(&text, space, 256)
    fault_text(w, x, fault, &text)
    drop_upstream(w, x)
    if x.flags & EX_ANSWERED:
        whole = pipe_over(&x.response)
        keep = not whole and end_grpc(w, x, down, &text)
        whole = whole or keep
        # The client was told that its connection stays.
        keep = keep and may_keep(w, x) and swallow_request(w, x, down) and down.outb.data == NULL
        exchange_end(w, x, down)
        if keep:
            client_rest(w, down)
        elif whole:
            client_finish(w, down, 0)
        else:
            client_close(w, down, 1)
        return
    whole = swallow_request(w, x, down)
    keep = whole and may_keep(w, x) and fault >= FAULT_LOCAL
    if x.flags & EX_WEB:
        answered(x, client_answer_web(w, down, fault, text.data, text.n, not keep, x.flags & EX_WEB_ANSWER_TEXT))
    else:
        answered(x, client_answer_fault(w, down, fault, text.data, text.n, not keep, x.flags & EX_HEAD_ONLY))
    exchange_end(w, x, down)
    if keep:
        client_rest(w, down)
    else:
        client_finish(w, down, whole)


cdef void exchange_last_hop(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef bint keep = may_keep(w, x) and x.request.done
    cdef bint whole
    answered(x, client_answer_last_hop(w, down, not keep))
    whole = swallow_request(w, x, down)
    exchange_end(w, x, down)
    if keep and whole:
        client_rest(w, down)
    else:
        client_finish(w, down, whole)


cdef void exchange_abort(Worker* w, Exchange* x) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    x.fault = FAULT_CLIENT_CLOSED
    meters_count(&w.meters, COUNT_CLIENT_ABORTS, 1)
    if x.flags & EX_TCP:
        exchange_end_relay(w, x, 1)
        return
    if not x.status:
        x.status = fault_row(FAULT_CLIENT_CLOSED).status
    if x.flags & EX_GRPC and not x.response.grpc:
        x.grpc_status = fault_row(FAULT_CLIENT_CLOSED).grpc + 1
    drop_upstream(w, x)
    exchange_end(w, x, down)
    client_close(w, down, 0)


cdef void exchange_complete(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef bint down_keep = x.flags & EX_DOWN_KEEP != 0
    cdef bint up_keep = x.flags & EX_UP_KEEP != 0 and not up.flags & CONN_BROKEN
    exchange_end(w, x, down)
    up.exchange = 0
    if up_keep:
        upstream_give(w, up)
    else:
        upstream_close(w, up, 0)
    if down_keep and not down.flags & CONN_BROKEN:
        client_rest(w, down)
    else:
        client_finish(w, down, 1)


cdef void exchange_cut_request(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    exchange_end(w, x, down)
    up.exchange = 0
    upstream_close(w, up, 1)
    client_finish(w, down, 0)


cdef void exchange_end_tunnel(Worker* w, Exchange* x, Conn* down, Conn* up, bint reset) noexcept nogil:
    exchange_end(w, x, down)
    up.exchange = 0
    upstream_close(w, up, reset)
    client_close(w, down, reset)
