"""Upstream connections: reused newest first, bounded, watched while idle, and replaced once when they turn out dead."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import chunked
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.wait import DEADLINE_S


class Gates:
    """An origin that answers a request only when its connection's gate was opened."""

    def __init__(self) -> None:
        self.gates = [threading.Event() for _ in range(8)]
        self.origin = Origin(self._script)

    def _script(self, connection: Connection) -> None:
        while True:
            connection.request()
            self.gates[connection.index].wait(DEADLINE_S)
            connection.send(b"HTTP/1.1 200 OK\r\nOn: %d\r\nContent-Length: 0\r\n\r\n" % connection.index)


@contextmanager
def three_pooled(proxy: Fastmesh, gates: Gates, order: tuple[int, int, int]) -> Iterator[list[Client]]:
    """Three requests at once on three upstream connections, answered (and so pooled) in this order."""
    with ExitStack() as stack:
        clients = []
        for i in range(3):
            client = stack.enter_context(Client(proxy.address))
            client.send(request("GET", "/"))
            gates.origin.connection(i)
            clients.append(client)
        for i in order:
            gates.gates[i].set()
            assert clients[i].read().get("on") == str(i).encode()
        yield clients


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_newest_connection_is_taken_first(order: tuple[int, int, int]) -> None:
    gates = Gates()
    with gates.origin, Fastmesh(upstream=gates.origin.address) as proxy, three_pooled(proxy, gates, order) as clients:
        assert [clients[0].get("/").get("on") for _ in range(5)] == [str(order[-1]).encode()] * 5
        assert proxy.counts().sum("fastmesh_upstream_idle_connections") == 3
        assert proxy.counts().sum("fastmesh_worker_reuses_total") == 5


def test_max_idle_bounds_the_pool() -> None:
    gates = Gates()
    with gates.origin, Fastmesh(upstream=gates.origin.address, upstream_max_idle=1) as proxy:
        with three_pooled(proxy, gates, (0, 1, 2)):
            for i in (1, 2):
                assert gates.origin.connection(i).closed.wait(DEADLINE_S)
            assert not gates.origin.connection(0).closed.is_set()
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_upstream_open_connections") == 1
        assert metrics.sum("fastmesh_pool_evictions_total") == 2


def test_max_idle_zero_uses_each_once() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, upstream_max_idle=0) as proxy:
        with Client(proxy.address) as client:
            for _ in range(4):
                client.get("/")
        assert [len(c.stream.messages) for c in origin.connections] == [1, 1, 1, 1]


def test_idle_connections_are_closed_in_time() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, upstream_idle_timeout="30ms") as proxy:
        with Client(proxy.address) as client:
            client.get("/")
        assert origin.connection().closed.wait(DEADLINE_S)
        assert origin.connection().ended == "FIN"


def test_max_connections_makes_requests_wait() -> None:
    gates = Gates()
    with (
        gates.origin,
        Fastmesh(upstream=gates.origin.address, upstream_max_connections=1, max_pending=2) as proxy,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(proxy.address)) for _ in range(4)]
        clients[0].send(request("GET", "/"))
        gates.origin.connection(0)
        for i in (1, 2):
            clients[i].send(request("GET", "/"))
            proxy.wait_metric("fastmesh_exchanges_pending", i)
        refused = clients[3].get("/")
        assert refused.status == 503
        assert b"wait" in (refused.get("fastmesh-error") or b"")
        gates.gates[0].set()
        assert [client.read().get("on") for client in clients[:3]] == [b"0"] * 3
        assert len(gates.origin.connections) == 1
        assert proxy.counts().sum("fastmesh_proxy_errors_total", cause="pending_limit") == 1


def test_a_waiting_client_that_leaves_frees_its_place() -> None:
    gates = Gates()
    with (
        gates.origin,
        Fastmesh(upstream=gates.origin.address, upstream_max_connections=1) as proxy,
        Client(proxy.address) as first,
    ):
        first.send(request("GET", "/"))
        gates.origin.connection(0)
        with Client(proxy.address) as second:
            second.send(request("GET", "/gone"))
            proxy.wait_metric("fastmesh_exchanges_pending", 1)
            second.reset()
        proxy.wait_metric("fastmesh_exchanges_pending", 0)
        gates.gates[0].set()
        assert first.read().status == 200
        assert first.get("/after").status == 200
    assert [r.target for r in gates.origin.requests()] == ["/", "/after"]


# --- a reused connection that dies


def dies_on_second(connection: Connection, how: str = "reset") -> None:
    """Answers once; when the second request comes the connection ends."""
    connection.answer()
    connection.read()
    connection.reset() if how == "reset" else connection.close()


# The trailer may not cross (RFC 9110 6.5.1): what is kept for sending again has been edited by then.
CHUNKED_PUT = request("PUT", "/x", "Transfer-Encoding: chunked") + chunked(
    b"p" * 500, b"p" * 1500, trailers=b"Content-Length: 5\r\nNote: 1\r\n"
)


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (request("GET", "/x"), "GET"),
        (request("HEAD", "/x"), "HEAD"),
        (request("OPTIONS", "/x"), "OPTIONS"),
        (request("DELETE", "/x"), "DELETE"),
        (request("PUT", "/x", body=b"p" * 2000), "PUT"),
        (CHUNKED_PUT, "PUT"),
    ],
    ids=["get", "head", "options", "delete", "put", "put-chunked"],
)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_safe_request_is_sent_again_once(data: bytes, method: str, how: str) -> None:
    def script(connection: Connection) -> None:
        if connection.index == 0:
            dies_on_second(connection, how)
            return
        while True:
            answered = connection.request()
            connection.send(OK[:-2] if answered.method == "HEAD" else OK)

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/first")
        assert client.ask(data, method).status == 200
        again = origin.connection(1).stream.messages[0]
        assert bytes(again.body) == (b"p" * 2000 if method == "PUT" else b"")
        assert (again.method, again.target) == (method, "/x")
        assert again.trailers == ([(b"Note", b"1")] if data == CHUNKED_PUT else [])
        assert client.get("/after").status == 200
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_retries_total") == 1
        assert metrics.sum("fastmesh_upstream_endpoints", state="ready") == 1  # the endpoint is not blamed


def test_what_is_pipelined_behind_a_repeated_request_stays_behind_it() -> None:
    def script(connection: Connection) -> None:
        if connection.index == 0:
            dies_on_second(connection)
            return
        while True:
            target = connection.request().target.encode()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/first")
        client.send(request("GET", "/x") + request("GET", "/y") + request("PUT", "/z", body=b"z" * 3000))
        assert [bytes(client.read(method).body) for method in ("GET", "GET", "PUT")] == [b"/x", b"/y", b"/z"]
        assert [r.target for r in origin.connection(1).stream.messages] == ["/x", "/y", "/z"]
        assert proxy.counts().sum("fastmesh_retries_total") == 1


@pytest.mark.parametrize("data", [request("POST", "/x", body=b"pay"), request("PATCH", "/x", body=b"pay")])
def test_unsafe_request_is_not_sent_again(data: bytes) -> None:
    with (
        Origin(dies_on_second) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/first")
        answer = client.ask(data, "POST")
        assert answer.status == 502
        assert len(origin.connections) == 1
        assert proxy.counts().sum("fastmesh_retries_total") == 0


def test_a_new_connection_that_dies_is_no_reason_to_repeat() -> None:
    def script(connection: Connection) -> None:
        connection.read()
        connection.reset()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        assert client.get("/").status == 502
        assert len(origin.connections) == 1


def test_a_response_that_began_is_never_repeated() -> None:
    def script(connection: Connection) -> None:
        connection.answer()
        connection.request()
        connection.send(b"HTTP/1.1 2")
        connection.reset()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/first")
        assert client.get("/x").status == 502
        assert len(origin.connections) == 1


def test_repeated_only_once() -> None:
    def script(connection: Connection) -> None:
        if connection.index == 0:
            connection.answer()
        connection.read()
        connection.reset()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/first")
        assert client.get("/x").status == 502
        assert len(origin.connections) == 2


def test_a_body_that_was_not_kept_is_not_repeated() -> None:
    """A PUT larger than what the proxy holds: the dead connection becomes 502, never a half body sent again."""

    def script(connection: Connection) -> None:
        connection.answer()
        head = connection.head()
        connection.more(head, 1_000_000)
        connection.reset()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/first")
        client.send(request("PUT", "/x", "Content-Length: 2000000") + b"p" * 1_000_000)
        assert client.read("PUT").status == 502
        assert len(origin.connections) == 1


@pytest.mark.parametrize("extra", [b"X", OK, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_bytes_on_an_idle_connection_are_nobodys_answer(extra: bytes) -> None:
    say = threading.Event()

    def script(connection: Connection) -> None:
        connection.answer()
        if connection.index == 0:
            say.wait(DEADLINE_S)
            connection.send(extra)
            assert connection.wait_end() in ("FIN", "RST")
            return
        connection.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh")
        connection.wait_end()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        client.get("/")
        say.set()
        assert origin.connection().closed.wait(DEADLINE_S)
        assert bytes(client.get("/").body) == b"ok"
        assert bytes(client.get("/").body) == b"fresh"
        assert len(origin.connections) == 2
        assert proxy.counts().sum("fastmesh_pool_closed_by_upstream_total") == 1


def test_an_idle_connection_the_origin_closes_is_given_up_at_once() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.get("/")
            origin.drop_connections()
            proxy.wait_pool_empty()
            assert client.get("/").status == 200
        assert proxy.counts().sum("fastmesh_retries_total") == 0
