"""A pooled upstream connection is handed out only while nothing on it could be taken for the next response."""

import contextlib
import threading
from pathlib import Path

import pytest

from tests.support.client import Client, request
from tests.support.http1 import Request, chunked
from tests.support.origin import OK, Connection, Origin
from tests.support.pressure import arrived
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import READY, LiveWorker, Plan
from tests.support.worker_process import WorkerProcess

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nNEXT"


@pytest.mark.parametrize("spoken", [EVIL, b"x", EVIL[:20]], ids=["a response", "a byte", "half a head"])
def test_one_that_spoke_is_not_handed_out_in_the_same_turn(spoken: bytes) -> None:
    """A request and bytes that were sent before it arrive together: the bytes are nobody's response."""
    speak = threading.Event()

    def script(connection: Connection) -> None:
        connection.answer()
        if connection.index == 0:
            assert speak.wait(DEADLINE_S)
            connection.send(spoken)
            arrived(connection.sock)
            spoke.set()
            connection.wait_end()

    spoke = threading.Event()
    with (
        Origin(script) as origin,
        WorkerProcess(Plan([origin.address])) as worker,
        Client(worker.address) as first,
        Client(worker.address) as victim,
    ):
        assert first.get("/").body == b"ok"
        worker.until_gauge("downstream_connections", 2)
        worker.until_gauge("upstream_idle", 1)
        worker.freeze()
        # First in the queue of events is the request: taken in order, it would get the connection.
        victim.send(request("POST", "/victim", body=b"once"))
        arrived(victim.sock)
        speak.set()
        assert spoke.wait(DEADLINE_S)
        worker.thaw()
        assert victim.read().body == b"ok"
        assert [ask.target for ask in origin.connection(1).stream.messages] == ["/victim"]


def test_the_body_of_a_204_does_not_reach_the_next_client() -> None:
    """A 204 has no body (RFC 9110 15.3.5), but who announces one may send it."""
    more = threading.Event()

    def script(connection: Connection) -> None:
        if connection.request().target == "/next":
            connection.send(NEXT)
            return
        connection.send(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert more.wait(DEADLINE_S)
        connection.send(chunked(b"hello"))
        connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
        Client(worker.address) as other,
    ):
        assert client.get("/").status == 204
        until(lambda: worker.gauge("exchanges") == 0, "the exchange to end")
        other.send(request("GET", "/next"))
        more.set()
        assert other.read().body == b"NEXT"
        assert len(origin.connections) == 2


def test_a_request_that_went_out_in_part_is_not_sent_again(tmp_path: Path) -> None:
    """The socket takes half of a POST and no buffer is left for the rest: some of it is out, so a second try could do
    the thing twice, and the lack is the proxy's own."""
    answered = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(OK)  # unread, the first request leaves little room in the socket
        assert answered.wait(DEADLINE_S)
        connection.wait_end()

    fields = [f"X-{i}: {'p' * 1000}" for i in range(150)]
    plan = Plan([], policy={"head_bytes": 196608, "fields": 200}, sizes={"large_buffers": 1})
    with Origin(script, f"unix:{tmp_path}/s") as origin, LiveWorker(plan.but(upstreams=[origin.address])) as worker:
        with Client(worker.address) as client:
            assert client.get("/first", *fields).body == b"ok"
            answer = client.ask(request("POST", "/second", *fields, body=b"once"))
            assert answer.status == 503
            worker.expect_faults(overload=1)
        answered.set()
        assert len(origin.connections) == 1, "the request was sent again"
        assert worker.report().endpoints[0]["state"] == READY
        assert worker.report().endpoints[0]["failures"] == 0


# What an upstream sends, whether it closes then, and whether its connection may serve the next request.
RESPONSES: dict[str, tuple[bytes, bool, bool]] = {
    "repeated length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", False, False),
    "length and coding": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        False,
        False,
    ),
    "coding in 1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True, False),
    "two responses": (OK + EVIL, False, False),
    "bytes behind a 304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL", False, False),
    "truncated length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", True, False),
    "truncated chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", True, False),
    "last chunk without its end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        True,
        False,
    ),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", True, False),
    "no HTTP": (b"hello world\r\n\r\n", False, False),
    "folded field": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", False, False),
    "only an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n", True, False),
    "oversized head": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\nContent-Length: 2\r\n\r\nok", False, False),
    "body to the end": (b"HTTP/1.1 200 OK\r\n\r\nbody", True, False),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: ok\r\n\r\n", False, True),
    "interim that says close": (b"HTTP/1.1 103 Early Hints\r\nConnection: x\r\n\r\n" + OK, False, True),
    "plain": (OK, False, True),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_whatever_an_upstream_sent_the_next_request_gets_its_own_answer(name: str) -> None:
    raw, closes, reusable = RESPONSES[name]

    def script(connection: Connection) -> None:
        while connection.request().target != "/next":
            connection.send(raw)
            if closes:
                return
        connection.send(NEXT)

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker:
        with Client(worker.address) as client:
            client.send(request("POST", "/", body=b"x"))
            until(lambda: worker.gauge("exchanges") == 0 and worker.report().codes, "the exchange to end")
            with contextlib.suppress(OSError):  # it may be reset already
                client.half_close()
            data, how = client.read_to_end()
            assert b"EVIL" not in data
            if name.startswith(("truncated", "last chunk")):
                assert how == "RST", "a cut response looks complete"
        with Client(worker.address) as other:
            assert other.get("/next").body == b"NEXT"
        assert len(origin.connections) == (1 if reusable else 2)
        sent: list[Request] = origin.requests()
        assert [ask.target for ask in sent] == ["/", "/next"]
