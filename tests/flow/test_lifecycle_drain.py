"""The end: what SIGTERM, SIGINT, POST /drain and a second signal do to what is under way."""

import pathlib
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.client import Client, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.origin import OK, Connection, Origin
from tests.support.wait import DEADLINE_S, until


class Gate:
    """A script whose answers wait until `open` is set; `asked` counts requests."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = 0

    def __call__(self, connection: Connection) -> None:
        while True:
            connection.request()
            self.asked += 1
            assert self.open.wait(DEADLINE_S)
            connection.send(OK)


def refuses(address: str) -> bool:
    try:
        Client(address).close()
    except ConnectionRefusedError:
        return True
    return False


def end(how: str) -> Callable[[Fastmesh], object]:
    if how == "admin":
        return lambda proxy: proxy.admin_post("/drain")
    return lambda proxy: proxy.signal(getattr(signal, how))


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "admin"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_finishes_what_is_under_way(how: str, workers: int) -> None:
    gate = Gate()
    with Origin(gate) as origin, Fastmesh(upstream=origin.address, workers=workers) as proxy:
        with Client(proxy.address) as busy, Client(proxy.address) as idle, Client(proxy.address) as unused:
            gate.open.set()
            assert idle.get("/").status == 200
            gate.open.clear()
            busy.send(request("GET", "/slow"))
            until(lambda: gate.asked == 2, "the slow request")
            end(how)(proxy)
            idle.expect_end()
            unused.expect_end()
            until(lambda: refuses(proxy.address), "the listener to close")
            ready = proxy.admin_get("/ready")
            assert (ready.status, bytes(ready.body)) == (503, b"draining\n")
            assert proxy.metrics().sum("fastmesh_draining") == 1
            assert proxy.process.poll() is None
            gate.open.set()
            answer = busy.read()
            assert (answer.status, answer.get("connection")) == (200, b"close")
            busy.expect_end()
        assert proxy.wait() == 0
        assert refuses(proxy.admin)


def test_an_idle_process_ends_at_once() -> None:
    with EchoOrigin() as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.get("/")
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - began < 5, "nothing was under way and the drain timeout is 30 s"
        client.expect_end()


def test_requests_already_sent_are_answered() -> None:
    """A pipeline that has arrived is work under way, too: the answer in hand closes, and says so."""
    gate = Gate()
    with Origin(gate) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.send(request("GET", "/1") + request("GET", "/2"))
        until(lambda: gate.asked == 1, "the first request")
        proxy.signal(signal.SIGTERM)
        until(lambda: refuses(proxy.address), "the listener to close")
        gate.open.set()
        first = client.read()
        assert first.status == 200
        assert first.get("connection") == b"close"
        assert proxy.wait() == 0


def test_what_does_not_end_is_cut_within_the_timeout() -> None:
    gate = Gate()
    with Origin(gate) as origin, Fastmesh(upstream=origin.address, drain_timeout="1s") as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/never"))
            until(lambda: gate.asked, "the request")
            began = time.monotonic()
            proxy.signal(signal.SIGTERM)
            client.read_to_end()
            assert proxy.wait() == 0
            assert 0.5 < time.monotonic() - began < 4
        proxy.wait_log(lambda line: "before everything was finished" in line and "exchanges=1" in line)
        gate.open.set()


def test_a_tunnel_is_cut_at_the_timeout() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        connection.tunnel(b"ping")
        connection.send(b"pong")
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address, drain_timeout="1s") as proxy:
        with Client(proxy.address) as client:
            assert client.get("/", "Connection: upgrade", "Upgrade: echo").status == 101
            proxy.signal(signal.SIGTERM)
            until(lambda: refuses(proxy.address), "the listener to close")
            client.send(b"ping")
            assert client.read_until(b"pong") == b"pong"
            client.read_to_end()
        assert proxy.wait() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(second: signal.Signals) -> None:
    gate = Gate()
    with Origin(gate) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/never"))
            until(lambda: gate.asked, "the request")
            proxy.signal(signal.SIGTERM)
            until(lambda: refuses(proxy.address), "the listener to close")
            assert proxy.process.poll() is None
            proxy.signal(second)
            assert proxy.wait() == 0
            client.read_to_end()
        proxy.wait_log(lambda line: "second signal" in line)
        gate.open.set()


def test_a_second_post_changes_nothing() -> None:
    gate = Gate()
    with Origin(gate) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        client.send(request("GET", "/slow"))
        until(lambda: gate.asked, "the request")
        assert [proxy.admin_post("/drain").status for _ in range(3)] == [202] * 3
        gate.open.set()
        assert client.read().status == 200
        assert proxy.wait() == 0


def test_a_reload_during_the_drain_is_ignored() -> None:
    gate = Gate()
    with Origin(gate) as origin:
        config = f'[[backends]]\nname = "b"\nendpoints = ["{origin.address}"]\n'
        with Fastmesh(config=config) as proxy, Client(proxy.address) as client:
            client.send(request("GET", "/slow"))
            until(lambda: gate.asked, "the request")
            proxy.signal(signal.SIGTERM)
            until(lambda: refuses(proxy.address), "the listener to close")
            proxy.config.write_text("nonsense")
            proxy.signal(signal.SIGHUP)
            assert proxy.admin_get("/ready").status == 503
            gate.open.set()
            assert client.read().status == 200
            assert proxy.wait() == 0


def test_unix_sockets_are_gone_as_soon_as_the_drain_begins(tmp_path: pathlib.Path) -> None:
    gate = Gate()
    path = tmp_path / "front"
    with Origin(gate) as origin, Fastmesh(listen=f"unix:{path}", upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/slow"))
            until(lambda: gate.asked, "the request")
            proxy.signal(signal.SIGTERM)
            until(lambda: not path.exists(), "the socket's file to go")
            gate.open.set()
            assert client.read().status == 200
        assert proxy.wait() == 0


def test_a_port_is_free_again_after_the_end() -> None:
    with EchoOrigin() as origin:
        listen = "127.0.0.1:0"
        for _ in range(2):
            with Fastmesh(upstream=origin.address, workers=2, listen=listen) as proxy, Client(proxy.address) as client:
                assert client.get("/").status == 200
                listen = proxy.address


def test_clients_that_dribble_do_not_hold_the_drain_for_ever() -> None:
    """A head that never ends is no exchange: it must not cost the whole timeout."""
    with (
        EchoOrigin() as origin,
        Fastmesh(upstream=origin.address, header_timeout="1s") as proxy,
        Client(proxy.address) as client,
    ):
        client.send(b"GET / HT")
        until(lambda: proxy.metrics().sum("fastmesh_buffers_small_in_use") == 1, "the piece of a head")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        client.read_to_end()
