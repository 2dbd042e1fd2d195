"""Toward fastmesh as a client: header compression (RFC 7541); and what HTTP/2 on both sides keeps from end to end."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import OriginConnection, RawClient
from tests.support.http2_case import See, dies, lives
from tests.support.http2_frames import Error, Setting
from tests.support.http2_upstream import Answer, Upstream

SHORT = h2.indexed(8)  # :status 200 of the static table
TABLE = 4096


def one(section: str, name: str, block: bytes, see: See | None = None) -> Answer:
    """A response whose header block is `block`; wrong unless `see` says otherwise."""
    frames = h2.headers(1, block, end=True)
    return Answer(section, name, frames, see or dies(Error.COMPRESSION_ERROR), 502 if see is None else 200)


def huffman(body: bytes) -> bytes:
    return SHORT + b"\x00" + h2.string("x") + h2.huffman_string(body)


CASES = [
    one("7541 6.1", "index 0", SHORT + h2.indexed(0)),
    one("7541 2.3.3", "index 62 of an empty dynamic table", SHORT + h2.indexed(62)),
    one("7541 2.3.3", "name index 62 of an empty dynamic table", SHORT + h2.literal("", "v", name_index=62)),
    one("7541 2.3.3", "the newest entry is 62", SHORT + h2.literal("a", "b", "index") + h2.indexed(62), lives()),
    one("7541 4.2", "an update at the start", h2.size_update(TABLE) + SHORT, lives()),
    one("7541 4.2", "an update after a field", SHORT + h2.size_update(10)),
    one("7541 6.3", "an update over the limit", h2.size_update(TABLE + 1) + SHORT),
    one("7541 5.1", "an index that never ends", SHORT + b"\xff" * 20),
    one("7541 5.1", "an index that wraps to 8", h2.integer((1 << 32) + 8, 7, 0x80)),
    one("7541 5.2", "a value longer than the block", SHORT + b"\x00" + h2.string("x") + h2.string("v", size=2)),
    one("7541 5.2", "EOS in a string", huffman(b"\xff\xff\xff\xff")),
    one("7541 5.2", "padding of zeros", huffman(b"\x18")),
    one("7541 5.2", "padding of 11 bits", huffman(b"\x1f\xff")),
    one("7541 5.2", "padding of 3 ones", huffman(b"\x1f"), lives()),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_decoding(upstream: Upstream, case: Answer) -> None:
    upstream.run(case)


def test_2_2_the_table_lasts_from_response_to_response(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        first = connection.next_request().number
        connection.send(h2.headers(first, SHORT + h2.literal("x-kept", "v", "index"), end=True))
        second = connection.next_request().number
        connection.send(h2.headers(second, SHORT + h2.indexed(62), end=True))
        connection.wait_end()

    with upstream.settled(script) as client:
        assert client.get("/").get("x-kept") == b"v"
        assert client.get("/").get("x-kept") == b"v"
    upstream.end()


def test_4_3_the_block_of_a_malformed_response_is_still_decoded(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        first = connection.next_request().number
        bad = SHORT + h2.literal("x-kept", "v", "index") + h2.literal("Upper", "x")
        connection.send(h2.headers(first, bad, end=True))
        connection.wait_ended(first)
        second = connection.next_request().number
        connection.send(h2.headers(second, SHORT + h2.indexed(62), end=True))
        connection.wait_end()

    with upstream.settled(script) as client:
        assert client.get("/").status == 502
        assert client.get("/").get("x-kept") == b"v"
    upstream.end()


@pytest.mark.parametrize("size", [0, 33, 100, 4096, 1 << 20])
def test_4_2_the_encoder_keeps_to_the_servers_table(upstream: Upstream, size: int) -> None:
    """The hpack package refuses updates over the limit, and a table that did not shrink when it had to."""

    def script(connection: OriginConnection) -> None:
        for _ in range(3):
            stream = connection.next_request()
            assert stream.fields["x-same"] == "value"
            connection.respond(stream)
        assert connection.decoder.header_table_size <= size
        connection.wait_end()

    with upstream.settled(script, {Setting.HEADER_TABLE_SIZE: size}) as client:
        for _ in range(3):
            assert client.get("/", "X-Same: value").status == 200
    upstream.end()


def test_4_2_a_table_that_shrinks_and_grows(upstream: Upstream) -> None:
    sizes = (0, 4096, 100, 60, 0, 0, 200)

    def script(connection: OriginConnection) -> None:
        acks = connection.acks
        for i, size in enumerate(sizes):
            connection.send(h2.settings({Setting.HEADER_TABLE_SIZE: size}))
            connection.wait_acks(acks + i + 1)
            stream = connection.next_request()
            assert (stream.fields["x-same"], stream.fields["x-turn"]) == ("value", str(i))
            connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script) as client:
        for i in range(len(sizes)):
            assert client.get("/", "X-Same: value", f"X-Turn: {i}").status == 200
    upstream.end()


# --- HTTP/2 on both sides


def test_6_2_3_never_indexed_stays_so_on_the_way_up(upstream: Upstream) -> None:
    """A literal that must never be indexed is one at every hop (RFC 7541 6.2.3, 7.1.3)."""
    seen = []

    def script(connection: OriginConnection) -> None:
        for _ in range(2):
            stream = connection.next_request()
            seen.append((stream.fields["x-secret"], "x-secret" in stream.never, stream.fields["x-open"]))
            connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address) as client:
        for number in (1, 3):
            block = (
                h2.block(h2.request_fields()) + h2.literal("x-secret", "password", "never")
                + h2.literal("x-open", "v", "index")
            )  # fmt: skip
            client.send(h2.headers(number, block, end=True))
            assert client.wait_ended(number).status == 200
    upstream.end()
    assert seen == [("password", True, "v")] * 2


def test_6_2_3_never_indexed_stays_so_on_the_way_down(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        for _ in range(2):
            number = connection.next_request().number
            block = SHORT + h2.literal("x-secret", "password", "never") + h2.literal("x-open", "v", "index")
            connection.send(h2.headers(number, block, end=True))
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address) as client:
        for _ in range(2):
            stream = client.get()
            assert (stream.fields["x-secret"], stream.fields["x-open"]) == ("password", "v")
            assert "x-secret" in stream.never
    upstream.end()


def test_8_2_3_cookie_crumbs_mean_the_same_upstream(upstream: Upstream) -> None:
    seen = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request()
        seen.append("; ".join(value for name, value in stream.heads[0] if name == "cookie"))
        connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address) as client:
        assert client.get("/", ("cookie", "a=b"), ("cookie", "c=d")).status == 200
    upstream.end()
    assert seen == ["a=b; c=d"]


def test_8_1_messages_cross_unchanged(upstream: Upstream) -> None:
    """Interim response, body, trailers; te: trailers; priorities and padding of one side end there."""
    seen = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request()
        seen.append((stream.fields.get("te"), bytes(stream.body), stream.trailers))
        number = stream.number
        connection.send(h2.headers(number, h2.block([(":status", "103"), ("link", "</x>")])))
        connection.send(h2.headers(number, SHORT), h2.data(number, b"pong", pad=20))
        connection.send(h2.headers(number, h2.block([("x-down", "2")]), end=True))
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address) as client:
        begin = h2.block(h2.request_fields("POST", "/", ("te", "trailers")))
        client.send(h2.headers(1, begin, pad=4, priority=h2.priority_fields(0, 9)), h2.data(1, b"ping", pad=9))
        client.send(h2.headers(1, h2.block([("x-up", "1")]), end=True))
        stream = client.wait_ended(1)
        assert [dict(fields).get(":status") for fields in stream.heads] == ["103", "200", None]
        assert (bytes(stream.body), stream.trailers) == (b"pong", {"x-down": "2"})
    upstream.end()
    assert seen == [("trailers", b"ping", {"x-up": "1"})]


@pytest.mark.parametrize("code", [Error.CANCEL, Error.NO_ERROR, Error.INTERNAL_ERROR])
def test_6_4_a_clients_reset_resets_upstream(upstream: Upstream, code: Error) -> None:
    """The upstream stream ends with RST_STREAM, its connection goes on."""
    seen = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        seen.append(connection.wait_ended(stream.number).reset)
        connection.sync()
        connection.respond(connection.next_request())
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address) as client:
        number = client.request(h2.request_fields("POST"), b"part", end=False)
        client.sync()
        upstream.proxy.wait_metric("fastmesh_exchanges_in_flight", 1)
        client.send(h2.rst_stream(number, code))
        assert client.wait_ended(client.request()).status == 200
    upstream.end()
    assert len(seen) == 1
    assert seen[0] is not None


@pytest.mark.parametrize("code", [Error.CANCEL, Error.INTERNAL_ERROR])
def test_6_4_an_upstreams_reset_within_a_response_resets_the_client(upstream: Upstream, code: Error) -> None:
    def script(connection: OriginConnection) -> None:
        stream = connection.next_request().number
        connection.send(h2.headers(stream, SHORT), h2.data(stream, b"part"), h2.rst_stream(stream, code))
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address) as client:
        number = client.request()
        stream = client.wait_ended(number)
        assert stream.reset is not None
        assert not stream.ended
        client.sync()
    upstream.end()


def test_5_2_1_windows_end_at_each_hop(upstream: Upstream) -> None:
    """A client with a tiny window gets all of a response from an origin that sent it at once."""

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request().number
        connection.send(h2.headers(stream, SHORT), h2.data(stream, b"x" * 16_000))
        connection.send(h2.data(stream, b"y" * 16_000, end=True))
        connection.wait_end()

    with upstream.settled(script), RawClient(upstream.address, {Setting.INITIAL_WINDOW_SIZE: 700}) as client:
        client.auto_window = True
        assert bytes(client.get().body) == b"x" * 16_000 + b"y" * 16_000
    upstream.end()


def test_8441_5_extended_connect_crosses(upstream: Upstream) -> None:
    heads = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        heads.append(dict(stream.heads[0]))
        connection.send(h2.headers(stream.number, SHORT))
        connection.wait(lambda: bytes(stream.body) == b"ping", "the socket's bytes")
        connection.send(h2.data(stream.number, b"pong", end=True))
        connection.wait_end()

    with upstream.settled(script, {Setting.ENABLE_CONNECT_PROTOCOL: 1}), RawClient(upstream.address) as client:
        fields = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
            (":authority", "t.test"), ("sec-websocket-version", "13"),
        ]  # fmt: skip
        client.send(h2.headers(1, h2.block(fields)))
        assert client.wait_head(1).status == 200
        client.send(h2.data(1, b"ping"))
        assert bytes(client.wait_ended(1).body) == b"pong"
    upstream.end()
    assert heads[0][":protocol"] == "websocket"
