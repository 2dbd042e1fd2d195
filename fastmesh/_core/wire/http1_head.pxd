# HTTP/1 heads: bytes in, offsets out (RFC 9112, RFC 9110). One strict grammar for requests and responses.
# Law: whole == byte-by-byte == every split, in verdict, fault and offsets. Never reads past data[len-1].
from fastmesh._core.base.types cimport u8
from fastmesh._core.wire.http1_types cimport (
    Method, METHOD_OTHER, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_CONNECT,
    METHOD_OPTIONS, METHOD_TRACE, METHOD_PATCH, TargetForm, TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY,
    TARGET_ASTERISK, Framing, FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_TUNNEL, Http1Flag,
    HEAD_KEEP_ALIVE, HEAD_CLOSE, HEAD_UPGRADE, HEAD_TE_TRAILERS, HEAD_EXPECT_CONTINUE, HEAD_DROPS, HEAD_HAS_LENGTH,
    HEAD_MAX_FORWARDS, HEAD_HAS_DATE, HEAD_HAS_VIA, Http1Fault, FAULT_NONE, FAULT_REQUEST_LINE, FAULT_METHOD,
    FAULT_TARGET, FAULT_VERSION, FAULT_VERSION_UNSUPPORTED, FAULT_STATUS_LINE, FAULT_FIELD_NAME, FAULT_FIELD_VALUE,
    FAULT_OBS_FOLD, FAULT_BARE_CR, FAULT_BARE_LF, FAULT_CONTENT_LENGTH, FAULT_LENGTH_AND_CODING, FAULT_CODING,
    FAULT_CODING_UNKNOWN, FAULT_HOST_MISSING, FAULT_HOST_REPEATED, FAULT_HOST, FAULT_HOST_MISMATCH, FAULT_CHUNK_SIZE,
    FAULT_CHUNK_EXTENSION, FAULT_CHUNK_END, FAULT_TRAILER, FAULT_LINE_TOO_LONG, FAULT_HEAD_TOO_LONG,
    FAULT_TOO_MANY_FIELDS, FAULT_CONNECTION, FAULT_UPGRADE, FAULT_PSEUDO, FAULT_CONNECTION_FIELD, Http1Limits,
    Http1Resume, Http1Head,
)

# OK: head complete, everything above is set. AGAIN: incomplete. BAD, LIMIT: head.fault says why.
# data is the message from its first byte, all bytes received so far (a buffer that only grew since the last call).
cdef int http1_request_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                             const Http1Limits* limits) noexcept nogil
cdef int http1_response_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                              const Http1Limits* limits) noexcept nogil
# A trailer section: field lines and the empty line. Forbidden ones (framing, routing, connection: RFC 9110 6.5.1) get
# drop set. Fills head_bytes, nfields, fields. Same answers as above.
cdef int http1_trailers_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                              const Http1Limits* limits) noexcept nogil
# Whether it has no body whatever it announces (RFC 9112 6.3, points 1 and 2).
cdef bint http1_response_bodiless(const Http1Head* head, u8 request_method) noexcept nogil
# How the body of this response ends, given the request's method (RFC 9112 6.3): a Framing.
cdef u8 http1_response_framing(const Http1Head* head, u8 request_method) noexcept nogil
