"""Tunnels: each direction ends for itself, nothing is lost on the way, and no dead peer is kept for ever."""

import os
from pathlib import Path

from tests.support.client import Client, digest, pattern, request
from tests.support.origin import Connection, Origin
from tests.support.pressure import SWITCHED, WEBSOCKET
from tests.support.wait import until
from tests.support.worker import LiveWorker, Plan

UPGRADE = request("GET", "/", *WEBSOCKET)
KEEPALIVE = "02"  # of a socket's timer in /proc/net/tcp


def test_a_half_close_by_the_client_lets_the_answer_through() -> None:
    data = pattern(3_000_000)

    def script(connection: Connection) -> None:
        connection.request()
        connection.stream.tunnel()
        connection.send(SWITCHED)
        assert connection.wait_end() == "FIN"
        body = bytes(connection.received).partition(b"\r\n\r\n")[2]
        connection.send(digest(body).encode())

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker, Client(worker.address) as client:
        client.send(UPGRADE + data[:1000])  # the first bytes come with the request
        assert client.read().status == 101
        client.send(data[1000:])
        client.half_close()
        rest, how = client.read_to_end()
        assert (bytes(client.stream.raw) + rest, how) == (digest(data).encode(), "FIN")


def test_a_slow_reader_gets_everything_after_the_upstream_has_closed() -> None:
    data = pattern(20_000_000)

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(SWITCHED + data)
        connection.half_close()
        connection.stream.tunnel()
        connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        client.send(UPGRADE)
        assert client.read().status == 101
        until(lambda: worker.gauge("buffers_small") + worker.gauge("buffers_large"), "it to wait for the reader")
        client.half_close()
        rest, how = client.read_to_end()
        assert (digest(bytes(client.stream.raw) + rest), how) == (digest(data), "FIN")


def test_a_half_closed_tunnel_ends_with_its_other_half() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.stream.tunnel()
        connection.send(SWITCHED)
        connection.half_close()
        connection.wait_end()

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker, Client(worker.address) as client:
        client.send(UPGRADE)
        assert client.read().status == 101
        assert client.expect_end() == "FIN"
        worker.until_gauge("tunnels", 1)
        client.send(b"still heard")
        until(lambda: b"still heard" in origin.connection().received, "the open half to carry bytes")
        client.close()
        until(lambda: worker.gauge("tunnels") == 0, "the tunnel to end")


def test_a_reset_on_one_side_is_a_reset_on_the_other() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.stream.tunnel()
        connection.send(SWITCHED)
        if connection.index == 0:
            connection.tunnel(b"go")
            connection.reset()
        else:
            connection.wait_end()

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker:
        with Client(worker.address) as client:
            client.send(UPGRADE)
            assert client.read().status == 101
            client.send(b"go")
            assert client.expect_end() == "RST"
        with Client(worker.address) as client:
            client.send(UPGRADE)
            assert client.read().status == 101
            client.reset()
            assert origin.connection(1).closed.wait(10)
            assert origin.connection(1).ended == "RST"


def socket_timers(port: int) -> dict[int, str]:
    """Remote port: kind of the pending timer, of this process's sockets with that local port."""
    rows = [line.split() for line in Path(f"/proc/{os.getpid()}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2][-4:], 16): row[5][:2] for row in rows if int(row[1][-4:], 16) == port and row[3] == "01"}


def test_a_silent_tunnel_asks_its_peers_whether_they_live() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.stream.tunnel()
        connection.send(SWITCHED)
        connection.wait_end()

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker, Client(worker.address) as client:
        client.send(UPGRADE)
        assert client.read().status == 101
        here, there = (int(address.rpartition(":")[2]) for address in (worker.address, client.name))
        until(lambda: socket_timers(here).get(there) == KEEPALIVE, "keepalive towards the client")
        up = origin.connection().sock.getpeername()[1]
        origin_port = int(origin.address.rpartition(":")[2])
        until(lambda: socket_timers(up).get(origin_port) == KEEPALIVE, "keepalive towards the upstream")
