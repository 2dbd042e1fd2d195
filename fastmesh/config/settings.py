"""The table of settings: the one source of variables, file keys, bounds, messages, the JSON schema and documentation.

A setting called `head_bytes` is the variable FASTMESH_HEAD_BYTES and the key `head_bytes` at the top of a file.
Defaults are those of the structs in `model.py`. Some settings also stand in an item of `[[listeners]]`, `[[backends]]`
or `[[routes]]`, for that item alone.
"""

from dataclasses import dataclass
from typing import Any

from fastmesh.config.addresses import AddressKind, AdminAddress, Endpoints, Listen
from fastmesh.config.logs import LogFormat, LogWords
from fastmesh.config.matching import (
    Alpn,
    GrpcStatuses,
    Headers,
    Hosts,
    Methods,
    Names,
    ServerNames,
    UrlPath,
    UrlPrefix,
)
from fastmesh.config.model import (
    BALANCERS,
    FORWARDED,
    HISTOGRAM_DETAILS,
    LISTENER_PROTOCOLS,
    LISTENER_ROLES,
    NS_PER_SECOND,
    PROTOCOLS,
    SEND_PROXY,
    Config,
    Listener,
)
from fastmesh.config.ports import PortList, ProtocolRules
from fastmesh.config.transparent import InterceptionMode, mode_of
from fastmesh.config.users import USER_OR_NOBODY, USER_RULE
from fastmesh.config.values import (
    FILE_PATH,
    NAME,
    Choice,
    Duration,
    Integer,
    Key,
    Pattern,
    Pseudonym,
    Size,
    Switch,
)

PREFIX = "FASTMESH_"
MS = NS_PER_SECOND // 1000
SECOND = NS_PER_SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR
MIB = 1 << 20
HEAD_BYTES_MAX = 192 << 10  # of the core: a head must fit a large buffer with room to read on
HTTP2_STREAMS_MAX = 1000  # of the core: its stream tables are no longer
HTTP2_WINDOW_MIN = 65535  # RFC 9113 6.9.2: what every stream starts with
HTTP2_WINDOW_MAX = MIB  # of the core: a connection's whole window


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Key):
    """One setting of the process."""

    group: str  # heading in the documentation
    field: str = ""  # where its value is in a Config: "policy.head_bytes"; "" for what makes backends and routes
    live: bool = True  # a reload applies it; False: taken at start only
    in_file: bool = True  # a file may say it
    empty: bool = False  # an empty variable is a value; elsewhere it counts as not set
    listener_key: str = ""  # its key in an item of [[listeners]]
    backend_key: str = ""  # its key in an item of [[backends]]
    route_key: str = ""  # its key in an item of [[routes]]

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    def of(self, config: Config) -> Any:
        """Its effective value."""
        if self.name == "upstream":
            return next((b.endpoints for b in config.backends if b.name == "default"), ())
        if self.name == "transparent":
            return mode_of(config.listeners)
        if self.name == "listen":  # which says no more of them
            return tuple(Listener(each.name, each.address) for each in config.listeners if each.role == "off")
        value: Any = config
        for part in self.field.split("."):
            value = getattr(value, part)
        return value

    @property
    def default(self) -> Any:
        return self.of(DEFAULTS)

    def text_of(self, config: Config) -> str:
        """Its effective value as environment text; "" for no upstream and no file."""
        return self.format(self.of(config))

    def local(self, name: str) -> Key:
        """The same key as it stands in an item."""
        return Key(name, self.kind, self.doc, self.minimum, self.maximum, self.zero_off, self.choices)


DEFAULTS = Config()


def _addresses() -> tuple[Setting, ...]:
    return (
        Setting("listen", Listen(), "Addresses that clients connect to; port 0 takes a free one.",
                group="Addresses", field="listeners"),
        Setting("upstream", Endpoints(), "Endpoints of the backend `default`, to which the route `default` sends "
                "every request; each may end in `;weight=N`.", group="Addresses"),
        Setting("admin", AdminAddress(0), "Address of /live, /ready, /metrics, /config and /endpoints; keep it on "
                "loopback.", group="Addresses", field="admin", live=False),
        Setting("config", FILE_PATH, "A .toml, .yaml or .yml file that says the same and more; variables win over it.",
                group="Addresses", field="file", live=False, in_file=False),
        Setting("backlog", Integer("connections"), "Connections the kernel holds until fastmesh accepts them, per "
                "listener and worker; net.core.somaxconn cuts it.", 1, 1 << 20, group="Addresses",
                field="process.backlog", live=False),
    )  # fmt: skip


def _timeouts() -> tuple[Setting, ...]:
    group, kind = "Timeouts", Duration()
    return (
        Setting("header_timeout", kind, "From the first byte of a request head, or the accept, to the head's end; over "
                "it 408.", MS, HOUR, group=group, field="policy.header_timeout_ns"),
        Setting("idle_timeout", kind, "How long a client's keep-alive connection may wait for its next request.",
                MS, DAY, group=group, field="policy.idle_timeout_ns"),
        Setting("stream_timeout", kind, "How long an exchange may pass without a byte in either direction.",
                MS, DAY, True, group=group, field="policy.stream_timeout_ns"),
        Setting("request_timeout", kind, "From a request's head to the end of its response; over it 504.",
                MS, DAY, True, group=group, field="exchange.request_timeout_ns", route_key="request_timeout"),
        Setting("per_try_timeout", kind, "From a request sent to an endpoint to the response head; over it 504.",
                MS, DAY, True, group=group, field="exchange.per_try_timeout_ns", route_key="per_try_timeout"),
        Setting("connect_timeout", kind, "How long connecting to an endpoint may take.", MS, 5 * 60 * SECOND,
                group=group, field="upstream.connect_timeout_ns", backend_key="connect_timeout"),
        Setting("upstream_idle_timeout", kind, "How long an unused connection to an endpoint is kept; stay below the "
                "server's own keep-alive timeout (5 s is common), so that it never closes one as a request is sent.",
                MS, DAY, group=group, field="upstream.idle_timeout_ns", backend_key="idle_timeout"),
        Setting("linger_timeout", kind, "How long a connection that is being closed is still read, so that the client "
                "gets the answer instead of a reset.", MS, 60 * SECOND, group=group, field="policy.linger_timeout_ns"),
        Setting("drain_timeout", kind, "From SIGTERM to exit at the latest; what is still open then is cut off.",
                MS, DAY, group=group, field="process.drain_timeout_ns"),
    )  # fmt: skip


def _limits() -> tuple[Setting, ...]:
    group = "Limits"
    return (
        Setting("head_bytes", Size(), "Start line, header fields and empty line of a message together; over it 431.",
                1024, HEAD_BYTES_MAX, group=group, field="policy.head_bytes"),
        Setting("line_bytes", Size(), "A message's start line; over it 414. At most `head_bytes`.",
                256, HEAD_BYTES_MAX, group=group, field="policy.line_bytes"),
        Setting("field_line_bytes", Size(), "One header field line; over it 431. At most `head_bytes`.",
                256, HEAD_BYTES_MAX, group=group, field="policy.field_line_bytes"),
        Setting("fields", Integer("fields"), "Header fields of a message; over it 431.", 1, 1024,
                group=group, field="policy.fields"),
        Setting("max_connections", Integer("connections"), "Connections from clients, per worker; over it 503.",
                1, 1_000_000, group=group, field="policy.max_connections", live=False),
        Setting("keepalive_requests", Integer("requests"), "Requests on one client connection before it is closed.",
                1, 1_000_000_000, True, group=group, field="policy.keepalive_requests"),
        Setting("upstream_max_connections", Integer("connections"), "Connections to one endpoint, per worker; requests "
                "beyond wait.",
                1, 1_000_000, True, group=group, field="upstream.max_connections", backend_key="max_connections"),
        Setting("upstream_max_idle", Integer("connections"), "Unused connections kept to one endpoint, per worker; 0 "
                "uses each once.", 0, 1_000_000, group=group, field="upstream.max_idle", backend_key="max_idle"),
        Setting("max_pending", Integer("requests"), "Requests that wait for a connection to one endpoint (see "
                "`upstream_max_connections`), per worker; over it 503.", 0, 1_000_000, group=group,
                field="upstream.max_pending", backend_key="max_pending"),
    )  # fmt: skip


def _http2() -> tuple[Setting, ...]:
    group = "HTTP/2 and gRPC"
    return (
        Setting("upstream_protocol", Choice(), "What is spoken to endpoints: as the client came (auto), HTTP/1.1, or "
                "HTTP/2 with prior knowledge.", choices=PROTOCOLS, group=group, field="upstream.protocol",
                backend_key="protocol"),
        Setting("upstream_max_streams", Integer("streams"), "Requests at a time on one HTTP/2 connection to an "
                "endpoint, if it allows as many; beyond them another connection is made.", 1, HTTP2_STREAMS_MAX,
                group=group, field="upstream.max_streams", backend_key="max_streams"),
        Setting("upstream_ping_interval", Duration(), "How long an HTTP/2 connection to an endpoint is silent until it "
                "is sent a PING; many gRPC servers close one that gets more than one in 5 minutes.", MS, DAY, True,
                group=group, field="upstream.ping_interval_ns", backend_key="ping_interval"),
        Setting("upstream_ping_timeout", Duration(), "A connection whose PING is not answered by then is closed.", MS,
                HOUR, group=group, field="upstream.ping_timeout_ns", backend_key="ping_timeout"),
        Setting("http2_streams", Integer("streams"), "Requests that a client may have at a time on one connection; "
                "further ones are refused.", 1, HTTP2_STREAMS_MAX, group=group, field="policy.http2_streams"),
        Setting("http2_glitches", Integer("frames"), "Suspicious frames (resets, empty frames, needless SETTINGS and "
                "PING, ...) of one client connection before it is ended with ENHANCE_YOUR_CALM.", 1, 1_000_000_000,
                True, group=group, field="policy.http2_glitches"),
        Setting("http2_window", Size(), "Bytes of a body that may be under way before they are passed on: what a "
                "stream's receive window grows to at most.", HTTP2_WINDOW_MIN, HTTP2_WINDOW_MAX, group=group,
                field="policy.http2_window"),
        Setting("grpc_timeout", Switch(), "A request's grpc-timeout ends it, with DEADLINE_EXCEEDED, unless "
                "`request_timeout` does before.", group=group, field="policy.grpc_timeout"),
        Setting("grpc_web", Switch(), "Bridge gRPC-Web requests (application/grpc-web and application/grpc-web-text) "
                "to gRPC, which goes over HTTP/2 where `upstream_protocol` is auto.", group=group,
                field="exchange.grpc_web", route_key="grpc_web"),
        Setting("retry_grpc", GrpcStatuses(), "A gRPC request answered with one of these statuses, and with nothing "
                "else, goes to another endpoint, to `retry_connect` further ones at most.", group=group,
                field="exchange.retry_grpc", route_key="retry_grpc"),
    )  # fmt: skip


def _tcp() -> tuple[Setting, ...]:
    group = "TCP"
    return (
        Setting("proxy_protocol", Switch(), "Every connection begins with a PROXY protocol header (v1 or v2), whose "
                "address stands for the client's; what comes without is closed. Only for listeners that nobody but a "
                "proxy can reach.", group=group, field="reception.proxy_protocol", listener_key="proxy_protocol"),
        Setting("send_proxy_protocol", Choice(), "PROXY protocol header that connections to endpoints begin with. Each "
                "then serves one client: requests go over HTTP/1.1, on a connection of their own.", choices=SEND_PROXY,
                group=group, field="upstream.send_proxy_protocol", backend_key="send_proxy_protocol"),
        Setting("listener_protocol", Choice(), "What a listener takes: HTTP alone, whatever comes (detect: HTTP is "
                "routed, TLS goes by its server name, all else is relayed), any bytes (opaque), or TLS that is passed "
                "through.", choices=LISTENER_PROTOCOLS, group=group, field="reception.protocol",
                listener_key="protocol"),
        Setting("detect_timeout", Duration(), "A client whose first bytes could still become a request line is relayed "
                "after this; a silent client waits for nothing.", MS, HOUR, group=group,
                field="policy.detect_timeout_ns"),
        Setting("tcp_idle_timeout", Duration(), "How long a relayed connection may pass without a byte in either "
                "direction.", MS, 7 * DAY, True, group=group, field="policy.tcp_idle_timeout_ns"),
        Setting("splice", Switch(), "Long streams of relayed connections are passed on inside the kernel (splice(2)); "
                "off: all are copied.", group=group, field="policy.splice"),
        Setting("tcp_user_timeout", Duration(), "How long what was sent on a relayed connection may stay "
                "unacknowledged (TCP_USER_TIMEOUT); off: as the kernel likes.", MS, DAY, True, group=group,
                field="policy.tcp_user_timeout_ns"),
    )  # fmt: skip


def _interception() -> tuple[Setting, ...]:
    group = "Interception"
    return (
        Setting("transparent", InterceptionMode(), "Listens for what `fastmesh redirect` brings: inbound connections "
                "on port 4143 (tproxy: by TPROXY), outbound ones on port 4140 of loopback.", group=group),
        Setting("opaque_ports", PortList("off"), "Intercepted connections to these ports are relayed as they are, "
                "without a look at them.", group=group, field="interception.opaque_ports"),
        Setting("destination_protocols", ProtocolRules("off"), "What intercepted connections to some ports, addresses "
                "or networks speak, the first that fits; it holds before opaque_ports and before what the listener "
                "takes.", group=group, field="interception.protocols"),
    )  # fmt: skip


def _balancing() -> tuple[Setting, ...]:
    group = "Load balancing"
    return (
        Setting("balancer", Choice(), "How an endpoint is chosen: the less loaded of two by latency, the one with the "
                "fewest requests, in turn, or by chance; weights count in all.", choices=BALANCERS, group=group,
                field="upstream.balancer", backend_key="balancer"),
        Setting("upstream_subset", Integer("endpoints"), "Endpoints of a backend that this process uses, others when "
                "some of them are out; each process chooses for itself. Requests among many thousand cost more, and "
                "find their connections closed for idleness.", 1, 65536, True, group=group, field="upstream.subset",
                backend_key="subset"),
        Setting("retry_connect", Integer("endpoints"), "Further endpoints tried when one cannot be connected to.",
                0, 10, group=group, field="exchange.retry_connect", route_key="retry_connect"),
        Setting("ewma_default", Duration(), "Latency assumed of an endpoint that was not measured yet.", MS // 10,
                60 * SECOND, group=group, field="upstream.ewma_default_ns", backend_key="ewma_default"),
        Setting("ewma_decay", Duration(), "Time in which a latency peak loses 63 % of its weight.", MS, HOUR,
                group=group, field="upstream.ewma_decay_ns", backend_key="ewma_decay"),
        Setting("ramp", Duration(), "Time in which a new or returned endpoint grows to its full share.", MS, HOUR, True,
                group=group, field="upstream.ramp_ns", backend_key="ramp"),
        Setting("backoff_min", Duration(), "How long an endpoint is left out after its first failed connect.", MS, HOUR,
                group=group, field="upstream.backoff_min_ns", backend_key="backoff_min"),
        Setting("backoff_max", Duration(), "How long at most, as that time doubles with every further failure.", MS,
                DAY, group=group, field="upstream.backoff_max_ns", backend_key="backoff_max"),
        Setting("resolve_interval", Duration(), "How often host names of endpoints are resolved again.", 100 * MS, DAY,
                True, group=group, field="process.resolve_interval_ns"),
    )  # fmt: skip


def _headers() -> tuple[Setting, ...]:
    group = "Header fields"
    return (
        Setting("via", Pseudonym(), "Name in the Via field of forwarded requests (RFC 9110 7.6.3); off: no Via.",
                group=group, field="policy.via", empty=True),
        Setting("via_response", Switch(), "Via in responses too.", group=group, field="policy.via_response"),
        Setting("forwarded", Choice(), "Fields that tell the server of the client: X-Forwarded-For and -Proto, "
                "Forwarded (RFC 7239), or both.", choices=FORWARDED, group=group, field="policy.forwarded"),
        Setting("forwarded_replace", Switch(), "Leave out what the client itself sent in these fields.",
                group=group, field="policy.forwarded_replace"),
    )  # fmt: skip


def _workers() -> tuple[Setting, ...]:
    group = "Workers and memory"
    return (
        Setting("workers", Integer("threads"), "Threads that carry traffic.", 1, 256, group=group,
                field="workers.count", live=False),
        Setting("pin_cpus", Switch(), "Bind each worker to a CPU of its own.", group=group, field="workers.pin",
                live=False),
        Setting("connection_slots", Integer("connections"), "Room for connections of both sides and HTTP/2 streams, "
                "per worker; off: four times `max_connections`.", 2, 4_000_000, True, group=group,
                field="workers.connection_slots", live=False),
        Setting("exchange_slots", Integer("requests"), "Requests in flight, per worker; off: twice "
                "`max_connections`.",
                1, 4_000_000, True, group=group, field="workers.exchange_slots", live=False),
        Setting("buffers", Integer("16 KiB buffers"), "Buffers for bytes on their way, per worker; memory is used only "
                "once they are.", 16, 1_000_000, group=group, field="workers.buffers", live=False),
        Setting("large_buffers", Integer("256 KiB buffers"), "Buffers for long bodies and large heads, per worker.",
                4, 65536, group=group, field="workers.large_buffers", live=False),
        Setting("endpoint_slots", Integer("endpoints"), "Endpoints of all backends together, those that just left "
                "included.", 1, 65536, group=group, field="workers.endpoint_slots", live=False),
        Setting("meter_blocks", Integer("label sets"), "Pairs of listener and route that metrics are kept for.",
                1, 65536, group=group, field="workers.meter_blocks", live=False),
        Setting("heartbeat_timeout", Duration(), "A worker whose loop stood still this long is reported.", 100 * MS,
                HOUR, group=group, field="workers.heartbeat_timeout_ns"),
        Setting("reload_interval", Duration(), "How often the file is looked at for a change; off: only on SIGHUP.",
                10 * MS, DAY, True, group=group, field="process.reload_interval_ns"),
        Setting("user", Pattern("user[:group]", USER_OR_NOBODY, USER_RULE), "Whom fastmesh becomes, without any "
                "capability, once it listens; by name or number. Not set: it stays who started it.", group=group,
                field="process.user", live=False),
    )  # fmt: skip


def _logs() -> tuple[Setting, ...]:
    group = "Logs and metrics"
    return (
        Setting("access_log", LogFormat(), "One line per request: `off`, `json`, `combined`, or a template such as "
                "`{method} {target} {status}`.", group=group, field="access_log.format"),
        Setting("access_log_path", FILE_PATH, "File the access log is appended to; `-` is standard output.",
                group=group, field="access_log.path"),
        Setting("access_log_ring", Size(power_of_two=True), "Room for lines not yet written, per worker; lines that do "
                "not fit are dropped and counted.", 65536, 256 * MIB, group=group, field="access_log.ring_bytes",
                live=False),
        Setting("log", LogWords(), "Process log on standard error: its least level, and `,json` for JSON lines.",
                group=group, field="log"),
        Setting("metrics_endpoints", Switch(), "Series per endpoint in /metrics.", group=group,
                field="metrics.endpoints"),
        Setting("metrics_histogram", Choice(), "Buckets of the latency histogram: full (error at most 5 %), coarse "
                "(powers of two) or off (sum and count).", choices=HISTOGRAM_DETAILS, group=group,
                field="metrics.histogram"),
    )  # fmt: skip


SETTINGS: tuple[Setting, ...] = (
    *_addresses(), *_timeouts(), *_limits(), *_http2(), *_tcp(), *_interception(), *_balancing(), *_headers(),
    *_workers(), *_logs(),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}
BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}
FILE_SETTINGS = tuple(setting for setting in SETTINGS if setting.in_file)

LISTENER_KEYS = (
    Key("name", NAME, "Label of its metrics; routes may name it.", required=True),
    Key("address", AddressKind(0), "Address that clients connect to; port 0 takes a free one.", required=True),
    Key("transparent", Choice(), "The kernel brings connections to it: inbound or outbound ones, or inbound by TPROXY.",
        choices=LISTENER_ROLES),
    *(setting.local(setting.listener_key) for setting in SETTINGS if setting.listener_key),
)
BACKEND_KEYS = (
    Key("name", NAME, "Label of its metrics; routes name it.", required=True),
    Key("endpoints", Endpoints(), "Where requests go: texts as in `upstream`, or tables of address and weight.",
        required=True),
    *(setting.local(setting.backend_key) for setting in SETTINGS if setting.backend_key),
)  # fmt: skip
ROUTE_KEYS = (
    Key("name", NAME, "Label of its metrics.", required=True),
    Key("backend", NAME, "Name of the backend that requests go to.", required=True),
    Key("hosts", Hosts(), "Any of these hosts, exactly or by suffix (`*.example` is every name below example)."),
    Key("path", UrlPath(), "Exactly this path."),
    Key("path_prefix", UrlPrefix(), "This path and all below it: `/a` takes `/a` and `/a/b`, not `/ab`."),
    Key("methods", Methods(), "Any of these methods."),
    Key("headers", Headers(), "Each of these fields has the text, is there (true) or is not there (false)."),
    Key("listeners", Names(), "Only what came in on these listeners."),
    Key("tcp", Switch(), "Relayed connections instead of requests."),
    Key("sni", ServerNames(), "Of those: TLS that asks for any of these server names, exactly or by suffix."),
    Key("alpn", Alpn(), "Of those: TLS that offers any of these protocols."),
    *(setting.local(setting.route_key) for setting in SETTINGS if setting.route_key),
)  # fmt: skip
SECTIONS: dict[str, tuple[Key, ...]] = {
    "listeners": LISTENER_KEYS,
    "backends": BACKEND_KEYS,
    "routes": ROUTE_KEYS,
}


def settings_of(config_part: str, item_key: str) -> tuple[tuple[str, str], ...]:
    """(key in an item, field of the struct) of the settings below `config_part` that an item may say itself."""
    return tuple(
        (getattr(setting, item_key), setting.field.partition(".")[2])
        for setting in SETTINGS
        if getattr(setting, item_key) and setting.field.startswith(config_part + ".")
    )
