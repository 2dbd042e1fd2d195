# An HTTP/2 connection and every frame that leaves on it (RFC 9113). What comes in is io/http2's affair.
# Law: frames are written into the connection's outb and leave at the end of the turn; a stream that cannot go on waits in the
# session's list until there is room and window.
from fastmesh._core.base.slab cimport slab_live
from fastmesh._core.base.types cimport i64, u8, u32
from fastmesh._core.io.state cimport Conn, Session, Worker

cdef enum:
    OUT_HIGH = 131072           # bytes in outb from which on no DATA is added
    OUT_HEAD_HIGH = 98304       # and no head is begun
    CONTROL_ROOM = 4096         # of outb, kept for control frames
    SESSION_WINDOW = 1048576    # what a peer may send on all streams of a connection together

cdef inline Session* session_of(Worker* w, const Conn* c) noexcept nogil:
    return <Session*>slab_live(&w.sessions, c.session - 1)

# The connection speaks HTTP/2 from here on: our SETTINGS (and preface) are written. NULL: the slab is full.
cdef Session* session_new(Worker* w, Conn* c, u32 flags, i64 idle_ns) noexcept nogil
cdef void session_free(Worker* w, Conn* c) noexcept nogil
# Room for n more bytes in outb.
cdef bint session_room(Worker* w, Conn* c, size_t n) noexcept nogil
# A frame for which there is room.
cdef void session_put(Worker* w, Conn* c, Session* s, u8 type, u8 flags, u32 id, const u8* payload, u32 n) noexcept nogil
# A control frame. Without room the peer does not read what it asked for: the connection is broken.
cdef void session_frame(Worker* w, Conn* c, Session* s, u8 type, u8 flags, u32 id, const u8* payload, u32 n) noexcept nogil
cdef void session_reset(Worker* w, Conn* c, Session* s, u32 id, u32 error) noexcept nogil
cdef void session_update(Worker* w, Conn* c, Session* s, u32 id, u32 n) noexcept nogil
# GOAWAY; no stream begins from here on.
cdef void session_goaway(Worker* w, Conn* c, Session* s, u32 last_id, u32 error) noexcept nogil
# The stream has more to send. head: a head, which needs no window; it goes before all that do.
cdef void session_wait(Worker* w, Session* s, Conn* c, bint head) noexcept nogil
cdef void session_unwait(Worker* w, Session* s, Conn* c) noexcept nogil
# Streams that wait get their turn, as far as windows and room go.
cdef void session_wake(Worker* w, Conn* c, Session* s) noexcept nogil
# Its last stream is gone: it may close, or rest.
cdef void session_rest(Worker* w, Session* s) noexcept nogil
cdef void session_flush_later(Worker* w, Session* s) noexcept nogil
# Writes out what the turn has put into outb of every session.
cdef void sessions_flush(Worker* w) noexcept nogil
