"""A connection becomes a tunnel only when both sides said so: behind any other 101 a client still speaks HTTP."""

import pytest

from tests.support.client import Client, request
from tests.support.origin import Connection, Origin
from tests.support.pressure import SWITCHED
from tests.support.worker import LiveWorker, Plan

BARE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def switched(protocol: str) -> bytes:
    return SWITCHED.replace(b"websocket", protocol.encode())


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"), BARE),
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"), switched("h2c")),
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket, h2c"), switched("h2c")),
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"), switched("other")),
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"), switched("websocket, other")),
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"), switched("web")),
        (request("GET", "/"), switched("websocket")),
        (request("GET", "/"), BARE),
        (request("GET", "/", "Upgrade: websocket"), SWITCHED),
        (request("CONNECT", "t.test:80", host="t.test:80"), switched("x")),
        (request("CONNECT", "t.test:80", host="t.test:80"), BARE),
    ],
    ids=[
        "names nothing", "h2c, not offered", "h2c, removed by the proxy", "not offered", "more than offered",
        "part of a name", "unasked", "unasked, names nothing", "not a connection option", "CONNECT", "CONNECT, bare",
    ],
)
def test_an_unlawful_101_is_no_tunnel(ask: bytes, answer: bytes) -> None:
    after = bytearray()

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(answer)
        before = len(connection.received)
        try:
            connection.stream.tunnel()
            connection.wait_end()
        finally:
            after.extend(connection.received[before:])

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker:
        with Client(worker.address) as client:
            client.send(ask + b"ping")
            final = client.read(ask.split(b" ")[0].decode())
            assert final.status == 502
            assert b"switched protocols" in (final.get("fastmesh-error") or b"")
            assert worker.counter("tunnels") == 0
        worker.settle()
        assert origin.connection().closed.wait(5)
        assert not after, "bytes went through"


@pytest.mark.parametrize(
    ("offered", "taken"), [("websocket", "websocket"), ("a/1, b", "b"), ("h2c, websocket", "websocket")]
)
def test_a_lawful_101_is_a_tunnel(offered: str, taken: str) -> None:
    def script(connection: Connection) -> None:
        asked = connection.request()
        assert "h2c" not in asked.tokens("upgrade")
        connection.send(switched(taken))
        assert connection.tunnel(b"ping") == b"ping"
        connection.send(b"pong")
        connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(request("GET", "/", "Connection: Upgrade", f"Upgrade: {offered}") + b"ping")
        answer = client.read()
        assert (answer.status, answer.tokens("upgrade")) == (101, [taken])
        assert client.read_until(b"pong") == b"pong"
        worker.until_gauge("tunnels", 1)
