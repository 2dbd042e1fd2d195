"""Upgrade and CONNECT: after the switch the connection is bytes both ways, each direction ending by itself."""

import select
import threading

import pytest

from tests.support.client import Client, digest, pattern, request
from tests.support.fastmesh import Fastmesh
from tests.support.origin import Connection, Gone, Origin
from tests.support.wait import DEADLINE_S

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
UPGRADE = request("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
CONNECT = request("CONNECT", "t.test:443", host="t.test:443")
KINDS = pytest.mark.parametrize(("ask", "reply"), [(UPGRADE, SWITCH), (CONNECT, CONNECTED)], ids=["upgrade", "connect"])


def method_of(ask: bytes) -> str:
    return ask.split(b" ")[0].decode()


@KINDS
def test_frames_both_ways(ask: bytes, reply: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.answer(reply)
        for i in range(20):
            assert connection.tunnel(b"\n") == b"ping %d\n" % i
            connection.send(b"pong %d\n" % i)
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        assert client.ask(ask, method_of(ask)).start == reply.split(b"\r\n")[0]
        for i in range(20):
            client.send(b"ping %d\n" % i)
            assert client.read_until(b"\n") == b"pong %d\n" % i


@KINDS
@pytest.mark.parametrize("first", ["client", "origin"])
def test_half_close_in_each_direction(ask: bytes, reply: bytes, first: str) -> None:
    """One side ends its half; the other still sends a megabyte through its own."""
    data = pattern(1_000_000)

    def script(connection: Connection) -> None:
        connection.answer(reply)
        connection.stream.tunnel()
        if first == "origin":
            connection.half_close()
        assert connection.wait_end() == "FIN"
        if first == "client":
            connection.send(data)

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.ask(ask, method_of(ask))
        if first == "client":
            client.half_close()
            received, how = client.read_to_end()
            assert digest(client.stream.raw + received) == digest(data)
            assert how == "FIN"
        else:
            assert client.read_to_end() == (b"", "FIN")
            client.send(data)
            client.half_close()
            connection = origin.connection()
            assert connection.closed.wait(DEADLINE_S)
            assert bytes(connection.received).endswith(data)


@KINDS
def test_bytes_directly_behind_the_heads(ask: bytes, reply: bytes) -> None:
    """A client may speak right behind its request, an origin right behind its answer; nothing of it is lost."""

    def script(connection: Connection) -> None:
        connection.head()
        connection.stream.tunnel()
        connection.send(reply + b"server first\n")
        assert connection.tunnel(b"\n") == b"client first\n"
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.ask(ask + b"client first\n", method_of(ask))
        assert client.read_until(b"\n") == b"server first\n"
        client.half_close()
        client.expect_end()


@KINDS
def test_large_volumes_at_once(ask: bytes, reply: bytes) -> None:
    """8 MB each way at the same time: neither direction waits for the other."""
    data = pattern(8_000_000)

    def script(connection: Connection) -> None:
        connection.answer(reply)
        connection.stream.tunnel()
        writer = threading.Thread(target=connection.sock.sendall, args=(data,))
        writer.start()
        connection.wait_end()
        writer.join(DEADLINE_S)

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.ask(ask, method_of(ask))

        def send() -> None:
            client.send(data)
            client.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        received, how = client.read_to_end()
        sender.join(DEADLINE_S)
        connection = origin.connection()
        assert connection.closed.wait(DEADLINE_S)
        assert digest(client.stream.raw + received) == digest(data)
        assert bytes(connection.received).endswith(data)
        assert how == "FIN"


@KINDS
@pytest.mark.parametrize("who", ["client", "origin"])
def test_reset_of_one_side_ends_the_other(ask: bytes, reply: bytes, who: str) -> None:
    def script(connection: Connection) -> None:
        connection.answer(reply)
        connection.tunnel(b"go")
        if who == "origin":
            connection.reset()
            return
        assert connection.wait_end() in ("FIN", "RST")

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.ask(ask, method_of(ask))
        client.send(b"go")
        if who == "client":
            origin.connection()
            client.reset()
        else:
            assert client.read_to_end()[1] in ("FIN", "RST")
        assert origin.connection().closed.wait(DEADLINE_S)


@KINDS
def test_a_silent_tunnel_outlives_the_timeouts_of_requests(ask: bytes, reply: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.answer(reply)
        while True:
            connection.send(connection.tunnel(b"\n"))

    with (
        Origin(script) as origin,
        Fastmesh(
            upstream=origin.address, request_timeout="150ms", per_try_timeout="150ms", idle_timeout="150ms"
        ) as proxy,
        Client(proxy.address) as client,
    ):
        client.ask(ask, method_of(ask))
        for _ in range(3):
            assert not select.select([client.sock], [], [], 0.2)[0]
            client.send(b"still here\n")
            assert client.read_until(b"\n") == b"still here\n"


def test_tunnels_are_counted_and_never_pooled() -> None:
    def script(connection: Connection) -> None:
        try:
            connection.answer(SWITCH)
            connection.tunnel(b"12345")
            connection.send(b"1234567")
        except Gone:
            return
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.ask(UPGRADE)
            client.send(b"12345")
            assert client.read_until(b"7") == b"1234567"
            assert proxy.counts().sum("fastmesh_open_tunnels") == 1
        proxy.settle()
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_open_tunnels") == 0
        assert metrics.sum("fastmesh_tunnels_total") == 1
        assert metrics.sum("fastmesh_tunnel_received_bytes_total") == 5
        assert metrics.sum("fastmesh_tunnel_sent_bytes_total") == 7
        assert metrics.sum("fastmesh_upstream_open_connections") == 0


def test_refused_upgrade_goes_on_as_http() -> None:
    def script(connection: Connection) -> None:
        connection.answer(b"HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno")
        connection.answer()
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        assert client.ask(UPGRADE).status == 426
        assert bytes(client.get("/").body) == b"ok"
