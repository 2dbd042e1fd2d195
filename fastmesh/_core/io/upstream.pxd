# Connections to endpoints: made, pooled newest first, capped, closed. Knows nothing of clients.
# Law: a pooled connection is silent and empty; one that speaks or ends while pooled is closed and never handed out.
from fastmesh._core.base.types cimport i64, u8, u32, u64
from fastmesh._core.io.state cimport Conn, Event, Worker
from fastmesh._core.routing.snapshot cimport Snapshot

# A connection to the endpoint (or original destination) that has the slot now. OK: *out is pooled and ready (CONN_REUSED). AGAIN: *out is connecting.
# FULL: the endpoint's connection cap is reached. LIMIT: we lack descriptors, memory or ports, which says nothing of the
# endpoint. IO: the attempt failed at once (*error says why). `fresh`: none from the pool.
# http2: *out is a stream; it may be used at once, even on a connection that is still being made.
cdef int upstream_take(Worker* w, u32 slot, bint http2, bint fresh, Conn** out, int* error) noexcept nogil
# After a connecting one became writable. OK, AGAIN (not yet), or IO with *error.
cdef int upstream_connected(Worker* w, Conn* c, int* error) noexcept nogil
# Whether a connection (or stream) to the slot can be had without exceeding its backend's bounds.
cdef bint upstream_has_room(Worker* w, u32 slot) noexcept nogil
# Back to the pool, or closed when it may not be reused.
cdef void upstream_give(Worker* w, Conn* c) noexcept nogil
cdef void upstream_close(Worker* w, Conn* c, bint reset) noexcept nogil
# A pooled connection had an event or its idle time is over.
cdef void upstream_idle_event(Worker* w, Conn* c) noexcept nogil
cdef void upstream_idle_timeout(Worker* w, Conn* c) noexcept nogil
# Before `snap` is adopted: closes pooled connections of endpoints it no longer has, and maps slots to its indexes.
cdef void upstream_adopt(Worker* w, const Snapshot* snap) noexcept nogil
# A connection to the slot may be had: whoever waits for one is served at the end of the turn.
cdef void upstream_freed(Worker* w, u32 slot) noexcept nogil
# Closes every pooled connection.
cdef void upstream_close_idle(Worker* w) noexcept nogil
# The backend of a slot in the adopted snapshot; NULL when the endpoint is gone (or another took the slot).
cdef u32 upstream_backend(Worker* w, u32 slot, u32 slot_gen) noexcept nogil
# Its address as text, *n bytes; NULL when it is gone.
cdef const u8* upstream_name(Worker* w, u32 slot, u32 slot_gen, u32* n) noexcept nogil
# Tells Python.
cdef void upstream_event(Worker* w, u32 kind, u32 slot, int error) noexcept nogil
cdef void upstream_report(Worker* w, const Event* event) noexcept nogil
