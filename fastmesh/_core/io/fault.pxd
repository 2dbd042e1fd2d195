# Why an exchange failed, and the one table that turns it into what the client sees.
# Law: no other file chooses a status code. Values below FAULT_LOCAL are wire's Http1Fault.
from fastmesh._core.base.types cimport u8, u16, u32

cdef enum Fault:
    FAULT_LOCAL = 40
    FAULT_NO_ROUTE = 40
    FAULT_NO_ENDPOINT
    FAULT_CONNECT
    FAULT_CONNECT_TIMEOUT
    FAULT_UPSTREAM_CLOSED       # before a whole response head
    FAULT_UPSTREAM_RESET        # same, by RST or a failed write
    FAULT_UPSTREAM_RESPONSE     # its response breaks the grammar
    FAULT_UPSTREAM_TRUNCATED    # closed inside the body
    FAULT_REQUEST_TIMEOUT
    FAULT_PER_TRY_TIMEOUT
    FAULT_STREAM_TIMEOUT
    FAULT_HEADER_TIMEOUT
    FAULT_CONNECTION_LIMIT
    FAULT_PENDING_LIMIT
    FAULT_OVERLOAD              # a slab or pool is exhausted
    FAULT_CLIENT_CLOSED
    FAULT_STOPPED               # the worker was told to stop at once
    FAULT_CLIENT_TIMEOUT        # the client neither sent nor read within the stream timeout
    FAULT_UPGRADE_REFUSED       # the upstream switched protocols although nobody asked
    FAULT_UPGRADE_FAILED        # the upstream answered an upgrade of an HTTP/2 client as if it were one, but not by its rules
    FAULT_UPGRADE_UNSUPPORTED   # the upstream's HTTP/2 does not take extended CONNECT
    FAULT_PROXY_HEADER          # a client's PROXY protocol header is missing or malformed
    FAULT_UPSTREAM_CANCELLED    # the server of a gRPC call reset it with CANCEL, and not at its deadline
    FAULT_LOOP                  # an intercepted connection that would come back to us
    FAULT_COUNT

ctypedef struct FaultRow:
    const char* name    # metrics and log label
    const char* text    # what the client reads
    u16 status
    u16 grpc            # grpc-status that a gRPC client gets instead, with 200
    u8 upstream         # 1: counts against the endpoint

cdef const FaultRow* fault_row(u32 fault) noexcept nogil
