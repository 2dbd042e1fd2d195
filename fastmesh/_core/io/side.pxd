# One side of an exchange, whatever carries it: a connection, or a stream of an HTTP/2 connection.
# Law: who drives an exchange never asks which; these calls do.
from fastmesh._core.base.types cimport i64, u8, u32, u64
from fastmesh._core.io.connection cimport conn_flush, conn_recv, conn_room, conn_send_head
from fastmesh._core.io.state cimport Conn, Worker
from fastmesh._core.io.stream cimport stream_credit, stream_flush, stream_headers, stream_recv

cdef enum:
    HEAD_ROOM = 8192        # what most heads take, so that a small buffer will do; a longer one asks again

# As conn_recv; of a stream the bytes are in inb already.
cdef inline i64 side_recv(Worker* w, Conn* c) noexcept nogil:
    return stream_recv(w, c) if c.id else conn_recv(w, c)

# As conn_room; a stream's session makes the room.
cdef inline int side_room(Worker* w, Conn* c, u64 expect, bint movable) noexcept nogil:
    return 0 if c.id else conn_room(w, c, expect, movable)

# As conn_flush: OK when a head may be written now.
cdef inline int side_flush(Worker* w, Conn* c) noexcept nogil:
    return stream_flush(w, c, HEAD_ROOM) if c.id else conn_flush(w, c)

# A composed head alone, from the scratch. >= 0, or < 0.
cdef inline i64 side_head(Worker* w, Conn* c, size_t n) noexcept nogil:
    return stream_headers(w, c, w.scratch, n, 0) if c.id else conn_send_head(w, c, w.scratch, n, NULL, 0)

# Body bytes were taken out of inb.
cdef inline void side_credit(Worker* w, Conn* c, u32 n) noexcept nogil:
    if c.id and n:
        stream_credit(w, c, n)
