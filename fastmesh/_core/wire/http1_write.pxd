# HTTP/1 heads out: a parsed head and an edit become bytes. Untouched runs of fields are copied whole.
# Law: write then parse == identity on everything the edit does not name. Never writes past out[room-1].
from fastmesh._core.base.types cimport u8, u16, i64
from fastmesh._core.wire.edit cimport (
    EditFlag, EDIT_CLOSE, EDIT_KEEP_ALIVE, EDIT_UPGRADE, EDIT_DROP_CODING, EDIT_DROP_LENGTH, EDIT_DROP_EXPECT,
    EDIT_TE_TRAILERS, EDIT_TYPE, EDIT_MAX_FORWARDS, EDIT_FORWARDED, EDIT_XFF, EDIT_XFF_REPLACE, EDIT_CHUNKED,
    EDIT_NEVER, HeadEdit,
)
from fastmesh._core.wire.http1_head cimport Http1Head

# Bytes written, or FULL. Request: always HTTP/1.1, origin form ("*" for OPTIONS, authority form for CONNECT); for an
# absolute target Host becomes its authority. Existing Via is kept and ours appended as one more line.
cdef i64 http1_request_write(u8* out, size_t room, const Http1Head* head, const u8* data,
                             const HeadEdit* edit) noexcept nogil
cdef i64 http1_response_write(u8* out, size_t room, const Http1Head* head, const u8* data,
                              const HeadEdit* edit) noexcept nogil
# The 2xx of an extended CONNECT (RFC 8441) as the 101 to the HTTP/1.1 request that it came of: `upgrade` is that request's
# Upgrade, whose h2c (if any) was not asked for; `accept` is Sec-WebSocket-Accept, NULL for none.
cdef i64 http1_switch_write(u8* out, size_t room, const Http1Head* head, const u8* data, const HeadEdit* edit,
                            const u8* upgrade, size_t upgrade_n, const u8* accept) noexcept nogil
# The trailer section without dropped fields, with its empty line.
cdef i64 http1_trailers_write(u8* out, size_t room, const Http1Head* head, const u8* data) noexcept nogil
# A proxy-made response with a text/plain body. `error` goes to the fastmesh-error field and the body.
cdef i64 http1_error_write(u8* out, size_t room, u16 status, const u8* error, size_t error_len, const u8* date,
                           bint close, bint head_only) noexcept nogil
