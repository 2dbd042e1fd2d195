"""Epoll says a thing once: whatever comes together, in whatever turn, nothing waits for an edge that never comes."""

import contextlib
import socket
from contextlib import ExitStack
from pathlib import Path

from tests.support import net
from tests.support.client import Client, request
from tests.support.http1 import Response
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.pressure import arrived, until_readable
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, LiveWorker, Plan
from tests.support.worker_process import WorkerProcess

OWN = request("OPTIONS", "*", "Max-Forwards: 0", host="here")  # answered by the proxy itself


def test_all_connections_may_have_more_to_do_than_one_turn_allows() -> None:
    """Most connections of a small slab pipeline at once: each of them is put off to the next turn, and again."""
    with WorkerProcess(Plan(["127.0.0.1:1"], sizes={"connections": 12})) as worker, ExitStack() as stack:
        clients = [stack.enter_context(Client(worker.address)) for _ in range(9)]
        worker.until_gauge("downstream_connections", 9)
        worker.freeze()
        for client in clients:
            client.send(OWN * 20)
        arrived(*(client.sock for client in clients))
        worker.thaw()
        for client in clients:
            assert [client.read("OPTIONS").status for _ in range(20)] == [200] * 20


def accept_behind_fillers(listener: socket.socket, fillers: list[socket.socket]) -> socket.socket:
    """The first accepted connection that is not one of the (closed) fillers."""
    listener.settimeout(DEADLINE_S)
    names = {sock.getsockname() for sock in fillers}
    for sock in fillers:
        sock.close()
    while True:
        sock, peer = listener.accept()
        if peer not in names:
            return sock
        sock.close()


def test_an_answer_that_comes_with_the_end_of_connect_is_read() -> None:
    """The upstream's queue is full, so connecting takes a while; by the time the worker looks again the connection is
    there and has an answer on it."""
    with contextlib.closing(net.listen(backlog=0)) as listener:
        name = net.text(listener)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        plan = Plan([name], backend={"connect_timeout_ns": 30_000 * MS})
        with WorkerProcess(plan) as worker, Client(worker.address) as client:
            client.send(request("GET", "/"))
            until(lambda: worker.counter("connects") == 1, "the connect")
            worker.freeze()
            with accept_behind_fillers(listener, fillers) as upstream:
                upstream.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                arrived(upstream)
                worker.thaw()
                assert client.read().body == b"ok"


def test_the_rest_of_a_request_head_follows_when_the_upstream_reads_on(tmp_path: Path) -> None:
    """A head that the socket takes only half of, with no body behind it to push it on."""
    fields = [f"X-{i}: {'p' * 1000}" for i in range(150)]

    def script(connection: Connection) -> None:
        connection.send(OK)  # unread, the first request stays in the socket and leaves little room for the second
        until(lambda: worker.gauge("buffers_large") == 2, "the second head to be stuck")
        assert connection.request().target == "/first"
        assert "x-149" in connection.answer().names()

    plan = Plan([], policy={"head_bytes": 196608, "fields": 200, "stream_timeout_ns": 0})
    with Origin(script, f"unix:{tmp_path}/s") as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        with Client(worker.address) as client:
            assert client.get("/first", *fields).body == b"ok"
            assert client.get("/second", *fields).body == b"ok"
        assert len(origin.connections) == 1


def read_all(client: Client, asks: int) -> list[Response]:
    return [client.read() for _ in range(asks)]


def test_requests_before_a_half_close_are_all_answered() -> None:
    body = b"z" * 300_000
    with (
        Origin(serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(request("GET", "/") * 5 + b"GET /par")
        client.half_close()
        assert [answer.body == body for answer in read_all(client, 5)] == [True] * 5
        client.read_to_end()


def test_urgent_data_hurts_only_its_sender() -> None:
    """recv() stops at the urgent mark, which looks like an empty socket; what follows may wait for a timeout."""
    plan = Plan([], policy={"header_timeout_ns": 300 * MS, "idle_timeout_ns": 300 * MS})
    with Origin(serve()) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        for before, behind in (
            (request("GET", "/0"), request("GET", "/1")),
            (b"GET /0 HT", b"TP/1.1\r\nHost: a\r\n\r\n"),
        ):
            with Client(worker.address) as client, Client(worker.address) as other:
                client.send(before)
                client.sock.send(b"!", socket.MSG_OOB)
                client.send(behind)
                assert other.get("/other").body == b"ok"
                until_readable(client.sock, "an answer or the end")
                assert client.read().status in (200, 408)


def test_urgent_data_of_an_upstream_hurts_only_its_response() -> None:
    def script(connection: Connection) -> None:
        if connection.request().target == "/other":
            connection.send(OK)
            return
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        connection.sock.send(b"!", socket.MSG_OOB)
        connection.send(b"def")
        connection.wait_end()

    plan = Plan([], policy={"stream_timeout_ns": 500 * MS})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as client,
        Client(worker.address) as other,
    ):
        client.send(request("GET", "/"))
        assert other.get("/other").body == b"ok"
        client.sock.settimeout(DEADLINE_S)
        data, how = b"", ""
        while not data.endswith(b"abcdef") and not how:
            piece, how = client._receive()
            data += piece
            how = how if not piece else ""
        assert data.endswith(b"abcdef") or how == "RST", "a cut response must not look complete"
