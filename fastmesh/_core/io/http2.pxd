# What comes in on an HTTP/2 connection (RFC 9113): frames become streams, and bytes of their heads and bodies.
# Law: every frame is looked at once and in order; what a peer may not send ends its stream or the connection with the error
# that the RFC names; what only costs us is counted as a glitch, and too many end the connection.
from fastmesh._core.io.state cimport Conn, Worker

# A client's connection has begun with the preface: it is HTTP/2 from its first byte on.
cdef void http2_begin(Worker* w, Conn* c) noexcept nogil
# An event of a connection in CONN_SESSION.
cdef void http2_event(Worker* w, Conn* c) noexcept nogil
cdef void http2_timer(Worker* w, Conn* c) noexcept nogil
# An event (or the timeout) of a connection to an endpoint that is being made.
cdef void http2_connecting(Worker* w, Conn* c, bint timed_out) noexcept nogil
# The client is told to begin no more streams; those it has are finished (RFC 9113 6.8).
cdef void http2_drain(Worker* w, Conn* c) noexcept nogil
# Ends it at once; its streams are ended by whoever has them.
cdef void http2_stop(Worker* w, Conn* c) noexcept nogil
