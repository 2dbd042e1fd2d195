from libc.string cimport memset

from fastmesh._core.base.buffer cimport (
    buf_append, buf_commit, buf_compact, buf_give, buf_grow, buf_len, buf_room, buf_tail, buf_take,
)
from fastmesh._core.base.meter cimport (
    COUNT_BUFFERS_FULL, COUNT_H2_GOAWAYS_OUT, COUNT_H2_RESETS_OUT, COUNT_H2_SESSIONS, COUNT_H2_UPSTREAM_SESSIONS,
    COUNT_SLAB_FULL, meters_count,
)
from fastmesh._core.base.slab cimport SLAB_NONE, slab_give, slab_index, slab_live, slab_take
from fastmesh._core.base.status cimport IO, OK
from fastmesh._core.base.types cimport i64, u16
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_flush, conn_get, conn_handle
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_SESSION, SESSION_BUCKETS, SESSION_CLIENT, SESSION_FLUSH, SESSION_GOING, SESSION_PREFACE,
    SESSION_RESETS, STREAM_STALLED, STREAM_WAITING,
)
from fastmesh._core.wire.hpack cimport HPACK_TABLE_BYTES, hpack_decoder_init, hpack_encoder_init
from fastmesh._core.wire.http2_frame cimport (
    FRAME_GOAWAY, FRAME_HEADER_BYTES, FRAME_PAYLOAD_LEAST, FRAME_RST_STREAM, FRAME_SETTINGS, FRAME_WINDOW_UPDATE,
    PREFACE_BYTES, SETTING_ENABLE_CONNECT_PROTOCOL, SETTING_ENABLE_PUSH, SETTING_MAX_CONCURRENT_STREAMS,
    SETTING_MAX_HEADER_LIST_SIZE, WINDOW_FIRST, frame_write, preface, put32,
)

cdef enum:
    UPDATES_FIRST = 100     # WINDOW_UPDATEs that are free before we send anything
    WAKES = 64              # streams woken at once
    STREAMS_ASSUMED = 100   # of a peer that has not said how many (RFC 9113 6.5.2 recommends no fewer)
    RESETS_MOST = 100       # resets on one connection to an endpoint before it is left: a server counts them against all


cdef u32 put_setting(u8* out, u32 id, u32 value) noexcept nogil:
    out[0] = <u8>(id >> 8)
    out[1] = <u8>id
    put32(out + 2, value)
    return 6


cdef void greet(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u8[24] settings
    cdef u32 n = put_setting(settings, SETTING_MAX_HEADER_LIST_SIZE, w.snap.policy.http1.head_bytes)
    if s.flags & SESSION_CLIENT:
        if session_room(w, c, PREFACE_BYTES):
            buf_append(&c.outb, preface(), PREFACE_BYTES)
        n += put_setting(settings + n, SETTING_ENABLE_PUSH, 0)
    else:
        n += put_setting(settings + n, SETTING_MAX_CONCURRENT_STREAMS, w.snap.policy.http2_streams)
        n += put_setting(settings + n, SETTING_ENABLE_CONNECT_PROTOCOL, 1)
    session_frame(w, c, s, FRAME_SETTINGS, 0, 0, settings, n)
    session_update(w, c, s, 0, SESSION_WINDOW - WINDOW_FIRST)


cdef Session* session_new(Worker* w, Conn* c, u32 flags, i64 idle_ns) noexcept nogil:
    cdef Session* s = <Session*>slab_take(&w.sessions)
    if s == NULL:
        meters_count(&w.meters, COUNT_SLAB_FULL, 1)
        return NULL
    c.session = slab_index(&w.sessions, s) + 1
    s.conn = conn_handle(w, c)
    s.flags = flags
    s.idle_ns = idle_ns
    s.peer_streams = STREAMS_ASSUMED
    s.peer_frame = FRAME_PAYLOAD_LEAST
    s.peer_window = WINDOW_FIRST
    s.send_window = WINDOW_FIRST
    s.recv_window = SESSION_WINDOW
    s.waiting_first = SLAB_NONE
    s.waiting_last = SLAB_NONE
    s.updates = UPDATES_FIRST
    memset(s.buckets, 0xFF, sizeof(s.buckets))
    hpack_decoder_init(&s.decoder, HPACK_TABLE_BYTES)
    hpack_encoder_init(&s.encoder)
    meters_count(&w.meters, COUNT_H2_UPSTREAM_SESSIONS if flags & SESSION_CLIENT else COUNT_H2_SESSIONS, 1)
    greet(w, c, s)
    return s


cdef void session_free(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    c.session = 0
    if s != NULL:
        buf_give(&w.pools, &s.block)
        slab_give(&w.sessions, s)


cdef void session_unwait(Worker* w, Session* s, Conn* c) noexcept nogil:
    cdef Conn* before = <Conn*>slab_live(&w.conns, c.newer)
    cdef Conn* after = <Conn*>slab_live(&w.conns, c.older)
    if not c.stream & STREAM_WAITING:
        return
    c.stream &= <u16>~(STREAM_WAITING | STREAM_STALLED)
    if before != NULL:
        before.older = c.older
    else:
        s.waiting_first = c.older
    if after != NULL:
        after.newer = c.newer
    else:
        s.waiting_last = c.newer
    c.newer = SLAB_NONE
    c.older = SLAB_NONE


# The first to wait is the first to go on. A head needs no window: it goes before all that do.
cdef void session_wait(Worker* w, Session* s, Conn* c, bint head) noexcept nogil:
    cdef Conn* first = <Conn*>slab_live(&w.conns, s.waiting_first)
    cdef Conn* last = <Conn*>slab_live(&w.conns, s.waiting_last)
    cdef u32 index = slab_index(&w.conns, c)
    if c.stream & STREAM_WAITING:
        return
    c.stream |= <u16>(STREAM_WAITING if head else STREAM_WAITING | STREAM_STALLED)
    if head and first != NULL:
        c.newer = SLAB_NONE
        c.older = s.waiting_first
        first.newer = index
        s.waiting_first = index
        return
    c.newer = s.waiting_last
    c.older = SLAB_NONE
    if last != NULL:
        last.older = index
    else:
        s.waiting_first = index
    s.waiting_last = index


# What a session gives back when its last stream is gone: it may close, or rest.
cdef void session_rest(Worker* w, Session* s) noexcept nogil:
    cdef Conn* c = conn_get(w, s.conn)
    if c == NULL:
        return
    if s.flags & SESSION_GOING or w.draining:
        conn_defer(w, c)
    elif c.state == CONN_SESSION:
        conn_deadline(w, c, w.now_ns + s.idle_ns)


# Room for n more bytes in outb. A buffer that is taken and not used after all goes back with the turn's flush.
cdef bint session_room(Worker* w, Conn* c, size_t n) noexcept nogil:
    cdef Session* s
    if c.outb.data == NULL:
        if buf_take(&w.pools, &c.outb, n) != OK and buf_take(&w.pools, &c.outb, 1) != OK:
            return 0
        s = session_of(w, c)
        if s != NULL:
            session_flush_later(w, s)
    if buf_room(&c.outb) >= n:
        return 1
    if c.outb.r:
        buf_compact(&c.outb)
    if buf_room(&c.outb) < n:
        buf_grow(&w.pools, &c.outb)
    return buf_room(&c.outb) >= n


cdef void session_flush_later(Worker* w, Session* s) noexcept nogil:
    if s.flags & SESSION_FLUSH:
        return
    if w.flush_count == w.conns.capacity:
        # Sessions that began and ended within this turn have filled the list.
        conn_defer(w, conn_get(w, s.conn))
    else:
        s.flags |= SESSION_FLUSH
        w.flushes[w.flush_count] = s.conn
        w.flush_count += 1


cdef void session_put(Worker* w, Conn* c, Session* s, u8 type, u8 flags, u32 id, const u8* payload, u32 n) noexcept nogil:
    frame_write(buf_tail(&c.outb), n, type, flags, id)
    buf_commit(&c.outb, FRAME_HEADER_BYTES)
    buf_append(&c.outb, payload, n)
    session_flush_later(w, s)


cdef void session_frame(Worker* w, Conn* c, Session* s, u8 type, u8 flags, u32 id, const u8* payload, u32 n) noexcept nogil:
    if session_room(w, c, n + FRAME_HEADER_BYTES):
        session_put(w, c, s, type, flags, id, payload, n)
        return
    meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
    c.flags |= CONN_BROKEN
    conn_defer(w, c)


cdef void session_reset(Worker* w, Conn* c, Session* s, u32 id, u32 error) noexcept nogil:
    cdef u8[4] payload
    put32(payload, error)
    session_frame(w, c, s, FRAME_RST_STREAM, 0, id, payload, 4)
    meters_count(&w.meters, COUNT_H2_RESETS_OUT, 1)
    s.reset_ids[s.reset_at % SESSION_RESETS] = id
    s.reset_at += 1
    if s.flags & SESSION_CLIENT:
        s.resets_spent += 1
        # The server may end a connection that resets much: the others' requests are not put at that risk.
        if s.resets_spent >= RESETS_MOST:
            s.flags |= SESSION_GOING


cdef void session_update(Worker* w, Conn* c, Session* s, u32 id, u32 n) noexcept nogil:
    cdef u8[4] payload
    put32(payload, n)
    session_frame(w, c, s, FRAME_WINDOW_UPDATE, 0, id, payload, 4)


cdef void session_wake(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u32 i
    cdef Conn* stream
    for i in range(<u32>WAKES):
        stream = <Conn*>slab_live(&w.conns, s.waiting_first)
        if stream == NULL or buf_len(&c.outb) >= OUT_HIGH:
            return
        if s.send_window <= 0 and stream.stream & STREAM_STALLED:
            return
        session_unwait(w, s, stream)
        conn_defer(w, stream)
    conn_defer(w, c)


cdef void sessions_flush(Worker* w) noexcept nogil:
    cdef u32 i, n = w.flush_count
    cdef Conn* c
    cdef Session* s
    w.flush_count = 0
    for i in range(n):
        c = conn_get(w, w.flushes[i])
        if c == NULL:
            continue
        s = session_of(w, c)
        if s == NULL:
            continue
        s.flags &= <u32>~SESSION_FLUSH
        if conn_flush(w, c) == IO:
            conn_defer(w, c)
        elif s.waiting_first != SLAB_NONE:
            session_wake(w, c, s)


cdef void session_goaway(Worker* w, Conn* c, Session* s, u32 last_id, u32 error) noexcept nogil:
    cdef u8[8] payload
    put32(payload, last_id)
    put32(payload + 4, error)
    session_frame(w, c, s, FRAME_GOAWAY, 0, 0, payload, 8)
    s.flags |= SESSION_GOING
    meters_count(&w.meters, COUNT_H2_GOAWAYS_OUT, 1)
