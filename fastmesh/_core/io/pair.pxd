# An open relayed connection: two connections, and what goes between them until both have ended. Small, for it may last for days.
# Law: each side sees what it would see of the other without us: every byte, FIN as FIN, RST as RST.
from fastmesh._core.io.state cimport Conn, Exchange, Relay, Worker

# `up` is connected for `x`, which is over: what its client has sent already goes on, and all that follows.
cdef void pair_open(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# An event of either side.
cdef void pair_event(Worker* w, Conn* c) noexcept nogil
# The client's: its idle time is over, or not yet. The upstream's: no buffer was free a moment ago, or a pipe may have come to rest.
cdef void pair_timer(Worker* w, Conn* c) noexcept nogil
# The worker is stopping at once.
cdef void pair_stop(Worker* w, Relay* r) noexcept nogil
