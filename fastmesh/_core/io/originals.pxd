# The addresses that intercepted connections were meant for. Each has a slot, as the endpoints of a snapshot have, so that
# connections to it are pooled, capped and counted alike; the slot is its own while a client or a connection needs it.
# Law: a bounded table. What no client needs any more stays until its place is wanted, the longest unused first.
from fastmesh._core.base.types cimport i32, u8, u32, u64
from fastmesh._core.ffi.linux cimport sockaddr
from fastmesh._core.io.state cimport Conn, Original, Worker
from fastmesh._core.routing.snapshot cimport Snapshot

# What an address is known by (routing/original). False: it is no IP address.
cdef bint originals_key(const sockaddr* sa, u8* key) noexcept nogil
cdef Original* originals_find(Worker* w, const u8* key) noexcept nogil
# In a place that was never used. NULL: there is none.
cdef Original* originals_add(Worker* w, const u8* key) noexcept nogil
# The longest unused one that has no connection in use (pooled ones it may have), or NULL.
cdef Original* originals_idle(Worker* w) noexcept nogil
# Gives the place of such a one, without connections, to another address.
cdef void originals_replace(Worker* w, Original* o, const u8* key) noexcept nogil
# The client connection was meant for it, until it is released.
cdef void originals_hold(Worker* w, Original* o, Conn* c) noexcept nogil
cdef void originals_release(Worker* w, Conn* c) noexcept nogil
# Before `snap` is adopted.
cdef void originals_adopt(Worker* w, const Snapshot* snap) noexcept nogil

# Where a client connection, or its stream, was meant to go; NULL: it was not intercepted, or the stream has outlived its
# connection and the place.
cdef inline Original* original_of(Worker* w, const Conn* c) noexcept nogil:
    if c.slot_gen == 0 or w.balancer.slots[c.slot].slot_gen != c.slot_gen:
        return NULL
    return &w.originals[c.slot - w.original_slot]

cdef inline u32 original_slot(Worker* w, const Original* o) noexcept nogil:
    return w.original_slot + <u32>(o - w.originals)

# The route of what no other route takes, by index; ROUTE_NONE when the client was not intercepted.
cdef u32 original_route(Worker* w, const Conn* down) noexcept nogil
# What stands for the address among indexes of endpoints.
cdef u32 original_pick(Worker* w, const Conn* down) noexcept nogil
# The ListenerProtocol that is set for where it was meant to go, else its listener's.
cdef u8 original_protocol_of(Worker* w, const Conn* down) noexcept nogil

cdef inline u8 original_listens(Worker* w, const Conn* down) noexcept nogil:
    return original_protocol_of(w, down) if down.slot_gen else w.snap.listeners[down.listener].protocol

# A connection of ours was begun to `to`: it is remembered, and known should it be redirected to us. Answers what it is known by,
# 0: nothing. hung_up: it is closed.
cdef u64 originals_dialled(Worker* w, i32 fd, const sockaddr* to) noexcept nogil
cdef void originals_hung_up(Worker* w, const Conn* c) noexcept nogil
# Whether a client connection that was meant for `to` is one of the process's own.
cdef bint originals_dialled_by_us(Worker* w, const Conn* c, const u8* to) noexcept nogil
# The same of one that has a place: another worker may have accepted it before it was remembered.
cdef bint originals_came_back(Worker* w, const Conn* down) noexcept nogil
