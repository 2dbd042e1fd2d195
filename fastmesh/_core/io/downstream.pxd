# Clients come in here: accepted, counted, and read until a head is whole.
# Law: an idle connection holds no buffer; a head is whole within its time, or the client is told 408.
from fastmesh._core.base.types cimport i32, u32
from fastmesh._core.io.state cimport Conn, Worker

# Takes over a bound and listening socket.
cdef void listener_add(Worker* w, i32 fd, u32 listener) noexcept nogil
# accept_rest: takes what the kernel has already completed, so that closing does not reset it.
cdef void listener_remove(Worker* w, u32 listener, bint accept_rest) noexcept nogil
# Takes as many connections as wait, `most` of them at most.
cdef void listener_accept(Worker* w, Conn* c, u32 most) noexcept nogil
cdef void listener_timer(Worker* w, Conn* c) noexcept nogil
# A connection in DOWN_IDLE or DOWN_HEAD may have bytes.
cdef void downstream_ready(Worker* w, Conn* c) noexcept nogil
cdef void downstream_timer(Worker* w, Conn* c) noexcept nogil
# Drain: connections at rest close now, fresh ones get a moment for a request that may be on its way.
cdef void downstream_drain(Worker* w) noexcept nogil
