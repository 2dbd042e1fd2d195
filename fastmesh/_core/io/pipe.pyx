from libc.string cimport memcpy, memset

from fastmesh._core.base.buffer cimport (
    BUFFER_LARGE, BUFFER_SMALL, buf_after, buf_compact, buf_consume, buf_cut, buf_give, buf_grow, buf_head, buf_insert,
    buf_len, buf_overwrite, buf_room, buf_take, buf_widen,
)
from fastmesh._core.base.meter cimport COUNT_BUFFERS_FULL, meters_count
from fastmesh._core.base.status cimport AGAIN, BAD, BLOCKED, CLOSED, FULL, IO, OK
from fastmesh._core.base.types cimport i32, i64, u8, u16, u32
from fastmesh._core.io.connection cimport conn_flush, conn_send, conn_send_head
from fastmesh._core.io.side cimport side_credit, side_recv, side_room
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_EOF, CONN_UP, DRIVE_BYTES, EX_REPLAY, FRAMING_STREAM, PIPE_BINARY, PIPE_DECODE, SCRATCH_BYTES,
    SESSION_STARVED, SMALL_BODY_BYTES, STREAM_GRPC, STREAM_LOCAL_END, STREAM_NEVER, Session,
)
from fastmesh._core.io.session cimport session_of
from fastmesh._core.io.stream cimport stream_flush, stream_headers, stream_send
from fastmesh._core.io.web cimport web_send
from fastmesh._core.wire.grpc cimport grpc_status_parse
from fastmesh._core.wire.grpc_web cimport WEB_FRAME_BYTES, WEB_TRAILERS, web_frame_write, web_frames_pass, web_text_scan
from fastmesh._core.wire.http1_chunked cimport (
    CHUNK_EXTRA, chunked_finish, chunked_init, chunked_scan, chunked_strip, chunked_write,
)
from fastmesh._core.wire.http1_fields cimport field_find
from fastmesh._core.wire.http1_head cimport (
    FAULT_CONTENT_LENGTH, FAULT_TRAILER, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_TUNNEL, Http1Head,
    Http1Resume, http1_trailers_parse,
)
from fastmesh._core.wire.http1_types cimport FAULT_WEB_TEXT
from fastmesh._core.wire.http1_write cimport http1_trailers_write
from fastmesh._core.wire.http2_write cimport block_trailers_write

cdef enum:
    CHUNK_MOST = 65536      # data of one chunk of ours
    SECTION_EMPTY = 2       # a trailer section without a field: its line end
    REPLAY_MOST = 16384     # body of a stream kept for a replay: more would keep its window shut


cdef void pipe_init(Pipe* p, u8 framing, u64 length) noexcept nogil:
    memset(p, 0, sizeof(Pipe))
    p.framing = framing
    p.left_bytes = length
    if framing == FRAMING_CHUNKED:
        chunked_init(&p.chunked)
    elif framing != FRAMING_CLOSE and framing != FRAMING_STREAM:
        p.done = 1 if framing != FRAMING_LENGTH or length == 0 else 0


cdef int take_chunks(Pipe* p, Conn* source, u32 offset, u32 n) noexcept nogil:
    cdef size_t used = 0, payload = 0
    cdef int r
    if p.strip:
        r = chunked_strip(&p.chunked, buf_head(&source.inb) + offset, n, &used, &payload)
        # What stood between the payload and the unread rest is gone.
        buf_cut(&source.inb, offset + <u32>payload, <u32>(used - payload))
        used = payload
    else:
        r = chunked_scan(&p.chunked, buf_head(&source.inb) + offset, n, &used, &payload)
    p.ready += <u32>used
    if r == BAD:
        p.fault = p.chunked.fault
        return BAD
    if r == OK:
        p.last = 1
        memset(&source.resume, 0, sizeof(Http1Resume))
        return OK
    return OK if used else AGAIN


# grpc-status of a trailer section that is in w.head.
cdef void pipe_note_grpc(Pipe* p, const Http1Head* head, const u8* data) noexcept nogil:
    cdef i32 at = field_find(head, data, b"grpc-status")
    if at >= 0:
        p.grpc = <u16>(grpc_status_parse(data + head.fields[at].value_off, head.fields[at].value_len) + 1)


# Parses the n bytes of a trailer section at `offset` into w.head. OK, AGAIN or BAD.
cdef int parse_trailers(Worker* w, Pipe* p, Conn* source, u32 offset, u32 n) noexcept nogil:
    cdef const u8* data = buf_head(&source.inb) + offset
    cdef int r = http1_trailers_parse(&w.head, &source.resume, data, n, &w.snap.policy.http1)
    w.head_of = 0
    if r == AGAIN:
        return AGAIN
    if r != OK:
        p.fault = w.head.fault
        return BAD
    pipe_note_grpc(p, &w.head, data)
    return OK


# Leaves out of the section in w.head, which is at `offset`, what must not be passed on. Its bytes then, or BAD.
cdef i64 prune_trailers(Worker* w, Conn* source, u32 offset) noexcept nogil:
    cdef u32 i, drops = 0
    cdef i64 written
    for i in range(w.head.nfields):
        drops |= w.head.fields[i].drop
    if not drops:
        return w.head.head_bytes
    written = http1_trailers_write(w.scratch, SCRATCH_BYTES, &w.head, buf_head(&source.inb) + offset)
    if written < 0 or buf_overwrite(&source.inb, offset, w.scratch, <size_t>written) != OK:
        return BAD
    buf_cut(&source.inb, offset + <u32>written, w.head.head_bytes - <u32>written)
    return written


cdef int take_trailers(Worker* w, Pipe* p, Conn* source, u32 offset, u32 n) noexcept nogil:
    cdef i64 kept
    cdef int r = parse_trailers(w, p, source, offset, n)
    if r != OK:
        return r
    p.done = 1
    if p.strip == STRIP_ALL:
        buf_cut(&source.inb, offset, w.head.head_bytes)
        return OK
    kept = prune_trailers(w, source, offset)
    if kept < 0:
        return BAD
    if p.strip == STRIP_FRAMING and kept == SECTION_EMPTY:
        buf_cut(&source.inb, offset, SECTION_EMPTY)
    elif p.strip == STRIP_FRAMING:
        p.tail = <u32>kept
    else:
        p.ready += <u32>kept
    return OK


# All that is there belongs to the body, but for the trailer section at its end.
cdef int take_stream(Pipe* p, Conn* source, u32 n) noexcept nogil:
    n = n - source.tail if n > source.tail else 0
    if p.sized:
        if n > p.left_bytes:
            p.fault = FAULT_CONTENT_LENGTH
            return BAD
        p.left_bytes -= n
    p.ready += n
    if not source.flags & CONN_EOF or source.flags & CONN_BROKEN:
        return OK if n else AGAIN
    if p.sized and p.left_bytes:
        p.fault = FAULT_CONTENT_LENGTH
        return BAD
    p.done = 1
    p.tail = source.tail
    return OK


cdef int take_body(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    cdef u32 offset = p.sent + p.ready
    cdef u32 n = buf_after(&source.inb, offset)
    if p.done:
        return OK
    if p.framing == FRAMING_STREAM:
        return take_stream(p, source, n)
    if n == 0:
        return AGAIN
    if p.framing == FRAMING_LENGTH:
        if <u64>n >= p.left_bytes:
            n = <u32>p.left_bytes
            p.done = 1
        p.left_bytes -= n
        p.ready += n
        return OK
    if p.framing == FRAMING_CLOSE:
        if source.tail:
            # A tunnel has DATA and nothing else (RFC 9113 8.5).
            p.fault = FAULT_TRAILER
            return BAD
        p.ready += n
        return OK
    if not p.last:
        return take_chunks(p, source, offset, n)
    return take_trailers(w, p, source, offset, n)


# Room in inb for the header of one more message. OK or FULL.
cdef int make_room(Worker* w, Conn* source) noexcept nogil:
    buf_compact(&source.inb)
    if buf_room(&source.inb) < WEB_FRAME_BYTES and buf_grow(&w.pools, &source.inb) != OK:
        buf_widen(&w.pools, &source.inb)
    return OK if buf_room(&source.inb) >= WEB_FRAME_BYTES else FULL


# The trailer section that was taken becomes the last message of the body, where it stands. OK; FULL: no room, or w.head is
# still in use, and it was not taken; BAD.
cdef int frame_trailers(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    cdef u32 offset = p.sent + p.ready
    cdef u8[WEB_FRAME_BYTES] header
    cdef i64 kept
    if p.head or (buf_room(&source.inb) < WEB_FRAME_BYTES and make_room(w, source) != OK):
        p.done = 0
        p.tail = 0
        return FULL
    memset(&source.resume, 0, sizeof(Http1Resume))
    if parse_trailers(w, p, source, offset, p.tail) != OK:
        return BAD
    kept = prune_trailers(w, source, offset) - 2
    if kept < 0:
        return BAD
    # Its empty line has no place in a message.
    buf_cut(&source.inb, offset + <u32>kept, 2)
    web_frame_write(header, WEB_TRAILERS, <u32>kept)
    if buf_insert(&source.inb, offset, WEB_FRAME_BYTES) != OK or (
            buf_overwrite(&source.inb, offset, header, WEB_FRAME_BYTES) != OK):
        return BAD
    p.ready += <u32>kept + WEB_FRAME_BYTES
    p.tail = 0
    source.tail = 0
    return OK


# Of a body between gRPC-Web and gRPC: text is looked at before it counts as taken.
cdef int take_web(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    cdef u32 before = p.sent + p.ready
    cdef int r = take_body(w, p, source)
    if r != OK:
        return r
    if p.web == PIPE_DECODE:
        r = web_text_scan(&p.web_scan, buf_head(&source.inb) + before, p.sent + p.ready - before)
        if r != OK or (p.done and p.web_scan):
            p.fault = FAULT_WEB_TEXT
            return BAD
        return OK
    if p.tail:
        r = frame_trailers(w, p, source)
    if p.web == PIPE_BINARY:
        web_frames_pass(&p.frames, buf_head(&source.inb) + before, p.sent + p.ready - before)
    return OK if r == FULL and p.sent + p.ready > before else r


cdef int pipe_take(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    return take_web(w, p, source) if p.web else take_body(w, p, source)


cdef void pipe_forget(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    buf_consume(&source.inb, p.sent)
    side_credit(w, source, p.sent - p.head)
    p.sent = 0
    p.head = 0


# How many bytes the source is known to bring, so that the read can be as large.
cdef u64 pipe_expect(const Pipe* p) noexcept nogil:
    if p.framing == FRAMING_LENGTH:
        return p.left_bytes
    if p.framing == FRAMING_CHUNKED and p.chunked.left_bytes > 0 and not p.wide:
        return p.chunked.left_bytes
    return BUFFER_LARGE if p.wide else 0


# Whether what was sent can no longer be kept: streaming the request goes before being able to repeat it.
cdef bint is_too_long_to_keep(Worker* w, const Pipe* p, const Conn* source, u64 expect) noexcept nogil:
    cdef const Session* s
    if source.id:
        s = session_of(w, source)
        return p.sent - p.head > REPLAY_MOST or (s != NULL and s.flags & SESSION_STARVED)
    return buf_room(&source.inb) == 0 or expect > buf_room(&source.inb)


# Reads more from the source. OK, or what stops the pump.
cdef int pipe_fill(Worker* w, Pipe* p, Conn* source, u32* flags) noexcept nogil:
    cdef u64 expect = pipe_expect(p)
    cdef u32 room
    cdef i64 n
    if flags[0] & EX_REPLAY and is_too_long_to_keep(w, p, source, expect):
        flags[0] &= ~<u32>EX_REPLAY
        pipe_forget(w, p, source)
    if side_room(w, source, expect, not flags[0] & EX_REPLAY) != OK:
        return PUMP_FULL
    room = buf_room(&source.inb)
    n = side_recv(w, source)
    if n > 0:
        if n == room:
            p.wide = 1
        elif n <= BUFFER_SMALL and room > <u32>BUFFER_SMALL:
            p.wide = 0
        return OK
    if n == AGAIN:
        return PUMP_WAIT_SOURCE
    if n == FULL:
        return PUMP_FULL
    return PUMP_SOURCE_END if n == CLOSED else PUMP_SOURCE_FAILED


cdef inline void pipe_moved(Pipe* p, u32 n) noexcept nogil:
    p.ready -= n
    p.sent += n
    p.moved_bytes += n


# The trailer section was passed on, or its receiver has no place for it. A stream keeps it: nothing follows it there, and its
# request may have to be sent again.
cdef void drop_tail(Pipe* p, Conn* source) noexcept nogil:
    if not source.id:
        buf_cut(&source.inb, p.sent, p.tail)
    p.tail = 0


# The end of a stream whose trailer section has nothing in it. Not HEADERS: when the peer has meanwhile closed the stream by a
# reset, it may take those for a new one with an old number, which ends the connection for everybody; DATA it passes over.
cdef int put_bare_end(Worker* w, Conn* sink) noexcept nogil:
    cdef i64 n = stream_send(w, sink, NULL, 0, 1)
    if n < 0:
        return <int>n
    return OK if sink.stream & STREAM_LOCAL_END else BLOCKED


# The trailer section as HEADERS with END_STREAM. OK, BLOCKED, FULL or IO.
cdef int put_trailers(Worker* w, Pipe* p, Conn* source, Conn* sink) noexcept nogil:
    cdef int r = stream_flush(w, sink, p.tail + CHUNK_EXTRA)
    cdef u32 offset = p.sent
    cdef Session* s = session_of(w, sink)
    cdef i64 n
    if r != OK:
        return r
    memset(&source.resume, 0, sizeof(Http1Resume))
    if s == NULL or parse_trailers(w, p, source, offset, p.tail) != OK:
        return IO
    n = block_trailers_write(&s.encoder, w.scratch, SCRATCH_BYTES, &w.head, buf_head(&source.inb) + offset,
                             source.stream & STREAM_NEVER)
    if n < 0 or (n and stream_headers(w, sink, w.scratch, <size_t>n, 1) != OK):
        return IO
    drop_tail(p, source)
    return OK if n else put_bare_end(w, sink)


# What is ready; a source that has nothing may hold no buffer.
cdef inline const u8* ready_of(const Pipe* p, const Conn* source) noexcept nogil:
    return buf_head(&source.inb) + p.sent if p.ready else NULL


# DATA, and the end of the stream with the last of it. OK: all went; else BLOCKED, FULL or IO.
cdef int put_stream(Worker* w, Pipe* p, Conn* source, Conn* sink) noexcept nogil:
    cdef bint end = p.done and p.tail == 0
    cdef i64 n
    if p.ready or (end and not p.ended):
        n = stream_send(w, sink, ready_of(p, source), p.ready, end)
        if n < 0:
            return <int>n
        pipe_moved(p, <u32>n)
        p.ended = 1 if sink.stream & STREAM_LOCAL_END else 0
        if p.ready or (end and not p.ended):
            return BLOCKED
    return put_end(w, p, source, sink)


# Trailers end a stream that has some. OK, BLOCKED, FULL or IO.
cdef inline int put_end(Worker* w, Pipe* p, Conn* source, Conn* sink) noexcept nogil:
    cdef int r
    if p.done and not p.ended:
        if sink.kind == CONN_UP and sink.stream & STREAM_GRPC and p.tail:
            # gRPC requests have none (PROTOCOL-HTTP2.md), and grpc-go ends the connection over them, with all its calls.
            drop_tail(p, source)
            r = put_bare_end(w, sink)
            p.ended = 1 if r == OK else 0
            return r
        r = put_trailers(w, p, source, sink)
        if r != OK:
            return r
        p.ended = 1
    return OK


# A stream's trailer section, as it may stand behind the last chunk. False: it may not.
cdef bint settle_trailers(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    cdef u32 offset = p.sent + p.ready
    cdef i64 kept
    if p.tail == 0 or p.last:
        return 1
    memset(&source.resume, 0, sizeof(Http1Resume))
    if parse_trailers(w, p, source, offset, p.tail) != OK:
        return 0
    kept = prune_trailers(w, source, offset)
    if kept < 0:
        return 0
    p.tail = <u32>kept
    source.tail = p.tail
    p.last = 1
    return 1


# The next chunk at out, which has room for its data, CHUNK_EXTRA and the tail; the last chunk and trailers behind the last
# data. Bytes written.
cdef u32 chunk_write(Pipe* p, const Conn* source, u8* out, u32 n) noexcept nogil:
    cdef u32 at = chunked_write(out, buf_head(&source.inb) + p.sent, n) if n else 0
    pipe_moved(p, n)
    if p.done and p.ready == 0:
        at += chunked_finish(out + at, buf_head(&source.inb) + p.sent if p.tail else NULL, p.tail)
        p.ended = 1
    return at


# Chunks, for a body that came without. OK: all went; else BLOCKED, FULL or IO.
cdef int put_chunks(Worker* w, Pipe* p, Conn* source, Conn* sink) noexcept nogil:
    cdef u32 n
    cdef int r = conn_flush(w, sink)
    while r == OK and (p.ready or (p.done and not p.ended)):
        n = p.ready if p.ready < CHUNK_MOST else <u32>CHUNK_MOST
        if p.done and not settle_trailers(w, p, source):
            return IO
        if buf_take(&w.pools, &sink.outb, n + p.tail + CHUNK_EXTRA) != OK:
            meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
            return FULL
        sink.outb.w = chunk_write(p, source, sink.outb.data, n)
        r = conn_flush(w, sink)
    return r


# The bytes as they are. OK: all went; else BLOCKED or IO.
cdef int put_bytes(Worker* w, Pipe* p, Conn* source, Conn* sink) noexcept nogil:
    cdef i64 n
    cdef int r = conn_flush(w, sink)
    if r != OK:
        return r
    n = conn_send(w, sink, ready_of(p, source), p.ready)
    if n < 0:
        return IO
    pipe_moved(p, <u32>n)
    if p.ready:
        return BLOCKED
    p.ended = p.done
    return OK


# What is text on one of the two sides. OK: all went; else BLOCKED, FULL or IO.
cdef int put_text(Worker* w, Pipe* p, Conn* source, Conn* sink) noexcept nogil:
    cdef int r = web_send(w, p, ready_of(p, source), sink)
    return put_end(w, p, source, sink) if r == OK and sink.id else r


# Sends what is ready. OK, or what stops the pump.
cdef int pipe_send(Worker* w, Pipe* p, Conn* source, Conn* sink, u32* flags) noexcept nogil:
    cdef int r = OK
    if sink == NULL:
        pipe_moved(p, p.ready)
        p.ended = p.done
    elif p.web > PIPE_BINARY:
        r = put_text(w, p, source, sink)
    elif sink.id:
        r = put_stream(w, p, source, sink)
    elif p.wrap:
        r = put_chunks(w, p, source, sink)
    else:
        r = put_bytes(w, p, source, sink)
    if p.ended and p.tail:
        drop_tail(p, source)
    if not flags[0] & EX_REPLAY:
        pipe_forget(w, p, source)
    if r == OK:
        return OK
    if r == FULL:
        return PUMP_FULL
    return PUMP_WAIT_SINK if r == BLOCKED else PUMP_SINK_FAILED


cdef int start_chunks(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil:
    cdef i64 n
    if p.tail == 0 and p.ready + CHUNK_EXTRA <= SMALL_BODY_BYTES and (p.ready or p.done):
        head_n += chunk_write(p, source, w.scratch + head_n, p.ready)
    n = conn_send_head(w, sink, w.scratch, head_n, NULL, 0)
    return OK if n >= 0 else <int>n


cdef int start_bytes(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil:
    cdef const u8* body = buf_head(&source.inb) + p.sent
    cdef i64 n
    if p.ready <= SMALL_BODY_BYTES:
        if p.ready:
            memcpy(w.scratch + head_n, body, p.ready)
        n = conn_send_head(w, sink, w.scratch, head_n + p.ready, NULL, 0)
        if n >= 0:
            n = p.ready
    else:
        n = conn_send_head(w, sink, w.scratch, head_n, body, p.ready)
    if n < 0:
        return <int>n
    pipe_moved(p, <u32>n)
    p.ended = 1 if p.done and p.ready == 0 else 0
    return OK


cdef int start_stream(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil:
    # gRPC ends a request on DATA, an empty one if need be (PROTOCOL-HTTP2.md); its servers may wait for it.
    cdef bint apart = sink.kind == CONN_UP and sink.stream & STREAM_GRPC
    cdef bint end = p.done and p.ready == 0 and p.tail == 0 and p.framing != FRAMING_TUNNEL and not apart
    cdef int r
    if stream_headers(w, sink, w.scratch, head_n, end) != OK:
        return FULL
    p.ended = 1 if end or p.framing == FRAMING_TUNNEL else 0
    if p.ended:
        return OK
    r = put_stream(w, p, source, sink)
    return IO if r == IO else OK


cdef int pipe_pump(Worker* w, Pipe* p, Conn* source, Conn* sink, u32* flags) noexcept nogil:
    cdef u64 until = p.moved_bytes + DRIVE_BYTES
    cdef int r
    if pipe_over(p) and p.sent == 0 and p.tail == 0 and sink != NULL and sink.outb.data == NULL:
        # All of it went out with the head, as most answers do.
        if buf_len(&source.inb) == 0:
            buf_give(&w.pools, &source.inb)
        return PUMP_DONE
    while True:
        r = pipe_send(w, p, source, sink, flags)
        if r != OK:
            return r
        if p.done:
            if buf_len(&source.inb) == 0:
                buf_give(&w.pools, &source.inb)
            return PUMP_DONE
        if p.moved_bytes > until:
            # The next in turn reads into the same memory, which is still in the cache.
            if buf_len(&source.inb) == 0:
                buf_give(&w.pools, &source.inb)
            return PUMP_YIELD
        r = pipe_take(w, p, source)
        if r == OK:
            continue
        if r != AGAIN:
            return PUMP_BAD if r == BAD else PUMP_FULL
        r = pipe_fill(w, p, source, flags)
        if r == OK:
            continue
        if r == PUMP_SOURCE_END and p.framing == FRAMING_CLOSE:
            p.done = 1
            continue
        if r == PUMP_WAIT_SOURCE and buf_len(&source.inb) == 0:
            buf_give(&w.pools, &source.inb)
        return r
