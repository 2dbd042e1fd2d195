from libc.string cimport memcpy

from fastmesh._core.base.buffer cimport (
    BUFFER_LARGE, BUFFER_SMALL, buf_append, buf_compact, buf_give, buf_grow, buf_len, buf_room, buf_take, buf_widen,
    pool_left,
)
from fastmesh._core.base.meter cimport COUNT_BUFFERS_FULL, COUNT_SLAB_FULL, meters_count
from fastmesh._core.base.slab cimport SLAB_NONE, slab_give, slab_index, slab_live, slab_take
from fastmesh._core.base.status cimport AGAIN, BLOCKED, CLOSED, FULL, IO, OK
from fastmesh._core.base.types cimport i32
from fastmesh._core.base.wheel cimport timer_init, wheel_cancel
from fastmesh._core.io.connection cimport conn_defer, conn_flush, conn_get
from fastmesh._core.io.session cimport (
    CONTROL_ROOM, OUT_HEAD_HIGH, OUT_HIGH, session_of, session_put, session_reset, session_rest, session_room,
    session_unwait, session_update, session_wait,
)
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_DOWN, CONN_EOF, CONN_READABLE, CONN_WRITABLE, SESSION_BUCKETS, SESSION_STARVED, STREAM_LOCAL_END,
    STREAM_REMOTE_END, STREAM_RESET, STREAM_UNDONE, STREAM_UNNUMBERED,
)
from fastmesh._core.wire.http2_frame cimport (
    FLAG_END_HEADERS, FLAG_END_STREAM, FRAME_CONTINUATION, FRAME_DATA, FRAME_HEADER_BYTES, FRAME_HEADERS,
    FRAME_PAYLOAD_LEAST, WINDOW_FIRST,
)

cdef enum:
    RESERVE = 4             # one buffer in so many is kept for responses
    TAIL_ROOM = 65536       # of its buffer that a stream's window leaves to a trailer section
    UPDATES_EACH = 10       # WINDOW_UPDATEs that a DATA frame of ours may bring
    TAIL_LEFT = 2048        # that a body leaves of a buffer too small for it: trailers are taken whole or not at all


cdef inline u32* bucket_of(Session* s, u32 id) noexcept nogil:
    return &s.buckets[(id >> 1) % SESSION_BUCKETS]


cdef Conn* stream_find(Worker* w, Session* s, u32 id) noexcept nogil:
    cdef Conn* c = <Conn*>slab_live(&w.conns, bucket_of(s, id)[0])
    while c != NULL and c.id != id:
        c = <Conn*>slab_live(&w.conns, c.chain)
    return c


cdef Conn* stream_open(Worker* w, Conn* c, Session* s, u32 id, u8 kind, u8 state) noexcept nogil:
    cdef Conn* stream = <Conn*>slab_take(&w.conns)
    cdef u32* bucket = bucket_of(s, id)
    if stream == NULL:
        meters_count(&w.meters, COUNT_SLAB_FULL, 1)
        return NULL
    stream.fd = -1
    stream.kind = kind
    stream.state = state
    stream.flags = CONN_WRITABLE
    stream.family = c.family
    stream.port = c.port
    stream.listener = c.listener
    memcpy(stream.address, c.address, sizeof(c.address))
    stream.slot = c.slot
    stream.slot_gen = c.slot_gen
    stream.newer = SLAB_NONE
    stream.older = SLAB_NONE
    stream.session = c.session
    stream.id = id
    stream.parent = s.conn
    stream.send_window = s.peer_window
    stream.recv_window = WINDOW_FIRST
    stream.recv_size = WINDOW_FIRST
    stream.chain = bucket[0]
    bucket[0] = slab_index(&w.conns, stream)
    timer_init(&stream.timer)
    s.streams += 1
    w.stream_count += 1
    return stream


cdef void stream_unchain(Worker* w, Session* s, Conn* c) noexcept nogil:
    cdef u32* at = bucket_of(s, c.id)
    cdef u32 index = slab_index(&w.conns, c)
    cdef Conn* other
    while at[0] != index:
        other = <Conn*>slab_live(&w.conns, at[0])
        if other == NULL:
            return
        at = &other.chain
    at[0] = c.chain


# It begins on the wire.
cdef void stream_number(Worker* w, Session* s, Conn* c) noexcept nogil:
    cdef u32* bucket
    stream_unchain(w, s, c)
    s.last_id = <u32>(s.last_id + 2 if s.last_id else 1)
    c.id = s.last_id
    bucket = bucket_of(s, c.id)
    c.chain = bucket[0]
    bucket[0] = slab_index(&w.conns, c)


cdef void stream_close(Worker* w, Conn* c, u32 error) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef Conn* parent = conn_get(w, c.parent)
    if s != NULL and parent != NULL:
        if c.id != STREAM_UNNUMBERED and not c.stream & STREAM_RESET and c.stream & (
                STREAM_LOCAL_END | STREAM_REMOTE_END) != (STREAM_LOCAL_END | STREAM_REMOTE_END):
            session_reset(w, parent, s, c.id, error)
        session_unwait(w, s, c)
        stream_unchain(w, s, c)
        s.streams -= 1
        if s.streams == 0:
            session_rest(w, s)
    w.stream_count -= 1
    wheel_cancel(&w.wheel, slab_index(&w.conns, c))
    buf_give(&w.pools, &c.inb)
    slab_give(&w.conns, c)


cdef void stream_break(Worker* w, Conn* c, bint undone) noexcept nogil:
    c.stream |= STREAM_RESET
    if undone:
        c.stream |= STREAM_UNDONE
    c.flags |= CONN_EOF | CONN_BROKEN | CONN_READABLE
    conn_defer(w, c)


cdef i64 stream_recv(Worker* w, Conn* c) noexcept nogil:
    cdef i64 n = c.fresh
    if n:
        c.fresh = 0
        return n
    if c.flags & CONN_BROKEN:
        return IO
    if c.flags & CONN_EOF:
        return CLOSED
    c.flags &= <u8>~CONN_READABLE
    return AGAIN


# DATA bytes that may go in the next frame.
cdef size_t data_most(Worker* w, Conn* c, Session* s, const Conn* stream, size_t n) noexcept nogil:
    cdef size_t most = n
    cdef i32 window = stream.send_window if stream.send_window < s.send_window else s.send_window
    if window <= 0 or buf_len(&c.outb) >= OUT_HIGH:
        return 0
    if most > FRAME_PAYLOAD_LEAST:
        most = FRAME_PAYLOAD_LEAST
    if most > <size_t>window:
        most = <size_t>window
    if session_room(w, c, most + FRAME_HEADER_BYTES + CONTROL_ROOM):
        return most
    if c.outb.data == NULL or buf_room(&c.outb) <= FRAME_HEADER_BYTES + CONTROL_ROOM:
        return 0
    return buf_room(&c.outb) - FRAME_HEADER_BYTES - CONTROL_ROOM


cdef i64 stream_send(Worker* w, Conn* c, const u8* data, size_t n, bint end) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef Conn* parent = conn_get(w, c.parent)
    cdef size_t sent = 0, take
    cdef bint last
    if c.flags & CONN_BROKEN or s == NULL or parent == NULL or c.stream & (STREAM_LOCAL_END | STREAM_RESET):
        return IO
    while sent < n or (end and not c.stream & STREAM_LOCAL_END):
        if buf_len(&parent.outb) >= OUT_HIGH and conn_flush(w, parent) == IO:
            return IO
        take = data_most(w, parent, s, c, n - sent) if sent < n else 0
        if (take == 0 and sent < n) or not session_room(w, parent, FRAME_HEADER_BYTES + CONTROL_ROOM):
            if parent.outb.data == NULL and sent == 0 and (n == 0 or (c.send_window > 0 and s.send_window > 0)):
                return FULL
            # A stream whose own window is shut hears of it by WINDOW_UPDATE.
            if c.send_window > 0 or sent == n:
                session_wait(w, s, c, sent == n)
            break
        last = end and sent + take == n
        session_put(w, parent, s, FRAME_DATA, FLAG_END_STREAM if last else 0, c.id,
                    data + sent if take else NULL, <u32>take)
        sent += take
        c.send_window -= <i32>take
        s.send_window -= <i32>take
        s.updates += UPDATES_EACH
        if last:
            c.stream |= STREAM_LOCAL_END
    return <i64>sent


cdef int stream_flush(Worker* w, Conn* c, size_t n) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef Conn* parent = conn_get(w, c.parent)
    if c.flags & CONN_BROKEN or s == NULL or parent == NULL:
        return IO
    n += CONTROL_ROOM
    if buf_len(&parent.outb) < OUT_HEAD_HIGH and session_room(w, parent, n):
        return OK
    if conn_flush(w, parent) == IO:
        return IO
    if buf_len(&parent.outb) < OUT_HEAD_HIGH and session_room(w, parent, n):
        return OK
    if buf_len(&parent.outb) == 0:
        # Nothing is on its way out whose leaving could wake it: what is missing is a buffer.
        buf_give(&w.pools, &parent.outb)
        return FULL
    session_wait(w, s, c, 1)
    return BLOCKED


cdef int stream_headers(Worker* w, Conn* c, const u8* block, size_t n, bint end) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef Conn* parent = conn_get(w, c.parent)
    cdef size_t frames = n // FRAME_PAYLOAD_LEAST + 1
    cdef size_t at = 0, take
    cdef u8 type = FRAME_HEADERS
    cdef u8 flags = FLAG_END_STREAM if end else 0
    if s == NULL or parent == NULL or c.flags & CONN_BROKEN:
        return FULL
    if not session_room(w, parent, n + frames * FRAME_HEADER_BYTES):
        # The encoder's table is ahead of what the peer will ever read.
        parent.flags |= CONN_BROKEN
        conn_defer(w, parent)
        return FULL
    if c.id == STREAM_UNNUMBERED:
        stream_number(w, s, c)
    while True:
        take = n - at if n - at < FRAME_PAYLOAD_LEAST else <size_t>FRAME_PAYLOAD_LEAST
        if at + take == n:
            flags |= FLAG_END_HEADERS
        session_put(w, parent, s, type, flags, c.id, block + at, <u32>take)
        at += take
        type = FRAME_CONTINUATION
        flags = 0
        if at == n:
            break
    if end:
        c.stream |= STREAM_LOCAL_END
    return OK


# Half a window was used up and passed on: the stream is worth one twice as wide, as far as its buffer goes.
cdef u32 wider(Worker* w, Conn* c, u32 most) noexcept nogil:
    cdef u32 size = c.recv_size
    if c.inb.cap == BUFFER_LARGE and size + TAIL_ROOM >= BUFFER_LARGE:
        buf_widen(&w.pools, &c.inb)
    if c.inb.cap < size + TAIL_ROOM:
        return size
    size = <u32>(2 * size if 2 * size < most else most)
    return <u32>(size if size + TAIL_ROOM <= c.inb.cap else c.inb.cap - TAIL_ROOM)


cdef void stream_credit(Worker* w, Conn* c, u32 n) noexcept nogil:
    cdef Session* s = session_of(w, c)
    cdef Conn* parent
    cdef u32 most = w.snap.policy.http2_window
    c.credit += n
    if s != NULL and s.flags & SESSION_STARVED:
        parent = conn_get(w, c.parent)
        if parent != NULL:
            conn_defer(w, parent)
    if c.credit < c.recv_size // 2 or c.stream & (STREAM_REMOTE_END | STREAM_RESET) or s == NULL:
        return
    parent = conn_get(w, c.parent)
    if parent == NULL:
        return
    if c.recv_size < most:
        n = wider(w, c, most) - c.recv_size
        c.recv_size += n
        c.credit += n
    session_update(w, parent, s, c.id, c.credit)
    c.recv_window += <i32>c.credit
    c.credit = 0


# Makes room in inb for n bytes, or fewer: without a large buffer a stream goes on with its small one.
cdef u32 stream_room(Worker* w, Conn* c, u32 n) noexcept nogil:
    cdef bint down = c.kind == CONN_DOWN
    cdef bint large = not down or pool_left(&w.pools.large) > w.pools.large.count // RESERVE
    cdef u32 room
    if c.inb.data == NULL:
        if down and pool_left(&w.pools.small) <= w.pools.small.count // RESERVE:
            return 0
        if (n <= BUFFER_SMALL or not large or buf_take(&w.pools, &c.inb, n) != OK) and (
                buf_take(&w.pools, &c.inb, BUFFER_SMALL) != OK):
            return 0
    if buf_room(&c.inb) < n and c.inb.r:
        buf_compact(&c.inb)
    if buf_room(&c.inb) < n and large:
        buf_grow(&w.pools, &c.inb)
    if buf_room(&c.inb) < n:
        buf_widen(&w.pools, &c.inb)
    room = buf_room(&c.inb)
    if room >= n:
        return n
    return room - TAIL_LEFT if room > TAIL_LEFT else 0


cdef u32 stream_fill(Worker* w, Conn* c, const u8* data, u32 n) noexcept nogil:
    n = stream_room(w, c, n)
    if n == 0:
        meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
        return 0
    buf_append(&c.inb, data, n)
    c.fresh += n
    return n


cdef int stream_store(Worker* w, Conn* c, const u8* data, u32 n) noexcept nogil:
    stream_room(w, c, n)
    if c.inb.data == NULL or buf_room(&c.inb) < n:
        meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
        return FULL
    buf_append(&c.inb, data, n)
    c.fresh += n
    return OK
