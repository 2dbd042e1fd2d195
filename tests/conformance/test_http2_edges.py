"""What one peer does late or twice must not reach what others have under way."""

import select
import signal
import threading

import pytest

from tests.support import http2_frames as h2
from tests.support.fastmesh import Fastmesh
from tests.support.http2 import OriginConnection, RawClient, RawOrigin, serve
from tests.support.http2_frames import Error, Kind
from tests.support.origin import Connection, Origin
from tests.support.wait import DEADLINE_S, until

BODY = b"0123456789" * 10
TRAILERS = h2.block([("x-sum", "of the body"), ("x-more", "and more")])


@pytest.mark.parametrize("refusal", [h2.rst_stream(1, Error.REFUSED_STREAM), h2.goaway(0)], ids=["refused", "goaway"])
def test_a_request_with_trailers_is_sent_again_whole(refusal: bytes) -> None:
    """RFC 9113 8.7: its body is the whole body, and its trailers are its trailers."""
    seen: list[tuple[bytes, dict[str, str]]] = []

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        while True:
            stream = connection.next_request()
            seen.append((bytes(stream.body), stream.trailers))
            if len(seen) == 1:
                connection.send(refusal)
            else:
                connection.respond(stream)

    with RawOrigin(script) as origin, Fastmesh(upstream=origin.address, upstream_protocol="http2") as proxy:
        with RawClient(proxy.address) as client:
            number = client.open_stream()
            client.send(h2.headers(number, h2.block(h2.request_fields("POST", "/")), end=False),
                        h2.data(number, BODY), h2.headers(number, TRAILERS, end=True))  # fmt: skip
            assert client.wait_ended(number).status == 200
        origin.drop_connections()
    assert len(seen) == 2
    assert seen[0] == seen[1] == (BODY, {"x-sum": "of the body", "x-more": "and more"})


def test_what_comes_for_a_stream_after_goaway_harms_no_other() -> None:
    """RFC 9113 6.8: a request that crossed our GOAWAY is not answered, and what follows its head is no error."""

    def script(connection: Connection) -> None:
        connection.request()
        asked.append(connection)
        connection.wait_end()

    asked: list[Connection] = []
    with Origin(script) as origin, Fastmesh(upstream=origin.address, upstream_protocol="http1") as proxy:
        with RawClient(proxy.address) as client:
            first = client.request()
            until(lambda: asked, "the first request upstream")
            proxy.signal(signal.SIGTERM)
            last = first.to_bytes(4, "big")
            client.wait(lambda: client.goaway and client.goaway.payload[:4] == last, "the last GOAWAY")
            late = client.request(h2.request_fields("POST", "/"), end=False)
            client.send(h2.data(late, b"body"), h2.window_update(late, 100), h2.priority(late),
                        h2.rst_stream(late, Error.CANCEL))  # fmt: skip
            client.sync()
            asked[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.wait_ended(first).status == 200, client.story()
            assert not client.stream(late).frames, client.story()
            client.wait_end()
            assert client.goaway_code == Error.NO_ERROR
        assert proxy.wait() == 0


def test_priority_of_an_idle_stream_is_answered_without_speaking_of_it() -> None:
    """RFC 9113 6.3, 5.1: a stream error cannot be said of a stream that has not begun."""
    with RawOrigin(serve) as origin, Fastmesh(upstream=origin.address) as proxy, RawClient(proxy.address) as client:
        client.send(h2.frame(Kind.PRIORITY, 0, 9, b"1234"))
        client.wait_end()
        assert client.goaway_code == Error.FRAME_SIZE_ERROR
        assert not client.stream(9).frames


def test_a_half_closed_tunnel_that_is_reset_ends_on_the_other_side() -> None:
    """RFC 9113 8.5: its client has nothing more to say and then wants nothing more, while the origin is silent."""
    said: list[bytes] = []
    over = threading.Event()

    def script(connection: Connection) -> None:
        connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        said.append(connection.tunnel(b"!"))
        assert connection.wait_end() == "FIN"
        reset = select.poll()
        reset.register(connection.sock, 0)
        if reset.poll(DEADLINE_S * 1000):
            over.set()

    with Origin(script) as origin, Fastmesh(upstream=origin.address, upstream_protocol="http1") as proxy:
        with RawClient(proxy.address) as client:
            number = client.request([(":method", "CONNECT"), (":authority", "t.test:1")], end=False)
            assert client.wait_head(number).status == 200
            client.send(h2.data(number, b"hello!", end=True))
            client.sync()
            client.send(h2.rst_stream(number, Error.CANCEL))
            assert over.wait(DEADLINE_S)
            client.sync()
        assert said == [b"hello!"]
