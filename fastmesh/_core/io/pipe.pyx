from libc.string cimport memset

from fastmesh._core.base.buffer cimport (
    BUFFER_LARGE, buf_after, buf_consume, buf_cut, buf_give, buf_head, buf_len, buf_overwrite, buf_room,
)
from fastmesh._core.base.status cimport AGAIN, BAD, BLOCKED, CLOSED, FULL, OK
from fastmesh._core.base.types cimport i64, u32
from fastmesh._core.io.connection cimport conn_flush, conn_recv, conn_room, conn_send
from fastmesh._core.io.state cimport DRIVE_BYTES, EX_REPLAY, SCRATCH_BYTES
from fastmesh._core.wire.http1_chunked cimport chunked_init, chunked_scan, chunked_strip
from fastmesh._core.wire.http1_head cimport (
    FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_LENGTH, Http1Resume, http1_trailers_parse,
)
from fastmesh._core.wire.http1_write cimport http1_trailers_write


cdef void pipe_init(Pipe* p, u8 framing, u64 length) noexcept nogil:
    memset(p, 0, sizeof(Pipe))
    p.framing = framing
    p.left_bytes = length
    if framing == FRAMING_CHUNKED:
        chunked_init(&p.chunked)
    elif framing != FRAMING_CLOSE:
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


cdef int take_trailers(Worker* w, Pipe* p, Conn* source, u32 offset, u32 n) noexcept nogil:
    cdef u32 i, drops = 0
    cdef i64 written
    cdef int r = http1_trailers_parse(&w.head, &source.resume, buf_head(&source.inb) + offset, n,
                                      &w.snap.policy.http1)
    w.head_of = 0
    if r == AGAIN:
        return AGAIN
    if r != OK:
        p.fault = w.head.fault
        return BAD
    p.done = 1
    if p.strip:
        buf_cut(&source.inb, offset, w.head.head_bytes)
        return OK
    for i in range(w.head.nfields):
        drops |= w.head.fields[i].drop
    if drops:
        written = http1_trailers_write(w.scratch, SCRATCH_BYTES, &w.head, buf_head(&source.inb) + offset)
        if written < 0 or buf_overwrite(&source.inb, offset, w.scratch, <size_t>written) != OK:
            return BAD
        buf_cut(&source.inb, offset + <u32>written, w.head.head_bytes - <u32>written)
        p.ready += <u32>written
    else:
        p.ready += w.head.head_bytes
    return OK


cdef int pipe_take(Worker* w, Pipe* p, Conn* source) noexcept nogil:
    cdef u32 offset = p.sent + p.ready
    cdef u32 n = buf_after(&source.inb, offset)
    if p.done:
        return OK
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
        p.ready += n
        return OK
    if not p.last:
        return take_chunks(p, source, offset, n)
    return take_trailers(w, p, source, offset, n)


cdef void pipe_forget(Pipe* p, Conn* source) noexcept nogil:
    buf_consume(&source.inb, p.sent)
    p.sent = 0


# How many bytes the source is known to bring, so that the read can be as large.
cdef u64 pipe_expect(const Pipe* p, bint filled) noexcept nogil:
    if p.framing == FRAMING_LENGTH:
        return p.left_bytes
    if p.framing == FRAMING_CHUNKED and p.chunked.left_bytes > 0 and not filled:
        return p.chunked.left_bytes
    return BUFFER_LARGE if filled else 0


# Reads more from the source. OK, or what stops the pump.
cdef int pipe_fill(Worker* w, Pipe* p, Conn* source, u16* flags, bint* filled) noexcept nogil:
    cdef u64 expect = pipe_expect(p, filled[0])
    cdef u32 room
    cdef i64 n
    if flags[0] & EX_REPLAY and (buf_room(&source.inb) == 0 or expect > buf_room(&source.inb)):
        # The request is longer than the buffer: streaming it goes before being able to repeat it.
        flags[0] &= <u16>~EX_REPLAY
        pipe_forget(p, source)
    if conn_room(w, source, expect, not flags[0] & EX_REPLAY) != OK:
        return PUMP_FULL
    room = buf_room(&source.inb)
    n = conn_recv(w, source)
    if n > 0:
        filled[0] = n == room
        return OK
    if n == AGAIN:
        return PUMP_WAIT_SOURCE
    if n == FULL:
        return PUMP_FULL
    return PUMP_SOURCE_END if n == CLOSED else PUMP_SOURCE_FAILED


# Sends what is ready. OK, or what stops the pump.
cdef int pipe_send(Worker* w, Pipe* p, Conn* source, Conn* sink, u16* flags) noexcept nogil:
    cdef i64 n = p.ready
    cdef int r
    if sink != NULL:
        r = conn_flush(w, sink)
        if r != OK:
            return PUMP_WAIT_SINK if r == BLOCKED else PUMP_SINK_FAILED
        n = conn_send(w, sink, buf_head(&source.inb) + p.sent, p.ready)
        if n < 0:
            return PUMP_SINK_FAILED
    p.ready -= <u32>n
    p.sent += <u32>n
    p.moved_bytes += <u64>n
    if not flags[0] & EX_REPLAY:
        pipe_forget(p, source)
    if p.ready == 0:
        return OK
    return PUMP_WAIT_SINK


cdef int pipe_pump(Worker* w, Pipe* p, Conn* source, Conn* sink, u16* flags) noexcept nogil:
    cdef u64 until = p.moved_bytes + DRIVE_BYTES
    cdef bint filled = 0
    cdef int r
    while True:
        r = pipe_send(w, p, source, sink, flags)
        if r != OK:
            return r
        if p.done:
            if buf_len(&source.inb) == 0:
                buf_give(&w.pools, &source.inb)
            return PUMP_DONE
        if p.moved_bytes > until:
            return PUMP_YIELD
        r = pipe_take(w, p, source)
        if r == BAD:
            return PUMP_BAD
        if r == OK:
            continue
        r = pipe_fill(w, p, source, flags, &filled)
        if r == OK:
            continue
        if r == PUMP_SOURCE_END and p.framing == FRAMING_CLOSE:
            p.done = 1
            continue
        if r == PUMP_WAIT_SOURCE and buf_len(&source.inb) == 0:
            buf_give(&w.pools, &source.inb)
        return r
