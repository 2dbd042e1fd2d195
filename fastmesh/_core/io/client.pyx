from libc.string cimport memset, strlen

from fastmesh._core.base.buffer cimport buf_give, buf_head, buf_len
from fastmesh._core.base.meter cimport COUNT_CLOSED, METER_NONE, Block, meters_count
from fastmesh._core.base.status cimport BLOCKED, AGAIN, OK
from fastmesh._core.base.text cimport Text, text_init, text_put, text_str, text_u64
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.io.access_log cimport access_log_refused
from fastmesh._core.io.connection cimport (
    conn_close, conn_deadline, conn_defer, conn_drop_input, conn_flush, conn_send_head, conn_shut,
)
from fastmesh._core.io.fault cimport FaultRow, fault_row
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.originals cimport originals_release
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_EOF, CONN_RDHUP, CONN_READABLE, CONN_RELAY, DOWN_IDLE, DOWN_LINGER, SCRATCH_BYTES, STREAM_GRPC,
    STREAM_LOCAL_END, STREAM_RESET, Session,
)
from fastmesh._core.io.session cimport session_of
from fastmesh._core.io.stream cimport stream_close, stream_flush, stream_headers, stream_send
from fastmesh._core.wire.grpc_web cimport WEB_FRAME_BYTES, WEB_TRAILERS, WebFrames, web_frame_write, web_text_encode
from fastmesh._core.wire.headers cimport FIELD_AUTHORIZATION, FIELD_COOKIE, FIELD_PROXY_AUTHORIZATION, HEADERS_MAX, Field
from fastmesh._core.wire.http1_chunked cimport chunked_finish, chunked_write
from fastmesh._core.wire.http1_head cimport (
    METHOD_TRACE, Http1Head, Http1Limits, Http1Resume, http1_response_parse, http1_trailers_parse,
)
from fastmesh._core.wire.http1_write cimport HeadEdit, http1_error_write
from fastmesh._core.wire.http2_frame cimport H2_CANCEL, H2_CONNECT_ERROR, H2_INTERNAL_ERROR, H2_NO_ERROR
from fastmesh._core.wire.http2_write cimport block_response_write, block_trailers_write

# What we wrote ourselves is within any limit.
cdef Http1Limits ANSWER_LIMITS
ANSWER_LIMITS.head_bytes = SCRATCH_BYTES
ANSWER_LIMITS.line_bytes = SCRATCH_BYTES
ANSWER_LIMITS.field_line_bytes = SCRATCH_BYTES
ANSWER_LIMITS.fields = HEADERS_MAX


cdef void client_close(Worker* w, Conn* c, bint reset) noexcept nogil:
    if c.id:
        # RFC 9113 8.5: how a tunnel's other side broke
        stream_close(w, c, H2_CANCEL if not reset else H2_CONNECT_ERROR if c.state == CONN_RELAY else H2_INTERNAL_ERROR)
        return
    w.down_count -= 1
    meters_count(&w.meters, COUNT_CLOSED, 1)
    if c.slot_gen:
        originals_release(w, c)
    conn_close(w, c, reset)


cdef void client_rest(Worker* w, Conn* c) noexcept nogil:
    c.exchange = 0
    if c.id:
        stream_close(w, c, H2_NO_ERROR)
        return
    if c.flags & CONN_BROKEN:
        client_close(w, c, 0)
        return
    c.served += 1
    c.state = DOWN_IDLE
    memset(&c.resume, 0, sizeof(Http1Resume))
    if buf_len(&c.inb) == 0:
        buf_give(&w.pools, &c.inb)
        if c.flags & CONN_EOF or w.draining:
            client_finish(w, c, 1)
            return
    conn_deadline(w, c, w.now_ns + w.snap.policy.idle_timeout_ns)
    if c.inb.data != NULL or c.flags & (CONN_READABLE | CONN_RDHUP):
        conn_defer(w, c)


cdef void client_finish(Worker* w, Conn* c, bint whole) noexcept nogil:
    cdef int flushed
    c.exchange = 0
    if c.id:
        # A whole response before the end of its request: NO_ERROR (RFC 9113 8.1).
        stream_close(w, c, H2_NO_ERROR if c.stream & STREAM_LOCAL_END else H2_INTERNAL_ERROR)
        return
    flushed = conn_flush(w, c)
    if flushed != OK and flushed != BLOCKED:
        client_close(w, c, 0)
        return
    whole = whole and buf_len(&c.inb) == 0 and not c.flags & CONN_READABLE
    if flushed == OK and (whole or c.flags & CONN_EOF):
        client_close(w, c, 0)
        return
    c.state = DOWN_LINGER
    conn_deadline(w, c, w.now_ns + w.snap.policy.linger_timeout_ns)
    client_linger(w, c)


cdef void client_linger(Worker* w, Conn* c) noexcept nogil:
    cdef int r = conn_flush(w, c)
    if r == BLOCKED:
        return
    if r == OK:
        conn_shut(w, c)
        r = conn_drop_input(w, c)
        if r == AGAIN:
            return
        if r == BLOCKED:
            conn_defer(w, c)
            return
    client_close(w, c, 0)


# Sends an answer whose head and body stand in the scratch as HTTP/1.1 text, in the form the client speaks.
cdef void answer_send(Worker* w, Conn* c, u32 head_n, u32 body_n) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef HeadEdit edit
    cdef Http1Resume resume
    cdef i64 n
    if not c.id:
        conn_send_head(w, c, w.scratch, head_n + body_n, NULL, 0)
        return
    memset(&edit, 0, sizeof(HeadEdit))
    memset(&resume, 0, sizeof(Http1Resume))
    w.head_of = 0
    if s == NULL or stream_flush(w, c, head_n) != OK or (
            http1_response_parse(&w.head, &resume, w.scratch, head_n, &ANSWER_LIMITS) != OK):
        return
    n = block_response_write(&s.encoder, w.scratch + SCRATCH_BYTES // 2, SCRATCH_BYTES // 2, &w.head, w.scratch, &edit)
    if n >= 0 and stream_headers(w, c, w.scratch + SCRATCH_BYTES // 2, <size_t>n, body_n == 0) == OK and body_n:
        stream_send(w, c, w.scratch + head_n, body_n, 1)


# The trailers of gRPC over HTTP/2. The message is percent-encoded; no text of ours has a byte that would need it.
cdef void put_grpc(Text* t, const FaultRow* row, const u8* text, u32 text_n) noexcept nogil:
    text_str(t, "grpc-status: ")
    text_u64(t, row.grpc)
    text_str(t, "\r\ngrpc-message: ")
    text_put(t, text, text_n)
    text_str(t, "\r\nfastmesh-error: ")
    text_put(t, text, text_n)
    text_str(t, "\r\n\r\n")


# Trailers-only: the head has them.
cdef void answer_grpc(Worker* w, Conn* c, const FaultRow* row, const u8* text, u32 text_n) noexcept nogil:
    cdef Text t
    text_init(&t, w.scratch, SCRATCH_BYTES // 2)
    text_str(&t, "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n")
    put_grpc(&t, row, text, text_n)
    answer_send(w, c, t.n, 0)


cdef bint client_end_grpc(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef Http1Resume resume
    cdef Text t
    cdef i64 n
    text_init(&t, w.scratch, SCRATCH_BYTES // 2)
    put_grpc(&t, fault_row(fault), text, text_n)
    memset(&resume, 0, sizeof(Http1Resume))
    w.head_of = 0
    if s == NULL or c.stream & (STREAM_LOCAL_END | STREAM_RESET) or stream_flush(w, c, t.n) != OK or (
            http1_trailers_parse(&w.head, &resume, t.data, t.n, &ANSWER_LIMITS) != OK):
        return 0
    n = block_trailers_write(&s.encoder, w.scratch + SCRATCH_BYTES // 2, SCRATCH_BYTES // 2, &w.head, t.data, 0)
    return n >= 0 and stream_headers(w, c, w.scratch + SCRATCH_BYTES // 2, <size_t>n, 1) == OK


cdef Answer client_answer_fault(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n, bint close,
                                bint head_only) noexcept nogil:
    cdef const FaultRow* row = fault_row(fault)
    cdef Answer answer
    cdef i64 n
    if text == NULL:
        text = <const u8*>row.text
        text_n = <u32>strlen(row.text)
    answer.status = row.status
    answer.grpc_status = 0
    answer.body_bytes = 0
    answer.head_bytes = 0
    if c.stream & STREAM_GRPC:
        answer.status = 200
        answer.grpc_status = row.grpc + 1
        answer_grpc(w, c, row, text, text_n)
        return answer
    n = http1_error_write(w.scratch, SCRATCH_BYTES // 2, row.status, text, text_n, w.date, close, head_only)
    if n > 0:
        # The body is the text and a line end.
        answer.body_bytes = 0 if head_only else <u32>(text_n + 1)
        answer.head_bytes = <u32>n - answer.body_bytes
        answer_send(w, c, answer.head_bytes, answer.body_bytes)
    return answer


# Trailers-only: a gRPC-Web client reads them in the head too.
cdef Answer client_answer_web(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n, bint close,
                              bint base64) noexcept nogil:
    cdef const FaultRow* row = fault_row(fault)
    cdef Answer answer
    cdef Text t
    if row.status == 400:
        answer = client_answer_fault(w, c, fault, text, text_n, close, 0)
        answer.grpc_status = row.grpc + 1
        return answer
    text_init(&t, w.scratch, SCRATCH_BYTES // 2)
    text_str(&t, "HTTP/1.1 200 OK\r\nDate: ")
    text_put(&t, w.date, 29)
    text_str(&t, "\r\nContent-Type: application/grpc-web")
    text_str(&t, "-text+proto" if base64 else "+proto")
    text_str(&t, "\r\nContent-Length: 0\r\n")
    if close:
        text_str(&t, "Connection: close\r\n")
    put_grpc(&t, row, text, text_n)
    answer.status = 200
    answer.grpc_status = row.grpc + 1
    answer.head_bytes = t.n
    answer.body_bytes = 0
    answer_send(w, c, t.n, 0)
    return answer


cdef bint client_end_web(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n, bint chunked,
                         bint base64) noexcept nogil:
    cdef u8* out = w.scratch + SCRATCH_BYTES // 2
    cdef const u8* message = w.scratch
    cdef WebFrames frames
    cdef size_t used = 0
    cdef u32 n
    cdef Text t
    text_init(&t, w.scratch + WEB_FRAME_BYTES, SCRATCH_BYTES // 4)
    put_grpc(&t, fault_row(fault), text, text_n)
    # All but the empty line.
    web_frame_write(w.scratch, WEB_TRAILERS, t.n - 2)
    n = WEB_FRAME_BYTES + t.n - 2
    if base64:
        memset(&frames, 0, sizeof(WebFrames))
        n = <u32>web_text_encode(&frames, message, n, 1, w.scratch + SCRATCH_BYTES // 4, SCRATCH_BYTES // 4, &used)
        message = w.scratch + SCRATCH_BYTES // 4
    if c.id:
        return stream_send(w, c, message, n, 1) == n and c.stream & STREAM_LOCAL_END
    if chunked:
        n = chunked_write(out, message, n)
        n += chunked_finish(out + n, NULL, 0)
        message = out
    return conn_send_head(w, c, message, n, NULL, 0) >= 0


# The request as it came, without what must not be reflected (RFC 9110 9.3.8).
cdef void put_reflection(Text* t, const Http1Head* head, const u8* data) noexcept nogil:
    cdef u32 i
    cdef const Field* f
    text_put(t, data + head.line_off, head.line_bytes)
    for i in range(head.nfields):
        f = &head.fields[i]
        if f.id == FIELD_COOKIE or f.id == FIELD_AUTHORIZATION or f.id == FIELD_PROXY_AUTHORIZATION:
            continue
        text_put(t, data + f.name_off, f.name_len)
        text_str(t, ": ")
        text_put(t, data + f.value_off, f.value_len)
        text_str(t, "\r\n")
    text_str(t, "\r\n")


cdef Answer client_answer_last_hop(Worker* w, Conn* c, bint close) noexcept nogil:
    cdef Text t
    cdef Text body
    cdef Answer answer
    cdef bint trace = w.head.method == METHOD_TRACE
    # A reflection is at most the head and two bytes a field, and the scratch is twice as large.
    text_init(&body, w.scratch + SCRATCH_BYTES // 2, SCRATCH_BYTES // 2)
    text_init(&t, w.scratch, SCRATCH_BYTES // 2)
    if trace:
        put_reflection(&body, &w.head, buf_head(&c.inb))
    text_str(&t, "HTTP/1.1 200 OK\r\nDate: ")
    text_put(&t, w.date, 29)
    text_str(&t, "\r\nContent-Type: message/http\r\nContent-Length: " if trace else "\r\nContent-Length: ")
    text_u64(&t, body.n)
    text_str(&t, "\r\nConnection: close\r\n\r\n" if close else "\r\n\r\n")
    answer.status = 200
    answer.grpc_status = 0
    answer.head_bytes = t.n
    answer.body_bytes = body.n
    text_put(&t, body.data, body.n)
    answer_send(w, c, answer.head_bytes, answer.body_bytes)
    return answer


cdef void client_refuse(Worker* w, Conn* c, u32 fault) noexcept nogil:
    cdef Block* block = block_of(w, c.listener, METER_NONE)
    cdef Answer answer = client_answer_fault(w, c, fault, NULL, 0, 1, 0)
    meter_add(&block.requests, 1)
    meter_add(&block.codes[answer.status], 1)
    meter_add(&block.response_bytes, answer.head_bytes + answer.body_bytes)
    meter_add(&block.faults[fault], 1)
    if answer.grpc_status:
        meter_add(&block.grpc[answer.grpc_status - 1], 1)
    if w.snap.policy.access_log:
        access_log_refused(w, c, answer.status, answer.grpc_status, fault, answer.head_bytes, answer.body_bytes)
    client_finish(w, c, 0)
