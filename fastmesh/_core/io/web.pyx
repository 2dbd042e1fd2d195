from fastmesh._core.base.buffer cimport buf_take
from fastmesh._core.base.meter cimport COUNT_BUFFERS_FULL, meters_count
from fastmesh._core.base.status cimport BLOCKED, FULL, OK
from fastmesh._core.base.types cimport i32, i64, u8, u32, u64
from fastmesh._core.io.connection cimport conn_flush, conn_send
from fastmesh._core.io.state cimport (
    EX_GRPC, EX_UPGRADE, EX_WEB, EX_WEB_ANSWER_TEXT, EX_WEB_TEXT, PIPE_DECODE, STREAM_LOCAL_END,
)
from fastmesh._core.io.stream cimport stream_send
from fastmesh._core.routing.snapshot cimport UPSTREAM_HTTP1, Backend
from fastmesh._core.wire.grpc_web cimport (
    WEB_NONE, WEB_TEXT, WebFrames, WebMedia, web_media, web_text_decode, web_text_encode, web_wants_text,
)
from fastmesh._core.wire.http1_chunked cimport CHUNK_EXTRA, chunked_finish, chunked_write
from fastmesh._core.wire.http1_types cimport METHOD_POST

cdef enum:
    PORTION = 65536     # made at a time; a whole number of units either way


cdef void web_route(Worker* w, Exchange* x, const Route* route, const u8* data) noexcept nogil:
    cdef i32 type = -1
    cdef const Backend* backend = &w.snap.backends[route.backend]
    cdef WebMedia media
    if x.flags & EX_WEB:
        x.flags &= ~<u32>(EX_GRPC | EX_WEB | EX_WEB_TEXT | EX_WEB_ANSWER_TEXT)
    if not route.grpc_web or x.method != METHOD_POST or x.flags & EX_UPGRADE or (
            backend.protocol == UPSTREAM_HTTP1 or backend.send_proxy):
        return
    media = web_media(&w.head, data, &type)
    if media == WEB_NONE:
        return
    x.flags |= EX_GRPC | EX_WEB
    if media == WEB_TEXT:
        x.flags |= EX_WEB_TEXT
    if web_wants_text(&w.head, data, media):
        x.flags |= EX_WEB_ANSWER_TEXT


# Whole units of what is ready, as the other side has them, in the scratch: bytes made of *used. *frames moves on with them.
cdef size_t convert(Worker* w, const Pipe* p, WebFrames* frames, const u8* data, size_t room, size_t* used) noexcept nogil:
    used[0] = 0
    if p.ready == 0:
        return 0
    if p.web == PIPE_DECODE:
        return web_text_decode(data, p.ready, w.scratch, room, used)
    return web_text_encode(frames, data, p.ready, p.done, w.scratch, room, used)


# One chunk in outb, which is empty, and the last chunk. n, or FULL.
cdef i64 deliver_chunk(Worker* w, Pipe* p, Conn* sink, const u8* made, u32 n, bint end) noexcept nogil:
    cdef u32 at = 0
    if buf_take(&w.pools, &sink.outb, n + CHUNK_EXTRA) != OK:
        meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
        return FULL
    if n:
        at = chunked_write(sink.outb.data, made, n)
    if end:
        at += chunked_finish(sink.outb.data + at, NULL, 0)
        p.ended = 1
    sink.outb.w = at
    return n


# What was made, to whatever the sink is: bytes it took, FULL or IO.
cdef i64 deliver(Worker* w, Pipe* p, Conn* sink, const u8* made, u32 n, bint end) noexcept nogil:
    cdef i64 taken
    if sink.id:
        taken = stream_send(w, sink, made, n, end)
        p.ended = 1 if sink.stream & STREAM_LOCAL_END else 0
    elif p.wrap:
        taken = deliver_chunk(w, p, sink, made, n, end)
    else:
        taken = conn_send(w, sink, made, n)
        p.ended = 1 if end and taken == n else 0
    return taken


# Of a portion the sink took so many bytes: whole units, and a part of the next.
cdef void took_part(Worker* w, Pipe* p, const u8* data, size_t got) noexcept nogil:
    cdef size_t used = 0
    cdef size_t whole = convert(w, p, &p.frames, data, got, &used)
    p.web_sent = <u8>(got - whole)
    p.sent += <u32>used
    p.ready -= <u32>used


# One portion. OK: there may be more; BLOCKED, FULL or IO. *used: bytes of `data` it was made of.
cdef int send_portion(Worker* w, Pipe* p, const u8* data, Conn* sink, size_t* used) noexcept nogil:
    cdef WebFrames frames = p.frames
    cdef u32 made = <u32>convert(w, p, &frames, data, PORTION, used)
    cdef bint end = p.done and p.tail == 0 and used[0] == p.ready
    cdef u32 left = made - p.web_sent if made else 0
    cdef i64 taken
    if left == 0 and (p.ended or not end):
        return OK
    taken = deliver(w, p, sink, w.scratch + p.web_sent, left, end)
    if taken < 0:
        return <int>taken
    p.moved_bytes += <u64>taken
    if taken < left:
        took_part(w, p, data, p.web_sent + <size_t>taken)
        return BLOCKED
    p.frames = frames
    p.web_sent = 0
    p.sent += <u32>used[0]
    p.ready -= <u32>used[0]
    return BLOCKED if end and not p.ended else OK


cdef int web_send(Worker* w, Pipe* p, const u8* data, Conn* sink) noexcept nogil:
    cdef size_t used = 1
    cdef int r = OK if sink.id else conn_flush(w, sink)
    while r == OK and used:
        r = send_portion(w, p, data, sink, &used)
        data += used
        if r == OK and not sink.id:
            r = conn_flush(w, sink)
    return r
