from fastmesh._core.base.buffer cimport (
    buf_append, buf_consume, buf_give, buf_grow, buf_head, buf_len, buf_room, buf_take,
)
from fastmesh._core.base.meter cimport (
    COUNT_H2_GLITCHES, COUNT_H2_GOAWAYS_IN, COUNT_H2_REFUSED, COUNT_H2_RESETS_IN, COUNT_H2_STREAMS, meters_count,
)
from fastmesh._core.base.slab cimport slab_live
from fastmesh._core.base.status cimport AGAIN, BAD, CLOSED, OK
from fastmesh._core.base.types cimport i32, i64, u8, u32, u64
from fastmesh._core.io.client cimport client_refuse
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_get
from fastmesh._core.io.session cimport (
    SESSION_WINDOW, session_frame, session_goaway, session_reset, session_update, session_wake,
)
from fastmesh._core.io.state cimport (
    CONN_DOWN, CONN_EOF, CONN_READABLE, CONN_RELAY, DOWN_HEAD, SCRATCH_BYTES, SESSION_BLOCK, SESSION_BUCKETS,
    SESSION_CLIENT, SESSION_CONNECT, SESSION_GOING, SESSION_LEAVING, SESSION_PINGED, SESSION_RESETS, SESSION_SETTINGS,
    SESSION_SETTLED, SESSION_STARVED, STREAM_BAD, STREAM_CANCELLED, STREAM_GRPC, STREAM_HEAD, STREAM_NEVER,
    STREAM_REMOTE_END, STREAM_RESET,
)
from fastmesh._core.io.stream cimport stream_break, stream_credit, stream_fill, stream_find, stream_open, stream_store
from fastmesh._core.wire.hpack cimport hpack_encoder_limit
from fastmesh._core.wire.http2_frame cimport (
    FLAG_ACK, FLAG_END_HEADERS, FLAG_END_STREAM, FLAG_PADDED, FLAG_PRIORITY, FRAME_CONTINUATION, FRAME_DATA,
    FRAME_GOAWAY, FRAME_HEADER_BYTES, FRAME_HEADERS, FRAME_PING, FRAME_PRIORITY, FRAME_PUSH_PROMISE, FRAME_RST_STREAM,
    FRAME_SETTINGS, FRAME_WINDOW_UPDATE, H2_CANCEL, H2_COMPRESSION_ERROR, H2_ENHANCE_YOUR_CALM, H2_FLOW_CONTROL_ERROR,
    H2_FRAME_SIZE_ERROR, H2_NO_ERROR, H2_PROTOCOL_ERROR, H2_REFUSED_STREAM, H2_STREAM_CLOSED,
    SETTING_ENABLE_CONNECT_PROTOCOL, SETTING_ENABLE_PUSH, SETTING_HEADER_TABLE_SIZE, SETTING_INITIAL_WINDOW_SIZE,
    SETTING_MAX_CONCURRENT_STREAMS, SETTING_MAX_FRAME_SIZE, WINDOW_MOST, be16, be32,
)
from fastmesh._core.wire.http2_head cimport (
    BLOCK_GRPC, BLOCK_INTERIM, BLOCK_NEVER, BLOCK_REQUEST, BLOCK_RESPONSE, BLOCK_TRAILERS, BlockLimits, HeadBlock,
    block_read,
)

cdef enum:
    BLOCK_FRAMES_MOST = 64      # CONTINUATION frames of one header block; 64 KiB need four
    UPSTREAM_SHARE = 8          # one part in so many of the connection slab is kept for upstreams
    BLOCK_EXTRA = 16384         # of a block that is gathered, beyond the limit of what it says
    SETTINGS_MOST = 64          # in one frame: each may move the window of every stream
    FRAME_SIZE_LEAST = 16384
    FRAME_SIZE_MOST = 16777215


# A frame that is lawful and only costs us. Over the budget, which refills in ten seconds: ENHANCE_YOUR_CALM.
cdef int glitch(Worker* w, Session* s) noexcept nogil:
    cdef u32 budget = w.snap.policy.http2_glitches
    cdef i64 forgiven = (w.now_ns - s.glitch_ns) // 1000000 * (budget // 10 + 1)
    meters_count(&w.meters, COUNT_H2_GLITCHES, 1)
    s.glitches = s.glitches - <u32>forgiven if forgiven < s.glitches else 0
    s.glitch_ns = w.now_ns
    s.glitches += 1000
    return <int>H2_ENHANCE_YOUR_CALM if budget and s.glitches > <u64>budget * 1000 else <int>OK


# A frame for a stream that has ended on our side. A server may have sent some before it heard of that; a client that sends
# many makes us work for nothing.
cdef inline int late(Worker* w, Session* s) noexcept nogil:
    return <int>OK if s.flags & SESSION_CLIENT else glitch(w, s)


# Ends one stream: it, or what is left of it, was used against the rules.
cdef int stream_fail(Worker* w, Conn* c, Session* s, Conn* stream, u32 id, u32 error) noexcept nogil:
    session_reset(w, c, s, id, error)
    if stream != NULL:
        stream.stream |= STREAM_BAD
        stream_break(w, stream, 0)
    return glitch(w, s)


cdef bint was_reset(const Session* s, u32 id) noexcept nogil:
    cdef u32 i
    for i in range(<u32>SESSION_RESETS):
        if s.reset_ids[i] == id:
            return 1
    return 0


# A stream that its client began before it heard of our GOAWAY: what comes for it is passed over (RFC 9113 6.8).
cdef inline bint is_late(const Session* s, u32 id) noexcept nogil:
    return id & 1 and id > s.last_id and s.flags & (SESSION_GOING | SESSION_CLIENT) == SESSION_GOING


# Whether no frame may name this stream yet (RFC 9113 5.1: idle).
cdef inline bint is_idle(const Session* s, u32 id) noexcept nogil:
    return (id > s.last_id or not id & 1) and not is_late(s, id)


cdef void stream_ended(Worker* w, Conn* stream) noexcept nogil:
    stream.stream |= STREAM_REMOTE_END
    stream.flags |= CONN_EOF | CONN_READABLE
    conn_defer(w, stream)


# ---- DATA

cdef int frame_data(Worker* w, Conn* c, Session* s, const Frame* f) noexcept nogil:
    cdef Conn* stream
    cdef u32 head = FRAME_HEADER_BYTES, pad = 0
    if f.stream == 0 or is_idle(s, f.stream):
        return H2_PROTOCOL_ERROR
    if f.flags & FLAG_PADDED:
        if f.n == 0:
            return H2_FRAME_SIZE_ERROR
        if buf_len(&c.inb) <= FRAME_HEADER_BYTES:
            return AGAIN
        pad = buf_head(&c.inb)[FRAME_HEADER_BYTES]
        head += 1
        if pad >= f.n:
            return H2_PROTOCOL_ERROR
    if <i64>f.n > s.recv_window:
        return H2_FLOW_CONTROL_ERROR
    buf_consume(&c.inb, head)
    s.recv_window -= <i32>f.n
    s.credit += f.n
    # All streams together are bounded by their own windows: what one of them does not take stops no other.
    if s.credit >= SESSION_WINDOW // 2:
        session_update(w, c, s, 0, s.credit)
        s.recv_window += <i32>s.credit
        s.credit = 0
    s.pad_left = pad
    s.data_left = f.n - pad - (head - FRAME_HEADER_BYTES)
    s.data_id = 0
    s.data_flags = f.flags
    stream = stream_find(w, s, f.stream)
    if stream == NULL or stream.stream & STREAM_RESET:
        if stream == NULL and not was_reset(s, f.stream) and not is_late(s, f.stream):
            return stream_fail(w, c, s, NULL, f.stream, H2_STREAM_CLOSED)
        return <int>OK if s.data_left else late(w, s)
    if stream.stream & STREAM_REMOTE_END:
        return stream_fail(w, c, s, stream, f.stream, H2_STREAM_CLOSED)
    if s.flags & SESSION_CLIENT and not stream.stream & STREAM_HEAD:
        return stream_fail(w, c, s, stream, f.stream, H2_PROTOCOL_ERROR)
    if <i64>f.n > stream.recv_window:
        return stream_fail(w, c, s, stream, f.stream, H2_FLOW_CONTROL_ERROR)
    stream.recv_window -= <i32>f.n
    s.data_id = f.stream
    if pad or head > FRAME_HEADER_BYTES:
        stream_credit(w, stream, f.n - s.data_left)
    if s.data_left == 0:
        if f.flags & FLAG_END_STREAM:
            if s.pad_left == 0:
                stream_ended(w, stream)
        else:
            return glitch(w, s)
    return OK


cdef int http2_data(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u32 there = buf_len(&c.inb)
    cdef u32 take = there if there < s.data_left else s.data_left
    cdef Conn* stream = stream_find(w, s, s.data_id) if s.data_id else NULL
    if stream != NULL and stream.stream & STREAM_RESET:
        stream = NULL
    if take and stream != NULL:
        take = stream_fill(w, stream, buf_head(&c.inb), take)
        if take:
            stream.flags |= CONN_READABLE
            if s.starved_ns:
                s.starved_ns = w.now_ns
        conn_defer(w, stream)
    buf_consume(&c.inb, take)
    s.data_left -= take
    there -= take
    if s.data_left:
        if there:
            s.flags |= SESSION_STARVED
        return AGAIN
    take = there if there < s.pad_left else s.pad_left
    buf_consume(&c.inb, take)
    s.pad_left -= take
    if s.pad_left:
        return AGAIN
    if stream != NULL and s.data_flags & FLAG_END_STREAM:
        stream_ended(w, stream)
    return OK


# ---- HEADERS

cdef void limits_of(Worker* w, BlockLimits* limits) noexcept nogil:
    limits.list_bytes = w.snap.policy.http1.head_bytes
    limits.fields = w.snap.policy.http1.fields


# Puts the text of a block into its stream. False: there is no buffer, and the stream has ended.
cdef bint block_store(Worker* w, Conn* c, Session* s, Conn* stream, const HeadBlock* block) noexcept nogil:
    if stream_store(w, stream, w.scratch + block.off, block.n) == OK:
        if block.flags & BLOCK_NEVER:
            stream.stream |= STREAM_NEVER
        return 1
    session_reset(w, c, s, stream.id, H2_ENHANCE_YOUR_CALM)
    stream_break(w, stream, 0)
    return 0


cdef int block_trailers(Worker* w, Conn* c, Session* s, Conn* stream, u8 flags, const u8* data, size_t n) noexcept nogil:
    cdef HeadBlock block
    cdef BlockLimits limits
    cdef int r
    limits_of(w, &limits)
    r = block_read(&s.decoder, data, n, BLOCK_TRAILERS, 0, w.scratch, SCRATCH_BYTES, &limits, &block)
    if r == CLOSED:
        return H2_COMPRESSION_ERROR
    if stream.stream & STREAM_RESET:
        return late(w, s)
    if stream.stream & STREAM_REMOTE_END:
        return stream_fail(w, c, s, stream, stream.id, H2_STREAM_CLOSED)
    if stream.state == CONN_RELAY:
        # A tunnel has DATA and nothing else (RFC 9113 8.5).
        return stream_fail(w, c, s, stream, stream.id, H2_PROTOCOL_ERROR)
    if r != OK or not flags & FLAG_END_STREAM:
        return stream_fail(w, c, s, stream, stream.id, H2_PROTOCOL_ERROR)
    if block_store(w, c, s, stream, &block):
        stream.tail = block.n
        stream_ended(w, stream)
    return OK


# Whether one more stream may begin: 0, or why not.
cdef u32 refusal(Worker* w, const Session* s) noexcept nogil:
    cdef u64 used = w.conns.takes - w.conns.gives
    if s.streams >= w.snap.policy.http2_streams or used >= w.conns.capacity - w.conns.capacity // UPSTREAM_SHARE:
        return H2_REFUSED_STREAM
    return 0


cdef int request_opened(Worker* w, Conn* c, Session* s, Conn* stream, u8 flags, const HeadBlock* block) noexcept nogil:
    cdef u32 most = w.snap.policy.keepalive_requests
    if not block_store(w, c, s, stream, block):
        return OK
    stream.stream |= STREAM_HEAD
    if block.flags & BLOCK_GRPC:
        stream.stream |= STREAM_GRPC
    if flags & FLAG_END_STREAM:
        stream.stream |= STREAM_REMOTE_END
        stream.flags |= CONN_EOF
    conn_defer(w, stream)
    meters_count(&w.meters, COUNT_H2_STREAMS, 1)
    c.served += 1
    if most and c.served >= most and not s.flags & SESSION_GOING:
        session_goaway(w, c, s, s.last_id, H2_NO_ERROR)
    return OK


cdef int block_request(Worker* w, Conn* c, Session* s, u32 id, u8 flags, const u8* data, size_t n) noexcept nogil:
    cdef Conn* stream = stream_find(w, s, id)
    cdef HeadBlock block
    cdef BlockLimits limits
    cdef u32 refused
    cdef bint known = id <= s.last_id
    cdef int r
    if stream != NULL:
        return block_trailers(w, c, s, stream, flags, data, n)
    if not id & 1:
        return H2_PROTOCOL_ERROR
    limits_of(w, &limits)
    r = block_read(&s.decoder, data, n, BLOCK_REQUEST, 1, w.scratch, SCRATCH_BYTES, &limits, &block)
    if r == CLOSED:
        return H2_COMPRESSION_ERROR
    if known:
        # A stream that has closed, or that was skipped: no id may come again (RFC 9113 5.1.1).
        return late(w, s) if was_reset(s, id) else <int>H2_PROTOCOL_ERROR
    if s.flags & SESSION_GOING:
        # Begun after our GOAWAY: its client knows that it is not answered (RFC 9113 6.8).
        return glitch(w, s)
    s.last_id = id
    refused = refusal(w, s)
    if refused:
        meters_count(&w.meters, COUNT_H2_REFUSED, 1)
        session_reset(w, c, s, id, refused)
        return glitch(w, s)
    if r == BAD:
        return stream_fail(w, c, s, NULL, id, H2_PROTOCOL_ERROR)
    stream = stream_open(w, c, s, id, CONN_DOWN, DOWN_HEAD)
    if stream == NULL:
        session_reset(w, c, s, id, H2_REFUSED_STREAM)
        return OK
    if r == OK:
        return request_opened(w, c, s, stream, flags, &block)
    if flags & FLAG_END_STREAM:
        stream.stream |= STREAM_REMOTE_END
    client_refuse(w, stream, block.fault)
    return glitch(w, s)


cdef int block_response(Worker* w, Conn* c, Session* s, u32 id, u8 flags, const u8* data, size_t n) noexcept nogil:
    cdef Conn* stream = stream_find(w, s, id)
    cdef HeadBlock block
    cdef BlockLimits limits
    cdef int r
    if is_idle(s, id):
        return H2_PROTOCOL_ERROR
    if stream != NULL and stream.stream & STREAM_HEAD:
        return block_trailers(w, c, s, stream, flags, data, n)
    limits_of(w, &limits)
    r = block_read(&s.decoder, data, n, BLOCK_RESPONSE, 0, w.scratch, SCRATCH_BYTES, &limits, &block)
    if r == CLOSED:
        return H2_COMPRESSION_ERROR
    if stream == NULL:
        return OK if was_reset(s, id) else stream_fail(w, c, s, NULL, id, H2_STREAM_CLOSED)
    if stream.stream & STREAM_RESET:
        return OK
    if r != OK or (block.flags & BLOCK_INTERIM and flags & FLAG_END_STREAM):
        return stream_fail(w, c, s, stream, id, H2_PROTOCOL_ERROR)
    if not block_store(w, c, s, stream, &block):
        return OK
    stream.flags |= CONN_READABLE
    conn_defer(w, stream)
    if block.flags & BLOCK_INTERIM:
        return glitch(w, s)
    stream.stream |= STREAM_HEAD
    if flags & FLAG_END_STREAM:
        stream_ended(w, stream)
    return OK


cdef int block_done(Worker* w, Conn* c, Session* s, u32 id, u8 flags, const u8* data, size_t n) noexcept nogil:
    if s.flags & SESSION_CLIENT:
        return block_response(w, c, s, id, flags, data, n)
    return block_request(w, c, s, id, flags, data, n)


# Keeps a piece of a block that is not whole.
cdef int block_gather(Worker* w, Session* s, const u8* data, u32 n) noexcept nogil:
    if buf_len(&s.block) + n > w.snap.policy.http1.head_bytes + BLOCK_EXTRA:
        return H2_ENHANCE_YOUR_CALM
    if s.block.data == NULL and buf_take(&w.pools, &s.block, n if n else 1) != OK:
        return H2_ENHANCE_YOUR_CALM
    if buf_room(&s.block) < n:
        buf_grow(&w.pools, &s.block)
    return <int>OK if buf_append(&s.block, data, n) == OK else <int>H2_ENHANCE_YOUR_CALM


cdef int frame_headers(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    cdef u32 n = f.n, pad = 0, head = 0
    if f.stream == 0:
        return H2_PROTOCOL_ERROR
    if f.flags & FLAG_PADDED:
        if n < 1:
            return H2_FRAME_SIZE_ERROR
        pad = p[0]
        head = 1
    if f.flags & FLAG_PRIORITY:
        if n < head + 5:
            return H2_FRAME_SIZE_ERROR
        head += 5
    if pad > n - head:
        return H2_PROTOCOL_ERROR
    n -= head + pad
    if f.flags & FLAG_END_HEADERS:
        return block_done(w, c, s, f.stream, f.flags, p + head, n)
    s.flags |= SESSION_BLOCK
    s.block_id = f.stream
    s.block_flags = f.flags
    s.block_frames = 0
    if not s.streams:
        conn_deadline(w, c, w.now_ns + w.snap.policy.header_timeout_ns)
    return block_gather(w, s, p + head, n)


cdef int frame_continuation(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    cdef int r
    s.block_frames += 1
    if s.block_frames > BLOCK_FRAMES_MOST:
        return H2_ENHANCE_YOUR_CALM
    r = block_gather(w, s, p, f.n)
    if r == OK and f.n == 0 and not f.flags & FLAG_END_HEADERS:
        r = glitch(w, s)
    if r != OK or not f.flags & FLAG_END_HEADERS:
        return r
    s.flags &= ~<u32>SESSION_BLOCK
    r = block_done(w, c, s, s.block_id, s.block_flags, buf_head(&s.block), buf_len(&s.block))
    buf_give(&w.pools, &s.block)
    return r


# ---- the others

cdef int frame_reset(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    cdef Conn* stream
    if f.n != 4:
        return H2_FRAME_SIZE_ERROR
    if f.stream == 0 or is_idle(s, f.stream):
        return H2_PROTOCOL_ERROR
    meters_count(&w.meters, COUNT_H2_RESETS_IN, 1)
    stream = stream_find(w, s, f.stream)
    if stream == NULL or stream.stream & STREAM_RESET:
        return late(w, s) if stream == NULL and was_reset(s, f.stream) else glitch(w, s)
    if s.flags & SESSION_CLIENT and stream.stream & STREAM_REMOTE_END:
        # The response is whole: only the rest of the request is not wanted (RFC 9113 8.1).
        stream.stream |= STREAM_RESET
        conn_defer(w, stream)
        return OK
    if be32(p) == H2_CANCEL:
        stream.stream |= STREAM_CANCELLED
    stream_break(w, stream, be32(p) == H2_REFUSED_STREAM)
    return OK if s.flags & SESSION_CLIENT else glitch(w, s)


# Every stream's window moves with the first (RFC 9113 6.9.2).
cdef int window_first(Worker* w, Session* s, u32 value) noexcept nogil:
    cdef u32 i
    cdef Conn* stream
    cdef i64 moved = <i64>value - s.peer_window
    if value > <u32>WINDOW_MOST:
        return H2_FLOW_CONTROL_ERROR
    for i in range(<u32>SESSION_BUCKETS):
        stream = <Conn*>slab_live(&w.conns, s.buckets[i])
        while stream != NULL:
            if stream.send_window + moved > WINDOW_MOST:
                return H2_FLOW_CONTROL_ERROR
            stream.send_window = <i32>(stream.send_window + moved)
            if moved > 0:
                conn_defer(w, stream)
            stream = <Conn*>slab_live(&w.conns, stream.chain)
    s.peer_window = <i32>value
    return OK


cdef int setting(Worker* w, Session* s, u32 id, u32 value) noexcept nogil:
    if id == SETTING_HEADER_TABLE_SIZE:
        hpack_encoder_limit(&s.encoder, value)
    elif id == SETTING_ENABLE_PUSH:
        if value > 1 or (value and s.flags & SESSION_CLIENT):
            return H2_PROTOCOL_ERROR
    elif id == SETTING_MAX_CONCURRENT_STREAMS:
        s.peer_streams = value
        if s.flags & SESSION_CLIENT:
            w.waiting[conn_get(w, s.conn).slot].peer_streams = value
    elif id == SETTING_INITIAL_WINDOW_SIZE:
        return window_first(w, s, value)
    elif id == SETTING_ENABLE_CONNECT_PROTOCOL and s.flags & SESSION_CLIENT:
        # RFC 8441 3: 0 or 1, and no 0 after a 1.
        if value > 1 or value < <u32>(s.flags & SESSION_CONNECT != 0):
            return H2_PROTOCOL_ERROR
        if value:
            s.flags |= SESSION_CONNECT
    elif id == SETTING_MAX_FRAME_SIZE:
        if value < <u32>FRAME_SIZE_LEAST or value > <u32>FRAME_SIZE_MOST:
            return H2_PROTOCOL_ERROR
        s.peer_frame = value
    return OK


cdef int frame_settings(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    cdef u32 at
    cdef int r
    if f.stream:
        return H2_PROTOCOL_ERROR
    if f.flags & FLAG_ACK:
        if f.n:
            return H2_FRAME_SIZE_ERROR
        if s.flags & SESSION_SETTLED:
            return glitch(w, s)
        s.flags |= SESSION_SETTLED
        return OK
    if f.n % 6:
        return H2_FRAME_SIZE_ERROR
    if f.n > 6 * SETTINGS_MOST:
        return H2_ENHANCE_YOUR_CALM
    for at in range(0, f.n, 6):
        r = setting(w, s, be16(p + at), be32(p + at + 2))
        if r != OK:
            return r
    session_frame(w, c, s, FRAME_SETTINGS, FLAG_ACK, 0, p, 0)
    if s.flags & SESSION_SETTINGS:
        return glitch(w, s)
    s.flags |= SESSION_SETTINGS
    conn_deadline(w, c, w.now_ns + (s.ping_ns if s.ping_ns and s.streams else s.idle_ns))
    return OK


cdef int frame_ping(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    if f.n != 8:
        return H2_FRAME_SIZE_ERROR
    if f.stream:
        return H2_PROTOCOL_ERROR
    if f.flags & FLAG_ACK:
        if not s.flags & SESSION_PINGED:
            return glitch(w, s)
        s.flags &= ~<u32>SESSION_PINGED
        if s.ping_ns:
            conn_deadline(w, c, w.now_ns + s.ping_ns)
        if s.flags & SESSION_LEAVING and not s.flags & SESSION_GOING:
            session_goaway(w, c, s, s.last_id, H2_NO_ERROR)
            conn_defer(w, c)
        return OK
    session_frame(w, c, s, FRAME_PING, FLAG_ACK, 0, p, 8)
    return glitch(w, s)


cdef int frame_goaway(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    cdef u32 i, last
    cdef Conn* stream
    cdef bint again = s.flags & SESSION_GOING != 0
    if f.stream:
        return H2_PROTOCOL_ERROR
    if f.n < 8:
        return H2_FRAME_SIZE_ERROR
    meters_count(&w.meters, COUNT_H2_GOAWAYS_IN, 1)
    s.flags |= SESSION_GOING
    conn_defer(w, c)
    if not s.flags & SESSION_CLIENT:
        return glitch(w, s)
    last = be32(p) & 0x7FFFFFFF
    for i in range(<u32>SESSION_BUCKETS):
        stream = <Conn*>slab_live(&w.conns, s.buckets[i])
        while stream != NULL:
            if stream.id > last and not stream.stream & STREAM_RESET:
                stream_break(w, stream, 1)
            stream = <Conn*>slab_live(&w.conns, stream.chain)
    return glitch(w, s) if again else <int>OK


cdef int frame_update(Worker* w, Conn* c, Session* s, const Frame* f, const u8* p) noexcept nogil:
    cdef Conn* stream
    cdef i64 n
    if f.n != 4:
        return H2_FRAME_SIZE_ERROR
    if f.stream and is_idle(s, f.stream):
        return H2_PROTOCOL_ERROR
    n = be32(p) & 0x7FFFFFFF
    if f.stream == 0:
        if n == 0:
            return H2_PROTOCOL_ERROR
        if s.send_window + n > WINDOW_MOST:
            return H2_FLOW_CONTROL_ERROR
        s.send_window = <i32>(s.send_window + n)
        session_wake(w, c, s)
    else:
        stream = stream_find(w, s, f.stream)
        if stream == NULL or stream.stream & STREAM_RESET:
            return late(w, s) if was_reset(s, f.stream) else glitch(w, s)
        if n == 0:
            return stream_fail(w, c, s, stream, f.stream, H2_PROTOCOL_ERROR)
        if stream.send_window + n > WINDOW_MOST:
            return stream_fail(w, c, s, stream, f.stream, H2_FLOW_CONTROL_ERROR)
        if stream.send_window <= 0:
            conn_defer(w, stream)
        stream.send_window = <i32>(stream.send_window + n)
    if s.updates == 0:
        return glitch(w, s)
    s.updates -= 1
    return OK


cdef int frame_priority(Worker* w, Conn* c, Session* s, const Frame* f) noexcept nogil:
    if f.stream == 0:
        return H2_PROTOCOL_ERROR
    if f.n != 5 and is_idle(s, f.stream):
        # A stream error cannot be told of a stream that has not begun.
        return H2_FRAME_SIZE_ERROR
    if f.n != 5:
        return stream_fail(w, c, s, stream_find(w, s, f.stream), f.stream, H2_FRAME_SIZE_ERROR)
    return glitch(w, s)


cdef int http2_frame(Worker* w, Conn* c, Session* s, const Frame* f) noexcept nogil:
    cdef const u8* p = buf_head(&c.inb) + FRAME_HEADER_BYTES
    if not s.flags & SESSION_SETTINGS and (f.type != FRAME_SETTINGS or f.flags & FLAG_ACK):
        return H2_PROTOCOL_ERROR
    if s.flags & SESSION_BLOCK and (f.type != FRAME_CONTINUATION or f.stream != s.block_id):
        return H2_PROTOCOL_ERROR
    if f.type == FRAME_DATA:
        return frame_data(w, c, s, f)
    if f.type == FRAME_HEADERS:
        return frame_headers(w, c, s, f, p)
    if f.type == FRAME_WINDOW_UPDATE:
        return frame_update(w, c, s, f, p)
    if f.type == FRAME_RST_STREAM:
        return frame_reset(w, c, s, f, p)
    if f.type == FRAME_SETTINGS:
        return frame_settings(w, c, s, f, p)
    if f.type == FRAME_PING:
        return frame_ping(w, c, s, f, p)
    if f.type == FRAME_GOAWAY:
        return frame_goaway(w, c, s, f, p)
    if f.type == FRAME_CONTINUATION:
        return frame_continuation(w, c, s, f, p) if s.flags & SESSION_BLOCK else H2_PROTOCOL_ERROR
    if f.type == FRAME_PRIORITY:
        return frame_priority(w, c, s, f)
    # Push is refused on both sides (RFC 9113 8.4). Other types are extensions and mean nothing here (5.5).
    return H2_PROTOCOL_ERROR if f.type == FRAME_PUSH_PROMISE else glitch(w, s)
