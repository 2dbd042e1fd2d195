"""Toward fastmesh as a client: preface, frames and the rules of each frame type (RFC 9113 3.4, 4, 5.1.1, 5.5, 6)."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import OriginConnection, serve
from tests.support.http2_case import any_of, dies, leaves, lives, resets
from tests.support.http2_frames import FRAME_MAX, WINDOW_MAX, Error, Kind, Setting
from tests.support.http2_upstream import ANY, CUT, OPEN, Answer, Upstream, raw_reply, reply

P = Error.PROTOCOL_ERROR
SIZE = Error.FRAME_SIZE_ERROR
FLOW = Error.FLOW_CONTROL_ERROR
OK = reply()
BEGIN = raw_reply(h2.response_fields(), end=False)
BLOCK = h2.block(h2.response_fields())
PUSHED = h2.block(h2.request_fields())


def good(section: str, name: str, frames: bytes) -> Answer:
    return Answer(section, name, frames, lives(), 200)


def wrong(section: str, name: str, frames: bytes, *codes: int, status: int = 502) -> Answer:
    """A connection error; the waiting client is told."""
    return Answer(section, name, frames, dies(*codes), status)


FRAMES = [
    good("9113 4.1", "unknown type on stream 0", h2.frame(0x2A, 0xFF, 0, b"x" * 100) + OK),
    good("9113 4.1", "unknown type on the stream", h2.frame(0x2A, 0xFF, 1, b"x") + OK),
    good("9113 4.1", "unknown type between HEADERS and DATA", BEGIN
         + h2.frame(0xC0, 1, 1, b"y") + h2.data(1, b"ok", end=True)),
    good("9113 4.1", "reserved bit set", h2.frame(Kind.HEADERS, 5, 1, BLOCK, reserved=True)),
    good("9113 4.1", "undefined flags of HEADERS", h2.frame(Kind.HEADERS, 5 | 0xD2 & ~0x28, 1, BLOCK)),
    good("9113 4.1", "undefined flags of DATA", BEGIN
         + h2.frame(Kind.DATA, 1 | 0xF6, 1, b"ok")),
    good("9113 4.1", "undefined flags of SETTINGS", h2.frame(Kind.SETTINGS, 0xFE, 0) + OK),
    good("9113 4.2", "DATA of 2^14 bytes", BEGIN
         + h2.data(1, bytes(FRAME_MAX), end=True)),
    good("9113 4.2", "HEADERS of 2^14 bytes", h2.headers(1, BLOCK + h2.literal("x", "a" * (FRAME_MAX - len(BLOCK) - 6)),
         end=True)),
    Answer("9113 4.2", "DATA over the maximum", BEGIN
           + h2.data(1, bytes(FRAME_MAX + 1)), any_of(dies(SIZE), resets(SIZE)), CUT),
    wrong("9113 4.2", "HEADERS over the maximum", h2.headers(1, BLOCK + h2.literal("x", "a" * FRAME_MAX)), SIZE),
    wrong("9113 4.2", "unknown type over the maximum", h2.frame(0x2A, 0, 0, bytes(FRAME_MAX + 1)), SIZE),
    wrong("9113 4.2", "RST_STREAM of 3 bytes", h2.frame(Kind.RST_STREAM, 0, 1, bytes(3)), SIZE),
    wrong("9113 4.2", "RST_STREAM of 5 bytes", h2.frame(Kind.RST_STREAM, 0, 1, bytes(5)), SIZE),
    wrong("9113 4.2", "SETTINGS of 5 bytes", h2.frame(Kind.SETTINGS, 0, 0, bytes(5)), SIZE),
    wrong("9113 4.2", "PING of 7 bytes", h2.frame(Kind.PING, 0, 0, bytes(7)), SIZE),
    wrong("9113 4.2", "GOAWAY of 7 bytes", h2.frame(Kind.GOAWAY, 0, 0, bytes(7)), SIZE),
    wrong("9113 4.2", "WINDOW_UPDATE of 3 bytes", h2.frame(Kind.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    wrong("9113 4.3", "the block's bytes are garbage", h2.headers(1, b"\xff" * 20, end=True), Error.COMPRESSION_ERROR),
    wrong("9113 4.3", "the block ends within a field", h2.headers(1, BLOCK[:-1], end=True), Error.COMPRESSION_ERROR),
    good("9113 4.3", "a block in CONTINUATION frames", h2.headers(1, BLOCK[:3], end=True, whole=False)
         + h2.continuation(1, BLOCK[3:5], whole=False) + h2.continuation(1, BLOCK[5:])),
    good("9113 4.3", "an empty HEADERS and an empty CONTINUATION", h2.headers(1, b"", end=True, whole=False)
         + h2.continuation(1, BLOCK, whole=False) + h2.continuation(1, b"")),
]  # fmt: skip

HALF = h2.headers(1, BLOCK[:3], end=True, whole=False)
BETWEEN = {
    "DATA": h2.data(1, b"x"),
    "HEADERS": h2.headers(1, BLOCK, end=True),
    "PRIORITY": h2.priority(1, 3),
    "RST_STREAM": h2.rst_stream(1),
    "SETTINGS": h2.settings(),
    "PUSH_PROMISE": h2.push_promise(1, 2, PUSHED),
    "PING": h2.ping(),
    "GOAWAY": h2.goaway(1),
    "WINDOW_UPDATE": h2.window_update(0, 1),
    "an extension frame": h2.frame(0x2A, 0, 0),
    "CONTINUATION on another stream": h2.continuation(3, BLOCK[3:]),
    "CONTINUATION on stream 0": h2.continuation(0, BLOCK[3:]),
}
INTERLEAVED = [
    wrong("9113 5.5" if "extension" in name else "9113 6.10", f"{name} within a header block", HALF + piece, P)
    for name, piece in BETWEEN.items()
]
INTERLEAVED.append(wrong("9113 6.10", "CONTINUATION without HEADERS", h2.continuation(1, BLOCK), P))

STREAMS = [
    wrong("9113 5.1.1", "HEADERS on a stream of the server's", reply(stream=2), P),
    wrong("9113 5.1", "HEADERS on an idle stream", reply(stream=3), P),
    wrong("9113 6.2", "HEADERS on stream 0", reply(stream=0), P),
    wrong("9113 6.1", "DATA on stream 0", h2.data(0, b"x"), P),
]

PADDING = [
    good("9113 6.1", "padding", raw_reply(h2.response_fields(200, ("content-length", "2")), end=False)
         + h2.data(1, b"ok", pad=200, end=True)),
    good("9113 6.1", "DATA of padding only", BEGIN
         + h2.data(1, pad=9) + h2.data(1, pad=0) + h2.data(1, b"ok", end=True)),
    wrong("9113 6.1", "padding as long as the payload", BEGIN
          + h2.frame(Kind.DATA, 8, 1, b"\3xy"), P, status=CUT),
    good("9113 6.2", "padding of HEADERS", h2.headers(1, BLOCK, end=True, pad=50)),
    wrong("9113 6.2", "padding of HEADERS as long as the payload",
          h2.frame(Kind.HEADERS, 0xD, 1, b"\x06" + BLOCK[:5]), P),
    good("9113 6.2", "priority", h2.headers(1, BLOCK, end=True, priority=h2.priority_fields(3))),
    good("9113 6.3", "PRIORITY", h2.priority(1, 5) + h2.priority(2, 1) + h2.priority(9, 1) + OK),
    wrong("9113 6.3", "PRIORITY on stream 0", h2.priority(0, 1), P),
    Answer("9113 6.3", "PRIORITY of 4 bytes", h2.frame(Kind.PRIORITY, 0, 1, bytes(4)),
           any_of(resets(SIZE), dies(SIZE))),
]  # fmt: skip

RESETS = [
    wrong("9113 6.4", "RST_STREAM on stream 0", h2.rst_stream(0), P),
    wrong("9113 6.4", "RST_STREAM on an idle stream", h2.rst_stream(3), P),
    wrong("9113 6.4", "RST_STREAM on an idle stream of the server's", h2.rst_stream(2), P),
    *(Answer("9113 6.4", f"RST_STREAM {code.name}", h2.rst_stream(1, code), lives())
      for code in (P, Error.INTERNAL_ERROR, Error.CANCEL, Error.ENHANCE_YOUR_CALM, Error.HTTP_1_1_REQUIRED)),
    Answer("9113 7", "RST_STREAM with an unknown code", h2.rst_stream(1, 0xFACE), lives()),
    Answer("9113 6.4", "RST_STREAM within a response", reply(end=False) + h2.rst_stream(1), lives(), CUT),
    good("9113 8.1", "RST_STREAM NO_ERROR after the response", OK + h2.rst_stream(1, Error.NO_ERROR)),
    # Seen together or one after the other: a complete response is kept.
    Answer("9113 8.1", "the response and RST_STREAM NO_ERROR before the request's end",
           OK + h2.rst_stream(1, Error.NO_ERROR), lives(known=1), 200, request=OPEN),
    Answer("9113 8.7", "REFUSED_STREAM is tried again", h2.rst_stream(1, Error.REFUSED_STREAM), lives(), 200, last=2),
]  # fmt: skip

SETTINGS = [
    wrong("9113 6.5", "ack with a payload", h2.frame(Kind.SETTINGS, 1, 0, bytes(6)), SIZE),
    wrong("9113 6.5", "on a stream", h2.frame(Kind.SETTINGS, 0, 1), P),
    wrong("9113 6.5.2", "ENABLE_PUSH 1 of a server", h2.settings({2: 1}), P),
    wrong("9113 6.5.2", "ENABLE_PUSH 2", h2.settings({2: 2}), P),
    good("9113 6.5.2", "ENABLE_PUSH 0 of a server", h2.settings({2: 0}) + OK),
    wrong("9113 6.5.2", "INITIAL_WINDOW_SIZE 2^31", h2.settings({4: 1 << 31}), FLOW),
    wrong("9113 6.5.2", "MAX_FRAME_SIZE 2^14-1", h2.settings({5: (1 << 14) - 1}), P),
    wrong("9113 6.5.2", "MAX_FRAME_SIZE 2^24", h2.settings({5: 1 << 24}), P),
    good("9113 6.5.2", "unknown settings", h2.settings([(0, 9), (0xABCD, 1)]) + OK),
    good("9113 6.5.2", "MAX_CONCURRENT_STREAMS 0 does not touch streams that are open", h2.settings({3: 0}) + OK),
    good("9113 6.5.2", "the greatest values",
         h2.settings({1: (1 << 32) - 1, 4: WINDOW_MAX, 5: (1 << 24) - 1, 6: (1 << 32) - 1}) + OK),
    good("8441 3", "ENABLE_CONNECT_PROTOCOL 1", h2.settings({8: 1}) + OK),
]  # fmt: skip

PUSH = [
    wrong("9113 6.6", "a push, which was switched off", h2.push_promise(1, 2, PUSHED), P),
    wrong("9113 6.6", "a push on stream 0", h2.push_promise(0, 2, PUSHED), P),
    wrong("9113 6.6", "a push on an idle stream", h2.push_promise(3, 2, PUSHED), P),
    wrong("9113 6.6", "a push that promises a stream of the client's", h2.push_promise(1, 3, PUSHED), P),
]

PINGS = [
    wrong("9113 6.7", "PING on a stream", h2.frame(Kind.PING, 0, 1, bytes(8)), P),
    wrong("9113 6.7", "PING of 9 bytes", h2.frame(Kind.PING, 0, 0, bytes(9)), SIZE),
    good("9113 6.7", "a PING ack that nothing asked for", h2.ping(b"unasked!", ack=True) + OK),
]

GOAWAYS = [
    wrong("9113 6.8", "GOAWAY on a stream", h2.frame(Kind.GOAWAY, 0, 1, bytes(8)), P),
    Answer("9113 6.8", "streams up to the last go on", h2.goaway(1) + OK, leaves(), 200),
    Answer("9113 6.8", "the response comes after a GOAWAY with an error", h2.goaway(1, P) + OK, leaves(), ANY),
    Answer("9113 6.8", "GOAWAY twice, the last stream shrinks", h2.goaway(WINDOW_MAX) + h2.goaway(1) + OK,
           leaves(), 200),
    Answer("9113 8.7", "a stream above the last is tried again", h2.goaway(0), leaves(), 200, last=2),
    Answer("9113 8.7", "a stream above the last is tried again, GOAWAY twice", h2.goaway(WINDOW_MAX) + h2.goaway(0),
           leaves(), 200, last=2),
]  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [*FRAMES, *INTERLEAVED, *STREAMS, *PADDING, *RESETS, *SETTINGS, *PUSH, *PINGS, *GOAWAYS],
    ids=str,
)
def test_connection(upstream: Upstream, case: Answer) -> None:
    upstream.run(case)


def test_3_4_preface_and_settings_come_first(upstream: Upstream) -> None:
    """Before fastmesh has heard anything of the server (3.4): the preface, SETTINGS, and then the request may come."""
    heard = []

    def script(connection: OriginConnection) -> None:
        connection.auto_settings = False
        connection.take_preface()
        connection.wait(lambda: connection.settings_frames, "SETTINGS")
        heard.append(connection.frames[0].kind)
        connection.send(h2.settings(), h2.SETTINGS_ACK)
        connection.respond(connection.next_request())
        connection.wait_end()

    with upstream.ask(script) as client:
        assert client.get("/").status == 200
    upstream.end()
    assert heard == [Kind.SETTINGS]


def test_3_4_a_server_that_does_not_begin_with_settings(upstream: Upstream) -> None:
    seen = []

    def script(connection: OriginConnection) -> None:
        connection.send(h2.ping())
        connection.take_preface()
        seen.append((connection.wait_end(), connection.goaway_code))

    with upstream.ask(script) as client:
        assert client.get("/").status == 502
    upstream.end()
    assert seen == [("FIN", P)] or seen == [("RST", P)], seen


def test_3_4_a_server_that_speaks_http1(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.take_preface()
        connection.wait_end()

    with upstream.ask(script) as client:
        assert client.get("/").status == 502
    upstream.end()


def test_3_4_the_servers_bytes_may_come_one_by_one(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        connection.send_split(h2.settings({Setting.MAX_CONCURRENT_STREAMS: 5}))
        connection.take_preface()
        connection.next_request()
        connection.send_split(BEGIN + h2.data(1, b"abc") + h2.data(1, b"d", pad=3, end=True))
        connection.wait_end()

    with upstream.ask(script) as client:
        response = client.get("/")
        assert (response.status, bytes(response.body)) == (200, b"abcd")
    upstream.end()


def test_6_5_2_push_is_switched_off(upstream: Upstream) -> None:
    seen = []

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        seen.append(connection.watch.settings.get(Setting.ENABLE_PUSH))
        connection.respond(connection.next_request())
        connection.wait_end()

    with upstream.ask(script) as client:
        assert client.get("/").status == 200
    upstream.end()
    assert seen == [0]


def test_6_5_3_settings_are_acked_and_pings_answered(upstream: Upstream) -> None:
    seen = []

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        stream = connection.next_request()
        connection.send(*(h2.settings({Setting.INITIAL_WINDOW_SIZE: 70000 + i}) for i in range(4)))
        connection.wait_acks(5)
        connection.sync()
        connection.send(h2.ping(b"unasked!", ack=True))
        connection.sync()
        seen.append((connection.acks, sum(frame.kind == Kind.PING for frame in connection.frames)))
        connection.respond(stream)
        connection.wait_end()

    with upstream.ask(script) as client:
        assert client.get("/").status == 200
    upstream.end()
    assert seen == [(5, 2)]


def test_9_1_one_connection_carries_the_requests_of_many(upstream: Upstream) -> None:
    before = len(upstream.origin.connections)
    with upstream.ask(serve) as first, upstream.ask(serve) as second:
        for client in (first, second) * 3:
            assert client.get("/").status == 200
        assert len(upstream.origin.connections) == before + 1
        assert sorted(number for number in upstream.origin.peer(before).watch.streams) == [1, 3, 5, 7, 9, 11]
    upstream.end()
