# Where a TCP connection goes: by its listener, and by what its ClientHello asks for.
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Finds the route in the adopted snapshot. EX_TLS: a whole ClientHello is at the start of down.inb. False: there is none.
cdef bint tcp_route(Worker* w, Exchange* x, Conn* down) noexcept nogil
