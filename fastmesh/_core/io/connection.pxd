# One socket of a worker: open, read, write, defer, close. Knows no HTTP and no other connection.
# Law: edge-triggered. A client's socket is watched for room once it has lacked it. A short read clears READABLE, a short write clears WRITABLE, and nobody waits for an edge that has been.
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport i32, i64, u8, u32, u64
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_DEFERRED, CONN_EOF, CONN_RDHUP, CONN_READABLE, CONN_WRITABLE, Conn, Worker,
)
from fastmesh._core.base.slab cimport slab_get, slab_handle, slab_index
from fastmesh._core.base.wheel cimport wheel_set

# Registers fd and owns it from here on. NULL: the slab or epoll is full and fd was closed.
cdef Conn* conn_open(Worker* w, i32 fd, u8 kind, u8 state) noexcept nogil
# Gives back everything the connection holds and closes it. reset: with RST instead of FIN.
cdef void conn_close(Worker* w, Conn* c, bint reset) noexcept nogil
# Reads into inb. > 0: bytes. AGAIN: none now. CLOSED: end of stream. FULL: no room (the caller makes some). IO: failed.
cdef i64 conn_recv(Worker* w, Conn* c) noexcept nogil
# Makes room in inb to read: takes a buffer (a large one when `expect` bytes are coming), compacts when `movable`, grows.
# OK or FULL.
cdef int conn_room(Worker* w, Conn* c, u64 expect, bint movable) noexcept nogil
# Bytes written (0: blocked), or IO.
cdef i64 conn_send(Worker* w, Conn* c, const u8* data, size_t n) noexcept nogil
# Writes out outb, which is there. OK: empty now. BLOCKED. IO.
cdef int conn_write_out(Worker* w, Conn* c) noexcept nogil
# Writes a head, which is kept in outb when it does not go out whole, and after it body bytes, which are not.
# >= 0: body bytes written. IO. FULL: no buffer to keep the head in; the connection is of no more use.
cdef i64 conn_send_head(Worker* w, Conn* c, const u8* head, size_t head_n, const u8* body, size_t body_n) noexcept nogil
# A write took less than it was given, or nothing.
cdef void conn_blocked(Worker* w, Conn* c) noexcept nogil
# Reads and throws away. AGAIN, CLOSED or IO; BLOCKED: more than a turn's worth.
cdef int conn_drop_input(Worker* w, Conn* c) noexcept nogil
# Has the worker look at it again before it sleeps.
cdef void conn_defer(Worker* w, Conn* c) noexcept nogil
# Half-close: FIN after everything written.
cdef void conn_shut(Worker* w, Conn* c) noexcept nogil

# As conn_write_out; mostly there is nothing.
cdef inline int conn_flush(Worker* w, Conn* c) noexcept nogil:
    return <int>OK if c.outb.data == NULL else conn_write_out(w, c)

cdef inline Conn* conn_get(Worker* w, u64 handle) noexcept nogil:
    return <Conn*>slab_get(&w.conns, handle)

cdef inline u64 conn_handle(Worker* w, const Conn* c) noexcept nogil:
    return slab_handle(&w.conns, c)

cdef inline void conn_deadline(Worker* w, Conn* c, i64 deadline_ns) noexcept nogil:
    wheel_set(&w.wheel, slab_index(&w.conns, c), deadline_ns)
