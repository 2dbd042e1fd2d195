# The request's way: from a parsed head to a route, an endpoint, a connection, and out.
# Law: nothing goes upstream before the head was found lawful; what was sent can be sent again only while all of it is still held
# and repeating it is safe (RFC 9110 9.2.2).
from fastmesh._core.base.types cimport u32
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Begins an exchange with the head just parsed into w.head from down.inb.
cdef void request_begin(Worker* w, Conn* down) noexcept nogil
# Chooses an endpoint and a connection to it, until one takes the request, it waits for one, or none is left.
cdef void request_connect(Worker* w, Exchange* x, Conn* down) noexcept nogil
# Forwards more of the body. False: the exchange has ended.
cdef bint request_body(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# An event (or the timeout) of a connection that is being made.
cdef void request_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil
# Sends the head and what is there of the body; again after BLOCKED, in PHASE_CONNECT.
cdef void request_send(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# An endpoint was connected to.
cdef void request_connected(Worker* w, u32 slot, u32 slot_gen) noexcept nogil
# The connection that its stream was written for was never made: another endpoint, or the end.
cdef void request_unconnected(Worker* w, Exchange* x, Conn* up, int error) noexcept nogil
# The upstream connection died before a whole response head: repeats the request when that is safe, else fails with `fault`.
cdef void request_lost(Worker* w, Exchange* x, Conn* up, u32 fault) noexcept nogil
# Its answer, of which nothing was passed on, is one that another endpoint may better: sends the request there. ok: what the
# answer says of the endpoint it came from. False: there is no other, or the request can no longer be sent.
cdef bint request_elsewhere(Worker* w, Exchange* x, Conn* up, bint ok) noexcept nogil
# Serves exchanges that wait where a connection has come free.
cdef void request_serve_pending(Worker* w) noexcept nogil
# After a snapshot was adopted: exchanges that wait for an endpoint that has gone choose anew.
cdef void request_adopt(Worker* w) noexcept nogil
