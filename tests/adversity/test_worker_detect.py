"""What a client speaks is found out without anybody waiting: whoever speaks first decides."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.client import Client, request
from tests.support.hello import of_python
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.pressure import is_silent
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, LiveWorker, Plan

DETECT = {"protocol": 1}
TLS = {"protocol": 3}
GREETING = b"220 mail.example ESMTP\r\n"
GET = request("GET", "/x")
IMPATIENT = {"header_timeout_ns": 30 * MS, "detect_timeout_ns": 30 * MS}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with net.listen() as sock:
        sock.settimeout(DEADLINE_S)
        yield sock


def accepted(listener: socket.socket) -> socket.socket:
    sock, _ = listener.accept()
    sock.settimeout(DEADLINE_S)
    return sock


def greet(connection: Connection) -> None:
    connection.send(GREETING)
    connection.wait_end()


def detect(upstream: str, **policy: int) -> Plan:
    return Plan([upstream], policy=policy, listener=DETECT)


def test_a_server_that_speaks_first_is_heard_at_once() -> None:
    with Origin(greet) as origin, LiveWorker(detect(origin.address)) as worker:
        with Client(worker.address) as client:
            assert client.read_until(b"\r\n") == GREETING
            client.send(b"EHLO client.example\r\n")
            until(lambda: origin.connection().received == b"EHLO client.example\r\n", "the client to be heard")
        assert worker.counter("detected_server_first") == 1


def test_a_server_of_http2_may_speak_first(listener: socket.socket) -> None:
    settings = bytes.fromhex("000000040000000000")
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        with accepted(listener) as early:
            early.sendall(settings)
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
            assert client.read_until(b"\x00\x00\x00\x00").endswith(b"\x04\x00\x00\x00\x00")  # SETTINGS of our own
            assert early.recv(1) == b""
        assert worker.counter("detected_http2") == 1
        assert worker.counter("detected_server_first") == 0


def test_what_only_looked_like_a_server_of_http2_is_relayed(listener: socket.socket) -> None:
    begun = bytes.fromhex("000000040000000000")
    with (
        LiveWorker(detect(net.text(listener), detect_timeout_ns=50 * MS)) as worker,
        Client(worker.address) as client,
        accepted(listener) as server,
    ):
        server.sendall(begun)
        assert client.read_until(begun) == begun


def test_a_server_may_speak_into_the_middle_of_the_clients_first_bytes(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        client.send(b"GE")
        with accepted(listener) as server:
            server.sendall(b"hello")
            assert client.read_until(b"hello") == b"hello"
            assert server.recv(10) == b"GE"


@pytest.mark.parametrize("cut", range(1, 16))
def test_http_is_found_however_its_first_bytes_are_cut(cut: int) -> None:
    with Origin(serve()) as origin, LiveWorker(detect(origin.address)) as worker:
        with Client(worker.address) as client:
            client.send(GET[:cut])
            until(lambda: worker.gauge("downstream_connections") == 1, "the first bytes to have come")
            until(lambda: worker.counter("early_dials") or worker.counter("detected_http1"), "them to be looked at")
            client.send(GET[cut:])
            assert client.read().status == 200
            assert client.get().status == 200
        assert worker.counter("detected_http1") == 1
        until(lambda: worker.report().codes == {200: 2}, "both to be counted")


def test_what_was_dialled_early_carries_the_request(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        with accepted(listener) as server:
            until(lambda: worker.report().endpoints[0]["connects"] == 1, "the early connection")
            client.send(GET)
            assert server.recv(4096).startswith(b"GET /x HTTP/1.1\r\n")
            server.sendall(OK)
            assert client.read().status == 200
        assert (worker.counter("connects"), worker.counter("reuses")) == (1, 1)


def test_nobody_is_dialled_for_a_client_that_is_known_to_speak_first() -> None:
    with Origin(serve()) as origin, LiveWorker(detect(origin.address)) as worker:
        for _ in range(20):
            with Client(worker.address) as client:
                assert client.get().status == 200
        assert worker.counter("detected_http1") == 20
        assert worker.counter("connects") < 10


def test_what_is_remembered_keeps_no_silent_client_from_its_server(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker:
        with Client(worker.address) as client, accepted(listener) as server:
            client.send(GET)
            assert server.recv(4096).startswith(b"GET /x")
            server.sendall(OK)
            assert client.read().status == 200
        with Client(worker.address) as client, accepted(listener) as server:
            server.sendall(GREETING)
            assert client.read_until(b"\r\n") == GREETING


def test_http2_is_found_byte_by_byte() -> None:
    with Origin(serve()) as origin, LiveWorker(detect(origin.address)) as worker:
        with contextlib.closing(net.dial(worker.address)) as sock:
            for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
                sock.sendall(bytes([byte]))
            sock.sendall(bytes(3) + b"\x04" + bytes(5))
            assert sock.recv(9)[3] == 4  # SETTINGS
        assert worker.counter("detected_http2") == 1


@pytest.mark.parametrize("first", [b"\x00\x01\x02", b"*1\r\n$4\r\nPING\r\n", b"GET key\r\n", b"hello\n"])
def test_anything_else_is_relayed(listener: socket.socket, first: bytes) -> None:
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        client.send(first)
        with accepted(listener) as server:
            assert server.recv(100) == first
            server.sendall(b"answer")
            assert client.read_until(b"answer") == b"answer"
        assert worker.counter("detected_opaque") == 1


def test_first_bytes_that_say_nothing_wait_for_a_moment_only(listener: socket.socket) -> None:
    plan = detect(net.text(listener), detect_timeout_ns=30 * MS)
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        client.send(b"ABC")
        with accepted(listener) as server:
            assert server.recv(3) == b"ABC"
        assert worker.counter("detect_timeouts") == 1


def test_a_silent_client_is_not_closed(listener: socket.socket) -> None:
    with (
        LiveWorker(detect(net.text(listener), **IMPATIENT)) as worker,
        Client(worker.address) as client,
        accepted(listener) as server,
        Client(worker.address) as other,
    ):
        other.send(b"ABC")  # its time passes while the first one is silent
        with accepted(listener) as second:
            assert second.recv(3) == b"ABC"
        assert is_silent(client.sock)
        assert is_silent(server)
        client.send(b"\x00late")
        assert server.recv(10) == b"\x00late"


def test_a_client_that_ends_without_a_byte_still_hears_its_server(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        client.half_close()
        with accepted(listener) as server:
            assert server.recv(1) == b""
            server.sendall(b"the time is now")
        assert client.read_to_end() == (b"the time is now", "FIN")


def test_a_server_that_closes_a_silent_connection_is_heard(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        accepted(listener).close()
        assert client.expect_end() == "FIN"


@pytest.mark.parametrize("whole", [True, False])
def test_a_hello_goes_through_as_it_came(listener: socket.socket, whole: bool) -> None:
    hello = of_python("a.example", ["h2"])
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client:
        for piece in [hello] if whole else [hello[i : i + 7] for i in range(0, len(hello), 7)]:
            client.send(piece)
        with accepted(listener) as server:
            got = b""
            while len(got) < len(hello):
                got += server.recv(4096)
            assert got == hello
            server.sendall(b"answer")
            assert client.read_until(b"answer") == b"answer"
        assert worker.counter("detected_tls") == 1


def test_what_was_dialled_for_a_request_that_took_another_is_kept_for_the_next() -> None:
    with Origin(serve()) as origin, LiveWorker(detect(origin.address)) as worker:
        for _ in range(3):
            with Client(worker.address) as client:
                assert client.get().status == 200
        worker.settle()
        assert worker.gauge("upstream_connections") == worker.gauge("upstream_idle") == worker.counter("connects")


def test_a_listener_for_tls_takes_nothing_else(listener: socket.socket) -> None:
    hello = of_python("a.example")
    with LiveWorker(Plan([net.text(listener)], listener=TLS)) as worker:
        with Client(worker.address) as client:
            client.send(GET)
            assert client.expect_end() == "RST"
        with Client(worker.address) as client:
            client.send(hello)
            with accepted(listener) as server:
                assert server.recv(4096) == hello
        worker.expect_faults(no_route=1)


def test_a_hello_that_does_not_come_to_its_end_is_given_up(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener), **IMPATIENT)) as worker, Client(worker.address) as client:
        client.send(of_python("a.example")[:50])
        assert client.expect_end() == "RST"
        worker.expect_faults(header_timeout=1)


def test_http_hears_why_when_no_server_is_there() -> None:
    address = f"127.0.0.1:{net.free_port()}"
    with LiveWorker(detect(address)) as worker, Client(worker.address) as client:
        until(lambda: worker.counter("connect_failures"), "the early connection to fail")
        assert client.get().status == 503


def test_a_silent_client_sees_that_no_server_is_there() -> None:
    address = f"127.0.0.1:{net.free_port()}"
    with LiveWorker(detect(address, **IMPATIENT)) as worker, Client(worker.address) as client:
        assert client.expect_end() == "RST"
        worker.expect_faults(no_endpoint=1)


def test_a_client_that_resets_undecided_leaves_nothing(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker:
        client = net.dial(worker.address)
        with accepted(listener) as server:
            net.reset(client)
            with pytest.raises(ConnectionResetError):
                server.recv(1)


def test_a_drain_ends_connections_that_are_silent_still(listener: socket.socket) -> None:
    with LiveWorker(detect(net.text(listener))) as worker, Client(worker.address) as client, accepted(listener):
        worker.drain()
        assert client.expect_end() == "FIN"


def test_a_stop_ends_what_is_undecided(listener: socket.socket) -> None:
    worker = LiveWorker(detect(net.text(listener)))
    with Client(worker.address), accepted(listener):
        until(lambda: worker.counter("early_dials") == 1, "the connection to be looked at")
        worker.core.stop()
        worker.join()
    worker.check_account()
