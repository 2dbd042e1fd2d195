# A client's connection outside an exchange: at rest, and on its way out. Knows no upstream.
# Law: an answer that was written is read by the client: we never close on unread input, which would reset it away.
from fastmesh._core.base.types cimport i64, u32, u64, u8, u16
from fastmesh._core.io.state cimport Conn, Worker

# What a proxy-made answer was, for meters and log.
ctypedef struct Answer:
    u16 status
    u16 grpc_status     # and one; 0: no gRPC
    u32 head_bytes
    u32 body_bytes

# Between exchanges: gives the buffer back, arms the idle timer, looks again at once when bytes are already there.
cdef void client_rest(Worker* w, Conn* c) noexcept nogil
# No more exchanges: writes out what is left, then closes. whole: every request byte was read, so that nothing on its way to us
# can turn the close into a reset.
cdef void client_finish(Worker* w, Conn* c, bint whole) noexcept nogil
cdef void client_close(Worker* w, Conn* c, bint reset) noexcept nogil
# An event of a connection in DOWN_LINGER.
cdef void client_linger(Worker* w, Conn* c) noexcept nogil
# Sends a proxy-made answer. `text` NULL: the fault's own. The caller decides what becomes of the connection.
cdef Answer client_answer_fault(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n, bint close,
                             bint head_only) noexcept nogil
# The same to a gRPC-Web client: by grpc-status, but for what breaks the rules of HTTP or of gRPC-Web (400).
cdef Answer client_answer_web(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n, bint close,
                              bint base64) noexcept nogil
# Ends a gRPC response that has begun with trailers that say why. False: it cannot be ended so.
cdef bint client_end_grpc(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n) noexcept nogil
# Ends a gRPC-Web response that has begun, and is between two messages, with a last one. False: it cannot be ended so.
cdef bint client_end_web(Worker* w, Conn* c, u32 fault, const u8* text, u32 text_n, bint chunked,
                         bint base64) noexcept nogil
# Answers 200 to OPTIONS or TRACE that reached Max-Forwards 0 (RFC 9110 7.6.2); the request is in w.head and inb.
cdef Answer client_answer_last_hop(Worker* w, Conn* c, bint close) noexcept nogil
# Answers a request that never became an exchange, counts it, and closes.
cdef void client_refuse(Worker* w, Conn* c, u32 fault) noexcept nogil
