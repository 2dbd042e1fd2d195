"""The router equals a model that tries every route in precedence order."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.probe.routing_router import RouterProbe

ANY, EXACT, SUFFIX = 0, 1, 2
PREFIX = 2
PRESENT, HEADER_EXACT, ABSENT = 0, 1, 2
NO_SLOT = 0


@dataclass(frozen=True)
class Route:
    host_kind: int = ANY
    host: bytes = b""
    path_kind: int = ANY
    path: bytes = b""
    methods: int = 0
    headers: tuple[tuple[int, bytes, bytes], ...] = ()
    listeners: int = 0

    def spec(self, order: int) -> tuple[object, ...]:
        return (
            self.host_kind, self.host, self.path_kind, self.path, self.methods, list(self.headers), self.listeners, order
        )


@dataclass(frozen=True)
class Query:
    host: bytes = b"example.com"
    path: bytes = b"/"
    method: int = 1
    headers: tuple[tuple[bytes, bytes], ...] = ()
    listener: int = 0


def undotted(host: bytes) -> bytes:
    return host[:-1] if host.endswith(b".") else host


def suffix_of(route: Route) -> bytes:
    suffix = undotted(route.host)
    return suffix if suffix.startswith(b".") else b"." + suffix


def prefix_of(route: Route) -> bytes:
    return route.path[:-1] if route.path.endswith(b"/") else route.path


def host_rank(route: Route, host: bytes) -> tuple[int, int] | None:
    """Greater is more specific; None: no match."""
    host = undotted(host.lower())
    if route.host_kind == ANY:
        return (0, 0)
    if route.host_kind == EXACT:
        return (2, 0) if undotted(route.host) == host else None
    suffix = suffix_of(route)
    return (1, len(suffix)) if host.endswith(suffix) and len(host) > len(suffix) else None


def path_rank(route: Route, path: bytes) -> tuple[int, int] | None:
    path = path or b"/"
    if route.path_kind == ANY:
        return (0, 0)
    if route.path_kind == EXACT:
        return (2, 0) if route.path == path else None
    prefix = prefix_of(route)
    if route.path and not route.path.startswith(b"/"):
        return None
    return (1, len(prefix)) if path == prefix or path.startswith(prefix + b"/") else None


def header_holds(match: tuple[int, bytes, bytes], headers: tuple[tuple[bytes, bytes], ...]) -> bool:
    kind, name, value = match
    values = [v for n, v in headers if n.lower() == name]
    if kind == ABSENT:
        return not values
    return value in values if kind == HEADER_EXACT else bool(values)


def model(routes: list[Route], query: Query) -> int | None:
    best: tuple[tuple[object, ...], int] | None = None
    for order, route in enumerate(routes):
        host, path = host_rank(route, query.host), path_rank(route, query.path)
        if host is None or path is None:
            continue
        if route.listeners and not (query.listener < 32 and route.listeners >> query.listener & 1):
            continue
        if route.methods and not route.methods >> query.method & 1:
            continue
        if not all(header_holds(match, query.headers) for match in route.headers):
            continue
        rank = (host, path, route.methods != 0, len(route.headers), -order)
        if best is None or rank > best[0]:
            best = (rank, order)
    return None if best is None else best[1]


labels = st.sampled_from([b"a", b"b", b"example", b"com", b"ab", b"x" * 9, b"svc-with-a-long-name", b""])
lower_hosts = st.lists(labels, min_size=1, max_size=4).map(b".".join)
segments = st.sampled_from([b"", b"a", b"b", b"ab", b"A", b"api", b"segment-longer-than-eight", b"%2F"])
paths = st.lists(segments, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
names = st.sampled_from([b"x-a", b"x-b", b"x-very-long-name"])
values = st.sampled_from([b"", b"1", b"2", b"One"])
masks = st.sampled_from([0, 0, 0, 1, 2, 5, 1 << 31])

host_rules = st.one_of(
    st.just((ANY, b"")),
    st.tuples(st.just(EXACT), lower_hosts),
    st.tuples(st.just(SUFFIX), lower_hosts.map(lambda host: b"." + host)),
    st.tuples(st.just(SUFFIX), lower_hosts),
)
path_rules = st.one_of(
    st.just((ANY, b"")),
    st.tuples(st.just(EXACT), paths),
    st.tuples(st.just(PREFIX), paths),
    st.tuples(st.sampled_from([EXACT, PREFIX]), st.sampled_from([b"", b"*", b"a", b"/", b"//", b"a/"])),
)
route_rules = st.builds(
    lambda host, path, methods, headers, listeners: Route(*host, *path, methods, tuple(headers), listeners),
    host_rules,
    path_rules,
    st.sampled_from([0, 0, 0, 1 << 1, 1 << 3, 1 << 0, 0b1010]),
    st.lists(st.tuples(st.integers(0, 2), names, values), max_size=3),
    masks,
)


def mangle_case(text: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from([text, text.upper(), text.title(), text.swapcase()])


@st.composite
def queries(draw: st.DrawFn, routes: list[Route]) -> Query:
    """Anything, and near misses of the rules at hand."""
    near = draw(st.sampled_from(routes)) if routes else Route()
    host = draw(st.one_of(lower_hosts, st.just(near.host), st.just(b"b" + near.host), st.just(b"x." + near.host.strip(b"."))))
    host = draw(mangle_case(host)) + draw(st.sampled_from([b"", b"", b".", b".."]))
    path = draw(
        st.one_of(
            paths,
            st.sampled_from([b"", b"/", b"*", b"//"]),
            st.sampled_from([b"", b"/", b"b", b"/b", b"//", b"/b/ab"]).map(lambda tail: near.path + tail),
            st.integers(0, len(near.path)).map(lambda cut: near.path[:cut]),
        )
    )
    name = names.flatmap(mangle_case)
    headers = draw(st.lists(st.tuples(name, values), max_size=4))
    return Query(host, path, draw(st.integers(0, 9)), tuple(headers), draw(st.sampled_from([0, 0, 1, 2, 31, 32, 40])))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Route], list[Query]]:
    routes = draw(st.lists(route_rules, max_size=14))
    return routes, draw(st.lists(queries(routes), min_size=1, max_size=12))


def check(routes: list[Route], asked: list[Query]) -> None:
    router = RouterProbe([route.spec(order) for order, route in enumerate(routes)])
    for query in asked:
        found = router.match(query.host, query.path, query.method, query.headers, query.listener)
        assert found == model(routes, query), query


@settings(max_examples=1500, deadline=None)
@given(cases())
def test_router_equals_model(case: tuple[list[Route], list[Query]]) -> None:
    check(*case)
