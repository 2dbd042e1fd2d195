"""What follows a refused request is never looked at, and no upstream sees a byte of either."""

import pytest

from tests.support.client import Client, request
from tests.support.http1 import chunked
from tests.support.origin import Origin, serve
from tests.support.worker import LiveWorker, Plan

SMUGGLED = request("GET", "/smuggled", host="a")
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# Refused before anything goes upstream.
REFUSED: dict[str, tuple[bytes, int]] = {
    "bad length": (POST + b"Content-Length: x\r\n\r\n", 400),
    "length and coding": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "coding in 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "repeated coding": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "bare LF in chunks": (CHUNKED + b"3\nabc\n0\n\n", 400),
    "LF in an extension": (CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    "chunk without its end": (CHUNKED + b"3\r\nabcX\r\n0\r\n\r\n", 400),
    "oversized chunk": (CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n", 400),
    "oversized length": (POST + b"Content-Length: 18446744073709551616\r\n\r\n", 400),
    "space in the host": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "userinfo": (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "length of a CONNECT to port 0": (b"CONNECT a:0 HTTP/1.1\r\nHost: a:0\r\n\r\n", 400),
    "HTTP/2 preface with a wrong end": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_behind_a_refused_request_nothing_is_read(name: str) -> None:
    raw, status = REFUSED[name]
    with Origin(serve()) as origin, LiveWorker(Plan([origin.address])) as worker:
        with Client(worker.address) as client:
            answer = client.ask(raw + SMUGGLED, "POST")
            assert (answer.status, answer.closes) == (status, True)
            assert client.expect_end() == "FIN"
        worker.settle()
        assert not any(b"smuggled" in connection.received for connection in origin.connections)


# One request in, one request out; the smuggled one is a body, or comes after the end.
CARRIED: dict[str, tuple[bytes, int]] = {
    "in a body": (POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 1),
    "in the body of a GET": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 1),
    "in a chunk": (CHUNKED + chunked(SMUGGLED), 1),
    "in a body nobody takes": (
        request("OPTIONS", "*", "Max-Forwards: 0", host="a", body=SMUGGLED), 0),
    "in a trailer": (CHUNKED + chunked(b"abc", trailers=b"Content-Length: 5\r\nX: ok\r\n"), 1),
    "behind the last of 1.0": (b"GET /10 HTTP/1.0\r\nHost: a\r\n\r\n" + SMUGGLED, 1),
    "behind a close": (b"GET /close HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + SMUGGLED, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_a_request_inside_another_is_none(name: str) -> None:
    raw, forwarded = CARRIED[name]
    with Origin(serve()) as origin, LiveWorker(Plan([origin.address])) as worker:
        with Client(worker.address) as client:
            assert client.ask(raw, raw.split(b" ")[0].decode()).status == 200
            client.half_close()
            assert client.expect_end() == "FIN"
        worker.settle()
        assert len(origin.requests()) == forwarded
        assert "/smuggled" not in [ask.target for ask in origin.requests()]
