"""Rules between values: what each value alone cannot be judged by."""

from collections.abc import Iterator
from itertools import combinations

from fastmesh.config.addresses import LISTENERS_MAX
from fastmesh.config.model import DEFAULT_NAME, Address, Backend, Config, Route
from fastmesh.config.problems import Problem, nearest, shown
from fastmesh.config.reader import ENVIRONMENT, Item, Place, Reader
from fastmesh.config.settings import BACKEND_KEYS, BY_NAME, ROUTE_KEYS
from fastmesh.config.values import Key

# (lesser, greater): settings of which the first must not be above the second, unless the second is off.
_ORDERED = (
    ("line_bytes", "head_bytes"),
    ("field_line_bytes", "head_bytes"),
    ("backoff_min", "backoff_max"),
    ("per_try_timeout", "request_timeout"),
)
_LOOPBACK = ("127.", "::1")

Places = dict[str, Place]


def check(config: Config, reader: Reader, places: Places) -> Iterator[Problem]:
    """Every problem between values. `places`: where listeners, backends and routes of `config` were written."""
    yield from _settings_in_order(config, reader)
    yield from _shorthands(reader)
    yield from _unique_names(reader)
    yield from _listeners(config, reader, places)
    yield from _backends(config, reader, places)
    yield from _routes(config, reader, places)


def _problem(place: Place, value: object, rule: str) -> Problem:
    return Problem(place.key, "" if value is None else shown(value), place.source, rule)


def _place(reader: Reader, name: str) -> Place:
    """Where a setting was written; for a default, where it would be."""
    return reader.places.get(name, Place(BY_NAME[name].variable, "default"))


def _settings_in_order(config: Config, reader: Reader) -> Iterator[Problem]:
    for lesser, greater in _ORDERED:
        if {lesser, greater} & reader.bad:
            continue
        low, high = BY_NAME[lesser], BY_NAME[greater]
        if low.of(config) > high.of(config) and not (high.zero_off and high.of(config) == 0):
            yield _out_of_order(reader, lesser, low.text_of(config), greater, high.text_of(config))
    slots = BY_NAME["connection_slots"]
    most = config.policy.max_connections
    if 0 < slots.of(config) <= most and not {"connection_slots", "max_connections"} & reader.bad:
        rule = f"must be above max_connections, which is {most}: upstream connections need room too"
        yield _problem(_place(reader, "connection_slots"), slots.of(config), rule)


def _out_of_order(reader: Reader, lesser: str, low: str, greater: str, high: str) -> Problem:
    """Named where it was written: at the lesser one, or at the greater one when the lesser is a default."""
    if lesser in reader.places:
        return _problem(reader.places[lesser], low, f"must be at most {greater}, which is {high}")
    return _problem(_place(reader, greater), high, f"must be at least {lesser}, which is {low}")


def _shorthands(reader: Reader) -> Iterator[Problem]:
    """In one file `listen` and [[listeners]] exclude each other, as do `upstream` and a backend `default`."""
    listen, upstream = reader.places.get("listen"), reader.places.get("upstream")
    if listen and listen.source != ENVIRONMENT and "listeners" in reader.given:
        yield _problem(listen, None, "must not stand beside [[listeners]]; one of them is enough")
    named = {item.values.get("name") for item in reader.items["backends"]}
    if upstream and upstream.source != ENVIRONMENT and DEFAULT_NAME in named:
        yield _problem(upstream, None, f"must not stand beside a backend called {DEFAULT_NAME}; one of them is enough")


def _unique_names(reader: Reader) -> Iterator[Problem]:
    for items in reader.items.values():
        first: dict[str, Item] = {}
        for item in items:
            name = item.values.get("name")
            if name is not None and first.setdefault(name, item) is not item:
                yield _problem(item.at("name"), name, f"must be unique; {first[name].place.key} has it too")


def _overlap(one: Address, other: Address) -> bool:
    """Whether a connection could be meant for both."""
    if one.kind == "unix" or other.kind == "unix":
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or _covers(one, other) or _covers(other, one)


def _covers(wildcard: Address, other: Address) -> bool:
    """Whether `wildcard` is one that takes what comes to the other's host; [::] takes IPv4 too."""
    if wildcard.host == "::":
        return True
    return wildcard.host == "0.0.0.0" and (other.kind == "inet" or other.host in ("::", "localhost"))


def _listeners(config: Config, reader: Reader, places: Places) -> Iterator[Problem]:
    own = [(_listener_place(config, reader, places, i), each.address) for i, each in enumerate(config.listeners)]
    if config.admin is not None:
        own.append((_place(reader, "admin"), config.admin))
    for (first_place, first), (place, address) in combinations(own, 2):
        if _overlap(first, address):
            rule = f"must not overlap {first.text} of {first_place.key}"
            yield _problem(place, address.text, rule)
    names = [listener.name for listener in config.listeners]
    for index, listener in enumerate(config.listeners):
        if f"listeners[{index}]" not in places and listener.name in names[:index]:
            place = _listener_place(config, reader, places, index)
            yield _problem(place, listener.name, "must not stand beside another listener of that name")
        if listener.role != "off" and listener.address.kind == "unix":
            place = _listener_place(config, reader, places, index)
            yield _problem(place, listener.address.text, "must be an IP address and port: nothing else is redirected")
    if len(config.listeners) > LISTENERS_MAX:
        place = Place("listeners", reader.file)
        yield _problem(place, len(config.listeners), f"must be at most {LISTENERS_MAX} listeners")


def _listener_place(config: Config, reader: Reader, places: Places, index: int) -> Place:
    place = places.get(f"listeners[{index}]")
    if place is None and config.listeners[index].role != "off":
        return _place(reader, "transparent")
    return Place(f"{place.key}.address", place.source) if place else _place(reader, "listen")


def _backends(config: Config, reader: Reader, places: Places) -> Iterator[Problem]:
    keys = {key.name: key for key in BACKEND_KEYS}
    for index, backend in enumerate(config.backends):
        place = places[f"backends[{index}]"]
        at = places.get(f"backends[{index}].endpoints") or _endpoints_place(place)
        yield from _loops(config, backend, at)
        item = _item(reader, "backends", place)
        if backend.upstream.send_proxy_protocol != "off" and backend.upstream.protocol == "http2":
            yield _shared(reader, backend, item)
        if item and ("backoff_min" in item.values or "backoff_max" in item.values):
            low, high = backend.upstream.backoff_min_ns, backend.upstream.backoff_max_ns
            yield from _item_order(item, keys["backoff_min"], low, keys["backoff_max"], high)
    total = sum(len(backend.endpoints) for backend in config.backends)
    if total > config.workers.endpoint_slots and "endpoint_slots" not in reader.bad:
        rule = f"must be at least {total}, the number of endpoints"
        yield _problem(_place(reader, "endpoint_slots"), config.workers.endpoint_slots, rule)


def _shared(reader: Reader, backend: Backend, item: Item | None) -> Problem:
    """A PROXY protocol header is of one client, and a connection that speaks HTTP/2 is shared."""
    own = item is not None and "send_proxy_protocol" in item.values
    place = item.at("send_proxy_protocol") if item and own else _place(reader, "send_proxy_protocol")
    rule = f"must be off where the protocol is http2, as for the backend {backend.name}: its connections are shared"
    return _problem(place, backend.upstream.send_proxy_protocol, rule)


def _endpoints_place(backend: Place) -> Place:
    if backend.key.startswith("backends["):
        return Place(f"{backend.key}.endpoints", backend.source)
    return backend  # the setting `upstream`


def _loops(config: Config, backend: Backend, place: Place) -> Iterator[Problem]:
    for endpoint in backend.endpoints:
        for listener in config.listeners:
            if _is_own(endpoint.address, listener.address):
                rule = f"must not be fastmesh's own listener {listener.address.text}: requests would go round for ever"
                yield _problem(place, endpoint.address.text, rule)


def _is_own(endpoint: Address, listener: Address) -> bool:
    if endpoint == listener:
        return True
    if "unix" in (listener.kind, endpoint.kind) or listener.port != endpoint.port:
        return False
    is_local = endpoint.host == "localhost" or (endpoint.is_numeric and endpoint.host.startswith(_LOOPBACK))
    if endpoint.host == "localhost" and listener.host in ("127.0.0.1", "::1"):
        return True
    return is_local and _covers(listener, endpoint)


def _item(reader: Reader, section: str, place: Place) -> Item | None:
    return next((item for item in reader.items[section] if item.place == place), None)


def _item_order(item: Item, lesser: Key, low: int, greater: Key, high: int) -> Iterator[Problem]:
    if low <= high or (greater.zero_off and high == 0):
        return
    if lesser.name in item.values:
        rule = f"must be at most {greater.name}, which is {greater.format(high)}"
        yield _problem(item.at(lesser.name), lesser.format(low), rule)
    else:
        rule = f"must be at least {lesser.name}, which is {lesser.format(low)}"
        yield _problem(item.at(greater.name), greater.format(high), rule)


def _routes(config: Config, reader: Reader, places: Places) -> Iterator[Problem]:
    backends = [backend.name for backend in config.backends]
    listeners = [listener.name for listener in config.listeners]
    keys = {key.name: key for key in ROUTE_KEYS}
    conditions: dict[tuple[object, ...], str] = {}
    for index, route in enumerate(config.routes):
        item = _item(reader, "routes", places[f"routes[{index}]"])
        if item is None:
            yield from _grpc_web(config, reader, route)
            continue  # the route `default` of FASTMESH_UPSTREAM
        if route.backend not in backends:
            rule = "must be the name of a backend" + nearest(route.backend, backends)
            yield _problem(item.at("backend"), route.backend, rule)
        for name in route.listeners:
            if name not in listeners:
                rule = "must be names of listeners" + nearest(name, listeners)
                yield _problem(item.at("listeners"), name, rule)
        if "path" in item.values and "path_prefix" in item.values:
            yield _problem(item.at("path_prefix"), item.values["path_prefix"], "must not stand beside path")
        if route.is_tcp:
            yield from _tcp_route(config, route, item)
        if "per_try_timeout" in item.values or "request_timeout" in item.values:
            low, high = route.exchange.per_try_timeout_ns, route.exchange.request_timeout_ns
            yield from _item_order(item, keys["per_try_timeout"], low, keys["request_timeout"], high)
        twin = conditions.setdefault(_conditions(route), item.place.key)
        if twin != item.place.key:
            yield _problem(item.place, None, f"must differ from {twin} in a condition; it would never be reached")
    if not config.routes and len(backends) > 1 and "routes" not in reader.given and not config.intercepts:
        yield _problem(Place("routes", reader.file), None, "must be there to choose between several backends")


def _grpc_web(config: Config, reader: Reader, route: Route) -> Iterator[Problem]:
    """gRPC needs HTTP/2. Of several routes one may have a backend for which the common setting means nothing."""
    upstream = next(backend.upstream for backend in config.backends if backend.name == route.backend)
    if route.exchange.grpc_web and upstream.protocol == "http1":
        yield _problem(_place(reader, "grpc_web"), "on", "must be off where upstream_protocol is http1")
    elif route.exchange.grpc_web and upstream.send_proxy_protocol != "off":
        yield _problem(_place(reader, "grpc_web"), "on", "must be off where send_proxy_protocol is not")


def _tcp_route(config: Config, route: Route, item: Item) -> Iterator[Problem]:
    """A relayed connection has no request, and comes in where more than HTTP is taken."""
    for name in ("hosts", "path", "path_prefix", "methods", "headers"):
        if name in item.values:
            yield _problem(item.at(name), None, "must not stand in a route of relayed connections (tcp, sni, alpn)")
    taking = [each.name for each in config.listeners if each.reception.protocol != "http"]
    if not taking or (route.listeners and not set(route.listeners) & set(taking)):
        rule = "must have a listener whose protocol is detect, opaque or tls; it would never be reached"
        yield _problem(item.place, None, rule)


def _conditions(route: Route) -> tuple[object, ...]:
    sets = (route.hosts, route.methods, route.headers, route.listeners, route.sni, route.alpn)
    return (*map(frozenset, sets), route.path_kind, route.path, route.is_tcp)
