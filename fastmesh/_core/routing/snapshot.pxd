# The compiled config: what every worker reads and nobody writes after it is published.
# Law: built whole under the GIL, published by one release store, freed only after every worker's epoch has passed.
# Everything in it is flat arrays; text is (offset, length) into one blob. Indexes are into the snapshot's own arrays;
# slots and meter ids are Python's and stay the same across snapshots.
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64, f64
from fastmesh._core.wire.http1_head cimport Http1Limits

cdef enum:
    ROUTE_NONE = 0xFFFFFFFF
    HOST_ANY = 0            # host kinds
    HOST_EXACT = 1
    HOST_SUFFIX = 2         # "*.example.com": one label or more before the suffix
    PATH_ANY = 0            # path kinds
    PATH_EXACT = 1
    PATH_PREFIX = 2         # on segment bounds: /a matches /a and /a/b, not /ab
    HEADER_PRESENT = 0      # header match kinds
    HEADER_EXACT = 1
    HEADER_ABSENT = 2
    HTTP2_STREAMS_MAX = 1000        # streams on one HTTP/2 connection, either side: a stream table is never longer
    HTTP2_WINDOW_MIN = 65535        # RFC 9113 6.9.2: what every stream starts with
    HTTP2_WINDOW_MAX = 1048576      # one stream may take a whole connection's window, never more
    RETRY_GRPC_MASK = 0x1FFFF       # grpc-status 0 to 16

# How a listener takes what it accepts.
cdef enum ListenerProtocol:
    LISTENER_HTTP = 0       # HTTP/1 and HTTP/2, anything else is refused
    LISTENER_DETECT         # what the first bytes say, or who speaks first
    LISTENER_OPAQUE         # any bytes
    LISTENER_TLS            # TLS that is not ours, routed by its server name

# What a listener knows of where its connections were meant to go.
cdef enum ListenerRole:
    ROLE_NONE = 0           # nothing: clients connect to it
    ROLE_INBOUND            # redirected to it; they go on to the same address
    ROLE_OUTBOUND           # redirected to it; balanced when a route or backend is theirs, else to where they were meant to go
    ROLE_TPROXY             # inbound, and the socket's own address is the one that was meant
    ROLE_MAX

cdef enum:
    ADDRESS_KEY_BYTES = 20  # family, 0, port (network order), address, 0 behind IPv4: as bytes they compare and hash

cdef enum BalancerKind:
    BALANCER_P2C_EWMA = 0
    BALANCER_LEAST_REQUEST
    BALANCER_ROUND_ROBIN
    BALANCER_RANDOM

cdef enum UpstreamProtocol:
    UPSTREAM_AUTO = 0       # as the client came
    UPSTREAM_HTTP1
    UPSTREAM_HTTP2

# What a connection to an endpoint begins with.
cdef enum SendProxy:
    PROXY_OFF = 0
    PROXY_V1
    PROXY_V2

ctypedef struct Listener:
    u32 name_off            # for the access log
    u32 name_len
    u8 protocol             # ListenerProtocol
    u8 special              # 1: more than HTTP is expected of a connection before it is one
    u8 proxy                # 1: a PROXY protocol header begins each
    u8 role                 # ListenerRole

ctypedef struct HeaderMatch:
    u32 name_off            # lower case, in the blob
    u32 value_off
    u16 name_len
    u16 value_len
    u8 kind

# Of a TCP route the host is the server name of a ClientHello, and a header called "alpn" one of the protocols it offers.
ctypedef struct Route:
    u32 host_off            # lower case, no port, without "*" (a suffix starts with its dot)
    u32 path_off
    u16 host_len
    u16 path_len
    u8 host_kind
    u8 path_kind
    u16 methods             # bit (1 << Method); 0 = any. METHOD_OTHER's bit matches every unnamed method
    u32 header_first        # into headers
    u32 header_count
    u32 listener_mask       # bit i = listener with index i; 0 = every listener
    u32 backend             # index
    u32 meter               # Python's id of the (route, backend) label pair
    u32 tls_meter           # of a TCP route: instead of it for TLS, by server name
    i64 request_timeout_ns  # whole exchange; 0 = none
    i64 per_try_timeout_ns  # request sent to response head; 0 = none
    u8 retry_connect        # further endpoints tried when one cannot be connected to
    u8 grpc_web             # 1: gRPC-Web requests are bridged to gRPC
    u32 retry_grpc          # bit per grpc-status: answered trailers-only, the request goes to another endpoint (at most
                            #   retry_connect of them); 0 = none
    u64 order               # position in the config; earlier wins among equals
    u32 name_off            # for the access log
    u32 name_len

ctypedef struct Backend:
    u32 name_off
    u32 name_len
    u32 endpoint_first
    u32 endpoint_count
    u8 balancer             # BalancerKind
    i64 connect_timeout_ns
    i64 ewma_default_ns     # 30 ms
    i64 ewma_decay_ns       # 10 s
    i64 ramp_ns             # slow start window of a new or returned endpoint; 0 = none
    i64 backoff_min_ns      # after a failed connect the endpoint is left out this long, doubling to
    i64 backoff_max_ns      #   this, with jitter
    i64 idle_timeout_ns     # of a pooled connection
    u32 max_connections     # per endpoint and worker; 0 = none
    u32 max_idle            # pooled per endpoint and worker
    u32 max_pending         # exchanges waiting for a connection, per backend and worker
    u8 protocol             # UpstreamProtocol
    u32 max_streams         # used at most on one HTTP/2 connection, however many the peer allows; 1..HTTP2_STREAMS_MAX
    i64 ping_interval_ns    # keep-alive PING on an HTTP/2 connection that was silent this long; 0 = none
    i64 ping_timeout_ns     # a PING not answered by then ends the connection
    u8 send_proxy           # SendProxy

ctypedef struct Endpoint:
    u32 slot                # Python's id; worker state lives under it and survives a publish
    u32 slot_gen            # another value means another endpoint took the slot: state starts anew
    u32 weight              # >= 1
    u32 address_off         # a packed struct sockaddr in the blob
    u32 address_len
    u32 name_off            # "127.0.0.1:9000" for logs and errors
    u32 name_len

# An address that is known as a backend's endpoint.
ctypedef struct Target:
    u8 key[ADDRESS_KEY_BYTES]
    u32 backend             # index

# What connections to some addresses speak.
ctypedef struct ProtocolRule:
    u8 address[16]
    u8 family               # 0: any
    u8 bits                 # of the address that must be equal
    u8 protocol             # ListenerProtocol
    u16 first_port
    u16 last_port

# Policy that applies to every exchange.
ctypedef struct Policy:
    Http1Limits http1
    i64 header_timeout_ns       # first byte of a head (or accept) to its end; 15 s
    i64 idle_timeout_ns         # keep-alive connection between exchanges
    i64 stream_timeout_ns       # no byte moved either way during an exchange; 0 = none
    i64 linger_timeout_ns       # how long a closed connection is read so that the client sees the answer
    u32 max_connections         # downstream, per worker
    u32 keepalive_requests      # exchanges per downstream connection; 0 = no bound
    u32 via_off                 # pseudonym, empty = no Via
    u32 via_len
    u8 via_response             # 1: Via in responses too
    u8 forwarded                # 0 none, 1 X-Forwarded-*, 2 Forwarded, 3 both
    u8 forwarded_replace        # 1: what the client sent is not trusted and left out
    u8 access_log               # 0 off, 1 on (the format is the log's own matter)
    u32 http2_streams           # SETTINGS_MAX_CONCURRENT_STREAMS announced to clients; 1..HTTP2_STREAMS_MAX
    u32 http2_glitches          # suspicious frames after which a connection ends (ENHANCE_YOUR_CALM); 0 = no bound
    u32 http2_window            # receive window a stream grows to at most; HTTP2_WINDOW_MIN..HTTP2_WINDOW_MAX
    u8 grpc_timeout             # 1: grpc-timeout is the exchange's deadline
    i64 tcp_idle_timeout_ns     # a relayed connection without a byte either way; 0 = none
    i64 detect_timeout_ns       # first bytes that do not say what they are
    u8 splice                   # 1: long streams of relayed connections go through splice(2)
    u32 tcp_user_timeout_ms     # unacknowledged data of a relayed connection; 0 = the kernel's

ctypedef struct Snapshot:
    u64 version
    Snapshot* older         # owns: the publisher's list of those that a worker may still read
    Listener listeners[32]  # by index
    u8* blob                # owns
    u32 blob_len            # bytes used
    u32 blob_room           # private: bytes there are
    Policy policy
    u32 route_count         # of HTTP
    u32 tcp_count           # behind those: of TCP
    u32 original_count      # behind those: of intercepted connections, one for each backend; 0: none are expected. The last
                            #   backend has no endpoints: it stands for wherever they were meant to go
    u32 target_count
    u32 rule_count
    u32 backend_count
    u32 endpoint_count
    u32 header_count
    Route* routes           # owns
    Backend* backends       # owns
    Endpoint* endpoints     # owns
    HeaderMatch* headers    # owns
    Target* targets         # owns; sorted by key
    ProtocolRule* rules     # owns; the first that fits holds
    void* index             # owns: the router's compiled lookup (routing/router)
    void* tcp_index         # owns: the same for TCP; NULL: no such route
    void* picks             # owns: the balancer's compiled tables (alias tables ...; routing/balancer)

# Everything zeroed, counts and room as asked; NULL when there is no memory. All routes are of HTTP until tcp_count
# and original_count are set, and route_count lowered by as much.
cdef Snapshot* snapshot_new(u32 routes, u32 backends, u32 endpoints, u32 headers, u32 blob_bytes) noexcept nogil
# Room for targets and rules. OK or FULL (no memory). What is in targets must be sorted before it is sealed.
cdef int snapshot_originals(Snapshot* s, u32 targets, u32 rules) noexcept nogil
# Copies text into the blob and answers its offset; 0xFFFFFFFF when there is no room.
cdef u32 snapshot_text(Snapshot* s, const u8* text, u32 n) noexcept nogil
# Builds index and picks after routes, backends, endpoints and headers were filled in. OK or FULL (no memory); after FULL
# the snapshot can still only be freed. Sealing again builds anew.
cdef int snapshot_seal(Snapshot* s) noexcept nogil
# Frees all of it, index and picks too; NULL is lawful.
cdef void snapshot_free(Snapshot* s) noexcept nogil
