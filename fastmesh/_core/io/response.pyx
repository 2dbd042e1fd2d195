from libc.string cimport memset

from fastmesh._core.base.buffer cimport buf_consume, buf_give, buf_head, buf_len
from fastmesh._core.base.status cimport AGAIN, BAD, BLOCKED, CLOSED, FULL, IO, OK
from fastmesh._core.base.types cimport i32, i64, u8, u16, u32, u64
from fastmesh._core.io.connection cimport conn_defer
from fastmesh._core.io.fault cimport (
    FAULT_OVERLOAD, FAULT_REQUEST_TIMEOUT, FAULT_UPSTREAM_CANCELLED, FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_RESET,
    FAULT_UPSTREAM_RESPONSE, FAULT_UPSTREAM_TRUNCATED,
)
from fastmesh._core.io.finish cimport (
    exchange_abort, exchange_complete, exchange_cut_request, exchange_fail, exchange_land, exchange_starve,
    grpc_overloaded,
)
from fastmesh._core.io.pipe cimport (
    PUMP_BAD, PUMP_DONE, PUMP_FULL, PUMP_SINK_FAILED, PUMP_SOURCE_END, PUMP_SOURCE_FAILED, PUMP_YIELD, STRIP_ALL,
    STRIP_FRAMING, pipe_forget, pipe_init, pipe_note_grpc, pipe_over, pipe_pump, pipe_start, pipe_take,
)
from fastmesh._core.io.request cimport request_elsewhere, request_lost
from fastmesh._core.io.session cimport session_of
from fastmesh._core.io.side cimport side_flush, side_head, side_recv, side_room
from fastmesh._core.io.state cimport (
    CONN_BROKEN, DRIVE_STEPS, EX_ANSWERED, EX_DOWN_KEEP, EX_EXTENDED, EX_GRPC, EX_HTTP10, EX_REPLAY, EX_RESPONDED,
    EX_UP_KEEP, EX_WEB, EX_WEB_ANSWER_TEXT, FRAMING_STREAM, PHASE_BODY, PIPE_BINARY, PIPE_ENCODE, SCRATCH_BYTES,
    SMALL_BODY_BYTES, STREAM_BAD, STREAM_CANCELLED, STREAM_NEVER, STREAM_REMOTE_END, STREAM_RESET, Session,
)
from fastmesh._core.io.stream cimport stream_flush
from fastmesh._core.io.tunnel cimport tunnel_begin, tunnel_compose, tunnel_fault
from fastmesh._core.wire.grpc_web cimport WEB_GRPC_BYTES, web_grpc_type
from fastmesh._core.wire.headers cimport FIELD_TRAILER, Field
from fastmesh._core.wire.http1_head cimport (
    FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_NONE, FRAMING_TUNNEL, HEAD_DROPS, HEAD_HAS_LENGTH,
    HEAD_KEEP_ALIVE, HEAD_UPGRADE, METHOD_CONNECT, Http1Head, Http1Resume,
    http1_response_bodiless, http1_response_framing, http1_response_parse,
)
from fastmesh._core.wire.http1_write cimport (
    EDIT_CHUNKED, EDIT_CLOSE, EDIT_DROP_CODING, EDIT_DROP_LENGTH, EDIT_KEEP_ALIVE, EDIT_NEVER, EDIT_TYPE, EDIT_UPGRADE,
    HeadEdit,
    http1_response_write,
)
from fastmesh._core.wire.http2_write cimport block_response_write


cdef enum:
    DEADLINE_NEAR_NS = 10000000     # how far apart the server's timer and our clock may be


# The first byte of a response: from here on the request is not sent again, so nothing of it is kept.
cdef void response_started(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    x.flags |= EX_RESPONDED
    memset(&up.resume, 0, sizeof(Http1Resume))
    if x.flags & EX_REPLAY:
        x.flags &= ~<u32>EX_REPLAY
        pipe_forget(w, &x.request, down)
        if buf_len(&down.inb) == 0:
            buf_give(&w.pools, &down.inb)
    if w.head_of == up.exchange:
        w.head_of = 0


# Parses what is there. OK: a head is in w.head. AGAIN: more is needed. Anything else: it is not HTTP.
cdef int response_parse(Worker* w, Conn* up) noexcept nogil:
    if buf_len(&up.inb) == 0:
        return AGAIN
    w.head_of = 0
    return http1_response_parse(&w.head, &up.resume, buf_head(&up.inb), buf_len(&up.inb), &w.snap.policy.http1)


# What `fault` is when the server cancelled the stream. At the call's deadline that says that the deadline has passed, which it
# knows by grpc-timeout; at another time that it is cancelled (PROTOCOL-HTTP2.md, Errors).
cdef u32 cancelled_fault(Worker* w, const Exchange* x, const Conn* up, u32 fault) noexcept nogil:
    if not x.flags & EX_GRPC or not up.stream & STREAM_CANCELLED:
        return fault
    if x.deadline_ns and x.deadline_ns - w.now_ns <= DEADLINE_NEAR_NS:
        return FAULT_REQUEST_TIMEOUT
    return FAULT_UPSTREAM_CANCELLED


# Reads more of the head. OK; AGAIN: nothing there now; else the exchange has ended.
cdef int response_fill(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef i64 n
    cdef u32 fault
    if side_room(w, up, 0, 1) != OK:
        exchange_starve(w, x, up)
        return AGAIN
    n = side_recv(w, up)
    if n > 0:
        if not x.flags & EX_RESPONDED and not x.retry_grpc:
            response_started(w, x, down, up)
        return OK
    if n == AGAIN and not up.flags & CONN_BROKEN:
        if buf_len(&up.inb) == 0:
            buf_give(&w.pools, &up.inb)
        return AGAIN
    if up.stream & STREAM_BAD:
        exchange_fail(w, x, FAULT_UPSTREAM_RESPONSE)
    else:
        fault = FAULT_UPSTREAM_CLOSED if n == CLOSED else cancelled_fault(w, x, up, FAULT_UPSTREAM_RESET)
        request_lost(w, x, up, fault)
    return CLOSED


cdef bint response_head(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef u32 step
    cdef int r
    for step in range(<u32>DRIVE_STEPS):
        r = side_flush(w, down)
        if r == BLOCKED:
            return 1
        if r == FULL:
            exchange_starve(w, x, up)
            return 1
        if r != OK:
            exchange_abort(w, x)
            return 0
        # A stream has its head without our reading: its connection put it there.
        if buf_len(&up.inb) and not x.flags & EX_RESPONDED and not x.retry_grpc:
            response_started(w, x, down, up)
        r = response_parse(w, up)
        if r == AGAIN:
            r = response_fill(w, x, down, up)
            if r != OK:
                return r == AGAIN
            continue
        if r != OK:
            exchange_fail(w, x, FAULT_UPSTREAM_RESPONSE)
            return 0
        if w.head.status >= 200 or w.head.status == 101:
            return response_deliver(w, x, down, up)
        if not response_interim(w, x, down, up):
            return 0
    conn_defer(w, up)
    return 1


# The head that is in w.head, composed into the scratch: text, or a header block. Bytes, or < 0.
cdef inline i64 response_compose(Worker* w, Conn* down, const Conn* up, const HeadEdit* edit) noexcept nogil:
    if down.id:
        return compose_block(w, down, up, edit)
    return http1_response_write(w.scratch, SCRATCH_BYTES - SMALL_BODY_BYTES, &w.head, buf_head(&up.inb), edit)


cdef i64 compose_block(Worker* w, Conn* down, const Conn* up, const HeadEdit* edit) noexcept nogil:
    cdef Session* s = session_of(w, down)
    if s == NULL or stream_flush(w, down, w.head.head_bytes) != OK:
        return IO
    return block_response_write(&s.encoder, w.scratch, SCRATCH_BYTES - SMALL_BODY_BYTES, &w.head, buf_head(&up.inb), edit)


# 100, 102, 103 ...: forwarded as they come, except to a client that does not know them.
cdef bint response_interim(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef HeadEdit edit
    cdef i64 n
    if not x.flags & EX_RESPONDED:
        response_started(w, x, down, up)
    if not x.flags & EX_HTTP10:
        memset(&edit, 0, sizeof(HeadEdit))
        edit.flags = EDIT_DROP_LENGTH | EDIT_DROP_CODING
        n = response_compose(w, down, up, &edit)
        if n < 0 or side_head(w, down, <size_t>n) < 0:
            exchange_abort(w, x)
            return 0
        x.response_bytes += <u32>n
    buf_consume(&up.inb, w.head.head_bytes)
    memset(&up.resume, 0, sizeof(Http1Resume))
    return 1


# A 204 that announces a body: who wrote that may send one, and the next response would begin with it.
cdef inline bint is_doubtful(const Http1Head* head) noexcept nogil:
    return head.status == 204 and (head.framing == FRAMING_CHUNKED or head.framing == FRAMING_LENGTH)


# What this response means for both connections and for its own head.
cdef void response_edit(Worker* w, Exchange* x, const Conn* down, const Conn* up, u8 framing, HeadEdit* edit) noexcept nogil:
    cdef bint strip = framing == FRAMING_CHUNKED and x.flags & EX_HTTP10
    cdef u16 status = w.head.status
    memset(edit, 0, sizeof(HeadEdit))
    edit.date = w.date
    edit.received_http2 = 1 if up.id else 0
    if w.snap.policy.via_response and w.snap.policy.via_len:
        edit.via = w.snap.blob + w.snap.policy.via_off
        edit.via_len = w.snap.policy.via_len
    if up.stream & STREAM_NEVER:
        edit.flags |= EDIT_NEVER
    if up.id or (w.head.flags & HEAD_KEEP_ALIVE and framing != FRAMING_CLOSE and framing != FRAMING_TUNNEL
                 and not is_doubtful(&w.head)):
        x.flags |= EX_UP_KEEP
    if framing == FRAMING_TUNNEL:
        edit.flags |= EDIT_DROP_LENGTH | EDIT_DROP_CODING
        if w.head.flags & HEAD_UPGRADE:
            edit.flags |= EDIT_UPGRADE
        return
    if x.flags & EX_HTTP10 or status == 204:
        edit.flags |= EDIT_DROP_CODING
    if status == 204:
        edit.flags |= EDIT_DROP_LENGTH
    if down.id:
        return
    if x.response.wrap:
        edit.flags |= EDIT_CHUNKED | EDIT_DROP_LENGTH
    # A request that the upstream will not read to its end leaves the client's connection at an unknown place.
    if w.draining or framing == FRAMING_CLOSE or strip or (not x.request.done and (up.id or not x.flags & EX_UP_KEEP)) or (
            framing == FRAMING_STREAM and not x.response.sized and not x.response.wrap):
        x.flags &= ~<u32>EX_DOWN_KEEP
    if not x.flags & EX_DOWN_KEEP:
        edit.flags |= EDIT_CLOSE
    elif x.flags & EX_HTTP10:
        edit.flags |= EDIT_KEEP_ALIVE


# How its body ends. Of a stream the head says no more than how long it is.
cdef u8 response_framing(Worker* w, const Exchange* x, const Conn* up) noexcept nogil:
    cdef bint extended = up.id and x.flags & EX_EXTENDED
    cdef u8 framing = http1_response_framing(&w.head, <u8>METHOD_CONNECT if extended else x.method)
    # Behind `content-length: 0` there may still be trailers, which gRPC's status is in.
    if not up.id or framing == FRAMING_TUNNEL or http1_response_bodiless(&w.head, x.method):
        return framing
    return FRAMING_STREAM


cdef bint announces_trailers(const Http1Head* head) noexcept nogil:
    cdef u32 i
    for i in range(head.nfields):
        if head.fields[i].id == FIELD_TRAILER:
            return 1
    return 0


# Begins the response's pipe between these two. HTTP/1.1 has no trailers behind a Content-Length: announced ones want chunks.
cdef void response_pipe(Worker* w, Exchange* x, const Conn* down, u8 framing) noexcept nogil:
    pipe_init(&x.response, framing, w.head.content_length if w.head.flags & HEAD_HAS_LENGTH else 0)
    x.response.sized = <u8>(framing == FRAMING_STREAM and w.head.flags & HEAD_HAS_LENGTH != 0)
    if framing == FRAMING_CHUNKED:
        x.response.strip = <u8>(STRIP_FRAMING if down.id else STRIP_ALL if x.flags & EX_HTTP10 else 0)
    x.response.wrap = <u8>(framing == FRAMING_STREAM and not down.id and not x.flags & EX_HTTP10
                           and (not x.response.sized or announces_trailers(&w.head)))


# A gRPC response to a gRPC-Web request: how its body goes on, and the index of its Content-Type. -1: it is none and goes on as
# it is.
cdef i32 response_web(Worker* w, Exchange* x, const Conn* down, const Conn* up, u8 framing) noexcept nogil:
    cdef i32 type = web_grpc_type(&w.head, buf_head(&up.inb))
    if type < 0 or framing != FRAMING_STREAM:
        return type
    x.response.web = <u8>(PIPE_ENCODE if x.flags & EX_WEB_ANSWER_TEXT else PIPE_BINARY)
    x.response.wrap = <u8>(not down.id and not x.flags & EX_HTTP10)
    if x.flags & EX_HTTP10:
        # Its length is another than was said.
        x.flags &= ~<u32>EX_DOWN_KEEP
    return type


# As Envoy says it: "+proto" where the server names no format.
cdef void web_edit(Worker* w, const Exchange* x, i32 type, HeadEdit* edit) noexcept nogil:
    cdef Field* field = &w.head.fields[type]
    field.drop = 1
    w.head.flags |= HEAD_DROPS
    edit.type_off = field.value_off + WEB_GRPC_BYTES
    edit.type_len = field.value_len - WEB_GRPC_BYTES
    if x.flags & EX_WEB_ANSWER_TEXT:
        edit.type = b"application/grpc-web-text" if edit.type_len else b"application/grpc-web-text+proto"
    else:
        edit.type = b"application/grpc-web" if edit.type_len else b"application/grpc-web+proto"
    edit.flags |= EDIT_TYPE
    if x.response.web:
        edit.flags |= EDIT_DROP_LENGTH


# Trailers-only with a status that the route wants to see answered elsewhere. True: the request is on its way there.
cdef bint response_retry(Worker* w, Exchange* x, Conn* up) noexcept nogil:
    if not up.stream & STREAM_REMOTE_END or buf_len(&up.inb) != w.head.head_bytes:
        return 0
    pipe_note_grpc(&x.response, &w.head, buf_head(&up.inb))
    if x.response.grpc == 0 or not (x.retry_grpc >> (x.response.grpc - 1)) & 1:
        return 0
    return request_elsewhere(w, x, up, not grpc_overloaded(x.response.grpc))


cdef bint response_deliver(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef HeadEdit edit
    cdef u8 framing = response_framing(w, x, up)
    cdef u32 head_bytes = w.head.head_bytes
    cdef i32 type = -1
    cdef i64 head_n
    cdef u32 fault
    if not x.flags & EX_RESPONDED:
        if response_retry(w, x, up):
            return 0
        response_started(w, x, down, up)
    fault = tunnel_fault(w, x, down, up, framing) if framing == FRAMING_TUNNEL or x.offered_len else 0
    if fault:
        exchange_fail(w, x, fault)
        return 0
    x.status = w.head.status
    x.first_ns = w.now_ns
    x.active_ns = w.now_ns
    exchange_land(w, x)
    response_pipe(w, x, down, framing)
    if x.flags & EX_GRPC:
        # A trailers-only answer has its status in the head.
        pipe_note_grpc(&x.response, &w.head, buf_head(&up.inb))
        if x.flags & EX_WEB:
            type = response_web(w, x, down, up, framing)
    response_edit(w, x, down, up, framing, &edit)
    if type >= 0:
        web_edit(w, x, type, &edit)
    x.response.sent = head_bytes
    x.response.head = head_bytes
    if not x.response.done and pipe_take(w, &x.response, up) == BAD:
        # Nothing was delivered yet: better an honest 502 than a head without its body. A head that was composed for a
        # stream would have to be sent: it comes after.
        exchange_fail(w, x, FAULT_UPSTREAM_RESPONSE)
        return 0
    if framing == FRAMING_TUNNEL and up.id and not down.id:
        head_n = tunnel_compose(w, x, up, &edit)
    else:
        head_n = response_compose(w, down, up, &edit)
    if head_n < 0:
        exchange_fail(w, x, FAULT_OVERLOAD)
        return 0
    memset(&up.resume, 0, sizeof(Http1Resume))
    x.response_bytes += <u32>head_n
    if framing == FRAMING_TUNNEL:
        pipe_forget(w, &x.response, up)
        return tunnel_begin(w, x, down, up, <size_t>head_n)
    x.flags |= EX_ANSWERED
    x.phase = PHASE_BODY
    if pipe_start(w, &x.response, up, down, <size_t>head_n) < 0:
        exchange_abort(w, x)
        return 0
    pipe_forget(w, &x.response, up)
    return 1


cdef bint response_body(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef u32 flags = 0
    cdef u64 before = x.response.moved_bytes
    cdef int r = pipe_pump(w, &x.response, up, down, &flags)
    if x.response.moved_bytes != before:
        x.active_ns = w.now_ns
    if r == PUMP_DONE:
        return response_done(w, x, down, up)
    if r == PUMP_YIELD:
        conn_defer(w, up)
    elif r == PUMP_SINK_FAILED:
        exchange_abort(w, x)
        return 0
    elif r == PUMP_SOURCE_END or r == PUMP_SOURCE_FAILED:
        exchange_fail(w, x, cancelled_fault(w, x, up, FAULT_UPSTREAM_TRUNCATED))
        return 0
    elif r == PUMP_BAD:
        exchange_fail(w, x, FAULT_UPSTREAM_RESPONSE)
        return 0
    elif r == PUMP_FULL:
        exchange_starve(w, x, up)
    return 1


cdef bint response_done(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    if pipe_over(&x.request):
        exchange_complete(w, x, down, up)
        return 0
    # An early answer: the upstream may still read the rest, which alone keeps both connections usable.
    if x.flags & EX_UP_KEEP and x.flags & EX_DOWN_KEEP and not up.flags & CONN_BROKEN and not up.stream & STREAM_RESET:
        return 1
    exchange_cut_request(w, x, down, up)
    return 0
