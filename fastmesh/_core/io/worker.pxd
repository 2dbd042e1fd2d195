# The event loop of one thread: waits, reads the clock, hands every event to whoever its connection's state names.
# Law: one snapshot for a whole turn; the only reader of the clock; never blocks but in epoll_wait.
from fastmesh._core.base.types cimport u32, u64, i32
from fastmesh._core.ffi.linux cimport epoll_event
from fastmesh._core.io.state cimport Command, Shared, Worker

# Reserves everything. OK, FULL (no memory) or IO (no descriptor).
cdef int worker_init(Worker* w, Shared* shared, u32 index, u32 conns, u32 exchanges, u32 small, u32 large, u32 slots,
                     u32 blocks, u32 meters) noexcept nogil
cdef void worker_free(Worker* w) noexcept nogil
# Runs until told to stop or drained. 0, or an errno.
cdef int worker_run(Worker* w) noexcept nogil
# One turn of that loop, with what epoll_wait answered and the clock as it stands, and its end: for a loop run by hand.
cdef void worker_turn(Worker* w, epoll_event* events, long n) noexcept nogil
cdef void worker_stop(Worker* w) noexcept nogil
# From any thread that holds the GIL. OK or FULL.
cdef int worker_command(Worker* w, const Command* command) noexcept nogil
