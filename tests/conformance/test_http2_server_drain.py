"""Toward fastmesh as a server: a graceful end (RFC 9113 6.8, 9.1)."""

import signal
import threading

from tests.support import http2_frames as h2
from tests.support.fastmesh import Fastmesh
from tests.support.http2 import RawClient
from tests.support.http2_case import head
from tests.support.http2_frames import WINDOW_MAX, Error, Kind
from tests.support.origin import Connection, Origin
from tests.support.wait import DEADLINE_S


def goaways(client: RawClient) -> list[tuple[int, int]]:
    """(last stream, code) of every GOAWAY that came."""
    found = [frame.payload for frame in client.frames if frame.kind == Kind.GOAWAY]
    return [(int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")) for body in found]


def before(origin: Origin, **settings: object) -> Fastmesh:
    return Fastmesh(upstream=origin.address, upstream_protocol="http1", **settings)


class Gate:
    """Holds every answer back until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def script(self, connection: Connection) -> None:
        while True:
            connection.request()
            self.open.wait(DEADLINE_S)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_6_8_goaway_comes_twice_and_streams_finish() -> None:
    """First 2^31-1, so that requests under way are still taken; then the last stream, after which it closes."""
    gate = Gate()
    with Origin(gate.script) as origin, before(origin) as proxy, RawClient(proxy.address) as client:
        client.send(head())
        client.sync()
        proxy.signal(signal.SIGTERM)
        client.wait(lambda: client.goaway, "the first GOAWAY")
        assert goaways(client)[0] == (WINDOW_MAX, Error.NO_ERROR)
        client.send(head(stream=3))  # was on its way
        client.sync()
        client.wait(lambda: len(goaways(client)) >= 2 or client.stream(3).over, "what becomes of stream 3")
        gate.open.set()
        assert client.wait_ended(1).status == 200
        client.wait_end()
        told = goaways(client)
        assert told[-1][1] == Error.NO_ERROR
        assert told[-1][0] in (1, 3)
        assert (told[-1][0] == 3) == (client.stream(3).status == 200)
        assert proxy.wait() == 0


def test_6_8_an_idle_connection_is_told_before_it_is_closed() -> None:
    gate = Gate()
    gate.open.set()
    with Origin(gate.script) as origin, before(origin) as proxy, RawClient(proxy.address) as client:
        client.get()
        proxy.signal(signal.SIGTERM)
        client.wait_end()
        assert [code for _, code in goaways(client)][-1:] == [Error.NO_ERROR], client.story()
        assert proxy.wait() == 0


def test_9_1_an_idle_connection_that_times_out_is_told() -> None:
    with (
        Origin(Gate().script) as origin,
        before(origin, idle_timeout="300ms") as proxy,
        RawClient(proxy.address) as client,
    ):
        client.wait_end()
        assert goaways(client)[-1:] == [(0, Error.NO_ERROR)], client.story()


def test_6_8_a_client_that_says_goaway_and_is_done_is_closed() -> None:
    gate = Gate()
    gate.open.set()
    with Origin(gate.script) as origin, before(origin) as proxy, RawClient(proxy.address) as client:
        client.send(head(), h2.goaway(0))
        assert client.wait_ended(1).status == 200
        try:
            client.half_close()
        except OSError:
            pass
        assert client.wait_end()
