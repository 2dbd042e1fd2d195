# A long stream of an open relayed connection, passed on by the kernel through a pipe: splice(2), by setting.
# Law: what left the source is in the pipe or at the sink; a direction has its pipe only while it is busy.
from fastmesh._core.base.types cimport u64
from fastmesh._core.io.state cimport Conn, Half, Worker

# After a pump that moved `moved` bytes and stands still: whether the next is to go through a pipe, or no longer.
cdef void splice_review(Worker* w, Half* half, u64 moved) noexcept nogil
# As pipe_pump, for a direction that has a pipe. What its source's buffer still holds goes first.
cdef int splice_pump(Worker* w, Half* half, Conn* source, Conn* sink) noexcept nogil
# Closes the pipe, if there is one. What is in it is lost.
cdef void splice_close(Worker* w, Half* half) noexcept nogil
# Whether it has a pipe with nothing in it.
cdef inline bint splice_rests(const Worker* w, const Half* half) noexcept nogil:
    return half.pipe and w.splices[half.pipe - 1].left == 0
