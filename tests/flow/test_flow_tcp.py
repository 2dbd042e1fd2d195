"""Connections relayed by the whole program: one variable is enough, TLS goes by the name it asks for."""

import contextlib
import pathlib
import resource
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.client import Client
from tests.support.fastmesh import Fastmesh
from tests.support.hello import of_python
from tests.support.origin import Connection, Origin, serve
from tests.support.sanitizer import SANITIZED
from tests.support.wait import until

ROUTES = """
listener_protocol = "detect"
[[routes]]
name = "web"
backend = "http"
[[routes]]
name = "exact"
backend = "exact"
sni = ["a.example"]
[[routes]]
name = "suffix"
backend = "suffix"
sni = ["*.example"]
[[routes]]
name = "h2"
backend = "h2"
sni = ["*.example"]
alpn = ["h2", "grpc-exp"]
[[routes]]
name = "rest"
backend = "rest"
tcp = true
"""
RELAYED = ("exact", "suffix", "h2", "rest")


def named(name: str) -> Origin:
    """Says its name to whoever has said something."""

    def script(connection: Connection) -> None:
        connection.read()
        connection.send(name.encode() + b".")
        connection.wait_end()

    return Origin(script)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Fastmesh]:
    origins = {name: named(name) for name in RELAYED} | {"http": Origin(serve())}
    backends = "".join(
        f'[[backends]]\nname = "{name}"\nendpoints = ["{origin.address}"]\n' for name, origin in origins.items()
    )
    with Fastmesh(config=ROUTES + backends) as started:
        yield started
    for origin in origins.values():
        origin.close()


@pytest.mark.parametrize(
    ("server_name", "protocols", "backend"),
    [
        ("a.example", [], "exact"),
        ("A.Example", ["http/1.1"], "exact"),
        ("b.example", [], "suffix"),
        ("c.b.example", ["http/1.1"], "suffix"),
        ("b.example", ["http/1.1", "h2"], "h2"),
        ("b.example", ["grpc-exp"], "h2"),
        ("example", [], "rest"),
        (None, ["h2"], "rest"),
    ],
)
def test_tls_goes_where_its_name_and_protocols_are_routed(
    proxy: Fastmesh, server_name: str | None, protocols: list[str], backend: str
) -> None:
    with Client(proxy.address) as client:
        client.send(of_python(server_name, protocols))
        assert client.read_until(b".") == backend.encode() + b"."


def test_http_and_all_else_go_their_own_ways(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        assert client.get().status == 200
    with Client(proxy.address) as client:
        client.send(b"*1\r\n$4\r\nPING\r\n")
        assert client.read_until(b".") == b"rest."


def test_metrics_are_by_route(proxy: Fastmesh) -> None:
    before = proxy.metrics()
    hello = of_python("metrics.example")
    with Client(proxy.address) as client:
        client.send(hello)
        client.read_until(b".")
        # Counted as they move: the connection is still open.
        labels = {"route": "suffix", "listener": "default"}
        until(
            lambda: proxy.metrics().sum("fastmesh_tcp_received_bytes_total", **labels)
            - before.sum("fastmesh_tcp_received_bytes_total", **labels) == len(hello),
            "the bytes to be counted",
        )  # fmt: skip
    after = proxy.metrics()
    assert after.sum("fastmesh_tcp_connections_total", **labels) - before.sum(
        "fastmesh_tcp_connections_total", **labels
    ) == 1  # fmt: skip


@pytest.mark.parametrize(
    ("server_name", "route", "sni"),
    [
        ("a.example", "exact", "a.example"),
        ("made.up.example", "suffix", "*.example"),
        ("elsewhere.test", "rest", "other"),
        (None, "rest", "other"),
        ("", "rest", ""),  # no TLS
    ],
)
def test_metrics_of_tls_are_by_the_name_that_is_configured(
    proxy: Fastmesh, server_name: str | None, route: str, sni: str
) -> None:
    data = b"*1\r\n$4\r\nPING\r\n" if server_name == "" else of_python(server_name)
    before = proxy.metrics()
    with Client(proxy.address) as client:
        client.send(data)
        client.read_until(b".")

    def grown(name: str, **labels: str) -> float:
        return proxy.metrics().sum(name, **labels) - before.sum(name, **labels)

    labels = {"route": route, "listener": "default"} | ({"sni": sni} if sni else {})
    # Bytes are counted when the kernel has taken them, which the client may be quicker than.
    until(lambda: grown("fastmesh_tcp_sent_bytes_total", **labels) == len(route) + 1, "the answer to be counted")
    assert grown("fastmesh_tcp_connections_total", **labels) == 1
    assert grown("fastmesh_tcp_received_bytes_total", **labels) == len(data)
    if not sni:
        assert not any(grown("fastmesh_tcp_connections_total", sni=name) for name in ("other", "*.example"))


def test_one_variable_more_relays_what_speaks_first() -> None:
    def greet(connection: Connection) -> None:
        connection.send(b"220 ready\r\n")
        connection.wait_end()

    with (
        Origin(greet) as origin,
        Fastmesh(
            upstream=origin.address, listener_protocol="detect", access_log="{version} {host} {response_bytes}"
        ) as proxy,
    ):
        with Client(proxy.address) as client:
            assert client.read_until(b"\r\n") == b"220 ready\r\n"
        until(lambda: proxy.stdout.read_text() == "TCP - 11\n", "the line of the access log")


def test_the_access_log_names_what_tls_asked_for() -> None:
    with (
        named("x") as origin,
        Fastmesh(upstream=origin.address, listener_protocol="tls", access_log="{version} {host} {fault}") as proxy,
    ):
        with Client(proxy.address) as client:
            client.send(of_python("long-name-of-a-service.long-name-of-a-namespace.svc.cluster.local"))
            client.read_until(b".")
        kept = "service.long-name-of-a-namespace.svc.cluster.local"[-47:]
        until(lambda: proxy.stdout.read_text() == f"TLS {kept} -\n", "the line of the access log")


def anonymous_bytes(pid: int) -> int:
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("Anonymous:")[2].split()[0]) << 10


def test_an_idle_relayed_connection_costs_half_a_kilobyte() -> None:
    if SANITIZED:
        pytest.skip("a sanitizer's memory is not the program's")
    few, many = 200, 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * (few + many):
        pytest.skip(f"this needs {3 * (few + many)} descriptors and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * (few + many)), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        listener = stack.enter_context(net.listen(backlog=2048))
        proxy = stack.enter_context(Fastmesh(upstream=net.text(listener), listener_protocol="opaque"))

        def more(count: int) -> int:
            for _ in range(count):
                client = stack.enter_context(net.dial(proxy.address))
                server = stack.enter_context(listener.accept()[0])
                for one, other in ((client, server), (server, client)):
                    one.sendall(b"ping")
                    assert other.recv(4) == b"ping"
            return anonymous_bytes(proxy.process.pid)

        before = more(few)
        each = (more(many) - before) / many
    assert each <= 512, f"{each:.0f} bytes each"
