"""The raw-frame toolkit against programs that know nothing of it: nghttpd as server, nghttp as client."""

import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from hpack import Decoder, HPACKDecodingError

from tests.support import http2_frames as h2
from tests.support.client import pattern
from tests.support.http2 import OriginConnection, RawClient, RawOrigin
from tests.support.http2_frames import Error, Kind, Setting
from tests.support.http2_watch import Breach, Watch
from tests.support.server import Nghttpd, plain_environment

BIG = pattern(300_000)


@pytest.fixture(scope="module")
def nghttpd() -> Iterator[Nghttpd]:
    with Nghttpd({"small": b"hello", "big": BIG}, "--trailer", "sum: 1") as server:
        yield server


def nghttp(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["nghttp", *arguments]
    return subprocess.run(command, capture_output=True, timeout=30, check=False, env=plain_environment())


# --- the client


def test_client_reads_heads_bodies_and_trailers(nghttpd: Nghttpd) -> None:
    with RawClient(nghttpd.address) as client:
        stream = client.get("/small")
        assert (stream.status, bytes(stream.body), stream.trailers) == (200, b"hello", {"sum": "1"})
        assert client.get("/none").status == 404
        client.sync()


def test_client_grants_windows_when_it_shall(nghttpd: Nghttpd) -> None:
    with RawClient(nghttpd.address) as client:
        client.auto_window = True
        assert bytes(client.get("/big").body) == BIG


def test_client_without_grants_gets_one_window(nghttpd: Nghttpd) -> None:
    with RawClient(nghttpd.address, {Setting.INITIAL_WINDOW_SIZE: 1000}) as client:
        number = client.request(h2.request_fields("GET", "/big"))
        client.wait(lambda: len(client.stream(number).body) >= 1000, "one window")
        client.sync()
        assert bytes(client.stream(number).body) == BIG[:1000]


def test_client_bytes_in_pieces(nghttpd: Nghttpd) -> None:
    with RawClient(nghttpd.address, handshake=False) as client:
        block = h2.block(h2.request_fields("GET", "/small"))
        client.send_split(h2.PREFACE)
        client.send_split(h2.settings() + h2.headers(1, block, end=True))
        assert client.wait_ended(1).status == 200


def test_client_sees_connection_errors(nghttpd: Nghttpd) -> None:
    with RawClient(nghttpd.address) as client:
        client.send(h2.data(0, b"x"))
        assert client.wait_end()
        assert client.goaway_code == Error.PROTOCOL_ERROR
        assert "PROTOCOL_ERROR" in client.story()


def test_client_sees_resets(nghttpd: Nghttpd) -> None:
    with RawClient(nghttpd.address) as client:
        stream = client.wait_ended(client.request(h2.request_fields("GET", "/", ("connection", "close"))))
        assert stream.reset == Error.PROTOCOL_ERROR or stream.status == 400


def test_client_sees_a_connection_closed_without_goaway() -> None:
    with RawOrigin(lambda connection: None) as origin, RawClient(origin.address, handshake=False) as client:
        assert client.wait_end() in ("FIN", "RST")
        assert client.goaway is None


# --- the origin


def test_origin_answers_nghttp() -> None:
    with RawOrigin() as origin:
        done = nghttp("-v", f"http://{origin.address}/", f"http://{origin.address}/two")
        assert done.returncode == 0
        assert b":status: 200" in done.stdout
        streams = [stream for stream in origin.peer().watch.streams.values() if stream.heads]
        assert [stream.fields[":path"] for stream in streams] == ["/", "/two"]


def test_origin_takes_a_body_within_its_windows(tmp_path: pathlib.Path) -> None:
    bodies = []

    def script(connection: OriginConnection) -> None:
        connection.auto_window = True
        connection.handshake({Setting.INITIAL_WINDOW_SIZE: 100})
        stream = connection.next_request()
        bodies.append(bytes(stream.body))
        connection.respond(stream, 200, ("content-length", "2"))
        connection.wait_end()

    (tmp_path / "body").write_bytes(BIG[:2000])
    with RawOrigin(script) as origin:
        assert nghttp("-n", "-d", str(tmp_path / "body"), f"http://{origin.address}/").returncode == 0
    assert bodies == [BIG[:2000]]


def test_origin_that_sends_nonsense_gets_a_goaway() -> None:
    codes = []

    def script(connection: OriginConnection) -> None:
        connection.handshake(acked=False)
        connection.next_request()
        connection.send(h2.frame(Kind.PING, 0, 0, b"short"))
        connection.wait_end()
        codes.append(connection.goaway_code)

    with RawOrigin(script) as origin:
        nghttp("-n", f"http://{origin.address}/")
    assert codes == [Error.FRAME_SIZE_ERROR]


# --- the watch


def _feed(watch: Watch, *pieces: bytes) -> None:
    for frame in h2.take_frames(bytearray(b"".join(pieces))):
        watch.came(frame)


WRONG = {
    "ping first": (h2.frame(Kind.PING, 0, 0, b"x" * 7), "4.2"),
    "unknown type": (h2.frame(0x2A, 0, 0), "4.1"),
    "reserved bit": (h2.frame(Kind.PING, 0, 0, b"x" * 8, reserved=True), "4.1"),
    "too large": (h2.frame(Kind.SETTINGS, 0, 0, bytes(16386)), "4.2"),
    "flag without meaning": (h2.frame(Kind.PING, 4, 0, bytes(8)), "4.1"),
    "settings on a stream": (h2.frame(Kind.SETTINGS, 0, 1), "6"),
    "data on stream 0": (h2.data(0), "6"),
    "push": (h2.push_promise(1, 2, b""), "8.4"),
    "response without request": (h2.headers(1, b""), "5.1.1"),
    "continuation alone": (h2.continuation(1, b""), "6.10"),
    "reset of an idle stream": (h2.rst_stream(1), "5.1"),
    "increment 0": (h2.window_update(0, 0), "6.9"),
    "window over the top": (h2.window_update(0, (1 << 31) - 1), "6.9.1"),
    "ack for nothing": (h2.SETTINGS_ACK, "6.5"),
    "pong for nothing": (h2.ping(ack=True), "6.7"),
    "push enabled by a server": (h2.settings({Setting.ENABLE_PUSH: 1}), "6.5.2"),
    "last stream grows": (h2.goaway(1) + h2.goaway(3), "6.8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_watch_refuses(name: str) -> None:
    piece, section = WRONG[name]
    with pytest.raises(Breach, match=rf"RFC 9113 {section}: "):
        _feed(Watch(client=False), h2.settings(), piece)


def test_watch_knows_the_window() -> None:
    watch = Watch(client=True)
    _feed(watch, h2.settings(), h2.headers(1, b""))
    watch.head(1, [(":method", "POST"), (":scheme", "http"), (":authority", "t"), (":path", "/")])
    watch.window.size = 5
    _feed(watch, h2.data(1, b"12345"))
    with pytest.raises(Breach, match=r"6\.9\.1: .* the connection's window is 0"):
        _feed(watch, h2.data(1, b"6"))


def test_watch_knows_the_stream_limit() -> None:
    watch = Watch(client=True)
    for frame in h2.take_frames(bytearray(h2.settings({Setting.MAX_CONCURRENT_STREAMS: 1}))):
        watch.sent(frame)
    _feed(watch, h2.settings(), h2.headers(1, b""), h2.headers(3, b""), h2.rst_stream(1), h2.rst_stream(3))
    _feed(watch, h2.SETTINGS_ACK, h2.headers(5, b""))
    with pytest.raises(Breach, match="one stream too many"):
        _feed(watch, h2.headers(7, b""))


@pytest.mark.parametrize(
    "fields",
    [
        [(":status", "200"), ("Upper", "x")], [(":status", "200"), ("x", "a\nb")], [(":status", "200"), ("x", " a")],
        [("x", "y"), (":status", "200")], [(":status", "200"), (":status", "200")], [(":path", "/")], [],
        [(":status", "200"), ("connection", "close")], [(":status", "101")], [(":status", "200"), ("te", "gzip")],
    ],
)  # fmt: skip
def test_watch_refuses_fields(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(Breach):
        Watch(client=False).head(1, fields)


# --- raw HPACK


def test_literals_decode_as_they_are() -> None:
    decoder = Decoder()
    block = (
        h2.size_update(100) + h2.indexed(2) + h2.literal("n", "v", "index")
        + h2.literal("n2", "v2", "never", huffman=True) + h2.literal("", "other", name_index=4) + h2.indexed(62)
    )  # fmt: skip
    decoded = decoder.decode(block, raw=True)
    assert [(bytes(item[0]), bytes(item[1])) for item in decoded] == [
        (b":method", b"GET"), (b"n", b"v"), (b"n2", b"v2"), (b":path", b"other"), (b"n", b"v"),
    ]  # fmt: skip
    assert [item.indexable for item in decoded] == [True, True, False, True, True]
    assert decoder.header_table_size == 100


def test_integers() -> None:
    assert h2.integer(10, 5) == b"\x0a"
    assert h2.integer(1337, 5) == b"\x1f\x9a\x0a"
    assert h2.integer(1337, 5, more=2) == b"\x1f\x9a\x8a\x80\x00"


@pytest.mark.parametrize("block", [h2.indexed(0), h2.indexed(70), h2.literal("a", "b") + h2.size_update(0)])
def test_bad_blocks_are_bad(block: bytes) -> None:
    with pytest.raises(HPACKDecodingError):
        Decoder().decode(block)
