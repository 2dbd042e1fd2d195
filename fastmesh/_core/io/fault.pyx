from fastmesh._core.wire.http1_head cimport (
    FAULT_BARE_CR, FAULT_BARE_LF, FAULT_CHUNK_END, FAULT_CHUNK_EXTENSION, FAULT_CHUNK_SIZE, FAULT_CODING,
    FAULT_CODING_UNKNOWN, FAULT_CONNECTION, FAULT_CONTENT_LENGTH, FAULT_FIELD_NAME, FAULT_FIELD_VALUE,
    FAULT_HEAD_TOO_LONG, FAULT_HOST, FAULT_HOST_MISMATCH, FAULT_HOST_MISSING, FAULT_HOST_REPEATED,
    FAULT_LENGTH_AND_CODING, FAULT_LINE_TOO_LONG, FAULT_METHOD, FAULT_NONE, FAULT_OBS_FOLD, FAULT_REQUEST_LINE,
    FAULT_STATUS_LINE, FAULT_TARGET, FAULT_TOO_MANY_FIELDS, FAULT_TRAILER, FAULT_UPGRADE, FAULT_VERSION,
    FAULT_VERSION_UNSUPPORTED, FAULT_PSEUDO, FAULT_CONNECTION_FIELD,
)
from fastmesh._core.wire.http1_types cimport FAULT_WEB_TEXT

cdef enum:
    ROWS = 64
    GRPC_CANCELLED = 1
    GRPC_DEADLINE_EXCEEDED = 4
    GRPC_RESOURCE_EXHAUSTED = 8
    GRPC_UNIMPLEMENTED = 12
    GRPC_INTERNAL = 13
    GRPC_UNAVAILABLE = 14

cdef FaultRow[ROWS] TABLE


# By gRPC's table of HTTP codes (doc/http-grpc-status-mapping.md), but where gRPC has a code that says it better: the
# deadline, whichever side let it pass, what was cancelled, and what was too long (its servers say RESOURCE_EXHAUSTED).
cdef u16 grpc_of(u32 fault, u16 status) noexcept nogil:
    if fault == FAULT_REQUEST_TIMEOUT or fault == FAULT_CLIENT_TIMEOUT:
        return GRPC_DEADLINE_EXCEEDED
    if status == 404 or status == 501 or status == 505:
        return GRPC_UNIMPLEMENTED
    if status == 499 or fault == FAULT_UPSTREAM_CANCELLED:
        return GRPC_CANCELLED
    if status == 431 or status == 414:
        return GRPC_RESOURCE_EXHAUSTED
    return <u16>(GRPC_UNAVAILABLE if 502 <= status <= 504 else GRPC_INTERNAL)


cdef void row(u32 fault, u16 status, u8 upstream, const char* name, const char* text) noexcept nogil:
    TABLE[fault].status = status
    TABLE[fault].upstream = upstream
    TABLE[fault].name = name
    TABLE[fault].text = text
    TABLE[fault].grpc = grpc_of(fault, status)


cdef void build_requests() noexcept nogil:
    row(FAULT_NONE, 500, 0, "none", "internal error")
    row(FAULT_REQUEST_LINE, 400, 0, "bad_request_line", "malformed request line")
    row(FAULT_METHOD, 400, 0, "bad_method", "malformed method")
    row(FAULT_TARGET, 400, 0, "bad_target", "malformed request target")
    row(FAULT_VERSION, 400, 0, "bad_version", "malformed HTTP version")
    row(FAULT_VERSION_UNSUPPORTED, 505, 0, "unsupported_version", "HTTP version not supported")
    row(FAULT_STATUS_LINE, 502, 1, "bad_status_line", "malformed status line")
    row(FAULT_FIELD_NAME, 400, 0, "bad_field_name", "malformed field name")
    row(FAULT_FIELD_VALUE, 400, 0, "bad_field_value", "control byte in a field value")
    row(FAULT_OBS_FOLD, 400, 0, "obs_fold", "folded field line")
    row(FAULT_BARE_CR, 400, 0, "bare_cr", "CR without LF")
    row(FAULT_BARE_LF, 400, 0, "bare_lf", "LF without CR")
    row(FAULT_CONTENT_LENGTH, 400, 0, "bad_content_length", "malformed or repeated Content-Length")
    row(FAULT_LENGTH_AND_CODING, 400, 0, "length_and_coding", "Content-Length with Transfer-Encoding")
    row(FAULT_CODING, 400, 0, "bad_transfer_coding", "malformed Transfer-Encoding")
    row(FAULT_CODING_UNKNOWN, 501, 0, "unknown_transfer_coding", "transfer coding not implemented")
    row(FAULT_HOST_MISSING, 400, 0, "host_missing", "Host is missing")
    row(FAULT_HOST_REPEATED, 400, 0, "host_repeated", "Host is repeated")
    row(FAULT_HOST, 400, 0, "bad_host", "malformed Host")
    row(FAULT_HOST_MISMATCH, 400, 0, "host_mismatch", "Host contradicts the request target")


cdef void build_bodies() noexcept nogil:
    row(FAULT_CHUNK_SIZE, 400, 0, "bad_chunk_size", "malformed chunk size")
    row(FAULT_CHUNK_EXTENSION, 400, 0, "bad_chunk_extension", "malformed or oversized chunk extension")
    row(FAULT_CHUNK_END, 400, 0, "bad_chunk_end", "chunk data without its CRLF")
    row(FAULT_WEB_TEXT, 400, 0, "bad_grpc_web_text", "gRPC-Web body is not base64")
    row(FAULT_TRAILER, 400, 0, "bad_trailer", "malformed trailer section")
    row(FAULT_LINE_TOO_LONG, 414, 0, "line_too_long", "request line over its limit")
    row(FAULT_HEAD_TOO_LONG, 431, 0, "head_too_long", "header section over its limit")
    row(FAULT_TOO_MANY_FIELDS, 431, 0, "too_many_fields", "too many header fields")
    row(FAULT_CONNECTION, 400, 0, "bad_connection", "malformed or forbidden Connection option")
    row(FAULT_UPGRADE, 400, 0, "bad_upgrade", "upgrade that cannot be forwarded")
    row(FAULT_PSEUDO, 400, 0, "bad_pseudo_header", "malformed pseudo-header")
    row(FAULT_CONNECTION_FIELD, 400, 0, "connection_field", "connection-specific field in HTTP/2")


cdef void build_local() noexcept nogil:
    row(FAULT_NO_ROUTE, 404, 0, "no_route", "no route matches")
    row(FAULT_NO_ENDPOINT, 503, 0, "no_endpoint", "no healthy endpoint")
    row(FAULT_CONNECT, 502, 1, "connect_failed", "upstream connection failed")
    row(FAULT_CONNECT_TIMEOUT, 504, 1, "connect_timeout", "upstream connection timed out")
    row(FAULT_UPSTREAM_CLOSED, 502, 1, "upstream_closed", "upstream closed before it answered")
    row(FAULT_UPSTREAM_RESET, 502, 1, "upstream_reset", "upstream connection was reset")
    row(FAULT_UPSTREAM_RESPONSE, 502, 1, "bad_response", "upstream response is malformed")
    row(FAULT_UPSTREAM_TRUNCATED, 502, 1, "upstream_truncated", "upstream closed inside its response")
    row(FAULT_REQUEST_TIMEOUT, 504, 1, "request_timeout", "request timeout")
    row(FAULT_PER_TRY_TIMEOUT, 504, 1, "per_try_timeout", "upstream did not answer in time")
    row(FAULT_STREAM_TIMEOUT, 504, 1, "stream_timeout", "no progress within the stream idle timeout")
    row(FAULT_HEADER_TIMEOUT, 408, 0, "header_timeout", "request head was not received in time")
    row(FAULT_CONNECTION_LIMIT, 503, 0, "connection_limit", "connection limit reached")
    row(FAULT_PENDING_LIMIT, 503, 0, "pending_limit", "too many requests wait for an upstream connection")
    row(FAULT_OVERLOAD, 503, 0, "overload", "out of buffers, connections or ports")
    row(FAULT_CLIENT_CLOSED, 499, 0, "client_closed", "client closed the connection")
    row(FAULT_STOPPED, 503, 0, "stopped", "proxy is stopping")
    row(FAULT_CLIENT_TIMEOUT, 408, 0, "client_timeout", "request body was not received in time")
    row(FAULT_UPGRADE_REFUSED, 502, 1, "unasked_upgrade", "upstream switched protocols unasked")
    row(FAULT_UPGRADE_FAILED, 502, 1, "upgrade_failed", "upstream did not complete the upgrade")
    row(FAULT_UPGRADE_UNSUPPORTED, 501, 0, "upgrade_unsupported", "upstream takes no upgrade over HTTP/2")
    row(FAULT_PROXY_HEADER, 400, 0, "bad_proxy_header", "PROXY protocol header missing or malformed")
    row(FAULT_UPSTREAM_CANCELLED, 502, 1, "upstream_cancelled", "upstream cancelled the call")
    row(FAULT_LOOP, 508, 0, "loop", "the connection would come back to the proxy")


cdef const FaultRow* fault_row(u32 fault) noexcept nogil:
    if fault >= FAULT_COUNT or TABLE[fault].name == NULL:
        return &TABLE[0]
    return &TABLE[fault]


build_requests()
build_bodies()
build_local()
