"""Connections that break at any byte, on either side: nothing half is taken for whole, and nothing leaks."""

import random
import threading

import pytest

from tests.support.client import Client, Ended, request
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import chunked
from tests.support.origin import Connection, Origin, serve
from tests.support.wait import DEADLINE_S, until

HEAD = request("POST", "/", "Content-Length: 100000")
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WAYS = pytest.mark.parametrize("how", ["reset", "close"])


def end(peer: Client | Connection, how: str) -> None:
    peer.reset() if how == "reset" else peer.close()


@WAYS
def test_client_breaks_inside_its_head(how: str) -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address) as proxy:
        for cut in (1, 5, 20, len(HEAD) - 1):
            with Client(proxy.address) as client:
                client.send(HEAD[:cut])
                end(client, how)
        proxy.wait_metric("fastmesh_connections_closed_total", 4)
        assert not origin.connections
        assert proxy.counts().sum("fastmesh_requests_total") == 0


@WAYS
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_breaks_inside_its_body(how: str, framing: str) -> None:
    """The origin must not take what it got for the whole request."""

    def script(connection: Connection) -> None:
        body = connection.head()
        connection.more(body, 1000)
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            if framing == "length":
                client.send(HEAD + b"x" * 5000)
            else:
                client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"2000\r\n" + b"x" * 5000)
            until(lambda: [r for r in origin.requests() if len(r.body) >= 1000], "the body to arrive")
            end(client, how)
        connection = origin.connection()
        assert connection.closed.wait(DEADLINE_S)
        assert not connection.stream.messages[0].complete
        assert proxy.counts().sum("fastmesh_client_aborts_total") == 1


@WAYS
def test_client_breaks_inside_the_response(how: str) -> None:
    gone = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(LENGTH + b"x" * 1000)
        gone.wait(DEADLINE_S)
        while True:  # a client that only sent FIN may still read: what it does not take any more tells
            connection.send(b"x" * 1000)

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/"))
            client.read_head()
            end(client, how)
        gone.set()
        assert origin.connection().closed.wait(DEADLINE_S)


@WAYS
@pytest.mark.parametrize("cut", [0, 1, 9, 17, len(LENGTH) - 1])
def test_origin_breaks_before_its_head_is_whole(how: str, cut: int) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(LENGTH[:cut])
        end(connection, how)

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        answer = client.get("/")
        assert answer.status == 502
        assert answer.get("fastmesh-error")
        assert not answer.closes
        assert client.get("/").status == 502


@WAYS
@pytest.mark.parametrize("head", [LENGTH, CHUNKED + b"186a0\r\n"], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 5000, 99_999])
def test_origin_breaks_inside_its_body(how: str, head: bytes, size: int) -> None:
    """The client sees at most a part, never a whole response."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head + b"x" * size)
        end(connection, how)

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        try:
            status = client.get("/").status
        except Ended:
            status = 0
        assert status in (0, 502)


def test_origin_breaks_while_the_body_comes() -> None:
    """An origin that resets during an upload: 502, or the end of the connection when it is too late for that."""

    def script(connection: Connection) -> None:
        connection.more(connection.head(), 100_000)
        connection.reset()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        for _ in range(5):
            with Client(proxy.address) as client:
                client.send(request("POST", "/", "Content-Length: 10000000") + b"x" * 200_000)
                assert client.read("POST").status == 502


def test_origin_answers_and_breaks_while_the_body_comes() -> None:
    """An answer before a reset is an answer (RFC 9112 9.5): the client gets it although its body was not wanted."""

    def script(connection: Connection) -> None:
        connection.head()
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
        connection.close()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.send(request("POST", "/", "Content-Length: 10000000") + b"x" * 1000)
        answer = client.read("POST")
        assert answer.status == 413
        assert bytes(answer.body) == b"large"


def test_origin_half_closes_instead_of_answering() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.half_close()
        assert connection.wait_end() in ("FIN", "RST")

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        assert client.get("/").status == 502


def test_many_breaks_at_random_places() -> None:
    """200 exchanges cut by either side anywhere; the proxy stays whole and serves the next one."""
    source = random.Random(7)
    answer = CHUNKED + chunked(b"a" * 3000, b"b" * 70_000, b"c")

    def script(connection: Connection) -> None:
        while True:
            asked = connection.request()
            cut = int(asked.target[1:])
            connection.send(answer[:cut] if cut >= 0 else answer)
            if cut >= 0:
                connection.reset() if cut % 2 else connection.close()
                return

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        for _ in range(200):
            origin_cut = source.choice([-1, source.randrange(len(answer))])
            ask = request("POST", f"/{origin_cut}", "Transfer-Encoding: chunked") + chunked(b"q" * 30_000, b"r")
            client_cut = source.choice([len(ask), source.randrange(1, len(ask))])
            with Client(proxy.address) as client:
                client.send(ask[:client_cut])
                if client_cut < len(ask):
                    end(client, source.choice(["reset", "close"]))
                    continue
                try:
                    got = client.read("POST")
                except Ended:
                    assert origin_cut >= 0
                else:
                    assert got.status == 502 if origin_cut >= 0 else len(got.body) == 73_001
        proxy.settle()
        with Client(proxy.address) as client:
            assert len(client.get("/-1").body) == 73_001
