"""Rules between values: what each value alone cannot be judged by."""

from pathlib import Path
from typing import Any

import pytest

from fastmesh.config import inspect
from tests.support.configs import write

UPSTREAM = {"FASTMESH_UPSTREAM": "127.0.0.1:9000"}
A, B = {"name": "a", "endpoints": ["a:1"]}, {"name": "b", "endpoints": ["b:1"]}


def variables(**values: str) -> list[tuple[str, str, str]]:
    """(key, value, rule) of every problem of settings given as variables."""
    environ = UPSTREAM | {f"FASTMESH_{name.upper()}": text for name, text in values.items()}
    return [(problem.key, problem.value, problem.rule) for problem in inspect(environ).problems]


def in_file(tmp_path: Path, environ: dict[str, str] | None = None, **tree: Any) -> list[tuple[str, str, str]]:
    """The same of a file."""
    environ = write(tmp_path / "f.toml", tree) | (environ or {})
    return [(problem.key, problem.value, problem.rule) for problem in inspect(environ).problems]


@pytest.mark.parametrize(
    ("values", "key", "value", "rule"),
    [
        ({"line_bytes": "128k"}, "line_bytes", "128KiB", "must be at most head_bytes, which is 64KiB"),
        ({"line_bytes": "8k", "head_bytes": "4k"}, "line_bytes", "8KiB", "must be at most head_bytes, which is 4KiB"),
        ({"field_line_bytes": "65537"}, "field_line_bytes", "65537", "must be at most head_bytes, which is 64KiB"),
        ({"backoff_min": "2m"}, "backoff_min", "2m", "must be at most backoff_max, which is 1m"),
        ({"backoff_max": "50ms"}, "backoff_max", "50ms", "must be at least backoff_min, which is 100ms"),
        (
            {"per_try_timeout": "2s", "request_timeout": "1s"},
            "per_try_timeout",
            "2s",
            "must be at most request_timeout, which is 1s",
        ),
    ],
)
def test_a_lesser_setting_above_its_greater_one(values: dict[str, str], key: str, value: str, rule: str) -> None:
    assert variables(**values) == [(f"FASTMESH_{key.upper()}", f'"{value}"', rule)]


@pytest.mark.parametrize(
    "values",
    [
        {"per_try_timeout": "2s"},
        {"per_try_timeout": "2s", "request_timeout": "2s"},
        {"head_bytes": "1k"},
        {"head_bytes": "4k", "line_bytes": "4k"},
        {"backoff_min": "2m", "backoff_max": "2m"},
        {"connection_slots": "10001"},
        {"connection_slots": "off", "max_connections": "1000000"},
    ],
)
def test_settings_that_agree(values: dict[str, str]) -> None:
    assert variables(**values) == []


def test_room_for_connections_of_both_sides() -> None:
    ((key, value, rule),) = variables(connection_slots="10000")
    assert (key, value) == ("FASTMESH_CONNECTION_SLOTS", "10000")
    assert "above max_connections, which is 10000" in rule


def test_a_wrong_value_does_not_bring_others_into_conflict() -> None:
    assert [key for key, _, _ in variables(head_bytes="1", line_bytes="128k")] == ["FASTMESH_HEAD_BYTES"]
    assert [key for key, _, _ in variables(max_connections="x", connection_slots="5")] == ["FASTMESH_MAX_CONNECTIONS"]


@pytest.mark.parametrize(
    ("listen", "admin", "overlaps"),
    [
        ("127.0.0.1:80,127.0.0.1:80", "off", 1),
        ("127.0.0.1:80,127.0.0.1:81", "off", 0),
        ("127.0.0.1:0,127.0.0.1:0", "127.0.0.1:0", 0),
        ("0.0.0.0:80,127.0.0.1:80", "off", 1),
        ("127.0.0.1:80,127.0.0.2:80", "off", 0),
        ("[::]:80,0.0.0.0:80", "off", 1),
        ("[::]:80,10.0.0.1:80", "off", 1),
        ("[::]:80,some.name:80", "off", 1),
        ("0.0.0.0:80,[::1]:80", "off", 0),
        ("0.0.0.0:80,localhost:80", "off", 1),
        ("0.0.0.0:80", "127.0.0.1:80", 1),
        ("unix:/a,unix:/a", "off", 1),
        ("unix:/a,unix:/b", "unix:/a", 1),
        ("unix:/a,0.0.0.0:80", "unix:/c", 0),
        ("127.0.0.1:80,127.0.0.1:80,127.0.0.1:80", "off", 3),
    ],
)
def test_overlapping_addresses(listen: str, admin: str, overlaps: int) -> None:
    found = variables(listen=listen, admin=admin)
    assert len(found) == overlaps
    assert all(rule.startswith("must not overlap") for _, _, rule in found)


def test_overlap_names_both_places(tmp_path: Path) -> None:
    listeners = [{"name": "l", "address": "0.0.0.0:80"}, {"name": "m", "address": "127.0.0.1:80"}]
    assert in_file(tmp_path, listeners=listeners, backends=[A]) == [
        ("listeners[1].address", '"127.0.0.1:80"', "must not overlap 0.0.0.0:80 of listeners[0].address")
    ]


@pytest.mark.parametrize(
    ("listen", "upstream", "loops"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.9.9.9:80", True),
        ("0.0.0.0:80", "localhost:80", True),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "localhost:80", True),
        ("unix:/a", "unix:/a", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("0.0.0.0:80", "10.0.0.1:80", False),
        ("0.0.0.0:80", "other.example:80", False),
        ("0.0.0.0:80", "[::1]:80", False),
        ("unix:/a", "unix:/b", False),
    ],
)
def test_an_upstream_that_is_fastmesh_itself(listen: str, upstream: str, loops: bool) -> None:
    found = variables(listen=listen, upstream=upstream, admin="off")
    assert [key for key, _, _ in found] == (["FASTMESH_UPSTREAM"] if loops else [])
    assert all("requests would go round" in rule for _, _, rule in found)


def test_a_loop_in_a_file_names_the_backend(tmp_path: Path) -> None:
    found = in_file(tmp_path, listen="0.0.0.0:80", backends=[A, {"name": "b", "endpoints": ["127.0.0.1:80"]}],
                    routes=[{"name": "r", "backend": "b"}])  # fmt: skip
    assert [(key, value) for key, value, _ in found] == [("backends[1].endpoints", '"127.0.0.1:80"')]


@pytest.mark.parametrize("section", ["listeners", "backends", "routes"])
def test_names_are_unique(tmp_path: Path, section: str) -> None:
    tree: dict[str, Any] = {
        "listeners": [{"name": "l", "address": "c:1"}, {"name": "m", "address": "c:2"}],
        "backends": [A, B],
        "routes": [{"name": "r", "backend": "a", "path": "/a"}, {"name": "s", "backend": "b"}],
    }
    assert in_file(tmp_path, **tree) == []
    first = tree[section][0]["name"]
    tree[section] = [tree[section][0], {**tree[section][1], "name": first}]
    found = in_file(tmp_path, **tree)
    assert (f"{section}[1].name", f'"{first}"', f"must be unique; {section}[0] has it too") in found


def test_short_and_long_forms_exclude_each_other(tmp_path: Path) -> None:
    listeners = [{"name": "l", "address": "127.0.0.1:1"}]
    found = in_file(
        tmp_path, listen="127.0.0.1:2", listeners=listeners, upstream="a:1", backends=[{**A, "name": "default"}]
    )
    assert [key for key, _, _ in found] == ["listen", "upstream"]
    assert all("one of them is enough" in rule for _, _, rule in found)


def test_references_of_routes(tmp_path: Path) -> None:
    routes = [{"name": "r", "backend": "ab", "listeners": ["defolt", "default"]}]
    assert in_file(tmp_path, backends=[A, {**B, "name": "abc"}], routes=routes) == [
        ("routes[0].backend", '"ab"', 'must be the name of a backend; did you mean "abc"?'),
        ("routes[0].listeners", '"defolt"', 'must be names of listeners; did you mean "default"?'),
    ]


def test_a_listener_that_the_variable_replaced_is_missed_by_its_routes(tmp_path: Path) -> None:
    tree: dict[str, Any] = {
        "listeners": [{"name": "l", "address": "127.0.0.1:1"}],
        "backends": [A],
        "routes": [{"name": "r", "backend": "a", "listeners": ["l"]}],
    }
    assert in_file(tmp_path, **tree) == []
    found = in_file(tmp_path, {"FASTMESH_LISTEN": "127.0.0.1:2"}, **tree)
    assert [(key, value) for key, value, _ in found] == [("routes[0].listeners", '"l"')]


def test_a_backend_with_another_mistake_is_still_known_to_routes(tmp_path: Path) -> None:
    backends = [{**A, "balancer": "best"}]
    found = in_file(tmp_path, backends=backends, routes=[{"name": "r", "backend": "a"}])
    assert [key for key, _, _ in found] == ["backends[0].balancer"]


def test_several_backends_need_routes(tmp_path: Path) -> None:
    assert [key for key, _, _ in in_file(tmp_path, backends=[A, B])] == ["routes"]


def test_one_path_condition(tmp_path: Path) -> None:
    found = in_file(tmp_path, backends=[A], routes=[{"name": "r", "backend": "a", "path": "/a", "path_prefix": "/b"}])
    assert found == [("routes[0].path_prefix", '"/b"', "must not stand beside path")]


def test_a_route_that_is_never_reached(tmp_path: Path) -> None:
    one = {"backend": "a", "hosts": ["x.y", "*.z"], "methods": ["GET"], "headers": {"a": True}, "path_prefix": "/a/"}
    two = {**one, "hosts": ["*.z", "X.y"], "path_prefix": "/a", "headers": {"A": True}}
    found = in_file(tmp_path, backends=[A], routes=[{"name": "r", **one}, {"name": "s", **two}])
    assert found == [("routes[1]", "", "must differ from routes[0] in a condition; it would never be reached")]
    apart = {**two, "methods": ["PUT"]}
    assert in_file(tmp_path, backends=[A], routes=[{"name": "r", **one}, {"name": "s", **apart}]) == []


def test_order_inside_items(tmp_path: Path) -> None:
    found = in_file(
        tmp_path,
        backends=[{**A, "backoff_min": "2m"}, {**B, "backoff_max": "1ms"}],
        routes=[
            {"name": "r", "backend": "a", "path": "/a", "per_try_timeout": "3s"},
            {"name": "s", "backend": "b", "path": "/b", "request_timeout": "1s"},
            {"name": "t", "backend": "b", "path": "/c", "request_timeout": "off", "per_try_timeout": "1h"},
        ],
        request_timeout="2s",
        per_try_timeout="2s",
    )
    assert found == [
        ("backends[0].backoff_min", '"2m"', "must be at most backoff_max, which is 1m"),
        ("backends[1].backoff_max", '"1ms"', "must be at least backoff_min, which is 100ms"),
        ("routes[0].per_try_timeout", '"3s"', "must be at most request_timeout, which is 2s"),
        ("routes[1].request_timeout", '"1s"', "must be at least per_try_timeout, which is 2s"),
    ]


def test_grpc_web_needs_http2(tmp_path: Path) -> None:
    values = {"upstream": "a:1", "grpc_web": "on"}
    key = "FASTMESH_GRPC_WEB"
    assert variables(**values, upstream_protocol="http1") == [
        (key, '"on"', "must be off where upstream_protocol is http1")
    ]
    assert variables(**values, send_proxy_protocol="v1") == [
        (key, '"on"', "must be off where send_proxy_protocol is not")
    ]
    assert variables(**values) == variables(**values, upstream_protocol="http2") == []
    # What holds for all routes may find one that it has no meaning for.
    backends = [{**A, "protocol": "http1"}, B]
    routes = [{"name": "r", "backend": "a", "path": "/a"}, {"name": "s", "backend": "b", "path": "/b"}]
    assert in_file(tmp_path, backends=backends, routes=routes, grpc_web=True) == []


def test_endpoints_need_slots(tmp_path: Path) -> None:
    found = in_file(tmp_path, endpoint_slots=2, upstream=["a:1", "b:1", "c:1"])
    assert found == [("endpoint_slots", "2", "must be at least 3, the number of endpoints")]


def test_the_number_of_listeners_is_bounded(tmp_path: Path) -> None:
    listeners = [{"name": f"l{i}", "address": f"127.0.0.1:{i + 1}"} for i in range(33)]
    assert in_file(tmp_path, backends=[A], listeners=listeners[:32]) == []
    found = in_file(tmp_path, backends=[A], listeners=listeners)
    assert found == [("listeners", "33", "must be at most 32 listeners")]


TLS = {"name": "tls", "backend": "a", "sni": ["a.example"]}
NOT_REACHED = "must have a listener whose protocol is detect, opaque or tls; it would never be reached"


def test_a_route_of_connections_needs_a_listener_that_relays(tmp_path: Path) -> None:
    assert in_file(tmp_path, backends=[A], routes=[TLS]) == [("routes[0]", "", NOT_REACHED)]
    assert in_file(tmp_path, listener_protocol="tls", backends=[A], routes=[TLS]) == []
    listeners = [
        {"name": "web", "address": "127.0.0.1:1"},
        {"name": "any", "address": "127.0.0.1:2", "protocol": "detect"},
    ]
    routes = [TLS | {"listeners": ["any"]}, TLS | {"name": "lost", "listeners": ["web"]}]
    found = in_file(tmp_path, listeners=listeners, backends=[A], routes=routes)
    assert found == [("routes[1]", "", NOT_REACHED)]


def test_a_route_of_connections_has_no_condition_on_requests(tmp_path: Path) -> None:
    route = TLS | {"hosts": ["a.example"], "path": "/", "methods": ["GET"], "headers": {"x": True}}
    found = in_file(tmp_path, listener_protocol="detect", backends=[A], routes=[route])
    rule = "must not stand in a route of relayed connections (tcp, sni, alpn)"
    assert found == [(f"routes[0].{key}", "", rule) for key in ("hosts", "path", "methods", "headers")]


def test_a_route_of_connections_is_no_twin_of_one_of_requests(tmp_path: Path) -> None:
    routes = [{"name": "web", "backend": "a"}, {"name": "other", "backend": "a", "tcp": True}]
    assert in_file(tmp_path, listener_protocol="detect", backends=[A], routes=routes) == []


def test_a_header_of_one_client_is_not_sent_on_shared_connections(tmp_path: Path) -> None:
    rule = "must be off where the protocol is http2, as for the backend a: its connections are shared"
    both = A | {"protocol": "http2", "send_proxy_protocol": "v2"}
    assert in_file(tmp_path, backends=[both]) == [("backends[0].send_proxy_protocol", '"v2"', rule)]
    shared = A | {"protocol": "http2"}
    assert in_file(tmp_path, send_proxy_protocol="v1", backends=[shared]) == [("send_proxy_protocol", '"v1"', rule)]
    assert in_file(tmp_path, send_proxy_protocol="v1", backends=[A]) == []


def test_redirected_connections_come_to_no_unix_socket(tmp_path: Path) -> None:
    listener = {"name": "in", "address": "unix:/run/in", "transparent": "inbound"}
    assert in_file(tmp_path, UPSTREAM, listeners=[listener]) == [
        ("listeners[0].address", '"unix:/run/in"', "must be an IP address and port: nothing else is redirected")
    ]


def test_listeners_of_interception_stand_beside_others_of_other_names_and_ports(tmp_path: Path) -> None:
    on = {"FASTMESH_TRANSPARENT": "on"}
    other = {"name": "web", "address": "127.0.0.1:80"}
    assert in_file(tmp_path, UPSTREAM | on, listeners=[other]) == []
    (name,) = in_file(tmp_path, UPSTREAM | on, listeners=[other | {"name": "outbound"}])
    assert name == ("FASTMESH_TRANSPARENT", '"outbound"', "must not stand beside another listener of that name")
    (port,) = in_file(tmp_path, UPSTREAM | on, listeners=[other | {"address": "127.0.0.1:4140"}])
    assert port[2] == "must not overlap 127.0.0.1:4140 of listeners[0].address"


def test_interception_needs_neither_backend_nor_route(tmp_path: Path) -> None:
    on = {"FASTMESH_TRANSPARENT": "on"}
    assert in_file(tmp_path, on) == []
    assert in_file(tmp_path, on, backends=[A, B]) == []
    assert in_file(tmp_path, backends=[A, B]) != []
