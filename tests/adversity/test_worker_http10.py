"""Old clients: what HTTP/1.0 does not know is neither asked of them nor sent to them."""

import pytest

from tests.support.client import Client
from tests.support.http1 import chunked
from tests.support.origin import OK, Origin, serve
from tests.support.worker import LiveWorker, Plan


def test_an_expectation_of_an_old_client_is_not_passed_on() -> None:
    """It would be answered 100, which the client does not know; so it is ignored (RFC 9110 10.1.1)."""
    with Origin(serve()) as origin, LiveWorker(Plan([origin.address])) as worker, Client(worker.address) as client:
        client.send(b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
        assert client.read("POST").body == b"ok"
        (seen,) = origin.requests()
        assert seen.get("expect") is None
        assert seen.body == b"hi"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"body", trailers=b"X: y\r\n")),
    ],
    ids=["HEAD", "304", "body"],
)
def test_an_old_client_gets_no_transfer_coding(method: str, answer: bytes) -> None:
    with (
        Origin(serve(lambda _: answer)) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        client.send(f"{method} / HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        final = client.read(method)
        assert final.get("transfer-encoding") is None
        assert bytes(final.body) == (b"body" if b"body" in answer else b"")
        assert client.expect_end() == "FIN"


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (b"OPTIONS * HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nMax-Forwards: 0\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\nHost: elsewhere\r\nConnection: keep-alive\r\n\r\n", 404),
        (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 503),
    ],
    ids=["last hop", "no route", "no endpoint"],
)
def test_an_own_answer_does_not_leave_an_old_client_waiting_for_its_end(ask: bytes, status: int) -> None:
    """Unless it says keep-alive the client reads until the connection ends, so either must come."""
    with LiveWorker(Plan([], host="a")) as worker, Client(worker.address) as client:
        client.send(ask)
        answer = client.read(ask.split(b" ")[0].decode())
        assert answer.status == status
        if answer.closes or "keep-alive" not in answer.tokens("connection"):
            assert client.expect_end() == "FIN"


@pytest.mark.parametrize(
    ("ask", "host"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "endpoint"),
        (b"GET / HTTP/1.0\r\nHost: mine\r\n\r\n", "mine"),
        (b"GET http://abs/ HTTP/1.0\r\n\r\n", "abs"),
        (b"GET http://abs:81/ HTTP/1.1\r\nHost: abs:81\r\n\r\n", "abs:81"),
    ],
)
def test_every_request_goes_upstream_with_a_host(ask: bytes, host: str) -> None:
    """An HTTP/1.1 server refuses a request without; the endpoint's own name stands in."""
    with Origin(serve()) as origin, LiveWorker(Plan([origin.address])) as worker, Client(worker.address) as client:
        assert client.ask(ask).body == b"ok"
        (seen,) = origin.requests()
        assert seen.get("host") == (origin.address if host == "endpoint" else host).encode()


def test_a_unix_endpoint_is_named_localhost(tmp_path: object) -> None:
    with (
        Origin(serve(), f"unix:{tmp_path}/s") as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address) as client,
    ):
        assert client.ask(b"GET / HTTP/1.0\r\n\r\n").body == b"ok"
        assert origin.requests()[0].get("host") == b"localhost"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_empty_host_never_goes_upstream(version: str) -> None:
    with Origin(serve(OK)) as origin, LiveWorker(Plan([origin.address])) as worker, Client(worker.address) as client:
        assert client.ask(f"GET / HTTP/{version}\r\nHost:\r\n\r\n".encode()).status == 400
        assert origin.requests() == []
