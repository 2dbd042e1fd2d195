# The field table both codecs fill and everyone downstream of them reads.
# Law: a field is offsets into the message's bytes, never a pointer; it is meaningless without its base.
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.ffi.simd cimport fm_field_id, fm_is_token

cdef enum:
    # A hard ceiling of the table; the setting `limits.header_fields` is at most this.
    HEADERS_MAX = 1024

cdef enum FieldId:
    FIELD_OTHER = 0
    FIELD_CONNECTION
    FIELD_CONTENT_LENGTH
    FIELD_TRANSFER_ENCODING
    FIELD_HOST
    FIELD_TE
    FIELD_TRAILER
    FIELD_UPGRADE
    FIELD_KEEP_ALIVE
    FIELD_PROXY_CONNECTION
    FIELD_EXPECT
    FIELD_DATE
    FIELD_VIA
    FIELD_MAX_FORWARDS
    FIELD_FORWARDED
    FIELD_X_FORWARDED_FOR
    FIELD_X_FORWARDED_PROTO
    FIELD_USER_AGENT
    FIELD_REFERER
    FIELD_CONTENT_TYPE
    FIELD_GRPC_TIMEOUT
    FIELD_COOKIE
    FIELD_AUTHORIZATION
    FIELD_PROXY_AUTHORIZATION
    FIELD_HTTP2_SETTINGS

ctypedef struct Field:
    u32 name_off    # bytes from the message's first byte
    u32 value_off   # same; value without surrounding blanks
    u32 value_len
    u16 name_len
    u8 id           # FieldId
    u8 drop         # 1: hop-by-hop, named by Connection, or replaced: not forwarded

# Which FieldId a lower- or mixed-case name is; FIELD_OTHER when none.
cdef inline u8 field_id(const u8* name, size_t n) noexcept nogil:
    return fm_field_id(name, n) if fm_is_token(name, n, n) else <u8>0
