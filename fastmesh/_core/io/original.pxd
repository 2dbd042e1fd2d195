# Connections that were redirected to us: where they were meant to go, asked of the kernel once, when they are accepted.
# Law: a connection that was meant for ourselves, or that we opened, goes no further.
from fastmesh._core.base.types cimport i32, u8, u32
from fastmesh._core.io.state cimport Conn, Original, Worker

# Notes the port that a listener of the worker is bound to: while it has a role nothing is forwarded there.
cdef void original_listen(Worker* w, u32 listener, i32 fd) noexcept nogil
# A connection was accepted by a listener with a role. False: it was refused and is closed.
cdef bint original_accept(Worker* w, Conn* c) noexcept nogil
# The address's place in the table; the one unused for longest makes room, and its pooled connections are closed. NULL: all
# are in use.
cdef Original* original_place(Worker* w, const u8* key) noexcept nogil
