"""Back-pressure: a peer that does not read stops the other one, and the proxy's memory stays where it was."""

import contextlib
import socket
import threading
import time
from contextlib import ExitStack

from tests.support.client import Client, digest, pattern, request
from tests.support.fastmesh import Fastmesh
from tests.support.origin import OK, Connection, Gone, Origin, serve
from tests.support.wait import DEADLINE_S, until

MB = 1_000_000
# A loopback socket pair may hold this much in the kernel on each side of the proxy; the proxy itself holds far less.
KERNEL_BYTES = 16 * MB
STILL_S = 0.3


def send_until_stuck(sock: socket.socket, data: bytes, limit_bytes: int) -> int:
    """Writes until nothing moves for a while; how much was taken. More than the limit is a failure."""
    sent = 0
    sock.settimeout(STILL_S)
    while True:
        try:
            sent += sock.send(data)
        except TimeoutError:
            return sent
        assert sent < limit_bytes, f"{sent} bytes were taken although nobody reads them"


def test_an_origin_that_never_reads() -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        connection.head()
        release.wait(30)

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, ExitStack() as stack:
        before = proxy.rss_bytes()
        for _ in range(8):
            client = stack.enter_context(Client(proxy.address))
            client.send(request("POST", "/", f"Content-Length: {1000 * MB}"))
            send_until_stuck(client.sock, b"x" * 65536, KERNEL_BYTES)
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_buffers_small_in_use") <= 2 * 8
        assert metrics.sum("fastmesh_buffers_large_in_use") <= 8
        assert proxy.rss_bytes() - before < 8 * MB
        release.set()


def test_a_client_that_never_reads_a_gigabyte() -> None:
    sent: list[int] = []

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * MB))
        sent.append(send_until_stuck(connection.sock, b"y" * 65536, KERNEL_BYTES))
        connection.sock.settimeout(DEADLINE_S)
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, ExitStack() as stack:
        before = proxy.rss_bytes()
        for i in range(8):
            client = stack.enter_context(Client(proxy.address, receive_buffer_bytes=4096))
            client.send(request("GET", "/"))
            assert origin.connection(i).head_seen.wait(DEADLINE_S)
        until(lambda: len(sent) == 8, "every origin to be stopped")
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_buffers_small_in_use") <= 2 * 8
        assert metrics.sum("fastmesh_buffers_large_in_use") <= 8
        assert proxy.rss_bytes() - before < 8 * MB


def test_a_client_that_reads_late_gets_everything() -> None:
    data = pattern(20 * MB)

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
        connection.send(data)
        connection.wait_end()

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address, receive_buffer_bytes=8192) as client,
    ):
        client.send(request("GET", "/"))
        client.read_head()
        proxy.wait_metric("fastmesh_exchanges_in_flight", 1)
        assert digest(client.next_response().body) == digest(data)


def test_pipelined_requests_whose_answers_nobody_reads() -> None:
    """Thousands of small answers wait for the client: none is lost, and the proxy stops reading requests meanwhile."""
    ask = request("GET", "/", "X-Pad: " + "p" * 300)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"z" * 500
    with (
        Origin(serve(answer)) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address, receive_buffer_bytes=4096) as client,
    ):
        sent = send_until_stuck(client.sock, ask, 60 * MB)
        assert proxy.counts().sum("fastmesh_buffers_small_in_use") <= 4
        client.sock.settimeout(DEADLINE_S)
        left = -sent % len(ask)  # of the last request, which may be sent half
        sender = threading.Thread(target=client.send, args=(ask[len(ask) - left :],))
        sender.start()
        for _ in range(-(-sent // len(ask))):
            assert client.read().body == b"z" * 500
        sender.join(DEADLINE_S)
        assert client.get("/").status == 200


def test_interim_responses_nobody_reads_are_bounded() -> None:
    """An origin may send 1xx without end (RFC 9110 15.2): a client that does not read must not cost memory for them."""
    taken: list[int] = []

    def script(connection: Connection) -> None:
        connection.request()
        try:
            taken.append(
                send_until_stuck(connection.sock, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", KERNEL_BYTES)
            )
            connection.wait_end()
        except Gone:
            return

    with (
        Origin(script) as origin,
        Fastmesh(upstream=origin.address) as proxy,
        Client(proxy.address, receive_buffer_bytes=4096) as client,
    ):
        before = proxy.rss_bytes()
        client.send(request("GET", "/"))
        until(lambda: taken or (origin.connections and origin.connection().closed.is_set()), "the origin to be stopped")
        assert proxy.rss_bytes() - before < 2 * MB


def test_a_million_one_byte_chunks() -> None:
    """Chunks cost the proxy nothing but their bytes, and come out in whatever chunks but the same body."""
    count = 300_000

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(count // 10_000):
            connection.send(b"1\r\nx\r\n" * 10_000)
        connection.send(b"0\r\n\r\n")
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy, Client(proxy.address) as client:
        before = proxy.rss_bytes()
        assert client.get("/").body == b"x" * count
        assert proxy.rss_bytes() - before < 4 * MB


def test_one_greedy_stream_leaves_room_for_others() -> None:
    """While one client pulls as fast as it can, small requests on other connections are answered promptly."""
    stop = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            if connection.request().target != "/endless":
                connection.send(OK)
                continue
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
            block = b"y" * (1 << 20)
            while not stop.is_set():
                connection.send(block)
            return

    def pull(client: Client) -> None:
        with contextlib.suppress(ConnectionResetError):  # how a response that was cut ends
            while client.sock.recv(1 << 18):
                pass

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as greedy, Client(proxy.address) as small:
            greedy.send(request("GET", "/endless"))
            reader = threading.Thread(target=pull, args=(greedy,))
            reader.start()
            slowest = 0.0
            for _ in range(100):
                begun = time.monotonic()
                assert small.get("/").status == 200
                slowest = max(slowest, time.monotonic() - begun)
            stop.set()
            reader.join(DEADLINE_S)
        assert slowest < 1.0, slowest  # the test's own threads share two cores with it


def test_idle_connections_hold_no_buffer() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address) as proxy, ExitStack() as stack:
        for _ in range(100):
            assert stack.enter_context(Client(proxy.address)).get("/").status == 200
        proxy.wait_metric("fastmesh_buffers_small_in_use", 0)
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_open_connections") == 100
        assert metrics.sum("fastmesh_buffers_large_in_use") == 0


def test_memory_is_back_after_a_storm() -> None:
    """Two rounds of 200 connections with bodies: the second needs no more memory than the first."""
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address) as proxy:

        def storm() -> int:
            with ExitStack() as stack:
                clients = [stack.enter_context(Client(proxy.address)) for _ in range(200)]
                for client in clients:
                    client.send(request("POST", "/", body=b"x" * 20_000))
                for client in clients:
                    assert client.read("POST").status == 200
            proxy.settle()
            return proxy.rss_bytes()

        first = storm()
        assert storm() - first < 2 * MB
