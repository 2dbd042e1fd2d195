# What the fields of a head mean for its message: framing, persistence, host, upgrade, and which fields stay behind.
# Law: decided once, from all fields of a grammatical head; the first fault of a fixed order is the verdict.
from fastmesh._core.base.types cimport u8, u16, u32, u64, i32
from fastmesh._core.wire.headers cimport (
    FIELD_CONNECTION, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_PROXY_CONNECTION, FIELD_TE, FIELD_UPGRADE,
)
from fastmesh._core.wire.http1_types cimport Http1Head

cdef enum:
    # Bits of the FieldIds that never go past one hop, whatever Connection names (RFC 9110 7.6.1).
    HOP_BY_HOP = (
        1 << FIELD_CONNECTION | 1 << FIELD_KEEP_ALIVE | 1 << FIELD_PROXY_CONNECTION | 1 << FIELD_TE
        | 1 << FIELD_UPGRADE | 1 << FIELD_HTTP2_SETTINGS
    )
    CONNECTION_NAMES_MAX = 64   # names in Connection fields; more is an attack on who must look each of them up

# Gathered while the fields are read.
ctypedef struct FieldFacts:
    u32 seen        # bit per FieldId
    u32 repeated    # bit per FieldId: more than once
    u16 last[32]    # by FieldId: index of the last such field; valid when its seen bit is set

# Fills framing, flags, authority (when the target has none), upgrade, max_forwards, drop. FAULT_NONE or why not.
cdef u8 fields_settle(Http1Head* head, const u8* data, const FieldFacts* facts, bint request) noexcept nogil
# Sets drop on what a trailer section must not carry (RFC 9110 6.5.1).
cdef void trailers_settle(Http1Head* head, const u8* data) noexcept nogil
# Index of the first field with this lower-case name, or -1. For names without a FieldId.
cdef i32 field_find(const Http1Head* head, const u8* data, const char* name) noexcept nogil
# 1*DIGIT no larger than 2^63-1.
cdef bint number_parse(const u8* p, size_t n, u64* out) noexcept nogil
