"""Answers the proxy makes itself: framed right for every method and version, and the connection after them."""

from collections.abc import Iterator

import pytest

from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.net import free_port


@pytest.fixture(scope="module")
def proxy() -> Iterator[Fastmesh]:
    """A proxy without a living endpoint."""
    with Fastmesh(upstream=f"127.0.0.1:{free_port()}", backoff_min="1m") as proxy:
        yield proxy


def test_every_answer_is_framed_and_says_why(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        for _ in range(3):
            answer = client.get("/")
            assert answer.status in (502, 503)
            assert answer.get("content-length") == str(len(answer.body)).encode()
            assert (answer.get("content-type") or b"").startswith(b"text/plain")
            assert answer.get("date")
            reason = answer.get("fastmesh-error")
            assert reason
            assert reason in answer.body


def test_head_gets_no_body(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        for _ in range(3):
            answer = client.ask(request("HEAD", "/"), "HEAD")
            assert answer.status in (502, 503)
            assert not answer.body
        assert client.get("/").status == 503  # nothing of a body was left between


def test_http10_is_closed_unless_it_asked(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        assert client.ask(b"GET / HTTP/1.0\r\n\r\n").status in (502, 503)
        client.expect_end()


def test_a_request_body_that_came_is_read_off(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        for framing in ("Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
            client.send(f"POST / HTTP/1.1\r\nHost: a\r\n{framing}".encode())
            answer = client.read("POST")
            assert answer.status in (502, 503)
            if answer.closes:
                client.expect_end()
                return
        assert client.get("/").status == 503


def test_a_body_still_to_come_ends_the_connection_or_is_read_off(proxy: Fastmesh) -> None:
    """Bytes of a refused body must never be read as the next request (RFC 9112 9.3)."""
    smuggled = request("GET", "/smuggled")
    with Client(proxy.address) as client:
        client.send(request("POST", "/", f"Content-Length: {len(smuggled)}"))
        answer = client.read("POST")
        assert answer.status in (502, 503)
        client.send(smuggled)
        if answer.closes:
            client.expect_end()
        else:
            assert client.get("/").status == 503
    assert proxy.counts().sum("fastmesh_retries_total") <= 2


def test_expect_continue_is_answered_at_once(proxy: Fastmesh) -> None:
    """The client waits for 100 or a final answer; without an endpoint it must get the latter."""
    with Client(proxy.address) as client:
        answer = client.ask(request("POST", "/", "Expect: 100-continue", "Content-Length: 5"), "POST")
        assert answer.status in (502, 503)


def test_pipelined_requests_are_each_answered(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        client.send(request("GET", "/") * 50)
        assert {client.read().status for _ in range(50)} <= {502, 503}


def test_upgrade_and_connect_without_endpoint(proxy: Fastmesh) -> None:
    for data, method in (
        (request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"), "GET"),
        (request("CONNECT", "t.test:443", host="t.test:443"), "CONNECT"),
    ):
        with Client(proxy.address) as client:
            assert client.ask(data, method).status in (502, 503)


SMALL = "head_bytes = 1024\nline_bytes = 256\nfield_line_bytes = 512\nfields = 5\n"


def with_head_of(size: int) -> bytes:
    """A request whose head has exactly `size` bytes, in field lines that are not too long."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    rest = size - len(start) - 2
    lines = []
    while rest:
        take = min(rest, 400) if rest - min(rest, 400) not in range(1, 6) else rest - 10
        lines.append(b"X: " + b"x" * (take - 5) + b"\r\n")
        rest -= take
    return start + b"".join(lines) + b"\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (with_head_of(1024), 503),
        (with_head_of(1025), 431),
        (b"GET /" + b"a" * (256 - 16) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 503),
        (b"GET /" + b"a" * (257 - 16) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (512 - 5) + b"\r\n\r\n", 503),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (513 - 5) + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 4 + b"\r\n", 503),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 5 + b"\r\n", 431),
    ],
    ids=["head", "head+1", "line", "line+1", "field", "field+1", "fields", "fields+1"],
)
def test_limits_are_settings_and_exact(small: Fastmesh, data: bytes, status: int) -> None:
    """What is within its limit is only refused for want of an endpoint."""
    with Client(small.address) as client:
        answer = client.ask(data)
        assert answer.status == status
        assert answer.closes == (status != 503)


@pytest.fixture(scope="module")
def small() -> Iterator[Fastmesh]:
    with Fastmesh(config=SMALL, upstream=f"127.0.0.1:{free_port()}", backoff_min="1m") as small:
        with Client(small.address) as client:
            client.get("/")  # from here on the endpoint is out
        yield small
