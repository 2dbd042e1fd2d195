from fastmesh._core.base.buffer cimport BUFFER_LARGE, buf_consume, buf_give, buf_head, buf_len, buf_room
from fastmesh._core.base.meter cimport (
    COUNT_H2_ERRORS, COUNT_H2_FLOODS, COUNT_H2_PING_TIMEOUTS, COUNT_IDLE_CLOSES, COUNT_UPSTREAM_CLOSES,
    COUNT_UPSTREAM_EVICTIONS, meters_count,
)
from fastmesh._core.base.slab cimport slab_index, slab_live
from fastmesh._core.base.status cimport AGAIN, BAD, CLOSED, IO, OK
from fastmesh._core.base.types cimport i64, u8, u16, u32
from fastmesh._core.base.wheel cimport wheel_cancel
from fastmesh._core.ffi.linux cimport ETIMEDOUT
from fastmesh._core.io.client cimport client_close, client_finish
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_flush, conn_recv, conn_room
from fastmesh._core.io.finish cimport exchange_get
from fastmesh._core.io.http2_frames cimport http2_data, http2_frame
from fastmesh._core.io.request cimport request_connected, request_unconnected
from fastmesh._core.io.session cimport (
    session_flush_later, session_frame, session_free, session_goaway, session_new, session_of, session_reset,
    session_wake,
)
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_READABLE, CONN_SESSION, DRIVE_STEPS, SESSION_BLOCK, SESSION_BUCKETS, SESSION_BULK, SESSION_CLIENT,
    SESSION_GOING, SESSION_LEAVING, SESSION_PINGED, SESSION_PREFACE, SESSION_SETTINGS, SESSION_STARVED, STREAM_STALLED,
    STREAM_WAITING, Exchange, Session,
)
from fastmesh._core.io.stream cimport stream_break, stream_find
from fastmesh._core.io.upstream cimport upstream_close, upstream_connected
from fastmesh._core.wire.http2_frame cimport (
    FRAME_DATA, FRAME_GOAWAY, FRAME_HEADER_BYTES, FRAME_PAYLOAD_LEAST, FRAME_PING, H2_ENHANCE_YOUR_CALM,
    H2_FRAME_SIZE_ERROR, H2_INTERNAL_ERROR, H2_NO_ERROR, H2_PROTOCOL_ERROR, H2_SETTINGS_TIMEOUT, PREFACE_BYTES, Frame,
    frame_read, preface_match, put32,
)

cdef enum:
    STARVED_NS = 10000000           # without a buffer: looked at again after
    STARVED_MOST_NS = 5000000000    # and its stream given up after
    LEAVE_NS = 1000000000           # from the first GOAWAY of a drain to the last, when the PING between is not answered
    ID_MOST = 0x7FFFFFFF


# Its streams are on their own: each finds out that its connection has gone.
cdef void streams_break(Worker* w, Session* s) noexcept nogil:
    cdef u32 i, next
    cdef Conn* stream
    for i in range(<u32>SESSION_BUCKETS):
        stream = <Conn*>slab_live(&w.conns, s.buckets[i])
        while stream != NULL:
            next = stream.chain
            stream.session = 0
            stream.parent = 0
            stream.stream &= <u16>~(STREAM_WAITING | STREAM_STALLED)
            stream_break(w, stream, 0)
            stream = <Conn*>slab_live(&w.conns, next)
    s.streams = 0


# It has ended, or broke: nothing more can be said on it.
cdef void session_end(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef bint rested = s.streams == 0
    cdef u32 flags = s.flags
    if flags & SESSION_CLIENT:
        if rested:
            meters_count(&w.meters, COUNT_UPSTREAM_CLOSES, 1)
            upstream_close(w, c, 0)
            return
        streams_break(w, s)
        # It had streams, so it was not counted as pooled.
        s.streams = 1
        upstream_close(w, c, 0)
        return
    streams_break(w, s)
    session_free(w, c)
    client_close(w, c, 0)


# GOAWAY with the error, and the end.
cdef void session_fail(Worker* w, Conn* c, Session* s, u32 error) noexcept nogil:
    meters_count(&w.meters, COUNT_H2_FLOODS if error == H2_ENHANCE_YOUR_CALM else COUNT_H2_ERRORS, 1)
    session_goaway(w, c, s, 0 if s.flags & SESSION_CLIENT else s.last_id, error)
    if s.flags & SESSION_CLIENT:
        conn_flush(w, c)
        session_end(w, c, s)
        return
    streams_break(w, s)
    session_free(w, c)
    client_finish(w, c, 0)


# No stream is left and none will come: closes what is still open.
cdef void session_finish(Worker* w, Conn* c, Session* s) noexcept nogil:
    if s.flags & SESSION_CLIENT:
        conn_flush(w, c)
        upstream_close(w, c, 0)
        return
    if not s.flags & SESSION_GOING:
        session_goaway(w, c, s, s.last_id, H2_NO_ERROR)
    session_free(w, c)
    client_finish(w, c, 0)


cdef void http2_begin(Worker* w, Conn* c) noexcept nogil:
    if session_new(w, c, SESSION_PREFACE, w.snap.policy.idle_timeout_ns) == NULL:
        client_close(w, c, 0)
        return
    c.state = CONN_SESSION
    conn_deadline(w, c, w.now_ns + w.snap.policy.header_timeout_ns)
    if w.draining:
        http2_drain(w, c)
    http2_event(w, c)


# The next frame that is there whole, or as much of a DATA frame as there is. OK: more may follow. AGAIN: it needs more bytes.
# Else an error of the connection, above 0.
cdef int parse_next(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u32 there = buf_len(&c.inb)
    cdef Frame f
    cdef int r
    if s.data_left or s.pad_left:
        return http2_data(w, c, s)
    if s.flags & SESSION_PREFACE:
        r = preface_match(buf_head(&c.inb), there)
        if r == OK:
            s.flags &= ~<u32>SESSION_PREFACE
            buf_consume(&c.inb, PREFACE_BYTES)
        return r if r != BAD else H2_PROTOCOL_ERROR
    if there < FRAME_HEADER_BYTES:
        return AGAIN
    frame_read(buf_head(&c.inb), &f)
    if f.n > FRAME_PAYLOAD_LEAST:
        return H2_FRAME_SIZE_ERROR
    if f.type != FRAME_DATA and there - FRAME_HEADER_BYTES < f.n:
        return AGAIN
    r = http2_frame(w, c, s, &f)
    if r == OK and f.type != FRAME_DATA:
        buf_consume(&c.inb, FRAME_HEADER_BYTES + f.n)
    return r


# What is buffered. False: the connection is over.
cdef bint parse_all(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef int r
    while buf_len(&c.inb) and not s.flags & SESSION_STARVED:
        r = parse_next(w, c, s)
        if r > 0:
            session_fail(w, c, s, <u32>r)
            return 0
        if r == AGAIN:
            return 1
    return 1


# Reading rests until there is a buffer.
cdef void session_starve(Worker* w, Conn* c, Session* s) noexcept nogil:
    s.flags |= SESSION_STARVED
    if s.starved_ns == 0:
        s.starved_ns = w.now_ns
    conn_deadline(w, c, w.now_ns + <i64>STARVED_NS)


# Reading goes on: the deadline is again what it was for.
cdef void session_fed(Worker* w, Conn* c, Session* s) noexcept nogil:
    s.starved_ns = 0
    if s.flags & SESSION_LEAVING and not s.flags & SESSION_GOING:
        conn_deadline(w, c, w.now_ns + <i64>LEAVE_NS)
    elif s.streams and s.ping_ns:
        conn_deadline(w, c, w.now_ns + s.ping_ns)
    elif s.streams:
        wheel_cancel(&w.wheel, slab_index(&w.conns, c))


# Reads and looks at what came. False: the connection is over.
cdef bint session_read(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u32 step, room
    cdef i64 n
    for step in range(<u32>DRIVE_STEPS):
        if not parse_all(w, c, s):
            return 0
        if s.flags & SESSION_STARVED:
            session_starve(w, c, s)
            return 1
        if s.starved_ns:
            session_fed(w, c, s)
        if not c.flags & CONN_READABLE:
            return 1
        if conn_room(w, c, BUFFER_LARGE if s.flags & SESSION_BULK else 0, 1) != OK:
            session_starve(w, c, s)
            return 1
        room = buf_room(&c.inb)
        n = conn_recv(w, c)
        if n == AGAIN:
            return 1
        if n <= 0:
            session_end(w, c, s)
            return 0
        s.flags = s.flags | SESSION_BULK if n == room else s.flags & ~<u32>SESSION_BULK
    conn_defer(w, c)
    return 1


cdef void http2_event(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    if s == NULL:
        return
    if c.flags & CONN_BROKEN:
        session_end(w, c, s)
        return
    s.flags &= ~<u32>SESSION_STARVED
    if not session_read(w, c, s):
        return
    if buf_len(&c.inb) == 0:
        buf_give(&w.pools, &c.inb)
    if c.outb.data != NULL:
        session_flush_later(w, s)
    session_wake(w, c, s)
    if s.streams == 0 and (s.flags & SESSION_GOING or (w.draining and not s.flags & SESSION_LEAVING)):
        session_finish(w, c, s)


# A block that does not end, or a preface or SETTINGS that do not come.
cdef inline bint is_head_late(const Session* s) noexcept nogil:
    return s.flags & SESSION_BLOCK or not s.flags & SESSION_SETTINGS


# Whether the peer still answers. False: it did not.
cdef bint session_ping(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u8[8] payload
    if s.flags & SESSION_PINGED:
        meters_count(&w.meters, COUNT_H2_PING_TIMEOUTS, 1)
        session_end(w, c, s)
        return 0
    put32(payload, <u32>(w.now_ns >> 32))
    put32(payload + 4, <u32>w.now_ns)
    session_frame(w, c, s, FRAME_PING, 0, 0, payload, 8)
    s.flags |= SESSION_PINGED
    conn_deadline(w, c, w.now_ns + s.ping_timeout_ns)
    return 1


cdef void starved_timer(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef Conn* stream = stream_find(w, s, s.data_id)
    s.flags &= ~<u32>SESSION_STARVED
    if w.now_ns >= s.starved_ns + <i64>STARVED_MOST_NS and stream != NULL:
        s.starved_ns = 0
        session_reset(w, c, s, s.data_id, H2_ENHANCE_YOUR_CALM)
        stream_break(w, stream, 0)
    http2_event(w, c)


cdef void http2_timer(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    if s == NULL:
        return
    if s.flags & SESSION_STARVED:
        starved_timer(w, c, s)
    elif is_head_late(s):
        session_fail(w, c, s, H2_SETTINGS_TIMEOUT if s.flags & SESSION_CLIENT else H2_PROTOCOL_ERROR)
    elif s.flags & SESSION_LEAVING and not s.flags & SESSION_GOING:
        session_goaway(w, c, s, s.last_id, H2_NO_ERROR)
        http2_event(w, c)
    elif s.streams == 0:
        meters_count(&w.meters, COUNT_UPSTREAM_EVICTIONS if s.flags & SESSION_CLIENT else COUNT_IDLE_CLOSES, 1)
        if s.flags & SESSION_CLIENT and not s.flags & SESSION_GOING:
            session_goaway(w, c, s, 0, H2_NO_ERROR)
        session_finish(w, c, s)
    elif s.ping_ns:
        session_ping(w, c, s)


cdef void connect_failed(Worker* w, Conn* c, Session* s, int error) noexcept nogil:
    cdef u32 i
    cdef Conn* stream
    cdef Exchange* x
    # Nobody may be given to it while its streams go elsewhere.
    s.flags |= SESSION_GOING
    for i in range(<u32>SESSION_BUCKETS):
        stream = <Conn*>slab_live(&w.conns, s.buckets[i])
        while stream != NULL:
            x = exchange_get(w, stream.exchange)
            if x != NULL:
                request_unconnected(w, x, stream, error)
            else:
                upstream_close(w, stream, 0)
            stream = <Conn*>slab_live(&w.conns, s.buckets[i])
    upstream_close(w, c, 0)


cdef void http2_connecting(Worker* w, Conn* c, bint timed_out) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef int error = ETIMEDOUT
    cdef int r = IO if timed_out else upstream_connected(w, c, &error)
    if r == AGAIN or s == NULL:
        return
    if r != OK:
        connect_failed(w, c, s, error)
        return
    request_connected(w, c.slot, c.slot_gen)
    conn_deadline(w, c, w.now_ns + w.snap.policy.header_timeout_ns)
    http2_event(w, c)


cdef void http2_drain(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef u8[8] payload
    if s == NULL or s.flags & (SESSION_GOING | SESSION_LEAVING):
        return
    put32(payload, ID_MOST)
    put32(payload + 4, H2_NO_ERROR)
    session_frame(w, c, s, FRAME_GOAWAY, 0, 0, payload, 8)
    # When the PING is answered, all that was sent before the client knew has arrived.
    session_frame(w, c, s, FRAME_PING, 0, 0, payload, 8)
    s.flags |= SESSION_LEAVING | SESSION_PINGED
    conn_deadline(w, c, w.now_ns + <i64>LEAVE_NS)


cdef void http2_stop(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    if s == NULL:
        return
    if not s.flags & SESSION_CLIENT:
        session_goaway(w, c, s, s.last_id, H2_INTERNAL_ERROR)
    conn_flush(w, c)
    session_end(w, c, s)
