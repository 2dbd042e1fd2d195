# The chunked coding (RFC 9112 7.1) as a decoder that walks chunk by chunk.
# Law: whole == byte-by-byte; the trailer section is not part of it (http1_trailers_parse reads that).
from fastmesh._core.base.types cimport u8, u16, u32, u64

cdef enum:
    CHUNK_EXTRA = 32             # what chunked_write adds to its data, and a last chunk
    CHUNK_LINE_MAX = 4096        # one chunk-size line with extensions
    CHUNK_OVERHEAD_MAX = 65536   # extension bytes of one body beyond which it is refused (each costs us, none helps)

ctypedef struct Chunked:
    u64 left_bytes      # of the current chunk's data
    u32 overhead_bytes  # extension bytes so far
    u16 line_bytes      # of the current size line
    u8 state            # private
    u8 fault            # Http1Fault when a call answered BAD

cdef void chunked_init(Chunked* c) noexcept nogil
# Walks over raw chunked bytes to relay them as they are. *used: bytes that are lawful and belong to this body;
# *payload: how many of those are data. OK: the last-chunk line was consumed (used ends right after its CRLF; trailers
# follow). AGAIN: all n bytes were consumed, more to come. BAD: see fault; *used bytes before it were lawful.
cdef int chunked_scan(Chunked* c, const u8* data, size_t n, size_t* used, size_t* payload) noexcept nogil
# The same, and moves the payload together to data[0 .. *payload), for a receiver that knows no chunks.
cdef int chunked_strip(Chunked* c, u8* data, size_t n, size_t* used, size_t* payload) noexcept nogil
# One chunk of these bytes (n > 0) at out, which has room for them and CHUNK_EXTRA. Bytes written.
cdef u32 chunked_write(u8* out, const u8* data, u32 n) noexcept nogil
# The last chunk, and the trailer section that may follow it (`tail_n` bytes; 0: none). Bytes written.
cdef u32 chunked_finish(u8* out, const u8* tail, u32 tail_n) noexcept nogil
