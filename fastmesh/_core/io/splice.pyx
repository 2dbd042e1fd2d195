from fastmesh._core.base.buffer cimport buf_consume, buf_give, buf_head, buf_len
from fastmesh._core.base.status cimport BLOCKED, OK
from fastmesh._core.base.types cimport i64, u8, u32
from fastmesh._core.ffi.linux cimport EAGAIN, EINTR, sys_close, sys_pipe, sys_splice
from fastmesh._core.io.connection cimport conn_blocked, conn_flush, conn_send
from fastmesh._core.io.pipe cimport (
    PUMP_DONE, PUMP_SINK_FAILED, PUMP_SOURCE_FAILED, PUMP_WAIT_SINK, PUMP_WAIT_SOURCE, PUMP_YIELD,
)
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_EOF, CONN_READABLE, CONN_WRITABLE, DRIVE_BYTES, SPLICES, Splice,
)

cdef enum:
    PIPE_BYTES = 1048576    # of a pipe: the kernel's ceiling, and where splice(2) costs least (bench/results/splice.json)
    BULK_BYTES = 262144     # moved at one go, the stream is a long one
    THIN_BYTES = 32768      # below this copying costs less
    THIN_MOST = 16          # so often in a row, it is no long stream any more


cdef void splice_open(Worker* w, Half* half) noexcept nogil:
    cdef int[2] fds
    cdef u32 i
    for i in range(<u32>SPLICES):
        if w.splices[i].used:
            continue
        # A user has a bound on pages in pipes: a small pipe would cost more than copying.
        if sys_pipe(fds, PIPE_BYTES) == 0:
            w.opened += 2
            w.splices[i].read_fd = fds[0]
            w.splices[i].write_fd = fds[1]
            w.splices[i].left = 0
            w.splices[i].used = 1
            w.splices[i].thin = 0
            half.pipe = <u8>(i + 1)
        return


cdef void splice_close(Worker* w, Half* half) noexcept nogil:
    cdef Splice* s
    if half.pipe == 0:
        return
    s = &w.splices[half.pipe - 1]
    sys_close(s.read_fd)
    sys_close(s.write_fd)
    w.closed += 2
    s.used = 0
    half.pipe = 0


cdef void splice_review(Worker* w, Half* half, u64 moved) noexcept nogil:
    cdef Splice* s
    if half.pipe == 0:
        if moved >= BULK_BYTES and w.snap.policy.splice:
            splice_open(w, half)
        return
    s = &w.splices[half.pipe - 1]
    if moved >= THIN_BYTES:
        s.thin = 0
    elif moved and s.thin < THIN_MOST:
        s.thin += 1
    elif moved and s.left == 0:
        splice_close(w, half)


# What was read before. OK, or what stops the pump.
cdef int send_buffered(Worker* w, Half* half, Conn* source, Conn* sink) noexcept nogil:
    cdef int r = conn_flush(w, sink)
    cdef i64 n
    if r != OK:
        return PUMP_WAIT_SINK if r == BLOCKED else PUMP_SINK_FAILED
    if source.inb.data == NULL:
        return OK
    # The last pump may not have come to look at all it read: what is there and not `ready` goes as well.
    n = conn_send(w, sink, buf_head(&source.inb), buf_len(&source.inb))
    if n < 0:
        return PUMP_SINK_FAILED
    buf_consume(&source.inb, <u32>n)
    half.ready = buf_len(&source.inb)
    half.moved_bytes += <u64>n
    if half.ready:
        return PUMP_WAIT_SINK
    buf_give(&w.pools, &source.inb)
    return OK


# Empties the pipe. OK, or what stops the pump.
cdef int splice_out(Worker* w, Splice* s, Half* half, Conn* sink) noexcept nogil:
    cdef long n
    while s.left:
        if sink.flags & CONN_BROKEN:
            return PUMP_SINK_FAILED
        if not sink.flags & CONN_WRITABLE:
            return PUMP_WAIT_SINK
        n = sys_splice(s.read_fd, sink.fd, s.left)
        if n > 0:
            s.left -= <u32>n
            half.moved_bytes += <u64>n
        elif n == -EAGAIN:
            conn_blocked(w, sink)
        elif n != -EINTR:
            sink.flags |= CONN_BROKEN
    return OK


# Fills the pipe, which is empty: only the source can be what it waits for. OK, or what stops the pump.
cdef int splice_in(Splice* s, Half* half, Conn* source) noexcept nogil:
    cdef long n
    if source.flags & CONN_EOF:
        half.done = 1
        half.ended = 1
        return PUMP_DONE
    if not source.flags & CONN_READABLE:
        return PUMP_WAIT_SOURCE
    n = sys_splice(source.fd, s.write_fd, PIPE_BYTES)
    if n > 0:
        s.left = <u32>n
    elif n == 0:
        source.flags |= CONN_EOF
    elif n == -EAGAIN:
        source.flags &= <u8>~CONN_READABLE
    elif n != -EINTR:
        source.flags |= CONN_EOF | CONN_BROKEN
        return PUMP_SOURCE_FAILED
    return OK


cdef int splice_pump(Worker* w, Half* half, Conn* source, Conn* sink) noexcept nogil:
    cdef Splice* s = &w.splices[half.pipe - 1]
    cdef u64 until = half.moved_bytes + DRIVE_BYTES
    cdef int r = send_buffered(w, half, source, sink)
    while r == OK:
        r = splice_out(w, s, half, sink)
        if r == OK and half.moved_bytes > until:
            return PUMP_YIELD
        if r == OK:
            r = splice_in(s, half, source)
    return r
