"""The router equals a model that tries every route in precedence order."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.probe.routing_router import RouterProbe

ANY, EXACT, SUFFIX = 0, 1, 2
PREFIX = 2
PRESENT, HEADER_EXACT, ABSENT = 0, 1, 2


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
        rules = (self.host_kind, self.host, self.path_kind, self.path)
        return (*rules, self.methods, list(self.headers), self.listeners, order)


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
    around = [near.host, b"b" + near.host, b"x." + near.host.strip(b"."), near.host.strip(b".")]
    host = draw(st.one_of(lower_hosts, st.sampled_from(around)))
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


# All of one host, or of two that see the same requests, so that its rules are looked up instead of read through.
crowded = st.lists(
    st.builds(
        lambda host, path, methods, headers: Route(*host, *path, methods, tuple(headers)),
        st.sampled_from([(ANY, b""), (ANY, b""), (ANY, b""), (EXACT, b"a.b")]),
        path_rules,
        st.sampled_from([0, 0, 1 << 1]),
        st.lists(st.tuples(st.integers(0, 2), names, values), max_size=1),
    ),
    min_size=12,
    max_size=50,
)


@st.composite
def cases(draw: st.DrawFn, rules: st.SearchStrategy[list[Route]]) -> tuple[list[Route], list[Query]]:
    routes = draw(rules)
    return routes, draw(st.lists(queries(routes), min_size=1, max_size=12))


def check(routes: list[Route], asked: list[Query]) -> None:
    router = RouterProbe([route.spec(order) for order, route in enumerate(routes)])
    for query in asked:
        found = router.match(query.host, query.path, query.method, query.headers, query.listener)
        assert found == model(routes, query), query


@settings(max_examples=400, deadline=None)
@given(cases(st.lists(route_rules, max_size=14)))
def test_router_equals_model(case: tuple[list[Route], list[Query]]) -> None:
    check(*case)


@settings(max_examples=200, deadline=None)
@given(cases(crowded))
def test_a_host_with_many_paths_equals_model(case: tuple[list[Route], list[Query]]) -> None:
    check(*case)


def test_a_rule_that_fits_worse_is_tried_when_conditions_fail() -> None:
    """All host groups and paths in precedence order, until methods, headers and listener hold too."""
    only_post, absent = 1 << 3, ((ABSENT, b"x-a", b""),)
    routes = [
        Route(),
        Route(EXACT, b"a.example.com", EXACT, b"/a/b", only_post),
        Route(EXACT, b"a.example.com", PREFIX, b"/a", headers=((HEADER_EXACT, b"x-a", b"1"),)),
        Route(SUFFIX, b".example.com", PREFIX, b"/a/b", listeners=2),
        Route(SUFFIX, b".com", EXACT, b"/a/b", headers=absent),
    ]
    router = RouterProbe([route.spec(order) for order, route in enumerate(routes)])
    host, path = b"A.Example.com.", b"/a/b"
    assert router.match(host, path, 3) == 1
    assert router.match(host, path, 1, [(b"x-a", b"0"), (b"X-A", b"1")]) == 2
    assert router.match(host, path, 1, [(b"X-A", b"0")], 1) == 3
    assert router.match(host, path) == 4
    assert router.match(host, path, 1, [(b"x-A", b"0")]) == 0


def test_wildcards_take_at_least_one_label() -> None:
    router = RouterProbe([Route(SUFFIX, b".example.com").spec(0)])
    assert router.match(b"x.example.com", b"/") == 0
    assert router.match(b"x.y.example.com", b"/") == 0
    for host in (b"example.com", b".example.com", b"xexample.com", b"example.com.", b"x.example.com.evil", b""):
        assert router.match(host, b"/") is None


def test_prefixes_end_on_segment_bounds() -> None:
    router = RouterProbe([Route(path_kind=PREFIX, path=b"/a/").spec(0)])
    assert [router.match(b"", path) for path in (b"/a", b"/a/", b"/a/b", b"/a//")] == [0] * 4
    assert [router.match(b"", path) for path in (b"/ab", b"/A", b"/", b"", b"*", b"//a", b"a")] == [None] * 7


def test_the_table_stays_flat_with_many_routes() -> None:
    routes = [Route(EXACT, b"svc-%d.example.com" % i, PREFIX, b"/v%d/items" % (i % 7)) for i in range(3000)]
    routes += [Route(SUFFIX, b".tenant-%d.example.org" % i, EXACT, b"/%d" % i) for i in range(3000)]
    router = RouterProbe([route.spec(order) for order, route in enumerate(routes)])
    assert router.probe_max() <= 16
    for i in range(0, 3000, 37):
        assert router.match(b"SVC-%d.example.com" % i, b"/v%d/items/9" % (i % 7)) == i
        assert router.match(b"a.b.tenant-%d.example.org" % i, b"/%d" % i) == 3000 + i
        assert router.match(b"tenant-%d.example.org" % i, b"/%d" % i) is None


def test_long_and_odd_queries_read_only_what_is_theirs() -> None:
    """Every length of host and path up to the page's edge, around the word size of the hash, and hostile shapes."""
    routes = [Route(EXACT, b"h" * n, PREFIX, b"/" + b"p" * n) for n in range(40)]
    routes += [Route(EXACT, b"many", PREFIX, b"/" + b"p" * n + b"/q") for n in range(40)]
    router = RouterProbe([route.spec(order) for order, route in enumerate(routes)])
    for n in range(40):
        assert router.match(b"H" * n, b"/" + b"p" * n + b"/tail") == n
        assert router.match(b"Many", b"/" + b"p" * n + b"/q") == 40 + n
        assert router.match(b"many", b"/" + b"p" * n) is None
    for host in (b"." * 60_000, b"h." * 30_000, b"h" * 60_000):
        for path in (b"/" * 60_000, b"/p" * 30_000, b"/" + b"p" * 60_000):
            assert router.match(host, path) is None
