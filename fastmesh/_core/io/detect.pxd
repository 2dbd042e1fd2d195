# What a client speaks, found out without anybody waiting for it: an endpoint is dialled meanwhile, and whoever speaks first decides.
# Law: a server that speaks first is heard at once; a silent client is neither closed nor kept from its server; first bytes are never
# taken from the stream, only looked at.
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# A client in DOWN_SNIFF may have bytes, or is new. gone: it has reset.
cdef void detect_event(Worker* w, Conn* down, bint gone) noexcept nogil
cdef void detect_ready(Worker* w, Conn* down) noexcept nogil
# The same when it has an exchange that was begun for it (EX_EARLY) and is connected: the server may have spoken.
cdef void detect_drive(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
cdef void detect_timer(Worker* w, Conn* down) noexcept nogil
