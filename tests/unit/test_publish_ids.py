"""Stable numbers: laws of StableIds under random histories, and what a Publication makes of configurations."""

from collections.abc import Iterator
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.model import (
    Address,
    Backend,
    Config,
    Endpoint,
    Exchange,
    HeaderMatch,
    Interception,
    Listener,
    Policy,
    Ports,
    ProtocolRule,
    Reception,
    Route,
    Upstream,
    Workers,
)
from fastmesh.publish import (
    HOST_ANY,
    HOST_EXACT,
    HOST_SUFFIX,
    METER_OTHER,
    ORIGINAL,
    OTHER,
    SNI_OTHER,
    Exhausted,
    Publication,
    PublishError,
    StableIds,
    listener_keys,
)
from tests.unit import fake_bridge

CAPACITY = 6
KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=CAPACITY)
# Per step: the owners wanted, and whether every worker has left the snapshots before it.
HISTORY = st.lists(st.tuples(KEYS, st.booleans()), max_size=30)


@given(HISTORY, st.booleans())
def test_ids_keep_their_laws_over_any_history(history: list[tuple[list[str], bool]], remember: bool) -> None:
    ids: StableIds[str] = StableIds(CAPACITY, remember=remember)
    last_use: dict[int, int] = {}  # number: last version that used it
    owner_of: dict[tuple[int, int], str] = {}  # number and generation: the one owner it ever had
    version = oldest = 0  # published last, and the oldest that is still read
    for keys, all_left in history:
        if all_left:
            oldest = version
        try:
            after = ids.plan(keys, version + 1, oldest)
        except Exhausted:
            in_use = set(ids.held.values()) | {number for number, used in last_use.items() if used >= oldest}
            assert len(in_use) + len(set(keys) - set(ids.held)) > CAPACITY
            continue
        version += 1
        assert after.held.keys() == set(keys)
        assert len(set(after.held.values())) == len(keys)
        for key, number in after.held.items():
            assert 0 <= number < CAPACITY
            assert ids.held.get(key, number) == number, "an owner that stays keeps its number"
            assert owner_of.setdefault((number, after.generations[number]), key) == key
            if number in last_use and ids.generations[number] != after.generations[number]:
                assert last_use[number] < oldest, "a number was given away while a snapshot used it"
            last_use[number] = version
        ids = after


def test_a_freed_number_waits_until_no_snapshot_uses_it() -> None:
    ids: StableIds[str] = StableIds(1, remember=False).plan(["a"], 1, 0)
    freed = ids.plan([], 2, 0)
    with pytest.raises(Exhausted):
        freed.plan(["b"], 3, 1)  # a worker still reads snapshot 1
    taken = freed.plan(["b"], 3, 2)
    assert taken.held == {"b": 0}
    assert taken.generations == {0: 2}
    assert taken.renamed == [0]


def test_an_owner_that_comes_back_gets_its_number_only_when_remembered() -> None:
    for remember, generation in ((True, 1), (False, 2)):
        ids: StableIds[str] = StableIds(4, remember=remember).plan(["a"], 1, 0)
        back = ids.plan([], 2, 2).plan(["a"], 3, 2)
        assert back.held == {"a": 0}
        assert back.generations[0] == generation


def test_a_plan_leaves_the_ids_it_came_from_alone() -> None:
    ids: StableIds[str] = StableIds(4).plan(["a"], 1, 0)
    ids.plan(["b", "c"], 2, 1)
    assert ids.held == {"a": 0}
    assert ids.plan(["b"], 2, 1).held == {"b": 1}


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with fake_bridge.installed(monkeypatch) as module:
        yield module


def listener(name: str, port: int) -> Listener:
    return Listener(name, Address("inet", "127.0.0.1", port))


def backend(name: str) -> Backend:
    return Backend(name, (Endpoint(Address("inet", "127.0.0.1", 9)),))


def config(**changes: Any) -> Config:
    base: dict[str, Any] = {
        "listeners": (listener("web", 80),),
        "backends": (backend("b"),),
        "routes": (Route("r", "b"),),
        "workers": Workers(endpoint_slots=2, meter_blocks=3),
    }
    return Config(**{**base, **changes})


def publish(publication: Publication, made: Config, targets: dict[str, dict[str, int]]) -> Any:
    plan = publication.plan(made, targets)
    publication.commit(plan)
    return plan.spec


def test_routes_become_one_spec_per_host(bridge: ModuleType) -> None:
    route = Route(
        "r", "b", hosts=("a.test", "*.b.test"), path_kind="prefix", path="/api", methods=("GET",),
        headers=(HeaderMatch("x-a", "exact", "1"), HeaderMatch("x-b", "absent")), listeners=("two",),
    )  # fmt: skip
    made = config(routes=(route, Route("rest", "b")), listeners=(listener("one", 1), listener("two", 2)))
    spec = publish(Publication(made), made, {"b": {"127.0.0.1:9": 1}})
    first, second, rest = spec.routes
    assert (first.host_kind, first.host, second.host_kind, second.host) == (1, b"a.test", 2, b".b.test")
    assert (first.path_kind, first.path, first.methods, first.listener_mask) == (2, b"/api", (b"GET",), 0b10)
    assert [tuple(match) for match in first.headers] == [(b"x-a", b"1", 1), (b"x-b", b"", 2)]
    assert first.meter == second.meter != rest.meter
    assert (rest.host_kind, rest.path_kind, rest.listener_mask) == (0, 0, 0)
    assert [listener.name for listener in spec.listeners] == [b"one", b"two"]
    assert spec.tcp_routes == ()


def test_slots_follow_backend_and_address(bridge: ModuleType) -> None:
    made = config(backends=(backend("b"), backend("c")))
    publication = Publication(made)
    spec = publish(publication, made, {"b": {"127.0.0.1:9": 1}, "c": {"127.0.0.1:9": 5}})
    (ours,), (theirs,) = (each.endpoints for each in spec.backends)
    assert ours.slot != theirs.slot
    assert theirs.weight == 5
    again = publish(publication, made, {"b": {"127.0.0.1:9": 7}, "c": {}})
    assert again.backends[0].endpoints[0]._replace(weight=1) == ours
    assert again.backends[1].endpoints == ()
    assert again.version == spec.version + 1


def test_slots_are_quarantined_while_an_old_snapshot_lives(bridge: ModuleType) -> None:
    made = config()
    publication = Publication(made)
    publish(publication, made, {"b": {"10.0.0.1:1": 1, "10.0.0.2:1": 1}})
    publication.publisher.left = 1  # type: ignore[attr-defined]
    publish(publication, made, {"b": {"10.0.0.1:1": 1}})
    with pytest.raises(PublishError, match="2 endpoints need numbers"):
        publication.plan(made, {"b": {"10.0.0.1:1": 1, "10.0.0.3:1": 1}})
    publication.publisher.left = 0  # type: ignore[attr-defined]
    spec = publish(publication, made, {"b": {"10.0.0.1:1": 1, "10.0.0.3:1": 1}})
    assert {(e.slot, e.slot_gen) for e in spec.backends[0].endpoints} == {(0, 1), (1, 2)}
    assert publication.slot_owners[1] == (2, "b", "10.0.0.3:1")


def test_a_refused_snapshot_changes_nothing(bridge: ModuleType) -> None:
    made = config()
    publication = Publication(made)
    publish(publication, made, {"b": {"10.0.0.1:1": 1}})
    owners = publication.slot_owners
    publication.publisher.refusal = "impossible"  # type: ignore[attr-defined]
    with pytest.raises(PublishError, match="impossible"):
        publication.commit(publication.plan(made, {"b": {"10.0.0.2:1": 1}}))
    assert publication.slot_owners is owners
    assert publication.version == 1


def test_routes_beyond_the_meters_share_one(bridge: ModuleType) -> None:
    made = config(routes=tuple(Route(f"r{i}", "b") for i in range(5)))
    publication = Publication(made)
    spec = publish(publication, made, {"b": {}})
    assert [route.meter for route in spec.routes] == [1, 2, METER_OTHER, METER_OTHER, METER_OTHER]
    assert publication.meter_names[METER_OTHER] == (OTHER, OTHER, "")


def test_a_meter_taken_over_is_reported_as_renamed(bridge: ModuleType) -> None:
    publication = Publication(config())
    for names in (("a", "b"), ("c", "b")):
        made = config(routes=tuple(Route(name, "b") for name in names))
        plan = publication.plan(made, {"b": {}})
        publication.commit(plan)
    assert plan.meters.renamed == [1]
    assert publication.meter_names[1] == ("c", "b", "")


def test_listeners_are_known_by_address(bridge: ModuleType) -> None:
    made = config(listeners=(listener("web", 80), listener("api", 81)))
    publication = Publication(made)
    publish(publication, made, {"b": {}})
    swapped = config(listeners=(listener("api", 81), listener("front", 80), listener("new", 82)))
    publish(publication, swapped, {"b": {}})
    assert publication.listener_names == {0: "front", 1: "api", 2: "new"}


def test_equal_addresses_are_told_apart_by_count() -> None:
    keys = listener_keys((listener("a", 0), listener("b", 0), listener("c", 1)))
    assert list(keys) == [("127.0.0.1:0", 0), ("127.0.0.1:0", 1), ("127.0.0.1:1", 0)]


def test_defaults_reach_the_core_unchanged(bridge: ModuleType) -> None:
    made = config()
    spec = publish(Publication(made), made, {"b": {"127.0.0.1:9": 1}})
    for part, whole in ((spec.policy, made.policy), (spec.backends[0], made.upstream), (spec.routes[0], made.exchange)):
        for name in (field.name for field in fields(whole)):
            # `subset` has done its work before: the core sees only the endpoints it left.
            if name not in ("via", "forwarded", "balancer", "protocol", "retry_grpc", "subset", "send_proxy_protocol"):
                assert getattr(part, name) == getattr(whole, name), name
    assert (spec.policy.via, spec.policy.forwarded, spec.policy.access_log) == (b"fastmesh", 0, False)
    assert (spec.backends[0].balancer, spec.backends[0].protocol, spec.routes[0].retry_grpc) == (0, 0, 0)


def test_words_become_the_numbers_of_the_core(bridge: ModuleType) -> None:
    exchange = Exchange(retry_grpc=("cancelled", "unavailable", "unauthenticated"), grpc_web=True)
    upstream = Upstream(balancer="random", protocol="http2", max_streams=7, ping_interval_ns=5)
    made = config(
        routes=(Route("r", "b", exchange=exchange),),
        backends=(Backend("b", (), upstream),),
        policy=Policy(http2_streams=1, http2_glitches=0, http2_window=65535, grpc_timeout=False),
    )
    spec = publish(Publication(made), made, {"b": {}})
    assert (spec.routes[0].retry_grpc, spec.routes[0].grpc_web) == (1 << 1 | 1 << 14 | 1 << 16, True)
    backend, policy = spec.backends[0], spec.policy
    assert (backend.balancer, backend.protocol, backend.max_streams, backend.ping_interval_ns) == (3, 2, 7, 5)
    assert (policy.http2_streams, policy.http2_glitches, policy.http2_window) == (1, 0, 65535)
    assert not policy.grpc_timeout


def test_routes_of_relayed_connections_are_apart(bridge: ModuleType) -> None:
    routes = (
        Route("names", "b", sni=("a.example", "*.b.example"), alpn=("h2", "x")),
        Route("rest", "b", tcp=True, listeners=("web",)),
        Route("http", "b", hosts=("a.example",)),
        Route("all", "b"),
    )
    web = Listener("web", Address("inet", "127.0.0.1", 80), Reception("detect"))
    spec = publish(Publication(config()), config(listeners=(web,), routes=routes), {"b": {}})
    assert [route.name for route in spec.routes] == [b"http", b"all"]
    found = [(each.name, each.host_kind, each.host, each.headers, each.listener_mask) for each in spec.tcp_routes]
    assert found == [
        (b"names", HOST_EXACT, b"a.example", ((b"alpn", b"h2", 1),), 0),
        (b"names", HOST_EXACT, b"a.example", ((b"alpn", b"x", 1),), 0),
        (b"names", HOST_SUFFIX, b".b.example", ((b"alpn", b"h2", 1),), 0),
        (b"names", HOST_SUFFIX, b".b.example", ((b"alpn", b"x", 1),), 0),
        (b"rest", HOST_ANY, b"", (), 1),
        (b"all", HOST_ANY, b"", (), 0),
    ]
    assert [listener.protocol for listener in spec.listeners] == [1]


def test_where_all_is_http_nothing_is_relayed(bridge: ModuleType) -> None:
    spec = publish(Publication(config()), config(routes=(Route("all", "b"),)), {"b": {}})
    assert spec.tcp_routes == ()


OFF, INBOUND, OUTBOUND = 1, 2, 4  # bits of the listeners below


def intercepting(**changes: Any) -> Config:
    listeners = (
        listener("web", 80),
        replace(listener("in", 4143), role="inbound"),
        replace(listener("out", 4140), role="outbound"),
    )
    return config(listeners=listeners, workers=Workers(endpoint_slots=8, meter_blocks=16), **changes)


@pytest.mark.parametrize(
    ("route", "mask"),
    [
        (Route("r", "b"), OFF),
        (Route("r", "b", path_kind="prefix", path="/api"), OFF),
        (Route("r", "b", hosts=("a.example",)), OFF | OUTBOUND),
        (Route("r", "b", hosts=("a.example",), listeners=("web",)), OFF),
        (Route("r", "b", listeners=("in", "out")), INBOUND | OUTBOUND),
        (Route("r", "b", tcp=True), OFF),
        (Route("r", "b", sni=("a.example",)), OFF | OUTBOUND),
    ],
)
def test_a_route_without_a_name_takes_nothing_that_was_intercepted(bridge: ModuleType, route: Route, mask: int) -> None:
    detect = Reception("detect")
    made = intercepting(routes=(route,))
    made = replace(made, listeners=tuple(replace(each, reception=detect) for each in made.listeners))
    spec = publish(Publication(config()), made, {"b": {}})
    found = spec.tcp_routes if route.is_tcp else spec.routes
    assert [each.listener_mask for each in found] == [mask]
    assert [each.role for each in spec.listeners] == [0, 1, 2]


def test_a_route_that_nothing_can_take_is_left_out(bridge: ModuleType) -> None:
    made = intercepting(routes=(Route("r", "b"),))
    spec = publish(Publication(config()), replace(made, listeners=made.listeners[1:]), {"b": {}})
    assert spec.routes == ()


def test_what_was_meant_for_an_endpoint_has_its_backend_and_all_else_one_of_its_own(bridge: ModuleType) -> None:
    made = intercepting(
        backends=(backend("b"), backend("c")), upstream=Upstream(protocol="http2", send_proxy_protocol="v1"),
        routes=(), exchange=Exchange(retry_connect=3),
    )  # fmt: skip
    publication = Publication(made)
    targets = {"b": {"10.0.0.1:80": 1, "unix:/run/b": 1}, "c": {"10.0.0.1:80": 1, "[fd00::1]:80": 1}}
    plan = publication.plan(made, {"b": {}, "c": {}}, targets)
    original = plan.spec.original
    assert original is not None
    assert original.targets == (("10.0.0.1:80", 0), ("[fd00::1]:80", 1))
    assert [each.name for each in plan.spec.backends] == [b"b", b"c", ORIGINAL.encode()]
    last = plan.spec.backends[-1]
    assert (last.endpoints, last.protocol, last.send_proxy_protocol) == ((), 0, 0)
    assert [(each.backend, each.retry_connect) for each in original.routes] == [(0, 3), (1, 3), (2, 0)]
    assert [plan.meter_names[each.meter] for each in original.routes] == [
        (ORIGINAL, "b", ""), (ORIGINAL, "c", ""), (ORIGINAL, ORIGINAL, ""),
    ]  # fmt: skip
    assert [plan.meter_names[each.tls_meter] for each in original.routes] == [
        (ORIGINAL, "b", SNI_OTHER), (ORIGINAL, "c", SNI_OTHER), (ORIGINAL, ORIGINAL, SNI_OTHER),
    ]  # fmt: skip


def test_what_destinations_speak_comes_before_opaque_ports(bridge: ModuleType) -> None:
    rules = (ProtocolRule("10.0.0.0", 8, Ports(1, 65535), "tls"), ProtocolRule("", 0, Ports(25, 25), "detect"))
    interception = Interception(rules, (Ports(25, 25), Ports(4000, 4010)))
    made = intercepting(interception=interception)
    original = publish(Publication(made), made, {"b": {}}).original
    assert [tuple(rule) for rule in original.rules] == [
        ("10.0.0.0", 8, 1, 65535, 3), ("", 0, 25, 25, 1), ("", 0, 25, 25, 2), ("", 0, 4000, 4010, 2),
    ]  # fmt: skip


def test_nothing_is_said_of_originals_where_nothing_is_intercepted(bridge: ModuleType) -> None:
    spec = publish(Publication(config()), config(), {"b": {}})
    assert spec.original is None
    assert len(spec.backends) == 1


def test_a_listener_of_another_kind_of_socket_is_another(bridge: ModuleType) -> None:
    one = replace(listener("in", 4143), role="inbound")
    assert listener_keys([one]).keys() != listener_keys([replace(one, role="tproxy")]).keys()
    assert listener_keys([one]).keys() == listener_keys([replace(one, role="off")]).keys()
