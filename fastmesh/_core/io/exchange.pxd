# What an event or a timer means to an exchange, by its phase. The way of a request: request > response > finish.
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Something happened on either connection: moves all that can be moved.
cdef void exchange_drive(Worker* w, Exchange* x) noexcept nogil
# The same for events: `gone`: the socket reports a reset or that both sides are closed.
cdef void exchange_down_event(Worker* w, Exchange* x, bint gone) noexcept nogil
# A connection that is being made is ready, or took too long.
cdef void exchange_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil
cdef void exchange_down_timer(Worker* w, Exchange* x) noexcept nogil
cdef void exchange_up_timer(Worker* w, Exchange* x) noexcept nogil
