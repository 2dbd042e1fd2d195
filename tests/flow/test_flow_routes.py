"""Which backend a request goes to: host, path, method, header and listener, in the order the documentation gives."""

import json
from collections.abc import Iterator

import pytest

from tests.support.client import Client, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh

BACKENDS = ("exact", "suffix", "path", "prefix", "method", "header", "absent", "second", "any")
ROUTES = """
listen = "127.0.0.1:0,127.0.0.1:0"
[[routes]]
name = "r-any"
backend = "any"
[[routes]]
name = "r-exact"
backend = "exact"
hosts = ["a.example"]
[[routes]]
name = "r-suffix"
backend = "suffix"
hosts = ["*.example"]
[[routes]]
name = "r-path"
backend = "path"
path = "/exact"
[[routes]]
name = "r-prefix"
backend = "prefix"
path_prefix = "/api"
[[routes]]
name = "r-method"
backend = "method"
path_prefix = "/api"
methods = ["POST", "PUT"]
[[routes]]
name = "r-header"
backend = "header"
path_prefix = "/hdr"
headers = { x-tenant = "blue" }
[[routes]]
name = "r-absent"
backend = "absent"
path_prefix = "/hdr"
headers = { x-tenant = false }
[[routes]]
name = "r-second"
backend = "second"
path_prefix = "/hdr"
listeners = ["default-2"]
"""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Fastmesh]:
    origins = [EchoOrigin(name=name) for name in BACKENDS]
    backends = "".join(f'[[backends]]\nname = "{o.name}"\nendpoints = ["{o.address}"]\n' for o in origins)
    with Fastmesh(config=ROUTES + backends, listen=None) as proxy:
        yield proxy
    for origin in origins:
        origin.close()


@pytest.mark.parametrize(
    ("wanted", "method", "target", "host", "fields"),
    [
        ("exact", "GET", "/", "a.example", []),
        ("exact", "GET", "/", "A.Example:8080", []),
        ("exact", "GET", "/exact", "a.example", []),  # a host named exactly comes before any path
        ("suffix", "GET", "/", "b.example", []),
        ("suffix", "GET", "/", "c.b.example", []),
        ("any", "GET", "/", "example", []),
        ("any", "GET", "/", "notexample", []),
        ("any", "GET", "/", "a.example.org", []),
        ("path", "GET", "/exact", "x", []),
        ("path", "GET", "/exact?q=1", "x", []),
        ("any", "GET", "/exact/", "x", []),
        ("any", "GET", "/exactly", "x", []),
        ("prefix", "GET", "/api", "x", []),
        ("prefix", "GET", "/api/", "x", []),
        ("prefix", "GET", "/api/v1", "x", []),
        ("prefix", "GET", "/api?x", "x", []),
        ("any", "GET", "/apis", "x", []),
        ("method", "POST", "/api/v1", "x", []),
        ("method", "PUT", "/api", "x", []),
        ("prefix", "DELETE", "/api", "x", []),
        ("header", "GET", "/hdr", "x", ["X-Tenant: blue"]),
        ("any", "GET", "/hdr", "x", ["X-Tenant: red"]),
        ("any", "GET", "/hdr", "x", ["X-Tenant: blue2"]),
        ("absent", "GET", "/hdr", "x", []),
    ],
)
def test_route(proxy: Fastmesh, wanted: str, method: str, target: str, host: str, fields: list[str]) -> None:
    with Client(proxy.address) as client:
        body = b"" if method in ("POST", "PUT") else None
        answer = client.ask(request(method, target, *fields, host=host, body=body), method)
        assert answer.get("origin") == wanted.encode()


def test_absolute_target_routes_by_its_own_host(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        answer = client.ask(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert answer.get("origin") == b"exact"


def test_http10_without_host_routes_by_path(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        assert client.ask(b"GET /api/x HTTP/1.0\r\n\r\n").get("origin") == b"prefix"


def test_route_of_one_listener(proxy: Fastmesh) -> None:
    with Client(proxy.addresses[1]) as client:
        assert client.get("/hdr/x", "X-Tenant: red").get("origin") == b"second"
    with Client(proxy.addresses[0]) as client:
        assert client.get("/hdr/x", "X-Tenant: red").get("origin") == b"any"


def test_requests_of_one_connection_go_different_ways(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        order = [("/exact", "path"), ("/api", "prefix"), ("/", "any"), ("/exact", "path")] * 5
        client.send(b"".join(request("GET", target) for target, _ in order))
        assert [client.read().get("origin") for _ in order] == [name.encode() for _, name in order]


def test_metrics_name_route_and_backend(proxy: Fastmesh) -> None:
    before = proxy.counts()
    with Client(proxy.address) as client:
        for _ in range(7):
            client.get("/exact")
    after = proxy.counts()
    labels = {"route": "r-path", "backend": "path"}
    name = "fastmesh_requests_total"
    assert after.sum(name, **labels) - before.sum(name, **labels) == 7
    assert after.sum(name) - before.sum(name) == 7


def test_no_route_is_404_and_says_so() -> None:
    with EchoOrigin() as origin:
        config = f"""
[[backends]]
name = "only"
endpoints = ["{origin.address}"]
[[routes]]
name = "only"
backend = "only"
hosts = ["here.example"]
"""
        with Fastmesh(config=config) as proxy, Client(proxy.address) as client:
            answer = client.get("/", host="elsewhere.example")
            assert answer.status == 404
            assert b"route" in (answer.get("fastmesh-error") or b"")
            assert client.get("/", host="here.example").status == 200  # the connection goes on
        assert origin.requests == 1


def test_yaml_says_the_same() -> None:
    with EchoOrigin(name="one") as one, EchoOrigin(name="two") as two:
        tree = {
            "backends": [{"name": o.name, "endpoints": [o.address]} for o in (one, two)],
            "routes": [
                {"name": "two", "backend": "two", "path_prefix": "/two"},
                {"name": "one", "backend": "one"},
            ],
        }
        with Fastmesh(config=json.dumps(tree), suffix=".yaml") as proxy, Client(proxy.address) as client:
            assert client.get("/two/x").get("origin") == b"two"
            assert client.get("/x").get("origin") == b"one"
