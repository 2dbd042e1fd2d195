"""The effective configuration: plain immutable values, every number in the unit its name ends in.

Law: the defaults written here are the only ones; the table of settings (`settings.py`), the environment, files, the
JSON schema and the documentation read them from these structs. A value that got this far has been validated. Field
names are those of `fastmesh._core.spec`, so that turning a Config into specs is a walk without a decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000

AddressKind = Literal["inet", "inet6", "unix", "name"]
BalancerName = Literal["p2c_ewma", "least_request", "round_robin", "random"]
ProtocolName = Literal["auto", "http1", "http2"]
ListenerProtocol = Literal["http", "detect", "opaque", "tls"]
SendProxyName = Literal["off", "v1", "v2"]
ListenerRole = Literal["off", "inbound", "outbound", "tproxy"]
ForwardedName = Literal["none", "x-forwarded", "forwarded", "both"]
PathKind = Literal["any", "exact", "prefix"]
HeaderKind = Literal["present", "exact", "absent"]
LogLevel = Literal["debug", "info", "warning", "error"]
HistogramDetail = Literal["full", "coarse", "off"]

# The index of a word is its number in the core.
BALANCERS: tuple[BalancerName, ...] = ("p2c_ewma", "least_request", "round_robin", "random")
PROTOCOLS: tuple[ProtocolName, ...] = ("auto", "http1", "http2")
LISTENER_PROTOCOLS: tuple[ListenerProtocol, ...] = ("http", "detect", "opaque", "tls")
SEND_PROXY: tuple[SendProxyName, ...] = ("off", "v1", "v2")
LISTENER_ROLES: tuple[ListenerRole, ...] = ("off", "inbound", "outbound", "tproxy")
FORWARDED: tuple[ForwardedName, ...] = ("none", "x-forwarded", "forwarded", "both")
PATH_KINDS: tuple[PathKind, ...] = ("any", "exact", "prefix")
HEADER_KINDS: tuple[HeaderKind, ...] = ("present", "exact", "absent")
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
HISTOGRAM_DETAILS: tuple[HistogramDetail, ...] = ("full", "coarse", "off")
# By number; grpc.io, "Status codes and their use in gRPC".
GRPC_STATUSES = (
    "ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
    "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
    "internal", "unavailable", "data_loss", "unauthenticated",
)  # fmt: skip

DEFAULT_NAME = "default"  # of the backend and the route that FASTMESH_UPSTREAM alone makes


@dataclass(frozen=True, slots=True)
class Address:
    """Where a socket is bound or connected to: host and port, or the path of a Unix socket."""

    kind: AddressKind  # inet, inet6: numeric; name: must be resolved; unix: path is set, host and port are not
    host: str = ""  # no brackets
    port: int = 0  # 0 only for listeners: a free port
    path: str = ""  # absolute, at most 107 bytes

    @property
    def text(self) -> str:
        """As written in the configuration and as the core takes it: "127.0.0.1:80", "[::1]:80", "unix:/run/a.sock"."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if self.kind == "inet6" else f"{self.host}:{self.port}"

    @property
    def is_numeric(self) -> bool:
        """Whether the core can take it as it is; False: the host is a name."""
        return self.kind != "name"


class Ports(NamedTuple):
    """A range of ports, both ends in it."""

    first: int
    last: int

    @property
    def text(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class ProtocolRule(NamedTuple):
    """What intercepted connections to some destinations speak."""

    host: str  # numeric, no brackets; "": any
    bits: int  # of it that count
    ports: Ports
    protocol: ListenerProtocol

    @property
    def text(self) -> str:
        """As FASTMESH_DESTINATION_PROTOCOLS writes it."""
        if not self.host:
            return f"{self.ports.text}={self.protocol}"
        is_v6 = ":" in self.host
        network = self.host if self.bits == (128 if is_v6 else 32) else f"{self.host}/{self.bits}"
        ports = "" if self.ports == Ports(1, 65535) else f":{self.ports.text}"
        return f"{f'[{network}]' if is_v6 else network}{ports}={self.protocol}"


@dataclass(frozen=True, slots=True)
class Interception:
    """What holds for connections that the kernel was told to redirect to us."""

    protocols: tuple[ProtocolRule, ...] = ()  # the first that fits holds
    # Behind those; as Linkerd's: SMTP, MySQL, Galera, PostgreSQL, Redis, Elasticsearch, memcached.
    opaque_ports: tuple[Ports, ...] = tuple(Ports(n, n) for n in (25, 587, 3306, 4444, 5432, 6379, 9300, 11211))


@dataclass(frozen=True, slots=True)
class Reception:
    """What holds for every listener that does not say otherwise; names as in ListenerSpec."""

    protocol: ListenerProtocol = "http"
    proxy_protocol: bool = False  # a PROXY protocol header, v1 or v2, begins every connection; one without is closed


@dataclass(frozen=True, slots=True)
class Listener:
    """One address clients connect to. Its position in Config.listeners is its index in the core (0..31)."""

    name: str  # unique; label of its metrics
    address: Address
    reception: Reception = Reception()  # settings of this listener, the global ones already filled in
    # Connections are redirected to it: they go on to where they were meant to go (inbound), or are balanced when a
    # route or a backend is theirs (outbound). tproxy: inbound, by IP_TRANSPARENT.
    role: ListenerRole = "off"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a backend."""

    address: Address
    weight: int = 1  # 1..1000; share of the traffic relative to the other endpoints

    @property
    def text(self) -> str:
        """As FASTMESH_UPSTREAM writes it; the weight only when it is not 1."""
        return self.address.text if self.weight == 1 else f"{self.address.text};weight={self.weight}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What holds for every backend that does not say otherwise; names as in BackendSpec."""

    balancer: BalancerName = "p2c_ewma"
    subset: int = 0  # endpoints this process uses of those there are; 0: all
    connect_timeout_ns: int = NS_PER_SECOND
    ewma_default_ns: int = 30 * NS_PER_MS  # round-trip time assumed of an endpoint not yet measured
    ewma_decay_ns: int = 10 * NS_PER_SECOND  # a latency peak loses 63 % of its weight in this time
    ramp_ns: int = 10 * NS_PER_SECOND  # a new or returned endpoint gets its full share after this; 0: at once
    backoff_min_ns: int = 100 * NS_PER_MS  # first time out after a failed connect, doubling with jitter
    backoff_max_ns: int = 60 * NS_PER_SECOND
    # Shorter than the idle timeout of common servers (Node.js, uvicorn and Apache close after 5 s), so that fastmesh
    # closes first and no request meets a connection its server is just closing.
    idle_timeout_ns: int = 4 * NS_PER_SECOND  # of a pooled connection; above 0
    max_connections: int = 0  # per endpoint and worker; 0: no bound
    max_idle: int = 128  # pooled, per endpoint and worker; 0: connections are not reused
    max_pending: int = 1024  # exchanges that wait for a connection, per endpoint and worker
    protocol: ProtocolName = "auto"  # auto: as the client came
    max_streams: int = 100  # on one HTTP/2 connection, however many the endpoint allows
    ping_interval_ns: int = 0  # an HTTP/2 connection silent this long is sent a PING; 0: none
    ping_timeout_ns: int = 10 * NS_PER_SECOND  # a PING not answered by then ends the connection
    send_proxy_protocol: SendProxyName = "off"  # a connection begins with this header and serves one client alone


@dataclass(frozen=True, slots=True)
class Backend:
    """A set of endpoints that requests are spread over."""

    name: str  # unique; label of its metrics
    endpoints: tuple[Endpoint, ...]  # at least one, no address twice
    upstream: Upstream = Upstream()  # settings of this backend, the global ones already filled in


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A condition on one request header field."""

    name: str  # lower case token
    kind: HeaderKind
    value: str = ""  # for kind "exact"; compared octet by octet


@dataclass(frozen=True, slots=True)
class Exchange:
    """What holds for every route that does not say otherwise; names as in RouteSpec."""

    request_timeout_ns: int = 0  # from the whole request head to the end of the response; 0: none
    per_try_timeout_ns: int = 0  # from the request sent to the response head; 0: none
    retry_connect: int = 2  # further endpoints tried when one cannot be connected to
    # Statuses, in the order of their numbers, that answered trailers-only send a gRPC request to another endpoint.
    retry_grpc: tuple[str, ...] = ()
    grpc_web: bool = False  # gRPC-Web requests are bridged to gRPC


@dataclass(frozen=True, slots=True)
class Route:
    """A rule that sends requests to a backend; every condition must hold, an empty one always does."""

    name: str  # unique; label of its metrics
    backend: str  # name
    hosts: tuple[str, ...] = ()  # lower case, no port: "a.example" or "*.example"; any of them; empty: any host
    path_kind: PathKind = "any"
    path: str = ""  # begins with "/" unless path_kind is "any"; a prefix matches on segment bounds
    methods: tuple[str, ...] = ()  # empty: any
    headers: tuple[HeaderMatch, ...] = ()
    listeners: tuple[str, ...] = ()  # names; empty: every listener
    tcp: bool = False  # of connections that are relayed as they are; sni and alpn say so too
    sni: tuple[str, ...] = ()  # server names of TLS passed through: "a.example" or "*.example"; any of them
    alpn: tuple[str, ...] = ()  # protocols that such a client offers; any of them
    exchange: Exchange = Exchange()  # settings of this route, the global ones already filled in

    @property
    def is_tcp(self) -> bool:
        """Whether it is of relayed connections; else it is of requests."""
        return self.tcp or bool(self.sni or self.alpn)

    @property
    def is_condition_free(self) -> bool:
        """Whether it takes every request of its listeners: then also every connection that no other route takes."""
        return not (self.hosts or self.path_kind != "any" or self.methods or self.headers or self.is_tcp)


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for every client connection and message; names as in PolicySpec."""

    head_bytes: int = 65536  # start line, fields and empty line together; over it 431
    line_bytes: int = 16384  # start line; over it 414
    field_line_bytes: int = 65536  # one field line; over it 431
    fields: int = 128  # field lines in a head or trailer section, at most 1024; over it 431
    header_timeout_ns: int = 15 * NS_PER_SECOND  # first byte of a head (or accept) to its end
    idle_timeout_ns: int = 75 * NS_PER_SECOND  # a keep-alive connection between exchanges
    stream_timeout_ns: int = 300 * NS_PER_SECOND  # no byte either way during an exchange; 0: none
    linger_timeout_ns: int = 2 * NS_PER_SECOND  # a closed connection is read this long so that the answer arrives
    max_connections: int = 10000  # from clients, per worker
    keepalive_requests: int = 0  # exchanges per client connection; 0: no bound
    via: str = "fastmesh"  # pseudonym in Via of requests (RFC 9110 7.6.3); empty: no Via
    via_response: bool = False  # Via in responses too
    forwarded: ForwardedName = "none"  # which fields tell the server of the client
    forwarded_replace: bool = False  # what the client itself sent in them is left out
    http2_streams: int = 100  # that a client may have open on one connection; beyond them streams are refused
    http2_glitches: int = 1000  # suspicious frames before a client's connection is ended; 0: no bound
    http2_window: int = 1048576  # receive window that a stream grows to at most
    grpc_timeout: bool = True  # grpc-timeout is the exchange's deadline
    tcp_idle_timeout_ns: int = 0  # a relayed connection without a byte either way; 0: none
    tcp_user_timeout_ns: int = 0  # TCP_USER_TIMEOUT of a relayed connection, whole ms; 0: the kernel's
    splice: bool = True  # long streams of relayed connections go through splice(2)
    detect_timeout_ns: int = NS_PER_SECOND  # first bytes that do not say what they are are relayed after this


@dataclass(frozen=True, slots=True)
class Workers:
    """Worker threads and the memory each reserves at start (touched only when used). Taken at start only."""

    count: int = 1
    pin: bool = False  # worker i stays on the i-th CPU this process may use
    connection_slots: int = 0  # client and upstream connections, and streams; 0: four times max_connections
    exchange_slots: int = 0  # requests in flight; 0: twice max_connections
    buffers: int = 8192  # of 16 KiB
    large_buffers: int = 64  # of 256 KiB
    endpoint_slots: int = 16384  # endpoints of all backends together
    meter_blocks: int = 4096  # (listener, route) pairs that metrics are kept for
    heartbeat_timeout_ns: int = 5 * NS_PER_SECOND  # a worker whose loop stood still this long is reported


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One line per exchange."""

    # "off", "json", "combined" or a template: literal text with {field} and {field:argument}; {{ and }} are braces.
    format: str = "off"
    path: str = "-"  # file, opened for appending; "-": standard output
    ring_bytes: int = 1 << 20  # per worker, a power of two; a full ring drops lines, counted. Taken at start only

    @property
    def is_on(self) -> bool:
        return self.format != "off"


@dataclass(frozen=True, slots=True)
class Log:
    """The process log, on standard error."""

    level: LogLevel = "info"
    json: bool = False


@dataclass(frozen=True, slots=True)
class Metrics:
    """How much /metrics says."""

    endpoints: bool = False  # series per endpoint
    histogram: HistogramDetail = "full"  # latency: full (<= 5 % error), coarse (powers of two), off (sum and count)


@dataclass(frozen=True, slots=True)
class Process:
    """The process as a whole."""

    drain_timeout_ns: int = 30 * NS_PER_SECOND  # SIGTERM to exit at the latest
    reload_interval_ns: int = NS_PER_SECOND  # how often the file is looked at for a change; 0: only on SIGHUP
    resolve_interval_ns: int = 30 * NS_PER_SECOND  # how often host names are resolved again; 0: at start, reload
    backlog: int = 4096  # of a listening socket; the kernel cuts it to net.core.somaxconn
    user: str = ""  # what the process becomes once it listens: user or user:group; empty: it stays who it is


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration of a process. Immutable; a reload makes another one."""

    listeners: tuple[Listener, ...] = (Listener("default", Address("inet", "0.0.0.0", 4143)),)
    admin: Address | None = Address("inet", "127.0.0.1", 4191)  # None: off
    routes: tuple[Route, ...] = ()
    backends: tuple[Backend, ...] = ()
    reception: Reception = Reception()  # the defaults of listeners
    interception: Interception = Interception()
    upstream: Upstream = Upstream()  # the defaults of backends
    exchange: Exchange = Exchange()  # the defaults of routes
    policy: Policy = Policy()
    workers: Workers = Workers()
    access_log: AccessLog = AccessLog()
    log: Log = Log()
    metrics: Metrics = Metrics()
    process: Process = Process()
    file: str = ""  # path of the file that was read; empty: none
    # Where values came from: name of a setting, or of a part as in "routes[0]" -> "default", "environment", or
    # "/etc/fastmesh.toml: routes[0]". Parts beyond the settings: listeners, backends, routes, backends[i].endpoints.
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def connection_slots(self) -> int:
        """Connections a worker has room for, client and upstream side together; an HTTP/2 stream counts as one."""
        return self.workers.connection_slots or 4 * self.policy.max_connections

    @property
    def exchange_slots(self) -> int:
        """Requests a worker can have in flight."""
        return self.workers.exchange_slots or 2 * self.policy.max_connections

    @property
    def sockets(self) -> int:
        """Sockets a worker needs when every client connection has one to an endpoint; streams have none."""
        return min(self.connection_slots, 2 * self.policy.max_connections)

    @property
    def intercepts(self) -> bool:
        """Whether a listener takes redirected connections."""
        return any(listener.role != "off" for listener in self.listeners)

    def backend(self, name: str) -> Backend:
        """The backend of that name; KeyError when there is none."""
        for backend in self.backends:
            if backend.name == name:
                return backend
        raise KeyError(name)

    def public(self) -> dict[str, Any]:
        """For the admin port: the effective configuration in the file's form, and sources; secrets are hidden."""
        from fastmesh.config.views import public  # which reads this module

        return public(self)
