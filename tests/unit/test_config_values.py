"""What each kind of value reads, and what it refuses."""

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from fastmesh.config.addresses import address_parse, endpoint_parse, host_canonical
from fastmesh.config.matching import Headers, Hosts, Methods, UrlPath, UrlPrefix
from fastmesh.config.model import Address, Endpoint, HeaderMatch, Listener, Log
from fastmesh.config.settings import BY_NAME
from fastmesh.config.values import Key
from tests.support.configs import ENDPOINTS, LISTENERS, PATIENT, UPSTREAM_ADDRESSES, header_matches

S, MS = 1_000_000_000, 1_000_000


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("header_timeout", "250ms", 250 * MS),
        ("header_timeout", "15s", 15 * S),
        ("header_timeout", "2m", 120 * S),
        ("header_timeout", "1h", 3600 * S),
        ("header_timeout", "7", 7 * S),
        ("header_timeout", "0.25", 250 * MS),
        ("header_timeout", " 1.5s ", 1500 * MS),
        ("header_timeout", "1500us", 1500_000),
        ("header_timeout", "1000001ns", 1000001),
        ("request_timeout", "off", 0),
        ("request_timeout", "0", 0),
        ("head_bytes", "64KiB", 65536),
        ("head_bytes", "16k", 16384),
        ("head_bytes", "16K", 16384),
        ("head_bytes", "2048", 2048),
        ("head_bytes", "2048B", 2048),
        ("access_log_ring", "1MiB", 1 << 20),
        ("access_log_ring", "2m", 2 << 20),
        ("workers", "8", 8),
        ("keepalive_requests", "off", 0),
        ("keepalive_requests", "1000", 1000),
        ("pin_cpus", "ON", True),
        ("pin_cpus", "yes", True),
        ("pin_cpus", "0", False),
        ("pin_cpus", "false", False),
        ("balancer", "Round_Robin", "round_robin"),
        ("upstream_protocol", "HTTP2", "http2"),
        ("upstream_ping_interval", "off", 0),
        ("upstream_ping_interval", "30s", 30 * S),
        ("http2_glitches", "off", 0),
        ("http2_window", "65535", 65535),
        ("http2_window", "1MiB", 1 << 20),
        ("grpc_timeout", "off", False),
        ("retry_grpc", "off", ()),
        ("retry_grpc", "14", ("unavailable",)),
        ("retry_grpc", "unavailable,14", ("unavailable",)),
        ("retry_grpc", " UNAVAILABLE , 1,resource-exhausted", ("cancelled", "resource_exhausted", "unavailable")),
        ("via", "off", ""),
        ("via", "", ""),
        ("via", "edge-1", "edge-1"),
        ("log", "debug", Log("debug", False)),
        ("log", "warning,json", Log("warning", True)),
        ("log", " error , JSON ", Log("error", True)),
        ("access_log", "{method} {{x}} {header:X-Id}", "{method} {{x}} {header:X-Id}"),
        ("admin", "off", None),
        ("admin", "[::1]:0", Address("inet6", "::1", 0)),
        ("listen", "0.0.0.0:1, unix:/a", (
            Listener("default", Address("inet", "0.0.0.0", 1)), Listener("default-2", Address("unix", path="/a"))
        )),
        ("upstream", "a:1;weight=3,[::1]:2", (
            Endpoint(Address("name", "a", 1), 3), Endpoint(Address("inet6", "::1", 2))
        )),
    ],
)  # fmt: skip
def test_reads(name: str, text: str, value: object) -> None:
    assert BY_NAME[name].parse(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("header_timeout", ""),
        ("header_timeout", "fast"),
        ("header_timeout", "-1s"),
        ("header_timeout", "0"),
        ("header_timeout", "off"),
        ("header_timeout", "1.s"),
        ("header_timeout", "1 s"),
        ("header_timeout", "1d"),
        ("header_timeout", "1e3"),
        ("header_timeout", "nan"),
        ("header_timeout", "٣s"),
        ("header_timeout", "9" * 400),
        ("head_bytes", "64KB"),
        ("head_bytes", "1.5k"),
        ("head_bytes", "off"),
        ("access_log_ring", "100000"),
        ("workers", "two"),
        ("workers", "1.0"),
        ("workers", "0"),
        ("workers", "-1"),
        ("workers", "1_000"),
        ("workers", "257"),
        ("pin_cpus", "maybe"),
        ("balancer", "roundrobin"),
        ("upstream_protocol", "h2"),
        ("upstream_protocol", "http/2"),
        ("upstream_max_streams", "0"),
        ("upstream_max_streams", "1001"),
        ("upstream_max_streams", "off"),
        ("upstream_ping_interval", "never"),
        ("upstream_ping_timeout", "0"),
        ("upstream_ping_timeout", "off"),
        ("http2_streams", "0"),
        ("http2_streams", "1001"),
        ("http2_glitches", "-1"),
        ("http2_window", "64k-1"),
        ("http2_window", "65534"),
        ("http2_window", "2MiB"),
        ("http2_window", "off"),
        ("grpc_timeout", "30s"),
        ("grpc_web", "text"),
        ("retry_grpc", ""),
        ("retry_grpc", "unavailable,"),
        ("retry_grpc", "unavailable off"),
        ("retry_grpc", "ok"),
        ("retry_grpc", "0"),
        ("retry_grpc", "17"),
        ("retry_grpc", "-1"),
        ("retry_grpc", "503"),
        ("retry_grpc", "1.0"),
        ("retry_grpc", "١"),
        ("via", "two words"),
        ("via", "x" * 65),
        ("log", "loud"),
        ("log", "info,xml"),
        ("log", "info,json,json"),
        ("access_log", "jsn"),
        ("access_log", "{methd}"),
        ("access_log", "{method"),
        ("access_log", "{method}}"),
        ("access_log", "{header}"),
        ("access_log", "{header:a b}"),
        ("access_log", "{status:3}"),
        ("access_log", "{status}\n"),
        ("access_log", "{status} " * 64),
        ("access_log", "{status}" + "x" * 4096),
        ("admin", "4191"),
        ("listen", ""),
        ("listen", "0.0.0.0:1,"),
        ("listen", "0.0.0.0:65536"),
        ("listen", ",".join(f"127.0.0.1:{port}" for port in range(1, 34))),
        ("upstream", "127.0.0.1:0"),
        ("upstream", "a:1,a:1"),
        ("upstream", "[::1]:1,[0:0::1]:1"),
        ("upstream", "a:1;weight=0"),
        ("upstream", "a:1;weight=1001"),
        ("upstream", "a:1;wait=3"),
        ("upstream", "a:1;"),
        ("config", "a\nb"),
    ],
)
def test_refuses_with_a_rule(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        BY_NAME[name].parse(text)


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("unavailable,unavailible", '"unavailible" must be ', '; did you mean "unavailable"?'),
        ("14,OK", '"OK" must be a failure\'s number (1 to 16) or name (cancelled, ', "unauthenticated)"),
        ("99", '"99" must be ', ")"),
        ("x" * 500, '"xxx', ")"),
    ],
)
def test_a_wrong_grpc_status_is_named_among_right_ones(text: str, begins: str, ends: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        BY_NAME["retry_grpc"].parse(text)
    rule = str(caught.value)
    assert rule.startswith(begins)
    assert rule.endswith(ends)
    assert len(rule) < 500


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("header_timeout", True),
        ("header_timeout", float("nan")),
        ("header_timeout", float("inf")),
        ("header_timeout", -1),
        ("header_timeout", ["1s"]),
        ("header_timeout", 10**400),
        ("head_bytes", 2048.0),
        ("head_bytes", False),
        ("workers", "2"),
        ("workers", 2.0),
        ("workers", True),
        ("workers", None),
        ("keepalive_requests", "100"),
        ("pin_cpus", 1),
        ("pin_cpus", "yes"),
        ("balancer", 1),
        ("balancer", "P2C_EWMA"),
        ("upstream_protocol", 2),
        ("upstream_protocol", "HTTP2"),
        ("http2_streams", "100"),
        ("http2_window", 65535.0),
        ("grpc_web", 1),
        ("retry_grpc", 14),
        ("retry_grpc", [0]),
        ("retry_grpc", [17]),
        ("retry_grpc", [10**400]),
        ("retry_grpc", [14.0]),
        ("retry_grpc", [True]),
        ("retry_grpc", ["ok"]),
        ("retry_grpc", ["off"]),
        ("retry_grpc", [["unavailable"]]),
        ("retry_grpc", [None]),
        ("retry_grpc", [14] * 257),
        ("log", {"level": "info"}),
        ("via", 5),
        ("listen", [1]),
        ("listen", []),
        ("listen", {"a": 1}),
        ("upstream", []),
        ("upstream", [{"address": "a:1", "wait": 1}]),
        ("upstream", [{"address": "a:1", "weight": "2"}]),
        ("upstream", [{"address": "a:1", "weight": True}]),
        ("upstream", [{"address": "a:1;weight=2", "weight": 2}]),
        ("upstream", [{"weight": 2}]),
        ("upstream", [["a:1"]]),
    ],
)
def test_refuses_wrong_types_in_a_file(name: str, raw: object) -> None:
    with pytest.raises(ValueError, match="must"):
        BY_NAME[name].take(raw)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("header_timeout", 2, 2 * S),
        ("header_timeout", 0.25, 250 * MS),
        ("request_timeout", 0, 0),
        ("head_bytes", 4096, 4096),
        ("pin_cpus", "on", True),
        ("pin_cpus", False, False),
        ("keepalive_requests", "off", 0),
        ("retry_grpc", [], ()),
        ("retry_grpc", [14, "internal", "1"], ("cancelled", "internal", "unavailable")),
        ("retry_grpc", "14,internal", ("internal", "unavailable")),
        ("retry_grpc", "off", ()),
        ("listen", ["unix:/a", "a:0"], (
            Listener("default", Address("unix", path="/a")), Listener("default-2", Address("name", "a", 0))
        )),
        ("upstream", ["a:1;weight=2", {"address": "b:1"}], (
            Endpoint(Address("name", "a", 1), 2), Endpoint(Address("name", "b", 1))
        )),
    ],
)  # fmt: skip
def test_takes_from_a_file(name: str, raw: object, value: object) -> None:
    assert BY_NAME[name].take(raw) == value


@PATIENT
@given(UPSTREAM_ADDRESSES)
def test_addresses_are_read_back(address: Address) -> None:
    assert address_parse(address.text) == address


@PATIENT
@given(ENDPOINTS)
def test_endpoints_are_read_back(endpoints: tuple[Endpoint, ...]) -> None:
    assert tuple(endpoint_parse(endpoint.text) for endpoint in endpoints) == endpoints


@PATIENT
@given(LISTENERS)
def test_listeners_are_read_back(listeners: tuple[Listener, ...]) -> None:
    setting = BY_NAME["listen"]
    assert setting.take(setting.plain(listeners)) == listeners


ADDRESS_LIKE = st.text() | st.text(alphabet="[]:0123456789.abx-_/*", max_size=12) | st.text().map("unix:/{}".format)


@PATIENT
@given(ADDRESS_LIKE)
@example("[::1")
@example("]:1")
@example("unix:")
def test_any_text_is_an_address_or_no_address(text: str) -> None:
    try:
        address = address_parse(text)
    except ValueError:
        event("refused")
    else:
        event(address.kind)
        assert address_parse(address.text) == address


@pytest.mark.parametrize(
    "text",
    [
        "::1:80", "[::1]80", "[127.0.0.1]:80", "[::1%lo]:80", "256.0.0.1:80", "1.2.3:80", "127.0.0.1:080000", ":80",
        "a_b-:٣", "-a:80", "a..b:80", "a b:80", "unix:relative", "unix:/a,b", "unix:/a;b", "unix:/" + "a" * 107,
        "unix:/a\0", "http://a:80", "é:80", "a:+80", "x" * 64 + ":80",
    ],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        address_parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("A.Example", "a.example"), ("[0:0::1]", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("a:80", ""), ("::1", ""),
        ("*", ""), ("", ""), ("a.", ""),
    ],
)  # fmt: skip
def test_hosts_have_one_form(text: str, canonical: str) -> None:
    assert host_canonical(text) == canonical


HOSTS, METHODS = Key("hosts", Hosts(), "."), Key("methods", Methods(), ".")
PATH, PREFIX, HEADERS = Key("path", UrlPath(), "."), Key("prefix", UrlPrefix(), "."), Key("headers", Headers(), ".")


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        (HOSTS, ["A.example", "*.svc1", "[::1]"], ("a.example", "*.svc1", "[::1]")),
        (METHODS, ["GET", "PATCH"], ("GET", "PATCH")),
        (PATH, "/a/b%20c", "/a/b%20c"),
        (PATH, "/a/", "/a/"),
        (PREFIX, "/a//", "/a"),
        (PREFIX, "/", "/"),
        (HEADERS, {"X-A": "b", "x-c": True, "x-d": False}, (
            HeaderMatch("x-a", "exact", "b"), HeaderMatch("x-c", "present"), HeaderMatch("x-d", "absent")
        )),
    ],
)  # fmt: skip
def test_conditions_are_read(key: Key, raw: object, value: object) -> None:
    assert key.take(raw) == value
    assert key.take(key.plain(value)) == value


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        (HOSTS, "a.example"), (HOSTS, ["a:80"]), (HOSTS, ["*"]), (HOSTS, ["a.*.b"]), (HOSTS, ["*.1.2.3.4"]),
        (HOSTS, ["a", "A"]), (HOSTS, [1]), (HOSTS, ["a"] * 257),
        (METHODS, ["get"]), (METHODS, ["PURGE"]), (METHODS, ["GET", "GET"]), (METHODS, "GET"),
        (PATH, "a"), (PATH, "/a?b"), (PATH, "/a#b"), (PATH, "/a b"), (PATH, "/%zz"), (PATH, "/é"), (PATH, "/" * 4097),
        (PATH, 1), (PREFIX, "*"),
        (HEADERS, ["x-a"]), (HEADERS, {"x a": "b"}), (HEADERS, {"": "b"}), (HEADERS, {"x-a": 1}), (HEADERS, {1: "b"}),
        (HEADERS, {"x-a": " b"}), (HEADERS, {"x-a": ""}), (HEADERS, {"x-a": "é"}), (HEADERS, {"x-a": "b", "X-A": "c"}),
    ],
)  # fmt: skip
def test_conditions_are_refused(key: Key, raw: object) -> None:
    with pytest.raises(ValueError, match="must"):
        key.take(raw)


@PATIENT
@given(st.lists(header_matches(), unique_by=lambda match: match.name).map(tuple))
def test_header_conditions_are_read_back(matches: tuple[HeaderMatch, ...]) -> None:
    assert HEADERS.take(HEADERS.plain(matches)) == matches
