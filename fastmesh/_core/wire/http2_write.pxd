# HTTP/1.1 heads as header blocks of HTTP/2 (RFC 9113 8): a parsed head, of either origin, and an edit become a block.
# Law: what goes out is lawful HTTP/2 whatever the edit; http2_head reads the same head back. FULL leaves table and
# output as they were.
from fastmesh._core.base.types cimport u8, i64
from fastmesh._core.wire.edit cimport HeadEdit
from fastmesh._core.wire.hpack cimport HpackEncoder
from fastmesh._core.wire.http1_types cimport Http1Head

cdef enum:
    BLOCK_WRITE_SLACK = 4096

# Bytes of room with which the writers never answer FULL; with less they do so before anything is written. The last of
# them are work space, the block itself is about as long as the head at most.
cdef inline size_t block_room(const Http1Head* head) noexcept nogil:
    return <size_t>3 * head.head_bytes + <size_t>20 * head.nfields + BLOCK_WRITE_SLACK

# Bytes, or FULL. Fields that the edit or their `drop` leaves out stay out, and so does whatever HTTP/2 forbids
# (RFC 9113 8.2.2); EDIT_CLOSE, EDIT_KEEP_ALIVE and EDIT_CHUNKED mean nothing here. edit.https is for :scheme, too.
# A CONNECT has :method and :authority alone of the pseudo-headers; an upgrade is written as block_tunnels says.
cdef i64 block_request_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                             const HeadEdit* edit) noexcept nogil
# Whether block_request_write makes an extended CONNECT (RFC 8441) of this request: a GET whose upgrade the edit forwards
# and that offers one protocol without a version (h2c not counted). Any other upgrade is left out.
cdef bint block_tunnels(const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil
# 101 has no place in HTTP/2 (RFC 9113 8.6): it goes out as the 200 that accepts an extended CONNECT, without
# Sec-WebSocket-Accept.
cdef i64 block_response_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                              const HeadEdit* edit) noexcept nogil
# A trailer section (parsed by http1_trailers_parse) without dropped fields. never: as EDIT_NEVER.
cdef i64 block_trailers_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                              bint never) noexcept nogil
