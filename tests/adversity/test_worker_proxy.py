"""The PROXY protocol: accepted before anything else and nothing without it, sent before anything else."""

import itertools
import select
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import grpc, net
from tests.support.client import Client, Ended, request
from tests.support.hello import of_python
from tests.support.http2 import RawClient
from tests.support.origin import OK, Connection, Gone, Origin
from tests.support.proxy_protocol import LOCAL, SIGNATURE, UNKNOWN, Path, take
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, LiveWorker, Plan

HTTP, DETECT, OPAQUE, TLS = range(4)
FAR = Path("203.0.113.7", 4711, "198.51.100.9", 443)
FAR_V6 = Path("2001:db8::7", 4711, "2001:db8::9", 443)
PORTS = st.integers(0, 65535)
PATHS = st.one_of(
    st.builds(Path, *(2 * (st.ip_addresses(v=4).map(str), PORTS))),
    st.builds(Path, *(2 * (st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None).map(str), PORTS))),
)
VERSIONS = st.sampled_from((1, 2))


def answer(connection: Connection) -> None:
    """200 with the client's address, as X-Forwarded-For names it."""
    while True:
        wanted = connection.request()
        text = b",".join(value for name, value in wanted.fields if name.lower() == b"x-forwarded-for")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


class Announced:
    """What came on one connection, behind the header it began with."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(DEADLINE_S)
        data = b""
        found = None
        while found is None:
            more = sock.recv(1 << 16)
            assert more, data
            data += more
            found = take(data)
        self.version, self.path, self.rest = found

    def read(self, n: int) -> bytes:
        while len(self.rest) < n:
            more = self.sock.recv(1 << 16)
            assert more
            self.rest += more
        return self.rest[:n]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with net.listen() as sock:
        sock.settimeout(DEADLINE_S)
        yield sock


def announced(listener: socket.socket) -> Announced:
    sock, _ = listener.accept()
    return Announced(sock)


def in_pieces(client: Client, data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        client.send(data[start:end])


def path_of(client: Client, worker: LiveWorker) -> Path:
    """The connection as it is."""
    (source, source_port), (destination, destination_port) = client.sock.getsockname(), client.sock.getpeername()
    return Path(source, source_port, destination, destination_port)


# Accepted


@settings(max_examples=30, deadline=None)
@given(
    path=PATHS,
    version=VERSIONS,
    cuts=st.lists(st.integers(0, 4000), max_size=4),
    protocol=st.sampled_from((HTTP, DETECT)),
)
def test_the_announced_address_stands_for_the_clients(path: Path, version: int, cuts: list[int], protocol: int) -> None:
    plan = {"protocol": protocol, "proxy_protocol": True}
    with Origin(answer) as origin, LiveWorker(Plan([origin.address], policy={"forwarded": 1}, listener=plan)) as worker:
        with Client(worker.address) as client:
            in_pieces(client, path.write(version) + request("GET", "/") + request("GET", "/again"), cuts)
            assert [client.read().body, client.read().body] == 2 * [path.source.encode()]
        assert worker.counter("proxy_headers") == 1


@settings(max_examples=30, deadline=None)
@given(
    path=PATHS, version=VERSIONS, sent=VERSIONS, cuts=st.lists(st.integers(0, 4000), max_size=4),
    protocol=st.sampled_from((DETECT, OPAQUE)), data=st.binary(min_size=1, max_size=3000),
)  # fmt: skip
def test_what_was_announced_is_announced_on(
    path: Path, version: int, sent: int, cuts: list[int], protocol: int, data: bytes
) -> None:
    listening = {"protocol": protocol, "proxy_protocol": True}
    data = b"*" + data  # what no request begins with
    with net.listen() as listener:
        listener.settimeout(DEADLINE_S)
        plan = Plan([net.text(listener)], backend={"send_proxy_protocol": sent}, listener=listening)
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            in_pieces(client, path.write(version) + data, cuts)
            server = announced(listener)
            assert (server.version, server.path) == (sent, path)
            assert server.read(len(data)) == data
            server.sock.close()
            client.sock.close()


def test_http2_and_tls_come_behind_a_header_as_without() -> None:
    with Origin(answer) as origin:
        plan = Plan(
            [origin.address], policy={"forwarded": 1}, backend={"protocol": 1}, listener={"proxy_protocol": True}
        )
        with LiveWorker(plan) as worker:
            for path in (FAR, FAR_V6):
                with RawClient(worker.address, handshake=False) as client:
                    client.sock.sendall(path.v2(b"\x04\0\3abc"))
                    client.send_preface()
                    assert bytes(client.get("/").body) == path.source.encode()
    hello = of_python("a.example")
    with net.listen() as listener:
        listener.settimeout(DEADLINE_S)
        plan = Plan([net.text(listener)], listener={"protocol": TLS, "proxy_protocol": True})
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            client.send(FAR.v1() + hello)
            server, _ = listener.accept()
            server.settimeout(DEADLINE_S)
            assert server.recv(len(hello), socket.MSG_WAITALL) == hello
            server.close()


@pytest.mark.parametrize("header", [UNKNOWN, LOCAL, SIGNATURE + b"\x21\x12\0\x0c" + bytes(12)])
def test_what_names_no_client_leaves_the_connections_own_address(listener: socket.socket, header: bytes) -> None:
    listening = {"protocol": OPAQUE, "proxy_protocol": True}
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": 2}, listener=listening)
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        client.send(header)
        server = announced(listener)
        assert server.path == path_of(client, worker)
        server.sock.close()


def test_an_announced_mapped_address_is_an_ipv4_address() -> None:
    mapped = Path("::ffff:203.0.113.7", 1, "::ffff:203.0.113.9", 2)
    with Origin(answer) as origin:
        plan = Plan([origin.address], policy={"forwarded": 1}, listener={"proxy_protocol": True})
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            assert client.ask(mapped.v2() + request("GET", "/")).body == b"203.0.113.7"


@pytest.mark.parametrize("protocol", [HTTP, DETECT, OPAQUE, TLS])
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2" + b" " * 100,
        SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x21\x11\0\x04" + bytes(4),
    ],
)
def test_what_comes_without_a_lawful_header_is_closed_and_counted(protocol: int, data: bytes) -> None:
    def fail(connection: Connection) -> None:
        raise AssertionError("it was passed on")

    with Origin(fail) as origin:
        plan = Plan([origin.address], listener={"protocol": protocol, "proxy_protocol": True})
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            client.send(data)
            assert client.read_to_end() == (b"", "RST")
            worker.expect_faults(bad_proxy_header=1)
            assert worker.counter("connects") == 0


def test_an_incomplete_header_ends_with_its_connection_or_its_time(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], listener={"protocol": OPAQUE, "proxy_protocol": True})
    with LiveWorker(plan) as worker:
        with Client(worker.address) as client:
            client.send(FAR.v1()[:-1])
            client.half_close()
            assert client.read_to_end()[0] == b""
        worker.expect_faults(bad_proxy_header=1)
        Client(worker.address).sock.close()  # a port that is looked at
        until(lambda: worker.counter("closed") == 2, "it to be gone")
        worker.publish(plan.but(policy={"header_timeout_ns": 50 * MS}))
        for beginning in (b"", FAR.v2()[:20]):
            with Client(worker.address) as client:
                client.send(beginning)
                assert client.read_to_end() == (b"", "RST")
        worker.expect_faults(bad_proxy_header=1, header_timeout=2)
        assert worker.counter("connects") == 0


def test_a_client_that_is_silent_behind_its_header_is_not_closed() -> None:
    def greet(connection: Connection) -> None:
        connection.send(b"220 ready\r\n")
        connection.wait_end()

    with Origin(greet) as origin:
        plan = Plan(
            [origin.address],
            policy={"header_timeout_ns": 100 * MS},
            listener={"protocol": DETECT, "proxy_protocol": True},
        )
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            client.send(FAR.v1())
            assert client.read_until(b"\r\n") == b"220 ready\r\n"
            assert not select.select([client.sock], [], [], 0.2)[0]


# Sent


@pytest.mark.parametrize("version", [1, 2])
def test_each_request_has_a_connection_that_is_its_clients(listener: socket.socket, version: int) -> None:
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": version})
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        for _ in range(2):
            client.send(request("GET", "/"))
            server = announced(listener)
            assert (server.version, server.path) == (version, path_of(client, worker))
            assert server.read(4) == b"GET "
            server.sock.sendall(OK)
            assert client.read().status == 200
            assert server.sock.recv(1) == b""
            server.sock.close()


def test_a_server_that_breaks_off_has_not_cancelled_the_call(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": 1})
    with LiveWorker(plan) as worker, RawClient(worker.address) as client:
        number = grpc.call(client)
        server = announced(listener)
        assert server.read(5) == b"POST "
        net.reset(server.sock)
        assert grpc.status_of(client.wait_ended(number)) == grpc.UNAVAILABLE
        worker.expect_faults(upstream_reset=1)


def test_requests_of_http2_go_over_http1_each_on_its_own(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": 2})
    with LiveWorker(plan) as worker, RawClient(worker.address) as client:
        numbers = [client.request() for _ in range(2)]
        for _ in numbers:
            server = announced(listener)
            assert server.path is not None
            assert server.path.source_port == client.sock.getsockname()[1]
            assert server.read(4) == b"GET "
            server.sock.sendall(OK)
            server.sock.close()
        assert [client.wait_ended(number).status for number in numbers] == [200, 200]


def test_a_server_that_speaks_first_has_the_header_before(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": 1}, listener={"protocol": DETECT})
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        server = announced(listener)
        assert server.path == path_of(client, worker)
        server.sock.sendall(b"220 ready\r\n")
        assert client.read_until(b"\r\n") == b"220 ready\r\n"
        client.send(b"QUIT\r\n")
        assert server.read(6) == b"QUIT\r\n"
        server.sock.close()


def test_what_was_dialled_early_is_not_given_to_another_client(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": 1}, listener={"protocol": DETECT})
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        early = announced(listener)
        client.send(request("GET", "/"))
        server = announced(listener)
        assert server.path == early.path == path_of(client, worker)
        assert early.sock.recv(1) == b""
        assert server.read(4) == b"GET "
        server.sock.sendall(OK)
        assert client.read().status == 200
        for each in (early, server):
            each.sock.close()


def test_a_reload_that_ends_it_pools_no_connection_of_one_client(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], backend={"send_proxy_protocol": 2})
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        client.send(request("GET", "/"))
        server = announced(listener)
        server.read(4)
        worker.publish(plan.but(backend={}))
        until(lambda: worker.gauge("snapshot_version") == 2, "the snapshot to be adopted")
        server.sock.sendall(OK)
        assert client.read().status == 200
        assert server.sock.recv(1) == b""
        server.sock.close()


def test_a_client_on_ipv6_is_announced_as_such() -> None:
    with net.listen("[::1]:0") as listener:
        listener.settimeout(DEADLINE_S)
        plan = Plan(
            [net.text(listener)],
            backend={"send_proxy_protocol": 1},
            listener={"protocol": OPAQUE, "proxy_protocol": True},
        )
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            client.send(Path("::ffff:1.2.3.4", 1, "2001:db8::1", 2).v2())
            server = announced(listener)
            assert server.path == Path("::ffff:1.2.3.4", 1, "2001:db8::1", 2)
            server.sock.close()


@pytest.mark.parametrize("ends", [lambda sock: sock.close(), net.reset])
def test_a_client_that_is_gone_before_its_header_leaves_nothing(ends: Callable[[socket.socket], None]) -> None:
    def fail(connection: Connection) -> None:
        raise Gone("nobody is to come")

    with Origin(fail) as origin:
        plan = Plan([origin.address], listener={"protocol": DETECT, "proxy_protocol": True})
        with LiveWorker(plan) as worker:
            sock = net.dial(worker.address)
            sock.sendall(FAR.v1()[:10])
            until(lambda: worker.gauge("buffers_small") == 1, "the beginning to be read")
            ends(sock)
            until(lambda: worker.counter("closed") == 1, "it to be gone")


def test_a_drain_waits_for_what_a_fresh_connection_says() -> None:
    with Origin(answer) as origin:
        plan = Plan([origin.address], policy={"forwarded": 1}, listener={"proxy_protocol": True})
        with LiveWorker(plan) as worker, Client(worker.address) as client:
            until(lambda: worker.counter("accepted") == 1, "the connection to be accepted")
            worker.drain()
            try:
                assert client.ask(FAR.v1() + request("GET", "/")).body == FAR.source.encode()
            except Ended as error:
                raise AssertionError("it was closed before it could speak") from error
