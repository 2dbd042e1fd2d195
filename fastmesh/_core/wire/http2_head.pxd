# Header blocks of HTTP/2 as HTTP/1.1 heads, and back (RFC 9113 8). A block becomes the text of the HTTP/1.1 head that means
# the same, which http1_head then reads: what that grammar refuses is refused here too, and routing, edits and logs know one
# form of a head.
# Law: a block that is refused was still read to its end, so that the table stays in step; write then read == identity.
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64
from fastmesh._core.wire.hpack cimport HpackDecoder, HpackEncoder
from fastmesh._core.wire.http1_types cimport Http1Head
from fastmesh._core.wire.http1_write cimport HeadEdit

cdef enum BlockKind:
    BLOCK_REQUEST = 0
    BLOCK_RESPONSE
    BLOCK_TRAILERS

cdef enum BlockFlag:
    BLOCK_CONNECT = 1       # CONNECT without :protocol
    BLOCK_EXTENDED = 2      # CONNECT with :protocol (RFC 8441): the text is a GET with Upgrade
    BLOCK_INTERIM = 4       # a 1xx response
    BLOCK_GRPC = 8          # content-type begins with application/grpc (application/grpc-web does not)
    BLOCK_NEVER = 16        # some field was never-indexed: write the head again with EDIT_NEVER (RFC 7541 6.2.3)

ctypedef struct BlockLimits:
    u32 list_bytes          # header list size (RFC 9113 6.5.2: names, values and 32 each); over it LIMIT
    u32 fields              # over it LIMIT

# What became of a block.
ctypedef struct HeadBlock:
    u32 off                 # where the text begins in out
    u32 n                   # its bytes, the empty line included
    u32 flags               # BlockFlag
    u16 status              # responses
    u8 fault                # Http1Fault after BAD or LIMIT: why the message is malformed

# Reads a whole block into out (room >= 64 KiB more than limits.list_bytes; the text need not begin at its start).
# OK: the head's text is out[off .. off + n). BAD: malformed (RFC 9113 8.1.1): a stream error. LIMIT: over a limit (431).
# CLOSED: the block cannot be decoded: COMPRESSION_ERROR, the connection ends.
cdef int block_read(HpackDecoder* d, const u8* block, size_t n, u8 kind, bint extended, u8* out, size_t room,
                    const BlockLimits* limits, HeadBlock* result) noexcept nogil
# Writes a parsed HTTP/1.1 head (of either origin, with its bytes at data) and an edit as a block: bytes, or FULL.
# Fields that the edit or their `drop` leaves out stay out, and so does whatever HTTP/2 forbids (RFC 9113 8.2.2).
# scheme_https: for :scheme. A request with an upgrade the edit forwards becomes an extended CONNECT.
cdef i64 block_request_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                             const HeadEdit* edit) noexcept nogil
cdef i64 block_response_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                              const HeadEdit* edit) noexcept nogil
# A trailer section (parsed by http1_trailers_parse) without dropped fields.
cdef i64 block_trailers_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data) noexcept nogil
# Sec-WebSocket-Accept of a key (RFC 6455 4.2.2): 28 bytes. For upgrades that cross HTTP/2, where there is none.
cdef void websocket_accept(const u8* key, size_t n, u8* out) noexcept nogil
