"""Toward fastmesh as a server: RFC 9113 3.4 (preface), 4 (frames), 5.1.1, 5.1.2 (streams), 5.5 (extensions)."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_case import Case, Server, answers, any_of, dies, head, resets
from tests.support.http2_frames import FRAME_MAX, Error, Kind, Setting

P = Error.PROTOCOL_ERROR
SIZE = Error.FRAME_SIZE_ERROR
BAD_BLOCK = Error.COMPRESSION_ERROR
GET = h2.block(h2.request_fields())
HOLD = head(path="/hold")
START = h2.PREFACE + h2.settings()


def filler(size: int) -> bytes:
    """A lawful header block of `size` bytes at least."""
    return GET + h2.literal("x-fill", "a" * size)


def split_frames(client: RawClient) -> None:
    """Every frame cut in two, each half a packet of its own."""
    for piece in (START, h2.headers(1, GET), h2.data(1, b"abc"), h2.data(1, end=True)):
        client.send_split(piece, len(piece) // 2 + 1)


def settings_late(client: RawClient) -> None:
    """The server's SETTINGS may be awaited before the client says anything but the preface (3.4)."""
    client.send(h2.PREFACE)
    client.send(h2.settings())
    client.send(head())


PREFACE = [
    Case("9113 3.4", "the server's SETTINGS come first", h2.PREFACE + h2.settings() + head(), answers(), {}, False),
    Case("9113 3.4", "preface byte by byte", lambda c: c.send_split(START + head()), answers(), {}, False),
    Case("9113 3.4", "frames cut in two", split_frames, answers(), {}, False),
    Case("9113 3.4", "requests before the server's SETTINGS", START + head() + head(stream=3), answers(stream=3), {},
         False),
    Case("9113 3.4", "SETTINGS in a packet of its own", settings_late, answers(), {}, False),
    Case("9113 3.4", "no SETTINGS after the preface", h2.PREFACE + h2.ping(), dies(P), {}, False),
    Case("9113 3.4", "HEADERS instead of SETTINGS", h2.PREFACE + head(), dies(P), {}, False),
    Case("9113 3.4", "a SETTINGS ack instead of SETTINGS", h2.PREFACE + h2.SETTINGS_ACK, dies(P), {}, False),
    Case("9113 3.4", "an unknown frame instead of SETTINGS", h2.PREFACE + h2.frame(0x55, 0, 0), dies(P), {}, False),
]  # fmt: skip

FRAMES = [
    Case("9113 4.1", "unknown type on stream 0", h2.frame(0x2A, 0xFF, 0, b"x" * 100) + head(), answers()),
    Case("9113 4.1", "unknown type on an idle stream", h2.frame(0xFF, 0, 9, b"") + head(), answers()),
    Case("9113 4.1", "unknown type of the greatest size", h2.frame(0x10, 0, 0, bytes(FRAME_MAX)) + head(), answers()),
    Case("9113 4.1", "unknown type in the midst of a body",
         head("POST", end=False) + h2.data(1, b"a") + h2.frame(0x30, 1, 1, b"?") + h2.data(1, b"b", end=True),
         answers()),
    Case("9113 4.1", "reserved bit set", h2.frame(Kind.HEADERS, 5, 1, GET, reserved=True), answers()),
    Case("9113 4.1", "reserved bit of PING set", h2.frame(Kind.PING, 0, 0, bytes(8), reserved=True) + head(),
         answers()),
    Case("9113 4.1", "undefined flags of HEADERS", h2.frame(Kind.HEADERS, 5 | 0xD2 & ~0x28, 1, GET), answers()),
    Case("9113 4.1", "undefined flags of DATA",
         head("POST", end=False) + h2.frame(Kind.DATA, 1 | 0xF6, 1, b"body"), answers()),
    Case("9113 4.1", "undefined flags of PING", h2.frame(Kind.PING, 0xFE, 0, bytes(8)) + head(), answers()),
    Case("9113 4.1", "undefined flags of SETTINGS", h2.frame(Kind.SETTINGS, 0xFE, 0) + head(), answers()),
    Case("9113 4.1", "undefined flags of WINDOW_UPDATE", h2.frame(Kind.WINDOW_UPDATE, 0xFF, 0, b"\0\0\0\1") + head(),
         answers()),
    Case("9113 4.1", "undefined flags of PRIORITY", h2.frame(Kind.PRIORITY, 0xFF, 1, bytes(4) + b"\1") + head(),
         answers()),
    Case("9113 4.1", "END_STREAM on CONTINUATION is none",
         h2.headers(1, GET[:5], whole=False) + h2.frame(Kind.CONTINUATION, 5, 1, GET[5:]) + h2.data(1, end=True),
         answers()),
    Case("9113 4.2", "DATA of 2^14 bytes", head("POST", end=False) + h2.data(1, bytes(FRAME_MAX), end=True), answers()),
    Case("9113 4.2", "HEADERS of 2^14 bytes", h2.headers(1, filler(FRAME_MAX - len(GET) - 11), end=True), answers()),
    Case("9113 4.2", "DATA over the maximum", head("POST", end=False) + h2.data(1, bytes(FRAME_MAX + 1)),
         any_of(dies(SIZE), resets(SIZE))),
    Case("9113 4.2", "HEADERS over the maximum", h2.headers(1, filler(FRAME_MAX), end=True), dies(SIZE)),
    Case("9113 4.2", "CONTINUATION over the maximum",
         h2.headers(1, GET, end=True, whole=False) + h2.continuation(1, h2.literal("x", "a" * FRAME_MAX)), dies(SIZE)),
    Case("9113 4.2", "SETTINGS over the maximum", h2.settings([(0xFF00, 0)] * 2731), dies(SIZE)),
    Case("9113 4.2", "unknown type over the maximum", h2.frame(0x2A, 0, 0, bytes(FRAME_MAX + 1)), dies(SIZE)),
    Case("9113 4.2", "a length of 2^24-1", h2.frame(Kind.DATA, 0, 1, b"", size=(1 << 24) - 1),
         any_of(dies(SIZE), dies(P))),
    Case("9113 4.2", "PING of 7 bytes", h2.frame(Kind.PING, 0, 0, bytes(7)), dies(SIZE)),
    Case("9113 4.2", "PING of 9 bytes", h2.frame(Kind.PING, 0, 0, bytes(9)), dies(SIZE)),
    Case("9113 4.2", "PING without payload", h2.frame(Kind.PING, 0, 0), dies(SIZE)),
    Case("9113 4.2", "RST_STREAM of 3 bytes", HOLD + h2.frame(Kind.RST_STREAM, 0, 1, bytes(3)), dies(SIZE)),
    Case("9113 4.2", "RST_STREAM of 5 bytes", HOLD + h2.frame(Kind.RST_STREAM, 0, 1, bytes(5)), dies(SIZE)),
    Case("9113 4.2", "WINDOW_UPDATE of 3 bytes", h2.frame(Kind.WINDOW_UPDATE, 0, 0, bytes(3)), dies(SIZE)),
    Case("9113 4.2", "WINDOW_UPDATE of 5 bytes", h2.frame(Kind.WINDOW_UPDATE, 0, 0, b"\0\0\0\1\0"), dies(SIZE)),
    Case("9113 4.2", "GOAWAY of 7 bytes", h2.frame(Kind.GOAWAY, 0, 0, bytes(7)), dies(SIZE)),
    Case("9113 4.2", "SETTINGS of 5 bytes", h2.frame(Kind.SETTINGS, 0, 0, bytes(5)), dies(SIZE)),
    Case("9113 4.2", "padded DATA without a pad length",
         head("POST", end=False) + h2.frame(Kind.DATA, h2.PADDED, 1), any_of(dies(SIZE), dies(P))),
    Case("9113 4.2", "padded HEADERS without a pad length", h2.frame(Kind.HEADERS, 4 | h2.PADDED, 1),
         any_of(dies(SIZE), dies(P))),
    Case("9113 4.2", "HEADERS too short for its priority", h2.frame(Kind.HEADERS, 5 | h2.PRIORITY_FLAG, 1, bytes(4)),
         any_of(dies(SIZE), dies(P))),
]  # fmt: skip

BLOCKS = [
    Case("9113 4.3", "a block in six CONTINUATION frames, fields cut anywhere",
         h2.headers(1, b"", end=True, whole=False)
         + b"".join(h2.continuation(1, GET[i * 9 : i * 9 + 9], whole=False) for i in range(5))
         + h2.continuation(1, GET[45:]), answers()),
    Case("9113 4.3", "an empty CONTINUATION at the end",
         h2.headers(1, GET, end=True, whole=False) + h2.continuation(1, b""), answers()),
    Case("9113 4.3", "the block's bytes are garbage", h2.headers(1, b"\xff" * 20, end=True), dies(BAD_BLOCK)),
    Case("9113 4.3", "the block ends within a field", h2.headers(1, GET[:-1], end=True), dies(BAD_BLOCK)),
    Case("9113 4.3", "garbage in trailers",
         head("POST", end=False) + h2.headers(1, b"\xff" * 20, end=True), dies(BAD_BLOCK)),
]  # fmt: skip

OPEN_BLOCK = h2.headers(1, GET[:5], end=True, whole=False)
BETWEEN = {
    "DATA on the same stream": h2.data(1, b"x"),
    "DATA on another stream": head("POST", stream=1, end=False) + h2.headers(3, GET, whole=False) + h2.data(1, b"x"),
    "HEADERS on the same stream": h2.headers(1, GET, end=True),
    "HEADERS on another stream": h2.headers(3, GET, end=True),
    "PRIORITY": h2.priority(1, 3),
    "RST_STREAM": h2.rst_stream(1),
    "SETTINGS": h2.settings(),
    "SETTINGS ack": h2.SETTINGS_ACK,
    "PUSH_PROMISE": h2.push_promise(1, 2, GET),
    "PING": h2.ping(),
    "GOAWAY": h2.goaway(0),
    "WINDOW_UPDATE": h2.window_update(0, 1),
    "an extension frame on the stream": h2.frame(0x2A, 0, 1, b"x"),
    "an extension frame on stream 0": h2.frame(0x2A, 0, 0),
    "CONTINUATION on another stream": h2.continuation(3, GET[5:]),
    "CONTINUATION on stream 0": h2.continuation(0, GET[5:]),
}
INTERLEAVED = [
    Case("9113 5.5" if "extension" in name else "9113 6.10", f"{name} within a header block",
         piece if "another stream" in name and "DATA" in name else OPEN_BLOCK + piece, dies(P))
    for name, piece in BETWEEN.items()
]  # fmt: skip


def fill_streams(client: RawClient) -> None:
    """One stream more than fastmesh allows at once; the last one is stream 1 + 2 * the limit."""
    limit = client.watch.settings[Setting.MAX_CONCURRENT_STREAMS]
    client.send(*(head(path="/hold", stream=1 + 2 * i) for i in range(limit)))
    client.send(head(stream=1 + 2 * limit))
    client.wait_ended(1 + 2 * limit)


def refill_streams(client: RawClient) -> None:
    """A full connection whose first stream is reset takes one more."""
    limit = client.watch.settings[Setting.MAX_CONCURRENT_STREAMS]
    client.send(*(head(path="/hold", stream=1 + 2 * i) for i in range(limit)))
    client.send(h2.rst_stream(1))
    client.sync()
    client.send(head(stream=1 + 2 * limit))
    assert client.wait_ended(1 + 2 * limit).status == 200


STREAMS = [
    Case("9113 5.1.1", "an even stream from the client", head(stream=2), dies(P)),
    Case("9113 5.1.1", "stream 0", head(stream=0), dies(P)),
    Case("9113 5.1.1", "a stream below the last one", head(stream=5) + head(stream=3), dies(P)),
    Case("9113 5.1.1", "streams may be skipped", head(stream=1) + head(stream=101), answers(stream=101)),
    Case("9113 5.1.1", "the greatest stream", head(stream=0x7FFFFFFF), answers(stream=0x7FFFFFFF)),
    Case("9113 5.1.1", "after the greatest stream there is none", head(stream=0x7FFFFFFF) + head(stream=1), dies(P)),
    Case("9113 5.1.1", "a stream that is open cannot be opened again",
         head("POST", path="/hold", end=False) + head("POST", path="/hold", end=False), resets(P)),
]  # fmt: skip


@pytest.mark.parametrize("case", [*PREFACE, *FRAMES, *BLOCKS, *INTERLEAVED, *STREAMS], ids=str)
def test_connection(server: Server, case: Case) -> None:
    server.run(case)


@pytest.mark.parametrize(
    "first", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"PRI * HTTP/1.1\r\n\r\n"]
)
def test_3_4_a_wrong_preface_is_answered_as_http1_or_closed(server: Server, first: bytes) -> None:
    """An invalid preface is a connection error; GOAWAY may be left out, as the peer may not speak HTTP/2 (3.4)."""
    with RawClient(server.address, handshake=False) as client:
        client.sock.sendall(first)
        client.half_close()
        data = b""
        while piece := _receive(client):
            data += piece
    assert data == b"" or data.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 ")) or data[3:4] in (b"\4", b"\7"), data


def _receive(client: RawClient) -> bytes:
    try:
        return client.sock.recv(65536)
    except ConnectionResetError:
        return b""


def test_3_4_a_preface_that_stops_is_closed_with_the_client(server: Server) -> None:
    with RawClient(server.address, handshake=False) as client:
        client.sock.sendall(h2.PREFACE[:10])
        client.half_close()
        while _receive(client):
            pass


def test_5_1_2_one_stream_too_many_is_refused(server: Server) -> None:
    with RawClient(server.address) as client:
        fill_streams(client)
        last = 1 + 2 * client.watch.settings[Setting.MAX_CONCURRENT_STREAMS]
        assert client.stream(last).reset in (Error.REFUSED_STREAM, P), client.story()
        client.sync()


def test_5_1_2_a_reset_stream_does_not_count(server: Server) -> None:
    with RawClient(server.address) as client:
        refill_streams(client)


def test_6_5_2_at_least_100_streams_are_allowed(server: Server) -> None:
    with RawClient(server.address) as client:
        assert client.watch.settings.get(Setting.MAX_CONCURRENT_STREAMS, 100) >= 100


def test_5_4_1_last_stream_of_goaway_is_the_last_one_seen(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head(path="/hold", stream=7), h2.data(0, b"x"))
        client.wait_end()
        assert client.watch.goaway_last == 7, client.story()
