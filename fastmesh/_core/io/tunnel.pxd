# An exchange that becomes bytes both ways: CONNECT and upgrades, over HTTP/1 and as extended CONNECT (RFC 8441) over HTTP/2.
# Law: a tunnel begins only where both sides know that it does, and what a client is told fits what it asked for; each
# direction ends for itself, and what breaks one side breaks the other.
from fastmesh._core.base.types cimport i64, u8, u32
from fastmesh._core.io.state cimport Conn, Exchange, Worker
from fastmesh._core.wire.http1_types cimport FRAMING_TUNNEL
from fastmesh._core.wire.http1_write cimport HeadEdit

# Keeps what an upgrade's answer will be held against; the request is in w.head.
cdef void tunnel_asked(Worker* w, Exchange* x, const u8* data) noexcept nogil
# Whether the upgrade can go out on this stream as an extended CONNECT; the request is in w.head.
cdef bint tunnel_extends(Worker* w, const Exchange* x, const u8* data) noexcept nogil
# Why this answer (in w.head, its body framed so) to a request that wanted a tunnel is not to be passed on: a Fault, or 0.
cdef u32 tunnel_fault(Worker* w, const Exchange* x, const Conn* down, const Conn* up, u8 framing) noexcept nogil
# The head of a tunnel between an HTTP/1 client and a stream, composed into the scratch. Bytes, or < 0.
cdef i64 tunnel_compose(Worker* w, const Exchange* x, const Conn* up, const HeadEdit* edit) noexcept nogil
# Sends the composed head; it is a tunnel from here on. False: it has ended.
cdef bint tunnel_begin(Worker* w, Exchange* x, Conn* down, Conn* up, size_t head_n) noexcept nogil
# Moves bytes both ways. False: it has ended.
cdef bint tunnel_drive(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
