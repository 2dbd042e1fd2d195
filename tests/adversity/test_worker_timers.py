"""Every wait of an exchange ends in time, and only whoever was late is blamed."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support import net
from tests.support.client import Client, request
from tests.support.origin import OK, Connection, Gone, Origin
from tests.support.pressure import until_readable
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, SECOND, LiveWorker, Plan

SHORT = 200 * MS
UPLOAD = request("POST", "/", "Content-Length: 10") + b"abc"
TRICKLE_S = 0.02


def script(connection: Connection) -> None:
    """Answers as slowly as the target says, until the proxy has enough of it."""
    while True:
        target = connection.head().target
        if target == "/half":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        elif target in ("/interim", "/drip"):
            drip(connection, target)
        elif target == "/early":
            connection.send(OK)
        if target != "/now":
            connection.wait_end()
        connection.send(OK)


def drip(connection: Connection, target: str) -> None:
    piece = b"x"
    if target == "/drip":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    else:
        piece = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    connection.sock.settimeout(TRICKLE_S)  # the pause between two pieces, and the look whether the proxy is gone
    while True:
        connection.send(piece)
        try:
            connection.read()
        except TimeoutError:
            continue


def final(client: Client) -> tuple[int, str]:
    """Status of the final answer (0: none, or an incomplete one) and how the connection ended (if it did)."""
    data, how = client.read_to_end()
    while data.startswith(b"HTTP/1.1 1"):
        data = data.partition(b"\r\n\r\n")[2]
    head, _, body = data.partition(b"\r\n\r\n")
    if not head or (b"Content-Length: 2\r\n" not in head + b"\r\n" and b"fastmesh-error" not in head.lower()):
        return 0, how
    assert body, "an answer without its body"
    return int(head[9:12]), how


@contextmanager
def timed(
    *, route: dict[str, int] | None = None, policy: dict[str, int] | None = None
) -> Iterator[tuple[LiveWorker, Client]]:
    """Connections that are kept end soon after their answer, so that reading to the end is quick."""
    plan = Plan([], route=route or {}, policy={"idle_timeout_ns": SHORT, **(policy or {})})
    with (
        Origin(script) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as client,
    ):
        yield worker, client


PER_TRY = {"per_try_timeout_ns": SHORT}
WHOLE = {"request_timeout_ns": SHORT}
STREAM = {"stream_timeout_ns": SHORT}


@pytest.mark.parametrize(
    ("ask", "route", "policy", "status", "fault", "failures"),
    [
        (request("GET", "/never"), PER_TRY, {}, 504, "per_try_timeout", 1),
        (request("GET", "/interim"), PER_TRY, {}, 504, "per_try_timeout", 1),
        (request("GET", "/never"), WHOLE, {}, 504, "request_timeout", 1),
        (request("GET", "/half"), WHOLE, {}, 0, "request_timeout", 1),
        (request("GET", "/interim"), WHOLE, {}, 504, "request_timeout", 1),
        (request("GET", "/drip"), WHOLE, {}, 0, "request_timeout", 1),
        (UPLOAD, WHOLE, {}, 408, "client_timeout", 0),
        (request("GET", "/never"), {}, STREAM, 504, "stream_timeout", 1),
        (request("GET", "/half"), {}, STREAM, 0, "stream_timeout", 1),
        (UPLOAD, {}, STREAM, 408, "client_timeout", 0),
        (request("POST", "/early", "Content-Length: 10") + b"abc", {}, STREAM, 200, "client_timeout", 0),
        (request("POST", "/early", "Content-Length: 10") + b"abc", WHOLE, {}, 200, "client_timeout", 0),
    ],
    ids=[
        "try: no answer", "try: only interim", "request: no answer", "request: half an answer",
        "request: only interim", "request: dripping answer", "request: client stops its upload",
        "stream: no answer", "stream: half an answer", "stream: client stops its upload",
        "stream: client stops its upload, answered", "request: client stops its upload, answered",
    ],
)
def test_whoever_is_late_is_blamed(
    ask: bytes, route: dict[str, int], policy: dict[str, int], status: int, fault: str, failures: int
) -> None:
    with timed(route=route, policy=policy) as (worker, client):
        client.send(ask)
        got, how = final(client)
        assert (got, how) == (status, "FIN" if status else "RST")
        until(lambda: worker.gauge("exchanges") == 0, "the end of the exchange")
        worker.expect_faults(**{fault: 1})
        assert worker.report().endpoints[0]["failures"] == failures


def test_a_client_that_does_not_read_is_late_itself() -> None:
    """Until its request times out the upstream waits for it: no fault of the endpoint."""

    def flood(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            connection.send(b"z" * 65536)

    with (
        Origin(flood) as origin,
        LiveWorker(Plan([origin.address], policy={"stream_timeout_ns": SHORT})) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        client.send(request("GET", "/"))
        until(lambda: worker.report().faults, "the end of the exchange")
        worker.expect_faults(client_timeout=1)
        assert worker.report().endpoints[0]["failures"] == 0


def test_a_dripping_answer_is_progress() -> None:
    """Each byte starts the stream timeout anew; only a request timeout would end it."""
    with timed(policy=STREAM) as (worker, client), Client(worker.address) as clock:
        client.send(request("GET", "/drip"))
        clock.send(request("GET", "/never"))
        assert final(clock)[0] == 504  # so long it takes without progress
        worker.until_gauge("exchanges", 1)
        worker.expect_faults(stream_timeout=1)
        before = len(client.read_head().body)
        until(lambda: client._feed() and len(client.stream.messages[0].body) > before, "another byte")


def test_events_without_progress_are_none() -> None:
    """A client that sends its next request again and again does not keep an exchange alive."""
    with timed(policy=STREAM) as (worker, client):
        client.send(request("GET", "/never"))

        def ended() -> dict[str, int]:
            try:
                client.send(b"GET")
            except OSError:
                pass
            return worker.report().faults

        assert until(ended, "the end of the exchange") == {"stream_timeout": 1}


@pytest.mark.parametrize(("sent", "status"), [(b"", 0), (b"GET / HT", 408)], ids=["nothing", "half a head"])
def test_a_head_must_come_in_time(sent: bytes, status: int) -> None:
    with timed(policy={"header_timeout_ns": SHORT, "idle_timeout_ns": 60 * SECOND}) as (_, client):
        client.send(sent)
        assert final(client) == (status, "FIN")


def test_an_idle_connection_is_ended() -> None:
    with timed(policy={"idle_timeout_ns": SHORT, "header_timeout_ns": 60 * SECOND}) as (worker, client):
        assert client.get("/now").body == b"ok"
        assert client.expect_end() == "FIN"
        assert worker.counter("idle_closes") == 1


def test_connecting_must_be_done_in_time() -> None:
    """A full queue: the kernel drops the SYN and the connection stays half open."""
    with ExitStack() as stack:
        listener = stack.enter_context(net.listen(backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        plan = Plan([net.text(listener)], backend={"connect_timeout_ns": SHORT}, route={"retry_connect": 0})
        worker = stack.enter_context(LiveWorker(plan))
        client = stack.enter_context(Client(worker.address))
        assert client.get("/").status == 504
        worker.expect_faults(connect_timeout=1)
        assert worker.report().endpoints[0]["connect_failures"] == 1


def test_a_timeout_in_the_queue_is_not_the_endpoints_failure() -> None:
    release = threading.Event()

    def holding(connection: Connection) -> None:
        connection.request()
        assert release.wait(DEADLINE_S)
        connection.send(OK)
        connection.wait_end()

    plan = Plan([], backend={"max_connections": 1}, policy={"stream_timeout_ns": SHORT})
    with (
        Origin(holding) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as first,
        Client(worker.address) as waiter,
    ):
        worker.publish(worker.plan.but(policy={}))
        until(lambda: worker.gauge("snapshot_version") == 2, "the publish")
        first.send(request("GET", "/"))
        worker.until_gauge("upstream_connections", 1)
        worker.publish(worker.plan.but(route={"request_timeout_ns": SHORT}))
        until(lambda: worker.gauge("snapshot_version") == 3, "the publish")
        assert waiter.get("/").status == 504
        assert worker.report().endpoints[0]["failures"] == 0
        release.set()
        assert first.read().body == b"ok"


def give_up_waiting(client: Client) -> None:
    client.reset()


def break_the_chunks(client: Client) -> None:
    client.send(b"ZZ\r\n")
    until_readable(client.sock, "the refusal")
    client.close()


@pytest.mark.parametrize("give_up", [give_up_waiting, break_the_chunks])
def test_a_client_that_gives_up_measures_nobody(give_up: Callable[[Client], None]) -> None:
    """An endpoint that hangs must not look as fast as its clients are impatient."""
    plan = Plan([], backend={"ewma_default_ns": 5 * SECOND, "ewma_decay_ns": MS})

    def hanging(connection: Connection) -> None:
        connection.head()
        connection.wait_end()

    with Origin(hanging) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        for i in range(5):
            with Client(worker.address) as client:
                client.send(request("POST", "/", "Transfer-Encoding: chunked"))
                assert origin.connection(i).head_seen.wait(DEADLINE_S)
                give_up(client)
            worker.settle()
        (endpoint,) = worker.report().endpoints
        assert endpoint["failures"] == 0
        assert endpoint["ewma_ns"] >= 5 * SECOND, "an aborted wait was taken for a response time"


def test_a_try_that_times_out_is_a_failure_each_time() -> None:
    with timed(route=PER_TRY, policy={"idle_timeout_ns": 60 * SECOND}) as (worker, client):
        for i in range(3):
            assert client.get("/never").status == 504
            until(lambda: worker.gauge("exchanges") == 0, "the end of the exchange")
            assert worker.report().endpoints[0]["failures"] == i + 1


def test_gone_upstreams_do_not_leave_timers() -> None:
    """A response cut right before its timeout: the exchange ends once."""

    def cut(connection: Connection) -> None:
        connection.request()
        try:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        except Gone:
            return

    plan = Plan([], route=PER_TRY | WHOLE, policy=STREAM)
    with Origin(cut) as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        for _ in range(20):
            with Client(worker.address) as client:
                client.send(request("GET", "/"))
                assert final(client) == (0, "RST")
        worker.expect_faults(upstream_truncated=20)
