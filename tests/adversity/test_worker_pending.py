"""Requests that wait for a connection are served first come first served, and never forgotten."""

import random
import threading
from contextlib import ExitStack

import pytest

from tests.support.client import Client, request
from tests.support.origin import OK, Connection, Gone, Origin, serve
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import BALANCERS, MS, SECOND, LiveWorker, Plan


def test_a_client_that_pipelines_does_not_keep_the_last_connection() -> None:
    """One connection at most. Who waits is next, though the one that gives it back has a request at hand."""
    order: list[str] = []
    half_way = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            target = connection.request().target
            order.append(target)
            if target == "/a10":
                half_way.set()
                until(lambda: worker.gauge("pending") == 1, "another client to wait")
            connection.send(OK)

    plan = Plan([], backend={"max_connections": 1})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as greedy,
        Client(worker.address) as other,
    ):
        greedy.send(b"".join(request("GET", f"/a{i}") for i in range(200)))
        assert half_way.wait(DEADLINE_S)
        assert other.get("/b").body == b"ok"
        for _ in range(200):
            assert greedy.read().body == b"ok"
        assert order.index("/b") == order.index("/a10") + 1
        assert [target for target in order if target != "/b"] == [f"/a{i}" for i in range(200)]


def test_waiting_is_first_come_first_served() -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        connection.send(OK)
        while True:
            connection.answer()

    plan = Plan([], backend={"max_connections": 1})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(worker.address)) for _ in range(12)]
        for i, client in enumerate(clients):
            client.send(request("GET", f"/{i}"))
            until(lambda: worker.gauge("exchanges") == i + 1, "the request to queue")  # noqa: B023
        assert worker.gauge("pending") == 11
        release.set()
        assert [client.read().status for client in clients] == [200] * 12
        assert [ask.target for ask in origin.requests()] == [f"/{i}" for i in range(12)]


def test_a_second_try_does_not_wait_behind_idle_connections() -> None:
    """It must have a new connection; the endpoint's only one is idle and makes room, long before its idle timeout."""

    def script(connection: Connection) -> None:
        while True:
            if connection.request().target == "/die" and connection is doomed[0]:
                return
            connection.send(OK)

    plan = Plan([], backend={"max_connections": 1, "balancer": BALANCERS["round_robin"]})
    with (
        Origin(script) as a,
        Origin(script) as b,
        LiveWorker(plan.but(upstreams=[a.address, b.address])) as worker,
        Client(worker.address) as client,
    ):
        doomed: list[Connection | None] = [None]
        assert [client.get("/").status for _ in range(4)] == [200] * 4
        until(lambda: worker.gauge("upstream_idle") == 2, "an idle connection to each")
        doomed[0] = a.connection(0)
        for _ in range(2):  # one of them is sent to the connection that dies
            assert client.get("/die").status == 200
        assert worker.counter("retries") == 1
        assert len(b.connections) == 2


@pytest.mark.parametrize("how", ["answered", "reset", "left"])
def test_whoever_waited_is_served_when_the_one_before_ends(how: str) -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        if connection.request().target == "/first":
            assert release.wait(DEADLINE_S)
            if how == "reset":
                connection.reset()
                return
            if how == "left":
                connection.wait_end()
                return
        connection.send(OK)
        while True:
            connection.answer()

    plan = Plan([], backend={"max_connections": 1})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as first,
        Client(worker.address) as second,
        Client(worker.address) as third,
    ):
        first.send(request("POST", "/first", body=b"x"))
        worker.until_gauge("upstream_connections", 1)
        second.send(request("GET", "/second"))
        worker.until_gauge("pending", 1)
        third.send(request("GET", "/third"))
        worker.until_gauge("pending", 2)
        release.set()
        if how == "left":
            first.reset()
        assert second.read().body == b"ok"
        assert third.read().body == b"ok"


def test_a_client_that_leaves_the_queue_takes_nobody_with_it() -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        connection.send(OK)
        while True:
            connection.answer()

    plan = Plan([], backend={"max_connections": 1, "max_pending": 3})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(worker.address)) for _ in range(5)]
        for i, client in enumerate(clients[:4]):
            client.send(request("GET", f"/{i}"))
            until(lambda: worker.gauge("exchanges") == i + 1, "the request to queue")  # noqa: B023
        assert clients[4].get("/4").status == 503
        worker.expect_faults(pending_limit=1)
        clients[2].reset()
        until(lambda: worker.gauge("pending") == 2, "its place to be free")
        release.set()
        assert [clients[i].read().status for i in (0, 1, 3)] == [200] * 3
        assert [ask.target for ask in origin.requests()] == ["/0", "/1", "/3"]


def test_waiters_are_served_at_once_when_a_publish_lifts_the_cap() -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            if connection.request().target == "/slow":
                assert release.wait(DEADLINE_S)
            connection.send(OK)

    plan = Plan([], backend={"max_connections": 1})
    with Origin(script) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker, ExitStack() as stack:
        slow = stack.enter_context(Client(worker.address))
        slow.send(request("GET", "/slow"))
        worker.until_gauge("upstream_connections", 1)
        waiters = [stack.enter_context(Client(worker.address)) for _ in range(3)]
        for waiter in waiters:
            waiter.send(request("GET", "/"))
        worker.until_gauge("pending", 3)
        worker.publish(worker.plan.but(backend={}))
        assert [waiter.read().body for waiter in waiters] == [b"ok"] * 3
        until(lambda: worker.gauge("exchanges") == 1, "only the slow one to be out")
        release.set()
        assert slow.read().body == b"ok"


def test_one_more_place_by_a_publish_serves_them_one_by_one() -> None:
    release = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            if connection.request().target == "/slow":
                assert release.wait(DEADLINE_S)
            connection.send(OK)

    plan = Plan([], backend={"max_connections": 1})
    with Origin(script) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker, ExitStack() as stack:
        slow = stack.enter_context(Client(worker.address))
        slow.send(request("GET", "/slow"))
        worker.until_gauge("upstream_connections", 1)
        waiters = [stack.enter_context(Client(worker.address)) for _ in range(5)]
        for waiter in waiters:
            waiter.send(request("GET", "/"))
        worker.until_gauge("pending", 5)
        worker.publish(worker.plan.but(backend={"max_connections": 2}))
        assert [waiter.read().body for waiter in waiters] == [b"ok"] * 5
        assert len(origin.connections) == 2
        release.set()
        assert slow.read().body == b"ok"


def test_a_timeout_that_comes_with_a_publish_holds_for_who_waits() -> None:
    """The old snapshot had no timeout at all, so nothing was armed for a request that waited under it."""
    release = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        connection.send(OK)
        connection.wait_end()

    plan = Plan([], backend={"max_connections": 1}, policy={"stream_timeout_ns": 0})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as first,
        Client(worker.address) as waiter,
    ):
        first.send(request("GET", "/"))
        worker.until_gauge("upstream_connections", 1)
        waiter.send(request("GET", "/"))
        worker.until_gauge("pending", 1)
        worker.publish(worker.plan.but(route={"request_timeout_ns": 200 * MS}))
        assert waiter.read().status == 504
        worker.expect_faults(request_timeout=1)
        assert worker.report().endpoints[0]["failures"] == 0, "nothing was ever sent to it"
        release.set()
        assert first.read().body == b"ok"


def test_endpoints_come_and_go_under_a_full_queue() -> None:
    choice = random.Random(14)
    asked = threading.Semaphore(0)

    def script(connection: Connection) -> None:
        while True:
            connection.request()
            asked.release()
            connection.send(OK)

    plan = Plan([], backend={"max_connections": 2})
    with ExitStack() as stack:
        everyone = [stack.enter_context(Origin(script)).address for _ in range(3)]
        worker = stack.enter_context(LiveWorker(plan.but(upstreams=everyone)))
        clients = [stack.enter_context(Client(worker.address)) for _ in range(60)]
        for client in clients:
            client.send(request("GET", "/") * 4)
        for i in range(24):
            assert asked.acquire(timeout=DEADLINE_S)
            some = choice.sample(everyone, choice.randint(1, 3)) if i % 3 else everyone
            worker.publish(worker.plan.but(upstreams=some))
        for client in clients:
            assert [client.read().status for _ in range(4)] == [200] * 4


def test_waiters_of_an_endpoint_that_is_published_away_go_to_another() -> None:
    release = threading.Event()

    def holding(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        try:
            connection.send(OK)
        except Gone:
            return

    plan = Plan([], backend={"max_connections": 1, "idle_timeout_ns": 30 * SECOND})
    with (
        Origin(holding) as old,
        Origin(serve()) as new,
        LiveWorker(plan.but(upstreams=[old.address])) as worker,
        Client(worker.address) as first,
        Client(worker.address) as waiter,
    ):
        first.send(request("GET", "/"))
        worker.until_gauge("upstream_connections", 1)
        waiter.send(request("GET", "/"))
        worker.until_gauge("pending", 1)
        worker.publish(worker.plan.but(upstreams=[new.address]))
        assert waiter.read().body == b"ok"
        release.set()
        assert first.read().body == b"ok"
