# One client or origin of a worker, at the other end of its socket (io_fuzz). Law: it never blocks; what does not fit is lost.
from fastmesh._core.base.types cimport u8, u32, u64

# One client or origin.
ctypedef struct Peer:
    int fd                  # -1: none
    u8 http2
    u8 deaf                 # it does not read
    u8 origin               # the worker dialled it
    u8 helpful              # an origin that answers by itself
    int law                 # first of 20 (frame too long), 21 (stream out of order), 22 (word of an idle stream) that broke
    u32 next_id             # of a client's next request
    # what it read
    u8 head[9]
    u32 have
    u32 skip                # bytes of the preface, or of a payload, still to come
    u32 top                 # highest stream begun by the worker; a client's: 1 once it read
    u64 seen                # bit per such stream below 128

# Header blocks from the static table, so that any of them may come at any time, and HTTP/1.
cdef const char* REQUESTS[8]
cdef u32 REQUEST_N[8]
cdef const char* RESPONSES[8]
cdef u32 RESPONSE_N[8]
cdef const char* CLIENT_TEXTS[8]
cdef const char* ORIGIN_TEXTS[8]

# law and helpful stay.
cdef void peer_init(Peer* p, bint origin) noexcept nogil
cdef void peer_send(Peer* p, const u8* data, size_t n) noexcept nogil
cdef void peer_frame(Peer* p, u8 type, u8 flags, u32 id, const u8* payload, u32 n) noexcept nogil
cdef void peer_close(Peer* p) noexcept nogil
# Reads and looks at all that is there. An HTTP/2 origin sends its SETTINGS.
cdef void peer_read(Peer* p) noexcept nogil
