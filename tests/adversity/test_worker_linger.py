"""An answer that was given reaches its client, whatever else the client still sends (RFC 9112 9.6)."""

import pytest

from tests.support.client import Client, request
from tests.support.http1 import Response, ResponseStream
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.pressure import until_readable
from tests.support.wait import until
from tests.support.worker import MS, LiveWorker, Plan

UPLOAD = request("POST", "/", "Content-Length: 100000") + b"abc"
EARLY = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"


def keep_sending(client: Client) -> tuple[Response, str]:
    """Goes on with the upload after the answer is there, then reads: the answer, and how the connection ended."""
    until_readable(client.sock, "the answer")
    for _ in range(20):
        client.send(b"x" * 1000)
    data, how = client.read_to_end()
    stream = ResponseStream()
    stream.expect("POST")
    (answer,) = stream.feed(data)
    return answer, how


def test_an_early_answer_of_the_upstream() -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.send(EARLY)
        connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(UPLOAD)
        answer, how = keep_sending(client)
        assert (answer.status, bytes(answer.body), how) == (413, b"big", "FIN")


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (UPLOAD, 503),
        (request("POST", "/", "Content-Length: 5, 5") + b"abc", 400),
        (request("POST", "/", "Transfer-Encoding: gzip") + b"abc", 501),
        (request("POST", "/", "Max-Forwards: 0", "Content-Length: 100000", host="elsewhere") + b"abc", 404),
        (request("OPTIONS", "*", "Max-Forwards: 0", "Content-Length: 100000") + b"abc", 200),
        (request("TRACE", "/", "Max-Forwards: 0", "Transfer-Encoding: chunked") + b"5\r\nabc", 200),
    ],
    ids=["no endpoint", "bad length", "unknown coding", "no route", "last hop", "last hop, chunked"],
)
def test_an_answer_of_the_proxy(ask: bytes, status: int) -> None:
    with LiveWorker(Plan([], host="t.test")) as worker, Client(worker.address) as client:
        client.send(ask)
        answer, how = keep_sending(client)
        assert (answer.status, how) == (status, "FIN")


def test_an_answer_to_a_request_that_breaks_off_badly_behind_it() -> None:
    """The response is complete; then the chunks of the request turn out malformed. No reason to take it back."""

    def script(connection: Connection) -> None:
        connection.head()
        connection.send(OK)
        connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        until_readable(client.sock, "the answer")
        client.send(b"ZZ\r\n")
        until(lambda: worker.gauge("exchanges") == 0, "the exchange to end")
        assert client.read().body == b"ok"
        assert client.expect_end() == "FIN"


def test_a_client_that_never_closes_is_not_waited_for_long() -> None:
    plan = Plan(["127.0.0.1:1"], policy={"linger_timeout_ns": 100 * MS})
    with LiveWorker(plan) as worker, Client(worker.address) as client:
        assert client.ask(b"BAD\r\n\r\n").status == 400
        until(lambda: worker.gauge("downstream_connections") == 0, "the lingering to end")


def test_the_rest_of_an_early_answered_request_goes_on() -> None:
    """Keep-alive on both sides: the upstream reads the rest, and the next request finds the right place."""

    def script(connection: Connection) -> None:
        first = connection.head()
        connection.send(OK)
        assert connection.request() is first
        assert len(first.body) == 100_000
        while True:
            connection.answer()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(request("POST", "/", "Content-Length: 100000"))
        assert client.read().body == b"ok"
        client.send(b"x" * 100_000)
        assert client.get("/next").body == b"ok"
        assert len(origin.connections) == 1


@pytest.mark.parametrize("end", ["half-close", "reset"])
def test_a_client_that_breaks_off_after_an_early_answer_is_not_a_whole_request(end: str) -> None:
    seen: list[bool] = []

    def script(connection: Connection) -> None:
        first = connection.head()
        connection.send(OK)
        connection.wait_end()
        seen.append(first.complete)

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(request("POST", "/", "Content-Length: 100000") + b"abc")
        assert client.read().body == b"ok"
        if end == "half-close":
            client.half_close()
        else:
            client.reset()
        until(lambda: seen, "the upstream to see the end")
        assert seen == [False]
        assert worker.gauge("upstream_idle") == 0


def test_a_refused_expectation_leaves_no_body_to_be_taken_for_a_request() -> None:
    with (
        Origin(serve()) as origin,
        LiveWorker(Plan([origin.address], host="t.test")) as worker,
        Client(worker.address) as client,
    ):
        body = request("GET", "/smuggled", host="t.test")
        client.send(request("POST", "/", "Expect: 100-continue", f"Content-Length: {len(body)}", host="elsewhere"))
        assert client.read().status == 404
        client.send(body)
        client.read_to_end()
        assert origin.requests() == []
