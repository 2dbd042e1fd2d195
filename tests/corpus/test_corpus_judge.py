"""The judge itself: a relay that forwards every byte must be found out, and the strict reader must be strict."""

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.corpus import load
from tests.support.http1 import Malformed, RequestStream, ResponseStream, chunked
from tests.support.stage import Stage
from tests.support.verdict import Place, RequestTrial, ResponseTrial
from tests.support.wait import DEADLINE_S


def relay(listener: socket.socket, target: str, stop: threading.Event) -> None:
    """A proxy that understands nothing: one upstream connection for each client, bytes as they are."""
    pairs: dict[socket.socket, socket.socket] = {}
    while not stop.is_set():
        for sock in select.select([listener, *pairs], [], [], 0.02)[0]:
            if sock is listener:
                client, _ = listener.accept()
                origin = net.dial(target)
                pairs[client], pairs[origin] = origin, client
            elif sock in pairs:
                other = pairs[sock]
                try:
                    data = sock.recv(65536)
                    other.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    for end in (sock, other):
                        del pairs[end]
                        end.close()
    for sock in pairs:
        sock.close()


@pytest.fixture
def naive() -> Iterator[Place]:
    stop = threading.Event()
    with net.listen() as front, net.listen() as origin:
        thread = threading.Thread(target=relay, args=(front, net.text(origin), stop))
        thread.start()
        yield Place(net.text(front), origin)
        stop.set()
        thread.join(DEADLINE_S)


@pytest.mark.parametrize(
    "name",
    [
        "coding/length-then-coding",
        "coding/cl-te-smuggle",
        "fields/space-before-colon",
        "host/missing",
        "length/repeated-equal",
        "start_line/version-2.0",
        "pipeline/good-then-no-host",
        "connection/names-a-field",
        "target/absolute",
        "chunked/size-hex-prefix",
        "chunked/trailer-host-dropped",
        "semantics/via-added",
        "http10/keep-alive",
    ],
)
def test_a_relay_fails_request_cases(naive: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    case = next(case for case in load("requests") if case.name == name)
    with pytest.raises((AssertionError, TimeoutError, Malformed)):
        RequestTrial(case, "whole", naive).run()


@pytest.mark.parametrize(
    "name",
    [
        "length/repeated-different",
        "length/extra-response",
        "fields/folded-space",
        "coding/gzip",
        "coding/size-hex-prefix",
        "status_line/status-099",
        "fields/connection-names-a-field",
        "http10_client/chunked-undone",
        "no_body/204-with-length-zero",
        "interim/101-not-asked",
        "close/half-a-field",
    ],
)
def test_a_relay_fails_response_cases(naive: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    case = next(case for case in load("responses") if case.name == name)
    with pytest.raises((AssertionError, TimeoutError, Malformed)):
        ResponseTrial(case, "whole", naive).run()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that waits for nothing is given half a second, not ten."""
    monkeypatch.setattr(Stage.run, "__defaults__", (0.5,))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nX: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" + b"Content-Length",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
    ],
)
def test_the_reader_refuses(data: bytes) -> None:
    with pytest.raises(Malformed):
        RequestStream().feed(data)


def test_the_reader_takes_any_split() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
        b"ab", b"c", trailers=b"T: 1\r\n"
    )
    data += b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    whole = RequestStream().feed(data)
    stream = RequestStream()
    single = [request for i in range(len(data)) for request in stream.feed(data[i : i + 1])]
    assert [(r.start, r.fields, r.body, r.trailers) for r in whole] == [
        (r.start, r.fields, r.body, r.trailers) for r in single
    ]
    assert bytes(whole[0].body) == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nGARBAGE",
    ],
)
def test_the_reader_refuses_responses(data: bytes) -> None:
    stream = ResponseStream()
    stream.expect("GET")
    with pytest.raises(Malformed):
        stream.feed(data)


def test_a_cut_body_is_never_complete() -> None:
    for head, body in ((b"Content-Length: 5", b"hell"), (b"Transfer-Encoding: chunked", b"4\r\nhell\r\n0\r\n")):
        stream = ResponseStream()
        stream.expect("GET")
        assert not stream.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)
        assert not stream.feed(b"")
    stream = ResponseStream()
    stream.expect("GET")
    stream.feed(b"HTTP/1.1 200 OK\r\n\r\nhell")
    assert not stream.feed(b"", "RST")
