"""A connection relayed as it is: every byte, FIN as FIN, RST as RST, and nothing of ours in between."""

import contextlib
import itertools
import os
import pathlib
import resource
import select
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core import bridge
from fastmesh._core.spec import LogTemplateSpec
from tests.support import net
from tests.support.client import Client, digest, pattern
from tests.support.origin import Connection, Origin
from tests.support.pressure import is_silent, stuff
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, LiveWorker, Plan, log_ring

OPAQUE = {"protocol": 2}
BUFFER_BYTES = 16 << 10
LARGE_BYTES = 256 << 10


class Pair:
    """Both ends of a relayed connection."""

    def __init__(self, address: str, listener: socket.socket) -> None:
        self.client = net.dial(address)
        self.server, _ = listener.accept()
        self.server.settimeout(DEADLINE_S)

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with net.listen(backlog=2048) as sock:
        sock.settimeout(DEADLINE_S)
        yield sock


# By copying, and through splice(2).
BOTH_WAYS = pytest.mark.parametrize("splice", [0, 1])


def pipes(worker: LiveWorker) -> int:
    """That the worker has open: of its descriptors, those that are neither connections nor its listener."""
    balance, gauges = worker.core.balance(), worker.report().gauges
    return (balance["fds_opened"] - balance["fds_closed"] - gauges["conn_slab"]) // 2


def exactly(sock: socket.socket, n: int) -> bytes:
    got = bytearray()
    while len(got) < n:
        data = sock.recv(n - len(got))
        assert data, f"it ended after {len(got)} of {n} bytes"
        got += data
    return bytes(got)


def to_end(sock: socket.socket) -> tuple[bytes, str]:
    got = bytearray()
    try:
        while data := sock.recv(1 << 18):
            got += data
    except ConnectionResetError:
        return bytes(got), "RST"
    return bytes(got), "FIN"


# What each side does, in its own order; together in every order there is, and each end by FIN or by RST.
ORDERS = [
    order for order in itertools.permutations(("client sends", "client ends", "server sends", "server ends"))
    if all(order.index(f"{who} sends") < order.index(f"{who} ends") for who in ("client", "server"))
]  # fmt: skip
STORIES = list(itertools.product(ORDERS, ("FIN", "RST"), ("FIN", "RST")))


class Story:
    """One connection, what becomes of it step by step, and what is to be said of it in the end."""

    def __init__(self, pair: Pair, index: int) -> None:
        self.pair = pair
        self.order, *hows = STORIES[index % len(STORIES)]
        self.hows = dict(zip(("client", "server"), hows, strict=True))
        self.text = b"%d" % index
        self.port = pair.client.getsockname()[1]
        self.moved = {"client": 0, "server": 0}
        self.over = ""  # who has reset it

    def sides(self, who: str) -> tuple[socket.socket, socket.socket]:
        """Its socket and the other's."""
        pair = self.pair
        return (pair.client, pair.server) if who == "client" else (pair.server, pair.client)

    def act(self, step: int) -> None:
        """A reset connection has no further steps."""
        who, what = self.order[step].split()
        own, _ = self.sides(who)
        if self.over:
            return
        if what == "sends":
            own.sendall(self.text)
        elif self.hows[who] == "FIN":
            own.shutdown(socket.SHUT_WR)
        else:
            net.reset(own)

    def see(self, step: int) -> None:
        """The other side has it before anything else happens."""
        who, what = self.order[step].split()
        _, other = self.sides(who)
        if self.over:
            return
        if what == "sends":
            assert exactly(other, len(self.text)) == self.text
            self.moved[who] += len(self.text)
            return
        assert to_end(other) == (b"", self.hows[who])
        if self.hows[who] == "RST":
            self.over = who

    @property
    def line(self) -> str:
        """Of the access log: bytes each way, and why it ended."""
        reason = {"": "-", "client": "client_closed", "server": "upstream_reset"}[self.over]
        return f"{self.port} {self.moved['client']} {self.moved['server']} {reason}"


@contextlib.contextmanager
def logged(*names: str) -> Iterator[tuple[bridge.LogRing, pathlib.Path]]:
    """A log of these fields, and the file that it is written to."""
    fields = [part for name in names for part in ((bridge.LOG_FIELDS[name], b""), (0, b" "))][:-1]
    ring = bridge.LogRing(1, 1 << 18, LogTemplateSpec(tuple(fields), 0))
    with tempfile.NamedTemporaryFile() as file:
        flusher = threading.Thread(target=ring.run, args=(file.fileno(),), daemon=True)
        flusher.start()
        yield ring, pathlib.Path(file.name)
        ring.stop()
        flusher.join(DEADLINE_S)


def test_a_thousand_connections_ended_in_every_order_lose_no_byte(listener: socket.socket) -> None:
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5 * count:
        pytest.skip(f"this needs {5 * count} descriptors and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5 * count), hard))
    sizes = {"connections": 4096, "exchanges": 2048, "buffers": 2048, "log_ring_bytes": 1 << 18}
    plan = Plan([net.text(listener)], policy={"access_log": 1}, listener=OPAQUE, sizes=sizes)
    begun_s = time.monotonic()
    with logged("client_port", "request_bytes", "response_bytes", "fault", "duration_us") as (ring, file):
        with LiveWorker(plan, log=ring) as worker:
            stories = [Story(Pair(worker.address, listener), index) for index in range(count)]
            for step in range(4):
                for story in stories:
                    story.act(step)
                for story in stories:
                    story.see(step)
            for story in stories:
                story.pair.close()
            until(lambda: ring.lines() == count, "every line of the log")
            assert worker.counter("tcp_connections") == count
            assert worker.counter("tcp_bytes_in") == sum(story.moved["client"] for story in stories)
            assert worker.counter("tcp_bytes_out") == sum(story.moved["server"] for story in stories)
            reasons = Counter(story.over for story in stories)
            worker.expect_faults(client_closed=reasons["client"], upstream_reset=reasons["server"])
        until(lambda: file.read_bytes().count(b"\n") == count, "the log to be written")
        lines = [line.rsplit(" ", 1) for line in file.read_text().splitlines()]
        assert sorted(line for line, _ in lines) == sorted(story.line for story in stories)
        assert all(0 < int(duration_us) < (time.monotonic() - begun_s) * 1e6 for _, duration_us in lines)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@settings(max_examples=25, deadline=None)
@given(there=st.lists(st.integers(1, 100_000), max_size=6), back=st.lists(st.integers(1, 100_000), max_size=6))
def test_what_arrives_is_what_was_sent_however_it_was_cut(there: list[int], back: list[int]) -> None:
    def script(connection: Connection) -> None:
        for n in back:
            connection.send(pattern(n))
        assert connection.wait_end() == "FIN"

    with Origin(script) as origin, LiveWorker(Plan([origin.address], listener=OPAQUE)) as worker:
        with Client(worker.address) as client:
            for n in there:
                client.send(pattern(n))
            client.half_close()
            data, how = client.read_to_end()
        assert origin.connection().closed.wait(DEADLINE_S)
    assert (data, how) == (b"".join(map(pattern, back)), "FIN")
    assert origin.connection().received == b"".join(map(pattern, there))


@pytest.mark.parametrize("resets", ["client", "server"])
def test_a_reset_goes_through(listener: socket.socket, resets: str) -> None:
    with LiveWorker(Plan([net.text(listener)], listener=OPAQUE)) as worker:
        pair = Pair(worker.address, listener)
        one, other = (pair.client, pair.server) if resets == "client" else (pair.server, pair.client)
        one.sendall(b"before")
        assert other.recv(6) == b"before"
        net.reset(one)
        assert to_end(other) == (b"", "RST")
        pair.close()


@BOTH_WAYS
@pytest.mark.parametrize("resets", ["client", "server"])
def test_a_reset_goes_through_while_the_other_side_does_not_read(
    listener: socket.socket, resets: str, splice: int
) -> None:
    with LiveWorker(Plan([net.text(listener)], policy={"splice": splice}, listener=OPAQUE)) as worker:
        pair = Pair(worker.address, listener)
        one, other = (pair.client, pair.server) if resets == "client" else (pair.server, pair.client)
        one.setblocking(False)
        until(lambda: stuff([one], b"x" * 65536) == 0, "every buffer on the way to be full")
        net.reset(one)
        until(lambda: worker.gauge("tcp_connections") == 0, "the connection to end")
        assert to_end(other)[1] == "RST"
        pair.close()


@BOTH_WAYS
def test_a_side_that_does_not_read_stops_the_other(listener: socket.socket, splice: int) -> None:
    with LiveWorker(Plan([net.text(listener)], policy={"splice": splice}, listener=OPAQUE)) as worker:
        pair = Pair(worker.address, listener)
        pair.server.setblocking(False)

        def held() -> int:
            return worker.gauge("buffers_small") * BUFFER_BYTES + worker.gauge("buffers_large") * LARGE_BYTES

        def stopped() -> bool:
            # A server that is slow enough is stopped before its stream was found long.
            return stuff([pair.server], b"x" * 65536) == 0 and (held() > 0 or pipes(worker) == splice == 1)

        until(stopped, "the server to be stopped")
        sent = worker.counter("tcp_bytes_out")
        assert held() <= (0 if pipes(worker) else LARGE_BYTES + BUFFER_BYTES)
        pair.client.sendall(b"the other way is open")
        assert select.select([pair.server], [], [], DEADLINE_S)[0]
        assert pair.server.recv(100) == b"the other way is open"
        pair.server.shutdown(socket.SHUT_WR)
        data, how = to_end(pair.client)
        assert (set(data), how) == (set(b"x"), "FIN")
        assert len(data) == worker.counter("tcp_bytes_out") > sent
        pair.close()


@BOTH_WAYS
def test_long_streams_both_ways_at_once_arrive_whole(splice: int) -> None:
    data = pattern(20_000_000)

    def script(connection: Connection) -> None:
        connection.send(data)
        connection.half_close()
        connection.wait_end()

    plan = {"policy": {"splice": splice}, "listener": OPAQUE}
    with Origin(script) as origin, LiveWorker(Plan([origin.address], **plan)) as worker:
        with Client(worker.address) as client:
            got = bytearray()
            client.sock.setblocking(False)
            left = memoryview(data)
            while left:
                readable, writable, _ = select.select([client.sock], [client.sock], [], DEADLINE_S)
                assert readable or writable
                if readable:
                    got += client.sock.recv(1 << 18)
                if writable:
                    left = left[client.sock.send(left[: 1 << 16]) :]
            client.sock.settimeout(DEADLINE_S)
            client.half_close()
            rest, how = client.read_to_end()
        assert origin.connection().closed.wait(DEADLINE_S)
        assert (digest(bytes(got) + rest), how) == (digest(data), "FIN")
        assert digest(bytes(origin.connection().received)) == digest(data)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 100) | st.integers(100_000, 3_000_000), min_size=1, max_size=5))
def test_a_stream_that_is_long_at_times_arrives_whole(sizes: list[int]) -> None:
    with net.listen() as listener:
        listener.settimeout(DEADLINE_S)
        with LiveWorker(Plan([net.text(listener)], policy={"splice": 1}, listener=OPAQUE)) as worker:
            pair = Pair(worker.address, listener)
            for size in sizes:
                data = pattern(size)
                sender = threading.Thread(target=pair.server.sendall, args=(data,))
                sender.start()
                assert exactly(pair.client, size) == data
                sender.join(DEADLINE_S)
                pair.client.sendall(b"next")
                assert pair.server.recv(4) == b"next"
            assert worker.counter("tcp_bytes_out") == sum(sizes)
            pair.close()


def test_more_long_streams_than_pipes_arrive_whole(listener: socket.socket) -> None:
    count, data = 40, pattern(2_000_000)
    with LiveWorker(Plan([net.text(listener)], policy={"splice": 1}, listener=OPAQUE)) as worker:
        pairs = [Pair(worker.address, listener) for _ in range(count)]
        senders = [threading.Thread(target=pair.server.sendall, args=(data,)) for pair in pairs]
        for sender in senders:
            sender.start()
        for pair in pairs:
            assert exactly(pair.client, len(data)) == data
        for sender in senders:
            sender.join(DEADLINE_S)
        assert worker.core.balance()["fds_opened"] > 2 * count + 1
        until(lambda: pipes(worker) == 0, "streams at rest to have no pipe")
        for pair in pairs:
            pair.close()


def test_a_server_that_is_not_there_is_a_reset() -> None:
    address = f"127.0.0.1:{net.free_port()}"
    with LiveWorker(Plan([address], listener=OPAQUE)) as worker:
        with pytest.raises(ConnectionResetError), net.dial(worker.address) as client:
            assert client.recv(1)
        worker.expect_faults(no_endpoint=1)


def test_a_server_that_resets_at_once_was_reached(listener: socket.socket) -> None:
    with LiveWorker(Plan([net.text(listener)], listener=OPAQUE)) as worker:
        # While the worker is busy with long streams it hears of a connect and of the reset behind it together.
        long = [Pair(worker.address, listener) for _ in range(4)]
        senders = [threading.Thread(target=pair.server.sendall, args=(bytes(20_000_000),)) for pair in long]
        takers = [threading.Thread(target=exactly, args=(pair.client, 20_000_000)) for pair in long]
        for thread in senders + takers:
            thread.start()
        resets = 0
        while any(thread.is_alive() for thread in takers):
            client = net.dial(worker.address)
            net.reset(listener.accept()[0])
            resets += 1
            assert to_end(client) == (b"", "RST")
            client.close()
        for pair, thread in zip(long + long, senders + takers, strict=True):
            thread.join(DEADLINE_S)
            pair.close()
        assert worker.counter("connect_failures") == 0
        worker.expect_faults(upstream_reset=resets)


def test_the_next_endpoint_is_tried() -> None:
    def script(connection: Connection) -> None:
        connection.send(b"here")

    with Origin(script) as origin:
        addresses = [f"127.0.0.1:{net.free_port()}", origin.address]
        with LiveWorker(Plan(addresses, listener=OPAQUE)) as worker:
            for _ in range(4):
                with Client(worker.address) as client:
                    assert client.read_to_end() == (b"here", "FIN")


def test_a_client_that_ends_before_the_server_is_reached_is_heard(listener: socket.socket) -> None:
    with LiveWorker(Plan([net.text(listener)], listener=OPAQUE)) as worker:
        client = net.dial(worker.address)
        client.sendall(b"all of it")
        client.shutdown(socket.SHUT_WR)
        server, _ = listener.accept()
        server.settimeout(DEADLINE_S)
        assert to_end(server) == (b"all of it", "FIN")
        server.sendall(b"answer")
        server.close()
        assert to_end(client) == (b"answer", "FIN")
        client.close()


def test_connections_beyond_the_bound_wait_for_their_turn(listener: socket.socket) -> None:
    plan = Plan([net.text(listener)], backend={"max_connections": 1}, listener=OPAQUE)
    with LiveWorker(plan) as worker:
        first = Pair(worker.address, listener)
        client = net.dial(worker.address)
        worker.until_gauge("pending", 1)
        client.sendall(b"second")
        first.close()
        server, _ = listener.accept()
        server.settimeout(DEADLINE_S)
        assert server.recv(6) == b"second"
        server.close()
        client.close()


def test_silence_is_no_reason_to_close_unless_a_setting_says_so(listener: socket.socket) -> None:
    impatient = {"stream_timeout_ns": 20 * MS, "header_timeout_ns": 20 * MS}
    plan = Plan([net.text(listener)], policy=impatient, listener=OPAQUE)
    with LiveWorker(plan) as worker:
        pair = Pair(worker.address, listener)
        until(lambda: worker.counter("tcp_connections") == 1, "the first connection to be open")
        worker.publish(plan.but(policy={**plan.policy, "tcp_idle_timeout_ns": 50 * MS}))
        timed = Pair(worker.address, listener)
        assert to_end(timed.client) == (b"", "FIN")
        assert to_end(timed.server) == (b"", "FIN")
        assert is_silent(pair.client)
        pair.client.sendall(b"still open")
        assert pair.server.recv(10) == b"still open"
        pair.close()
        timed.close()
        worker.expect_faults(stream_timeout=1)


def facing(sock: socket.socket) -> socket.socket:
    """The worker's end of a connection, which is of this process too."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found = socket.socket(fileno=os.dup(int(name)))
            with contextlib.suppress(OSError):
                if found.family == socket.AF_INET and found.getpeername() == sock.getsockname():
                    return found
            found.close()
    raise AssertionError("nobody is there")


@pytest.mark.parametrize("timeout_ms", [0, 1500])
def test_both_sides_are_watched_for_a_peer_that_is_lost(listener: socket.socket, timeout_ms: int) -> None:
    plan = Plan([net.text(listener)], policy={"tcp_user_timeout_ns": timeout_ms * MS}, listener=OPAQUE)
    with LiveWorker(plan) as worker:
        pair = Pair(worker.address, listener)
        until(lambda: worker.counter("tcp_connections") == 1, "it to be open")
        for sock in (pair.client, pair.server):
            with facing(sock) as own:
                assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == timeout_ms
        pair.close()


def test_an_idle_connection_holds_no_buffer(listener: socket.socket) -> None:
    with LiveWorker(Plan([net.text(listener)], listener=OPAQUE)) as worker:
        pair = Pair(worker.address, listener)
        for one, other in ((pair.client, pair.server), (pair.server, pair.client)):
            one.sendall(b"ping")
            assert other.recv(4) == b"ping"
        until(lambda: worker.gauge("buffers_small") + worker.gauge("buffers_large") == 0, "buffers to be given back")
        pair.close()


def test_a_line_of_the_access_log_says_how_much_went_each_way(listener: socket.socket) -> None:
    ring = log_ring()
    plan = Plan([net.text(listener)], policy={"access_log": 1}, sizes={"log_ring_bytes": 1 << 16}, listener=OPAQUE)
    with LiveWorker(plan, log=ring) as worker:
        Pair(worker.address, listener).close()
        until(lambda: ring.lines() == 1, "the line")
        assert worker.counter("tcp_connections") == 1


def test_a_drain_lets_connections_end_by_themselves(listener: socket.socket) -> None:
    with LiveWorker(Plan([net.text(listener)], listener=OPAQUE)) as worker:
        pair = Pair(worker.address, listener)
        worker.drain()
        pair.client.sendall(b"on")
        assert pair.server.recv(2) == b"on"
        pair.server.close()
        assert to_end(pair.client) == (b"", "FIN")
        pair.client.close()


def test_every_counter_has_a_name() -> None:
    assert {"tcp_connections", "tcp_bytes_in", "tcp_bytes_out"} <= set(bridge.COUNTERS)
