"""From a configuration and resolved endpoints to the snapshot that workers read.

Law: a number the core keeps state under stays with its owner from snapshot to snapshot. Listener indexes belong to
addresses, meter ids to (route, backend), slots to (backend, endpoint address). A slot that became free is given to
another endpoint only when no worker reads a snapshot that used it, and then under another generation.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from fastmesh._core.spec import (
    BackendSpec,
    EndpointSpec,
    HeaderMatchSpec,
    ListenerSpec,
    OriginalSpec,
    PolicySpec,
    ProtocolRuleSpec,
    RouteSpec,
    SnapshotSpec,
)
from fastmesh.config.model import (
    BALANCERS,
    FORWARDED,
    GRPC_STATUSES,
    HEADER_KINDS,
    LISTENER_PROTOCOLS,
    LISTENER_ROLES,
    PATH_KINDS,
    PROTOCOLS,
    SEND_PROXY,
    Backend,
    Config,
    HeaderMatch,
    Listener,
    Policy,
    Route,
)

LISTENERS_MAX = 32  # the core's; a route's listener mask has one bit for each
METER_OTHER = 0  # routes that found no meter id of their own are counted together
OTHER = "(other)"
ORIGINAL = "(original_dst)"  # route and backend of what goes on to where it was meant to go
SNI_OTHER = "other"  # TLS that a route without server names took
HOST_ANY, HOST_EXACT, HOST_SUFFIX = range(3)

K = TypeVar("K", bound=Hashable)
ListenerKey = tuple[str, int]  # address as configured, and which of several equal ones (port 0)
MeterKey = tuple[str, str, str]  # route, backend, server name of relayed TLS (as configured, SNI_OTHER; "": none)
SlotKey = tuple[str, str]  # backend, address


class PublishError(Exception):
    """The core cannot take this configuration now; the text says why. The snapshot before it stays."""


class Exhausted(Exception):
    """No number is free."""


class StableIds(Generic[K]):
    """Numbers below `capacity`, each with one owner at a time.

    With `remember`, an owner that comes back gets its old number as long as nobody else needed it (its counters go on).
    Without, numbers are reused as soon as that is safe, always under another generation.
    """

    def __init__(self, capacity: int, first: int = 0, remember: bool = True) -> None:
        self.held: dict[K, int] = {}
        self.generations: dict[int, int] = {}
        self.renamed: list[int] = []  # numbers that the last plan gave to another owner
        self._capacity = capacity
        self._next = first
        self._remember = remember
        self._former: dict[int, tuple[K, int]] = {}  # number: last owner, version it is free since; oldest first

    def plan(self, keys: Iterable[K], version: int, safe_version: int) -> "StableIds[K]":
        """The numbers after exactly `keys` hold one, from `version` on; self is left as it is.

        Numbers free since `safe_version` or before may be reused. Raises Exhausted.
        """
        wanted = dict.fromkeys(keys)
        after: StableIds[K] = StableIds(self._capacity, self._next, self._remember)
        after.generations = dict(self.generations)
        after._former = dict(self._former)
        after.held = {key: number for key, number in self.held.items() if key in wanted}
        for key, number in self.held.items():
            if key not in wanted:
                after._former[number] = (key, version)
        own = {key: number for number, (key, _) in after._former.items()} if self._remember else {}
        for key in wanted:
            if key not in after.held:
                after.held[key] = after._take(own.get(key), safe_version)
        return after

    def _take(self, own: int | None, safe_version: int) -> int:
        """`own`: the number the new owner had before."""
        if own in self._former:
            del self._former[own]
            return own
        if self._remember and self._next < self._capacity:
            return self._fresh()
        number = self._reused(safe_version)
        if number is not None:
            return number
        if self._next < self._capacity:
            return self._fresh()
        raise Exhausted

    def _fresh(self) -> int:
        number = self._next
        self._next += 1
        self.generations[number] = 1
        return number

    def _reused(self, safe_version: int) -> int | None:
        number = next(iter(self._former), None)
        if number is None or self._former[number][1] > safe_version:
            return None
        del self._former[number]
        self.generations[number] += 1
        self.renamed.append(number)
        return number


class SlotOwner(NamedTuple):
    """Whose state a slot of the core holds."""

    slot_gen: int
    backend: str
    address: str


class Plan(NamedTuple):
    """A snapshot that can be published, and the numbers it is made of."""

    spec: SnapshotSpec
    listeners: StableIds[ListenerKey]
    meters: StableIds[MeterKey]
    slots: StableIds[SlotKey]
    listener_names: dict[int, str]
    meter_names: dict[int, MeterKey]
    slot_owners: dict[int, SlotOwner]


def listener_keys(listeners: Iterable[Listener]) -> dict[ListenerKey, Listener]:
    """Listeners by what makes two of them the same across reloads: the address and kind of socket, not the name."""
    keys: dict[ListenerKey, Listener] = {}
    for listener in listeners:
        count = 0
        text = f"{listener.address.text} tproxy" if listener.role == "tproxy" else listener.address.text
        while (text, count) in keys:
            count += 1
        keys[text, count] = listener
    return keys


class Publication:
    """What is published, and the way to publish the next one."""

    def __init__(self, config: Config) -> None:
        from fastmesh._core.bridge import Publisher

        self.publisher = Publisher(config.workers.count)
        self._endpoint_slots = config.workers.endpoint_slots
        self._meter_blocks = config.workers.meter_blocks
        self._listeners: StableIds[ListenerKey] = StableIds(LISTENERS_MAX)
        self._meters: StableIds[MeterKey] = StableIds(self._meter_blocks, METER_OTHER + 1)
        self._slots: StableIds[SlotKey] = StableIds(self._endpoint_slots, remember=False)
        self._safe_version = 0
        self.version = 0
        # Names of the core's numbers; those of numbers out of use stay until another owner has them.
        self.listener_names: dict[int, str] = {}
        self.meter_names: dict[int, MeterKey] = {METER_OTHER: (OTHER, OTHER, "")}
        self.slot_owners: dict[int, SlotOwner] = {}

    def plan(
        self,
        config: Config,
        targets: Mapping[str, Mapping[str, int]],
        known: Mapping[str, Iterable[str]] | None = None,
    ) -> Plan:
        """The next snapshot. `targets`: numeric addresses and weights by backend name; `known`: of all endpoints, where
        not all are used. Raises PublishError."""
        version = self.version + 1
        self._look_at_retired()
        listeners = self._next(self._listeners, listener_keys(config.listeners), version, "listeners", LISTENERS_MAX)
        meters = self._plan_meters(config, version)
        keys = [(backend.name, address) for backend in config.backends for address in targets.get(backend.name, ())]
        slots = self._next(self._slots, keys, version, "endpoints", self._endpoint_slots)
        owners = {number: SlotOwner(slots.generations[number], *key) for key, number in slots.held.items()}
        by_number = {listeners.held[key]: listener for key, listener in listener_keys(config.listeners).items()}
        names = {number: listener.name for number, listener in by_number.items()}
        meter_names = {number: key for key, number in meters.held.items()}
        spec = _spec(config, version, targets, by_number, meters.held, slots)
        if config.intercepts:
            spec = _with_originals(spec, config, targets if known is None else known, meters.held)
        return Plan(spec, listeners, meters, slots, names, meter_names, owners)

    def commit(self, plan: Plan) -> int:
        """Publishes it and answers the version. Raises PublishError, and then nothing has changed."""
        try:
            version = self.publisher.publish(plan.spec)
        except (ValueError, MemoryError) as error:
            raise PublishError(str(error) or type(error).__name__) from None
        self._listeners, self._meters, self._slots = plan.listeners, plan.meters, plan.slots
        self.listener_names |= plan.listener_names
        self.meter_names |= plan.meter_names
        self.slot_owners = plan.slot_owners
        self.version = version
        return version

    def retired(self) -> int:
        """Old snapshots that a worker still reads; frees the others."""
        return self._look_at_retired()

    def _look_at_retired(self) -> int:
        left = self.publisher.retired()
        if left == 0:
            self._safe_version = self.version
        return left

    def _next(self, ids: StableIds[K], keys: Iterable[K], version: int, what: str, capacity: int) -> StableIds[K]:
        wanted = list(keys)
        try:
            return ids.plan(wanted, version, self._safe_version)
        except Exhausted:
            rule = f"{len(wanted)} {what} need numbers and there are {capacity}"
            raise PublishError(f"{rule}, some of which older snapshots still use") from None

    def _plan_meters(self, config: Config, version: int) -> StableIds[MeterKey]:
        """Counting must never stop a configuration: routes beyond the capacity share METER_OTHER."""
        keys = [(route.name, route.backend, "") for route in config.routes]
        if config.intercepts:
            names = (ORIGINAL, *(backend.name for backend in config.backends))
            own = [(ORIGINAL, name, sni) for name in names for sni in ("", SNI_OTHER)]
            keys = [*own[:2], *keys, *own[2:]]
        keys += [(route.name, route.backend, sni) for route in _tcp_routes(config) for sni in route.sni or (SNI_OTHER,)]
        return self._meters.plan(keys[: self._meter_blocks - 1], version, version)


def _spec(
    config: Config,
    version: int,
    targets: Mapping[str, Mapping[str, int]],
    listeners: Mapping[int, Listener],
    meters: Mapping[MeterKey, int],
    slots: StableIds[SlotKey],
) -> SnapshotSpec:
    backend_index = {backend.name: index for index, backend in enumerate(config.backends)}

    def made(route: Route, host: str, alpn: str = "", tcp: bool = False) -> RouteSpec:
        mask = sum(1 << index for index, listener in listeners.items() if listener.name in route.listeners)
        if config.intercepts and not route.listeners:
            mask = _admitting(route, listeners)
        meter = meters.get((route.name, route.backend, ""), METER_OTHER)
        spec = _route(route, host, alpn, backend_index[route.backend], mask, meter)
        if not tcp:
            return spec
        return spec._replace(tls_meter=meters.get((route.name, route.backend, host or SNI_OTHER), meter))

    routes = tuple(
        made(route, host)
        for route in config.routes if not route.is_tcp and _is_reached(config, route, listeners)
        for host in route.hosts or ("",)
    )  # fmt: skip
    tcp_routes = tuple(
        made(route, name, protocol, tcp=True)
        for route in _tcp_routes(config) if _is_reached(config, route, listeners)
        for name in route.sni or ("",) for protocol in route.alpn or ("",)
    )  # fmt: skip
    return SnapshotSpec(
        version=version,
        policy=_policy(config.policy, config.access_log.is_on),
        routes=routes,
        backends=tuple(_backend(backend, targets.get(backend.name, {}), slots) for backend in config.backends),
        listeners=tuple(_listener(listeners.get(index)) for index in range(max(listeners, default=-1) + 1)),
        tcp_routes=tcp_routes,
    )


def _admitting(route: Route, listeners: Mapping[int, Listener]) -> int:
    """The listeners of a route that names none, as bits. What comes in was meant for this machine, whatever it says; of
    what goes out only what asks for a name of the route's: a route without one would catch all that there is."""
    roles = ("off", "outbound") if route.hosts or route.sni else ("off",)
    return sum(1 << index for index, listener in listeners.items() if listener.role in roles)


def _is_reached(config: Config, route: Route, listeners: Mapping[int, Listener]) -> bool:
    """Whether there is a listener of its: for the core, none would be all."""
    return not config.intercepts or bool(route.listeners) or _admitting(route, listeners) != 0


def _with_originals(
    spec: SnapshotSpec, config: Config, known: Mapping[str, Iterable[str]], meters: Mapping[MeterKey, int]
) -> SnapshotSpec:
    """What no route takes: to the backend that has the original destination as an endpoint, else to the destination."""
    upstream = replace(config.upstream, protocol="auto", send_proxy_protocol="off")
    own = _backend(Backend(ORIGINAL, (), upstream), {}, StableIds(0))
    names = [*(backend.name for backend in config.backends), ORIGINAL]
    # There is one place to connect to: to try it again at once would only keep the client waiting.
    exchanges = [config.exchange] * len(config.backends) + [replace(config.exchange, retry_connect=0)]
    routes = []
    for index, (name, exchange) in enumerate(zip(names, exchanges, strict=True)):
        meter = meters.get((ORIGINAL, name, ""), METER_OTHER)
        route = _route(Route(ORIGINAL, name, exchange=exchange), "", "", index, 0, meter)
        routes.append(route._replace(tls_meter=meters.get((ORIGINAL, name, SNI_OTHER), meter)))
    backends: dict[str, int] = {}
    for index, backend in enumerate(config.backends):
        for address in known.get(backend.name, ()):
            if not address.startswith("unix:"):
                backends.setdefault(address, index)
    original = OriginalSpec(tuple(routes), tuple(backends.items()), _rules(config))
    return spec._replace(backends=(*spec.backends, own), original=original)


def _rules(config: Config) -> tuple[ProtocolRuleSpec, ...]:
    opaque = LISTENER_PROTOCOLS.index("opaque")
    own = (
        ProtocolRuleSpec(rule.host, rule.bits, *rule.ports, LISTENER_PROTOCOLS.index(rule.protocol))
        for rule in config.interception.protocols
    )
    return (*own, *(ProtocolRuleSpec("", 0, *ports, opaque) for ports in config.interception.opaque_ports))


def _tcp_routes(config: Config) -> list[Route]:
    """Routes of connections. What takes every request takes every connection that no other route does, so that one
    backend is enough for a start."""
    if all(listener.reception.protocol == "http" for listener in config.listeners):
        return []
    own = [route for route in config.routes if route.is_tcp]
    return own + [route for route in config.routes if route.is_condition_free]


def _listener(listener: Listener | None) -> ListenerSpec:
    if listener is None:
        return ListenerSpec(b"")
    return ListenerSpec(
        listener.name.encode(),
        LISTENER_PROTOCOLS.index(listener.reception.protocol),
        listener.reception.proxy_protocol,
        LISTENER_ROLES.index(listener.role),
    )


def _route(route: Route, host: str, alpn: str, backend: int, listener_mask: int, meter: int) -> RouteSpec:
    offer = (HeaderMatch("alpn", "exact", alpn),) if alpn else ()
    wildcard = host.startswith("*")
    return RouteSpec(
        host_kind=HOST_SUFFIX if wildcard else HOST_EXACT if host else HOST_ANY,
        host=host.removeprefix("*").encode(),
        path_kind=PATH_KINDS.index(route.path_kind),
        path=route.path.encode(),
        methods=tuple(method.encode() for method in route.methods),
        headers=tuple(
            HeaderMatchSpec(match.name.encode(), match.value.encode(), HEADER_KINDS.index(match.kind))
            for match in route.headers + offer
        ),
        listener_mask=listener_mask,
        backend=backend,
        meter=meter,
        request_timeout_ns=route.exchange.request_timeout_ns,
        per_try_timeout_ns=route.exchange.per_try_timeout_ns,
        retry_connect=route.exchange.retry_connect,
        name=route.name.encode(),
        grpc_web=route.exchange.grpc_web,
        retry_grpc=sum(1 << GRPC_STATUSES.index(status) for status in route.exchange.retry_grpc),
    )


def _backend(backend: Backend, targets: Mapping[str, int], slots: StableIds[SlotKey]) -> BackendSpec:
    endpoints = []
    for address, weight in targets.items():
        slot = slots.held[backend.name, address]
        endpoints.append(EndpointSpec(slot, slots.generations[slot], weight, address))
    upstream = backend.upstream
    return BackendSpec(
        name=backend.name.encode(),
        endpoints=tuple(endpoints),
        balancer=BALANCERS.index(upstream.balancer),
        connect_timeout_ns=upstream.connect_timeout_ns,
        ewma_default_ns=upstream.ewma_default_ns,
        ewma_decay_ns=upstream.ewma_decay_ns,
        ramp_ns=upstream.ramp_ns,
        backoff_min_ns=upstream.backoff_min_ns,
        backoff_max_ns=upstream.backoff_max_ns,
        idle_timeout_ns=upstream.idle_timeout_ns,
        max_connections=upstream.max_connections,
        max_idle=upstream.max_idle,
        max_pending=upstream.max_pending,
        protocol=PROTOCOLS.index(upstream.protocol),
        max_streams=upstream.max_streams,
        ping_interval_ns=upstream.ping_interval_ns,
        ping_timeout_ns=upstream.ping_timeout_ns,
        send_proxy_protocol=SEND_PROXY.index(upstream.send_proxy_protocol),
    )


def _policy(policy: Policy, access_log: bool) -> PolicySpec:
    return PolicySpec(
        head_bytes=policy.head_bytes,
        line_bytes=policy.line_bytes,
        field_line_bytes=policy.field_line_bytes,
        fields=policy.fields,
        header_timeout_ns=policy.header_timeout_ns,
        idle_timeout_ns=policy.idle_timeout_ns,
        stream_timeout_ns=policy.stream_timeout_ns,
        linger_timeout_ns=policy.linger_timeout_ns,
        max_connections=policy.max_connections,
        keepalive_requests=policy.keepalive_requests,
        via=policy.via.encode(),
        via_response=policy.via_response,
        forwarded=FORWARDED.index(policy.forwarded),
        forwarded_replace=policy.forwarded_replace,
        access_log=access_log,
        http2_streams=policy.http2_streams,
        http2_glitches=policy.http2_glitches,
        http2_window=policy.http2_window,
        grpc_timeout=policy.grpc_timeout,
        tcp_idle_timeout_ns=policy.tcp_idle_timeout_ns,
        tcp_user_timeout_ns=policy.tcp_user_timeout_ns,
        detect_timeout_ns=policy.detect_timeout_ns,
        splice=policy.splice,
    )
