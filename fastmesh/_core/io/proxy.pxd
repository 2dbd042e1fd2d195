# The PROXY protocol on both sides (HAProxy's proxy-protocol.txt): the header of a listener's connections is read before anything
# else, the one for an endpoint is written before anything else.
# Law: where one is configured no connection becomes anything without it; an announced address stands wherever the client's own did.
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# A client in DOWN_PROXY may have bytes. gone: it has reset.
cdef void proxy_event(Worker* w, Conn* c, bint gone) noexcept nogil
# Its header did not come in time.
cdef void proxy_timer(Worker* w, Conn* c) noexcept nogil
# The connection to the backend's endpoint that `x` is about to ask for is to begin with a header.
cdef bint proxy_wanted(Worker* w, Exchange* x, u32 backend) noexcept nogil
# `up`, just connected for `x`, is told whose connection it is; it is of no use to any other client from here on.
cdef void proxy_announce(Worker* w, const Exchange* x, const Conn* down, Conn* up) noexcept nogil
