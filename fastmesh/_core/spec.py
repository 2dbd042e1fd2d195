"""What Python hands to the core: plain tuples, every number in the unit its name says.

The bridge copies all of it into flat C arrays at publish; nothing here is kept.
"""

from typing import NamedTuple


class HeaderMatchSpec(NamedTuple):
    name: bytes  # lower case
    value: bytes
    kind: int  # 0 present, 1 exact, 2 absent


class RouteSpec(NamedTuple):
    host_kind: int  # 0 any, 1 exact, 2 wildcard suffix
    host: bytes  # lower case, no port; a suffix starts with its dot (".example.com")
    path_kind: int  # 0 any, 1 exact, 2 prefix on segment bounds
    path: bytes
    methods: tuple[bytes, ...]  # empty: any
    headers: tuple[HeaderMatchSpec, ...]
    listener_mask: int  # bit i: listener index i; 0: every listener
    backend: int  # index into backends
    meter: int  # id of the (route, backend) labels; stays the same across snapshots
    request_timeout_ns: int
    per_try_timeout_ns: int
    retry_connect: int
    name: bytes = b""  # for the access log
    tls_meter: int = -1  # instead of `meter`, of relayed TLS; -1: the same
    retry_grpc: int = 0  # bit per grpc-status 0 to 16 that, answered trailers-only, sends the request elsewhere
    grpc_web: bool = False  # gRPC-Web requests are bridged to gRPC


class EndpointSpec(NamedTuple):
    slot: int  # stays the same for the same (backend, address) across snapshots
    slot_gen: int  # >= 1; another value: another endpoint took the slot
    weight: int  # >= 1
    address: str  # "127.0.0.1:9000", "[::1]:9000" or "unix:/path": numeric, names are resolved before


class BackendSpec(NamedTuple):
    name: bytes
    endpoints: tuple[EndpointSpec, ...]
    balancer: int  # 0 p2c_ewma, 1 least_request, 2 round_robin, 3 random
    connect_timeout_ns: int
    ewma_default_ns: int
    ewma_decay_ns: int
    ramp_ns: int
    backoff_min_ns: int
    backoff_max_ns: int
    idle_timeout_ns: int
    max_connections: int
    max_idle: int
    max_pending: int
    protocol: int = 0  # 0 as the client came, 1 HTTP/1, 2 HTTP/2
    max_streams: int = 100  # on one HTTP/2 connection; 1 to 1000
    ping_interval_ns: int = 0  # 0: no keep-alive PING
    ping_timeout_ns: int = 10_000_000_000
    send_proxy_protocol: int = 0  # 0 off, 1 v1, 2 v2: what a connection to an endpoint begins with


class PolicySpec(NamedTuple):
    head_bytes: int
    line_bytes: int
    field_line_bytes: int
    fields: int
    header_timeout_ns: int
    idle_timeout_ns: int
    stream_timeout_ns: int
    linger_timeout_ns: int
    max_connections: int  # per worker
    keepalive_requests: int
    via: bytes
    via_response: bool
    forwarded: int  # 0 none, 1 X-Forwarded-*, 2 Forwarded, 3 both
    forwarded_replace: bool
    access_log: bool
    http2_streams: int = 100  # that a client may have open; 1 to 1000
    http2_glitches: int = 1000  # suspicious frames per connection; 0: no bound
    http2_window: int = 1048576  # a stream's receive window grows to this; 65535 to 1048576
    grpc_timeout: bool = True  # grpc-timeout is a deadline
    tcp_idle_timeout_ns: int = 0  # a relayed connection without a byte either way; 0: none
    tcp_user_timeout_ns: int = 0  # TCP_USER_TIMEOUT of a relayed connection, in whole ms; 0: the kernel's
    detect_timeout_ns: int = 1_000_000_000  # first bytes that do not say what they are
    splice: bool = False  # long streams of relayed connections go through splice(2)


class ListenerSpec(NamedTuple):
    name: bytes  # for the access log
    protocol: int = 0  # 0 HTTP, 1 detected, 2 opaque, 3 TLS passed through
    proxy_protocol: bool = False  # every connection begins with a PROXY protocol header
    role: int = 0  # 0 clients connect to it, 1 inbound, 2 outbound, 3 inbound by TPROXY


class ProtocolRuleSpec(NamedTuple):
    """What intercepted connections to some addresses speak."""

    address: str  # numeric, without brackets; "": any
    bits: int  # of it that must be equal
    first_port: int
    last_port: int
    protocol: int  # as in ListenerSpec


class OriginalSpec(NamedTuple):
    """Where intercepted connections go that no other route takes."""

    routes: tuple[RouteSpec, ...]  # one for each backend, in their order; the last backend has no endpoints
    targets: tuple[tuple[str, int], ...]  # address and index of the backend that has it as an endpoint; each once
    rules: tuple[ProtocolRuleSpec, ...]  # the first that fits holds


class SnapshotSpec(NamedTuple):
    version: int
    policy: PolicySpec
    routes: tuple[RouteSpec, ...]
    backends: tuple[BackendSpec, ...]
    listeners: tuple[ListenerSpec, ...] = ()  # by index
    # Routes of relayed connections: host is the server name of a ClientHello, a header "alpn" a protocol it offers.
    tcp_routes: tuple[RouteSpec, ...] = ()
    original: OriginalSpec | None = None  # None: no listener has a role


class LogTemplateSpec(NamedTuple):
    """An access-log line: literal text and fields in turn, compiled from `json`, `combined` or the user's template."""

    parts: tuple[tuple[int, bytes], ...]  # (0, literal) or (LogField, name of a header for request-header fields)
    escape: int  # 0 combined style (\\xNN), 1 JSON


class WorkerSpec(NamedTuple):
    """Sizes of one worker; all memory is reserved at start (pages are touched only when used)."""

    number: int  # 0 to workers - 1
    connections: int  # slab of downstream + upstream connections
    exchanges: int
    buffers: int  # of 16 KiB
    large_buffers: int  # of 256 KiB
    endpoint_slots: int
    meter_blocks: int  # (listener, route) label sets
    log_ring_bytes: int  # power of two; 0 when the access log can never be on
    cpu: int  # pin to this CPU; -1: do not pin
