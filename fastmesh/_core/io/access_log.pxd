# One line for every exchange, formatted here and left in the worker's ring; another thread writes it out.
# Law: never waits; a full ring drops the line and counts it. Client bytes are escaped before they reach the line.
from fastmesh._core.base.types cimport i64, u8, u16, u32
from fastmesh._core.io.state cimport Conn, Exchange, Worker

cdef enum:
    LOG_PARTS_MAX = 128
    LOG_TARGET_MAX = 4096       # bytes kept of the target; escaped it still fits a line
    LOG_FIELD_MAX = 1024        # bytes kept of any other request text
    LOG_LINE_MAX = 65536

cdef enum LogField:
    LOG_LITERAL = 0
    LOG_CLIENT_ADDR
    LOG_CLIENT_PORT
    LOG_TIME_LOCAL
    LOG_TIME_ISO
    LOG_STATUS
    LOG_REQUEST_BYTES
    LOG_RESPONSE_BYTES
    LOG_DURATION_MS
    LOG_DURATION_US
    LOG_UPSTREAM_ADDR
    LOG_UPSTREAM_MS
    LOG_LISTENER
    LOG_ROUTE
    LOG_FAULT
    LOG_RETRIES
    LOG_BODY_BYTES              # of the response, as they went over the wire
    LOG_GRPC_STATUS             # number; nothing when the exchange was no gRPC or had none
    LOG_REQUEST = 32            # from here on: kept from the request head
    LOG_METHOD = 32
    LOG_TARGET
    LOG_VERSION
    LOG_HOST
    LOG_USER_AGENT
    LOG_REFERER
    LOG_HEADER                  # the request field that the part names

ctypedef struct LogPart:
    u8 field                    # LogField
    u32 off                     # literal text, or the lower-case field name, in the blob
    u32 n

ctypedef struct LogTemplate:
    u32 count
    u8 escape                   # 0 \xNN, 1 JSON
    u8* blob                    # owns
    LogTemplate* older          # owns: the one before it
    LogPart parts[LOG_PARTS_MAX]

# Keeps what the line needs of the request head, which is in w.head with its bytes at `data`.
cdef void access_log_begin(Worker* w, Exchange* x, const u8* data) noexcept nogil
# Of a relayed connection the version is TCP or TLS and the host the server name it asks for; it has no other request text.
cdef void access_log_end(Worker* w, Exchange* x, const Conn* down) noexcept nogil
# For a request that never became an exchange. grpc_status: and one; 0: none.
cdef void access_log_refused(Worker* w, const Conn* down, u16 status, u16 grpc_status, u32 fault, u32 head_bytes,
                             u32 body_bytes) noexcept nogil
