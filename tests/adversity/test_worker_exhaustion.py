"""A lack of ours is not the endpoint's fault, and what clients hold alone may not take what answers need."""

import contextlib
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.support import net
from tests.support.client import Client, Ended, request
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import READY, SECOND, LiveWorker, Plan, Watched
from tests.support.worker_process import WorkerProcess


def blameless(worker: Watched) -> None:
    (endpoint,) = worker.report().endpoints
    assert endpoint["state"] == READY
    assert (endpoint["failures"], endpoint["connect_failures"]) == (0, 0)


def test_clients_cannot_take_the_connections_upstreams_need() -> None:
    plan = Plan([], sizes={"connections": 16}, backend={"backoff_min_ns": 30 * SECOND})
    with Origin(serve()) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(worker.address)) for _ in range(20)]
            until(lambda: worker.counter("refused") > 0, "the slab to be full of clients")
            assert clients[0].get("/").body == b"ok"
            blameless(worker)
        with Client(worker.address) as client:
            assert client.get("/").body == b"ok"


def test_without_a_connection_object_the_endpoint_stays_in() -> None:
    """Upstream connections take the last objects: the next request is told so, and nobody else suffers."""
    release = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        connection.send(OK)
        while True:
            connection.answer()

    plan = Plan([], sizes={"connections": 8}, backend={"backoff_min_ns": 30 * SECOND})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(worker.address)) for _ in range(6)]
        worker.until_gauge("downstream_connections", 6)  # and the listener: 7 of 8
        clients[0].send(request("GET", "/"))
        worker.until_gauge("upstream_connections", 1)
        assert clients[1].get("/").status == 503
        worker.expect_faults(overload=1)
        blameless(worker)
        release.set()
        assert clients[0].read().body == b"ok"
        assert clients[2].get("/").body == b"ok"


def test_without_a_descriptor_the_endpoint_stays_in() -> None:
    plan = Plan([], backend={"backoff_min_ns": 30 * SECOND})
    with Origin(serve()) as origin, WorkerProcess(plan.but(upstreams=[origin.address]), nofile=8) as worker:
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(worker.address)) for _ in range(16)]
            until(lambda: worker.counter("accept_failures") > 0, "descriptors to run out")
            answer = clients[0].get("/")
            assert answer.status == 503
            assert b"out of buffers, connections or ports" in (answer.get("fastmesh-error") or b"")
            blameless(worker)
        with Client(worker.address) as client:
            assert client.get("/").body == b"ok"


def test_a_full_backlog_of_a_unix_upstream_is_a_moment_not_a_failure(tmp_path: Path) -> None:
    """connect() says EAGAIN where TCP would wait: a burst must not take the endpoint out."""
    path = f"unix:{tmp_path}/s"
    plan = Plan([path], backend={"backoff_min_ns": 30 * SECOND})
    with contextlib.closing(net.listen(path, backlog=1)) as listener, LiveWorker(plan) as worker, ExitStack() as stack:
        clients = [stack.enter_context(Client(worker.address)) for _ in range(6)]
        for client in clients:
            client.send(request("GET", "/"))
        until(lambda: worker.report().codes.get(503), "an answer to one that found the backlog full")
        until(lambda: sum(worker.report().codes.values()) + worker.gauge("exchanges") == 6, "all six to be tried")
        assert worker.report().faults.keys() == {"overload"}
        blameless(worker)
        waiting = worker.gauge("exchanges")
        for _ in range(waiting):
            sock = listener.accept()[0]
            stack.callback(sock.close)
            sock.recv(65536)
            sock.sendall(OK)
        until(lambda: worker.report().codes.get(200) == waiting, "the others to be served")
        assert sorted(client.read().status for client in clients) == [200] * waiting + [503] * (6 - waiting)


def test_half_heads_leave_the_buffers_that_answers_need() -> None:
    """Each connection with half a head holds a buffer. All that clients may hold are gone, and an answer that began
    before goes on; the next client hears why it is not served; all is well once they leave."""
    go_on = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + b"y" * 10)
        assert go_on.wait(DEADLINE_S)
        for _ in range(3):
            connection.send(b"y" * 10)
        while True:
            connection.answer()

    plan = Plan([], sizes={"buffers": 32, "large_buffers": 4})
    with Origin(script) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        with Client(worker.address) as victim, ExitStack() as stack:
            victim.send(request("GET", "/"))
            victim.read_head()
            holders = [stack.enter_context(Client(worker.address)) for _ in range(40)]
            for holder in holders:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    holder.send(b"GET / HT")
            until(lambda: worker.report().faults.get("overload", 0) >= 8, "clients without a buffer to be refused")
            assert worker.gauge("buffers_small") == 24
            with Client(worker.address) as late:
                assert late.get("/").status == 503
            go_on.set()
            assert victim.next_response().body == b"y" * 40
        with Client(worker.address) as client:
            until(lambda: worker.gauge("buffers_small") == 0, "the buffers to come back")
            assert client.get("/").body == b"ok"


def test_more_requests_than_exchanges() -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        connection.send(OK)
        connection.wait_end()

    plan = Plan([], sizes={"exchanges": 2})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(worker.address)) for _ in range(3)]
        for client in clients[:2]:
            client.send(request("GET", "/"))
        worker.until_gauge("exchanges", 2)
        answer = clients[2].get("/")
        assert (answer.status, answer.closes) == (503, True)
        blameless(worker)
        release.set()
        assert [client.read().status for client in clients[:2]] == [200, 200]
        try:
            clients[2].get("/")
        except (Ended, OSError):
            return
        raise AssertionError("a refused connection went on")
