# One HTTP/2 stream, which an exchange takes for a connection (RFC 9113 5).
# Law: no DATA beyond a window; what the peer sent is in inb, and it may send more only as that is taken out.
from fastmesh._core.base.types cimport i64, u8, u32
from fastmesh._core.io.state cimport Conn, Session, Worker

# A stream of the connection, in its session's table; it carries the client's address. NULL: the slab is full.
cdef Conn* stream_open(Worker* w, Conn* c, Session* s, u32 id, u8 kind, u8 state) noexcept nogil
cdef Conn* stream_find(Worker* w, Session* s, u32 id) noexcept nogil
# Ends it: RST_STREAM with this error unless both sides have said everything, and gives it back.
cdef void stream_close(Worker* w, Conn* c, u32 error) noexcept nogil
# What its peer will never send or take any more was seen: whoever drives it sees a failed connection. undone: see STREAM_UNDONE.
cdef void stream_break(Worker* w, Conn* c, bint undone) noexcept nogil
# As conn_recv: bytes that came since the last call, AGAIN, CLOSED or IO. They are in inb already.
cdef i64 stream_recv(Worker* w, Conn* c) noexcept nogil
# Sends DATA as far as windows and room go: bytes taken, FULL (no buffer at all) or IO. end: END_STREAM with the last of them (STREAM_LOCAL_END tells).
cdef i64 stream_send(Worker* w, Conn* c, const u8* data, size_t n, bint end) noexcept nogil
# Whether a head may be composed for it now: OK, BLOCKED (it is remembered), FULL
# (no buffer) or IO. n: bytes of the head. A block that was composed must be sent.
cdef int stream_flush(Worker* w, Conn* c, size_t n) noexcept nogil
# HEADERS and CONTINUATION. OK, or FULL: no room, and the connection is of no more use.
cdef int stream_headers(Worker* w, Conn* c, const u8* block, size_t n, bint end) noexcept nogil
# Bytes of its body left inb: the peer may send more.
cdef void stream_credit(Worker* w, Conn* c, u32 n) noexcept nogil
# Puts bytes of its body into inb: how many found room.
cdef u32 stream_fill(Worker* w, Conn* c, const u8* data, u32 n) noexcept nogil
# Puts a head or trailers into inb. OK, or FULL: no buffer.
cdef int stream_store(Worker* w, Conn* c, const u8* data, u32 n) noexcept nogil
