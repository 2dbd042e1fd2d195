"""Peers that are slow on purpose or stop in the middle: each wait has a bound, and only the slow one pays."""

import select
import time

import pytest

from tests.support.client import Client, Ended, request
from tests.support.fastmesh import Fastmesh
from tests.support.net import black_hole
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.wait import DEADLINE_S

SHORT = "200ms"


def dribble(client: Client, data: bytes, gap_s: float) -> bytes:
    """Sends a byte every `gap_s` until the peer says something or the data ends; what it said."""
    for i in range(len(data)):
        if select.select([client.sock], [], [], gap_s)[0]:
            return client.read_to_end()[0]
        client.send(data[i : i + 1])
    return client.read_to_end()[0]


def test_slowloris_is_cut_off_however_it_dribbles() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, header_timeout="300ms") as proxy:
        begun = time.monotonic()
        with Client(proxy.address) as client:
            answer = dribble(client, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 1000, 0.02)
        took = time.monotonic() - begun
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.25 < took < 3
        assert not origin.connections
        assert proxy.counts().sum("fastmesh_header_timeouts_total") == 1


def test_slowloris_on_a_kept_connection() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, header_timeout=SHORT) as proxy:
        with Client(proxy.address) as client:
            assert client.get("/").status == 200
            client.send(b"GET /never HT")
            assert client.read().status == 408
            client.expect_end()
        assert [r.target for r in origin.requests()] == ["/"]


def test_a_client_that_says_nothing_is_let_go() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, header_timeout=SHORT) as proxy:
        with Client(proxy.address) as client:
            client.read_to_end()
        assert not origin.connections


def test_an_idle_kept_connection_is_let_go() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, idle_timeout=SHORT) as proxy:
        with Client(proxy.address) as client:
            assert client.get("/").status == 200
            assert client.expect_end() == "FIN"
        assert proxy.counts().sum("fastmesh_idle_closes_total") == 1


def test_a_dribbled_request_is_served() -> None:
    """Slow but within its time: head and body byte by byte."""
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        for byte in request("POST", "/", "X-A: b", body=b"0123456789"):
            client.send(bytes([byte]))
        assert client.read("POST").status == 200
        assert bytes(origin.requests()[0].body) == b"0123456789"


def test_a_dribbled_response_is_delivered() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"

    def script(connection: Connection) -> None:
        connection.request()
        for byte in data:
            connection.send(bytes([byte]))
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        assert bytes(client.get("/").body) == b"hello world"


def test_a_stalled_request_body_ends_both_sides() -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address, stream_timeout=SHORT) as proxy:
        with Client(proxy.address) as client:
            client.send(request("POST", "/", "Content-Length: 1000") + b"x" * 500)
            answer = client.read("POST")
            assert answer.status in (408, 504)
            assert answer.closes
        assert origin.connection().closed.wait(DEADLINE_S)
        assert not origin.requests()[0].complete


def test_a_stalled_response_body_does_not_look_complete() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address, stream_timeout=SHORT) as proxy:
        with Client(proxy.address) as client, pytest.raises(Ended):
            client.get("/")
        assert origin.connection().closed.wait(DEADLINE_S)
        assert proxy.counts().sum("fastmesh_proxy_errors_total", cause="stream_timeout") == 1


@pytest.mark.parametrize(
    ("setting", "cause"), [("per_try_timeout", "per_try_timeout"), ("request_timeout", "request_timeout")]
)
def test_an_origin_that_never_answers(setting: str, cause: str) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(config=f'{setting} = "{SHORT}"', upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            answer = client.get("/")
            assert answer.status == 504
            assert answer.get("fastmesh-error")
            assert not answer.closes  # the client did nothing wrong
            assert client.get("/again").status == 504
        assert origin.connection().closed.wait(DEADLINE_S)
        assert proxy.counts().sum("fastmesh_proxy_errors_total", cause=cause) == 2


def test_request_timeout_counts_while_waiting_for_a_connection() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.wait_end()

    settings = 'request_timeout = "200ms"\nupstream_max_connections = 1\n'
    with Origin(script) as origin, Fastmesh(config=settings, upstream=origin.address) as proxy:
        with Client(proxy.address) as first, Client(proxy.address) as second:
            first.send(request("GET", "/held"))
            assert origin.connection().head_seen.wait(DEADLINE_S)
            second.send(request("GET", "/waits"))
            assert first.read().status == 504
            assert second.read().status == 504
        assert not proxy.counts().sum("fastmesh_exchanges_pending")


def test_request_timeout_counts_while_connecting() -> None:
    with (
        black_hole() as address,
        Fastmesh(upstream=address, request_timeout="200ms", connect_timeout="20s") as proxy,
        Client(proxy.address) as client,
    ):
        assert client.get("/").status == 504
        proxy.wait_pool_empty()


def test_request_timeout_ends_a_response_that_trickles_forever() -> None:
    """Bytes keep coming, so no idle timeout fires: only the whole exchange's bound does."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not select.select([connection.sock], [], [], 0.02)[0]:
            connection.send(b"1\r\nx\r\n")

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address, request_timeout="300ms", stream_timeout="10s") as proxy,
    ):
        with Client(proxy.address) as client, pytest.raises(Ended):
            client.get("/")
        assert origin.connection().closed.wait(DEADLINE_S)


def test_a_slow_stream_outlives_the_stream_timeout() -> None:
    """The stream timeout is about silence, not about length."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(40):
            select.select([connection.sock], [], [], 0.03)
            connection.send(b"x")
        connection.wait_end()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address, stream_timeout="600ms") as proxy,
        Client(proxy.address) as client,
    ):
        assert bytes(client.get("/").body) == b"x" * 40


def test_a_client_that_resets_while_waiting_frees_the_origin() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/"))
            assert origin.connection().head_seen.wait(DEADLINE_S)
            client.reset()
        assert origin.connection().closed.wait(DEADLINE_S)
        assert proxy.counts().sum("fastmesh_client_aborts_total") == 1


def test_a_refused_client_that_stays_is_let_go() -> None:
    """After a refusal the connection is read for the linger timeout only."""
    with (
        Origin(serve(OK)) as origin,
        Fastmesh(upstream=origin.address, linger_timeout=SHORT) as proxy,
        Client(proxy.address) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 1000)
        assert client.read().status == 400
        proxy.wait_metric("fastmesh_open_connections", 0)
