# A connection relayed as it is: an exchange that is a tunnel from its first byte, without a head and an answer of ours.
# Law: each side sees what it would see of the other without us: every byte, FIN as FIN, RST as RST.
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
# Moves bytes both ways.
cdef void relay_drive(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# The idle time of an open one is over, or not yet.
cdef void relay_timer(Worker* w, Exchange* x) noexcept nogil
