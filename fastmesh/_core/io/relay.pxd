# A connection relayed as it is, until it is open (io/pair): an exchange without a head and an answer of ours, that gets a connection to
# an endpoint as others do.
from fastmesh._core.base.types cimport u32
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Chooses an endpoint and begins a connection to it. flags: EX_TLS when a ClientHello is whole in down.inb; EX_EARLY: nothing flows
# until relay_decide.
cdef void relay_begin(Worker* w, Conn* down, u32 flags) noexcept nogil
# The client is known to speak something that is relayed: what it has sent goes on, and all that follows.
cdef void relay_decide(Worker* w, Exchange* x, Conn* down) noexcept nogil
# Whether what was dialled early is where the ClientHello in down.inb, which is whole, is routed to.
cdef bint relay_suits(Worker* w, Exchange* x, Conn* down) noexcept nogil
# A connection that is being made for nobody any more (exchange_forget_relay): it goes to the pool.
cdef void relay_orphan(Worker* w, Conn* up, bint timed_out) noexcept nogil
# An event (or the timeout) of a connection that is being made.
cdef void relay_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil
