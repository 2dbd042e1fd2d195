"""Persistence, pipelining and order: one request in is one request out, in order, on as few connections as possible."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import Request
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.wait import DEADLINE_S


def echo_target(request: Request) -> bytes:
    body = request.target.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), b"" if request.method == "HEAD" else body)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin(serve(echo_target)) as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(origin: Origin) -> Iterator[Fastmesh]:
    with Fastmesh(upstream=origin.address) as proxy:
        yield proxy


def test_keep_alive_uses_one_connection_each_side(proxy: Fastmesh, origin: Origin) -> None:
    before = len(origin.connections)
    with Client(proxy.address) as client:
        for i in range(50):
            assert bytes(client.get(f"/{i}").body) == f"/{i}".encode()
    assert len(origin.connections) - before <= 1


def test_a_hundred_pipelined_requests_are_answered_in_order(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        client.send(b"".join(request("GET", f"/{i}") for i in range(100)))
        for i in range(100):
            assert bytes(client.read().body) == f"/{i}".encode()


def test_pipelined_requests_of_every_kind(proxy: Fastmesh) -> None:
    kinds = [
        (request("GET", "/a"), "GET"), (request("HEAD", "/b"), "HEAD"),
        (request("POST", "/c", body=b"x" * 5000), "POST"),
        (request("PUT", "/d", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", "PUT"),
        (request("DELETE", "/e"), "DELETE"), (request("OPTIONS", "*"), "OPTIONS"), (request("HEAD", "/f"), "HEAD"),
        (request("GET", "/g"), "GET"),
    ]  # fmt: skip
    with Client(proxy.address) as client:
        client.send(b"".join(data for data, _ in kinds))
        bodies = [bytes(client.read(method).body).decode() for _, method in kinds]
    assert bodies == ["/a", "", "/c", "/d", "/e", "*", "", "/g"]


def test_pipeline_longer_than_every_buffer(proxy: Fastmesh) -> None:
    """2 MB of requests before the first answer is read: back-pressure holds, nothing is lost."""
    count = 2000
    data = b"".join(request("GET", f"/{i}", "X-Pad: " + "p" * 1000) for i in range(count))
    with Client(proxy.address) as client:
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        for i in range(count):
            assert bytes(client.read().body) == f"/{i}".encode()
        sender.join(DEADLINE_S)


def test_close_ends_only_the_clients_connection(proxy: Fastmesh, origin: Origin) -> None:
    with Client(proxy.address) as client:
        answer = client.get("/x", "Connection: close")
        assert answer.closes
        assert client.expect_end() == "FIN"
    before = len(origin.connections)
    with Client(proxy.address) as client:
        client.get("/y")
    assert len(origin.connections) == before, "the upstream connection should have been pooled"


def test_keepalive_requests_bounds_a_connection() -> None:
    with (
        Origin(serve()) as origin,
        Fastmesh(upstream=origin.address, keepalive_requests=3) as proxy,
        Client(proxy.address) as client,
    ):
        assert [client.get("/").closes for _ in range(3)] == [False, False, True]
        client.expect_end()


def test_half_closed_client_still_gets_its_answers(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        client.send(request("GET", "/a") + request("POST", "/b", body=b"12345"))
        client.half_close()
        assert bytes(client.read().body) == b"/a"
        assert bytes(client.read("POST").body) == b"/b"
        assert client.expect_end() == "FIN"


def test_upstream_close_is_for_that_hop_only() -> None:
    def script(connection: Connection) -> None:
        connection.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            for _ in range(3):
                assert not client.get("/").closes
        assert [len(c.stream.messages) for c in origin.connections] == [1, 1, 1]


def test_continue_is_the_origins_word() -> None:
    """The client waits for 100 and sends its body only then (RFC 9110 10.1.1)."""
    body_sent = threading.Event()

    def script(connection: Connection) -> None:
        head = connection.head()
        assert head.all("expect") == [b"100-continue"]
        assert not body_sent.is_set()
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        whole = connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(whole.body), bytes(whole.body)))
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 5"))
        client.expect("POST")
        assert client.next_response().status == 100
        body_sent.set()
        client.send(b"hello")
        assert bytes(client.next_response().body) == b"hello"


@pytest.mark.parametrize("status", [b"417 Expectation Failed", b"413 Too Large", b"401 Who"])
def test_refused_expectation_saves_the_body(status: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.send(b"HTTP/1.1 %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno" % status)
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        answer = client.ask(request("POST", "/", "Expect: 100-continue", "Content-Length: 5000000"), "POST")
        assert answer.start[9:] == status
        assert bytes(answer.body) == b"no"
    assert not origin.connection().stream.messages[0].body


@pytest.mark.parametrize("keep", [True, False])
def test_early_final_response_is_delivered(keep: bool) -> None:
    """The origin answers before the body is there. The client gets the answer while it is still sending."""

    def script(connection: Connection) -> None:
        if connection.head().target == "/":
            connection.send(OK if keep else b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            connection.request()
        connection.answer()  # /next, on whichever connection it comes
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.send(request("POST", "/", "Content-Length: 1000000") + b"x" * 1000)
        answer = client.read("POST")
        assert bytes(answer.body) == b"ok"
        if not answer.closes:  # then the rest of the body is still this request's
            client.send(b"y" * 999_000)
            assert bytes(client.get("/next").body) == b"ok"
