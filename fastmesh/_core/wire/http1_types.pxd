# What an HTTP/1 head is made of (RFC 9112, RFC 9110); http1_head fills it and shows all of it to its users.
# Law: offsets from the message's first byte, never pointers.
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.wire.headers cimport Field, HEADERS_MAX

cdef enum Method:
    METHOD_OTHER = 0     # a valid token that is none of these
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_CONNECT
    METHOD_OPTIONS
    METHOD_TRACE
    METHOD_PATCH

cdef enum TargetForm:
    TARGET_ORIGIN = 0    # /path?query
    TARGET_ABSOLUTE      # http://host/path?query
    TARGET_AUTHORITY     # host:port, CONNECT only
    TARGET_ASTERISK      # *, OPTIONS only

cdef enum Framing:
    FRAMING_NONE = 0     # no body
    FRAMING_LENGTH       # content_length bytes
    FRAMING_CHUNKED
    FRAMING_CLOSE        # responses only: until the connection closes
    FRAMING_TUNNEL       # 101, or 2xx to CONNECT: the connection stops being HTTP

cdef enum Http1Flag:
    HEAD_KEEP_ALIVE = 1          # the connection persists after this message (RFC 9112 9.3, version and Connection)
    HEAD_CLOSE = 2               # Connection: close was said
    HEAD_UPGRADE = 4             # Connection names Upgrade and an Upgrade field is present that is not empty or only h2c
    HEAD_TE_TRAILERS = 8         # TE lists trailers
    HEAD_EXPECT_CONTINUE = 16    # Expect: 100-continue
    HEAD_DROPS = 32              # at least one field has drop set
    HEAD_HAS_LENGTH = 64         # a valid Content-Length is present (also where it does not frame a body: HEAD, 304)
    HEAD_MAX_FORWARDS = 128      # a valid Max-Forwards is present; its number is in max_forwards
    HEAD_HAS_DATE = 256
    HEAD_HAS_VIA = 512

# Why a head was refused. io/exchange maps each to a status and a reason; nobody else does.
cdef enum Http1Fault:
    FAULT_NONE = 0
    FAULT_REQUEST_LINE           # malformed start line
    FAULT_METHOD                 # not a token
    FAULT_TARGET                 # not one of the four forms, or bytes not allowed in it
    FAULT_VERSION                # not HTTP/d.d
    FAULT_VERSION_UNSUPPORTED    # HTTP/d.d but not 1.0 or 1.1 (505)
    FAULT_STATUS_LINE
    FAULT_FIELD_NAME             # empty, not a token, or blank before the colon
    FAULT_FIELD_VALUE            # NUL or control byte
    FAULT_OBS_FOLD
    FAULT_BARE_CR
    FAULT_BARE_LF
    FAULT_CONTENT_LENGTH         # malformed, too large, or repeated (equal or not)
    FAULT_LENGTH_AND_CODING      # Content-Length with Transfer-Encoding
    FAULT_CODING                 # malformed Transfer-Encoding, or chunked not last or repeated, or with HTTP/1.0
    FAULT_CODING_UNKNOWN         # a well-formed transfer coding other than chunked (501)
    FAULT_HOST_MISSING
    FAULT_HOST_REPEATED
    FAULT_HOST                   # malformed Host or authority
    FAULT_HOST_MISMATCH          # Host contradicts an absolute target or a CONNECT target
    FAULT_CHUNK_SIZE
    FAULT_CHUNK_EXTENSION
    FAULT_CHUNK_END              # no CRLF after chunk data
    FAULT_TRAILER
    FAULT_LINE_TOO_LONG          # request line over its limit (414)
    FAULT_HEAD_TOO_LONG          # head over limits.head_bytes, or a field line over limits.field_line_bytes (431)
    FAULT_TOO_MANY_FIELDS        # (431)
    FAULT_CONNECTION             # malformed Connection, or it names a field it must not (Host, Content-Length, ...)
    FAULT_UPGRADE                # an upgrade that cannot be forwarded safely (malformed, or with a request body)
    FAULT_PSEUDO                 # HTTP/2: a pseudo-header missing, repeated, unknown or misplaced (RFC 9113 8.3)
    FAULT_CONNECTION_FIELD       # HTTP/2: a connection-specific field, or TE other than trailers (RFC 9113 8.2.2)
    FAULT_WEB_TEXT               # a body: gRPC-Web's text is no base64

ctypedef struct Http1Limits:
    u32 head_bytes          # start line, fields and the empty line together; default 65536
    u32 line_bytes          # start line; default 16384
    u32 field_line_bytes    # one field line; default 65536
    u32 fields              # number of fields, <= HEADERS_MAX; default 128

# What survives between two calls for one message while it is incomplete. Zero it for every new message.
ctypedef struct Http1Resume:
    u32 seen_bytes          # bytes that earlier calls have looked at
    u32 line_off            # where the incomplete line starts
    u32 lines               # private: field lines read before it, and one; 0 while the start line is incomplete

ctypedef struct Http1Head:
    u32 head_bytes          # all of the head, empty line included
    u32 line_bytes          # start line with its CRLF (and any empty lines skipped before it are in line_off)
    u32 line_off            # where the start line begins: > 0 after leading empty lines (RFC 9112 2.2, at most a few)
    u32 target_off          # request: the whole target. response: the reason phrase
    u32 target_len
    u32 path_off            # request: path and query as sent to an origin ("/..." or "*"); empty for CONNECT and
    u32 path_len            #   for an absolute target without path (which means "/", or "*" for OPTIONS). Absolute and
                            #   no path but a query: begins at its "?" (an origin is sent "/" before it)
    u32 query_off           # offset of the first byte after '?', 0 when there is no query
    u32 authority_off       # request: the host[:port] to route by: of an absolute or authority target, else of Host
    u32 authority_len
    u32 host_len            # of those, the host without :port (IPv6 literals with brackets)
    u32 upgrade_off         # value of Upgrade
    u32 upgrade_len
    u32 method_len          # request; method begins at line_off
    u16 status              # response: 100..999 (anything else is BAD)
    u16 flags               # Http1Flag
    u8 method               # Method
    u8 form                 # TargetForm
    u8 minor                # 0 or 1 of HTTP/1.x (an HTTP/1.2+ minor is served as 1)
    u8 framing              # Framing of a request (Content-Length: 0 is NONE); of a response see http1_response_framing
    u8 fault                # Http1Fault when a call answered BAD or LIMIT
    u8 max_forwards         # capped at 255
    u16 nfields
    u64 content_length      # when HEAD_HAS_LENGTH
    Field fields[HEADERS_MAX]
