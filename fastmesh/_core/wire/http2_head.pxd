# Header blocks of HTTP/2 as HTTP/1.1 heads (RFC 9113 8; http2_write has the way back). A block becomes the text of the
# HTTP/1.1 head that means the same, which http1_head then reads: what that grammar refuses is refused here too, and
# routing, edits and logs know one form of a head.
# Law: the text of a block that is OK is lawful to http1_head; a block that is refused was still read to its end, so that
# the table stays in step; write then read == identity.
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.wire.hpack cimport HpackDecoder

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
    u32 fields              # field lines of the text, at most HEADERS_MAX; over it LIMIT. Cookies count as one

# What became of a block.
ctypedef struct HeadBlock:
    u32 off                 # where the text begins in out
    u32 n                   # its bytes, the empty line included
    u32 flags               # BlockFlag; of a block that is not OK, as far as it was understood
    u16 status              # responses
    u8 fault                # Http1Fault after BAD or LIMIT: why the message is malformed

# Reads a whole block into out: one half is for the text, the other is where Huffman text is undone. room >= 64 KiB, and
# for every lawful list to fit 64 KiB and twice limits.list_bytes; what does not fit is LIMIT.
# extended: :protocol is lawful (we sent SETTINGS_ENABLE_CONNECT_PROTOCOL).
# OK: the head's text is out[off .. off + n). BAD: malformed (RFC 9113 8.1.1): a stream error. LIMIT: over a limit (431).
# CLOSED: the block cannot be decoded: COMPRESSION_ERROR, the connection ends.
#
# The text of a request: its request line in origin form (authority form for CONNECT), Host from :authority, the fields
# with cookies joined (RFC 9113 8.2.3). Host next to an agreeing :authority is left out; its absence with it is refused,
# and so are schemes other than http and https: their targets are in HTTP/1 too. Of a response: the registered reason
# phrase. Of trailers: field lines and the empty line.
cdef int block_read(HpackDecoder* d, const u8* block, size_t n, u8 kind, bint extended, u8* out, size_t room,
                    const BlockLimits* limits, HeadBlock* result) noexcept nogil
