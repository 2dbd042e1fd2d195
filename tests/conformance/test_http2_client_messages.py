"""Toward fastmesh as a client: messages (RFC 9113 8), extended CONNECT (RFC 8441). The client speaks HTTP/1.1."""

import pytest

from tests.support import http2_frames as h2
from tests.support.client import request
from tests.support.http1 import Response
from tests.support.http2 import OriginConnection
from tests.support.http2_case import any_of, dies, lives, resets
from tests.support.http2_frames import Error, Field, Setting, Text
from tests.support.http2_upstream import ANY, BROKEN, HEAD, OPEN, Answer, Upstream, raw_reply, reply, trailers
from tests.support.http2_watch import Fields, Stream

P = Error.PROTOCOL_ERROR
OK = h2.response_fields()
BEGIN = raw_reply(OK, end=False)
SUM = ("x-sum", "1")


def bad(section: str, name: str, fields: list[Field]) -> Answer:
    """A malformed response head: the stream is reset, the client gets 502 (8.1.1, RFC 9110 15.6.3)."""
    return Answer(section, name, raw_reply(fields), resets(P))


def late(section: str, name: str, frames: bytes) -> Answer:
    """Malformed behind its head: the client sees that it is cut, or 502."""
    return Answer(section, name, frames, resets(P), BROKEN)


def ended(section: str, name: str, frames: bytes, status: int = BROKEN) -> Answer:
    """Malformed by how it ended. Both sides have ended the stream, on which nothing more need be said (5.1)."""
    return Answer(section, name, frames, any_of(lives(), resets(P)), status)


def with_field(name: Text, value: Text) -> list[Field]:
    return h2.response_fields(200, (name, value))


FRAMING = [
    Answer("9113 8.1", "a response on HEADERS alone", raw_reply(OK), lives(), 200),
    Answer("9113 8.1", "a response with DATA", reply(), lives(), 200),
    Answer("9113 8.1", "an empty DATA ends it", BEGIN + h2.data(1, end=True), lives(), 200),
    Answer("9113 8.1", "trailers", reply(end=False) + trailers(SUM), lives(), 200),
    Answer("9113 8.1", "trailers without DATA", BEGIN + trailers(SUM), lives(), 200),
    Answer("9113 8.1", "an interim response", raw_reply([(":status", "103")], end=False) + reply(), lives(), 200),
    Answer("9113 8.1", "three interim responses",
           b"".join(raw_reply([(":status", code)], end=False) for code in ("100", "103", "199")) + reply(), lives(),
           200),
    Answer("9113 8.1", "an interim response with END_STREAM", raw_reply([(":status", "100")]), resets(P)),
    Answer("9113 8.1", "DATA after an interim response", raw_reply([(":status", "103")], end=False) + h2.data(1, b"x"),
           any_of(resets(P), dies(P)), ANY),
    Answer("9113 8.1", "DATA before HEADERS", h2.data(1, b"x") + reply(), any_of(resets(P), dies(P))),
    late("9113 8.1", "trailers without END_STREAM", reply(end=False) + trailers(SUM, end=False)),
    late("9113 8.1", "a second final response", reply(end=False) + raw_reply(OK)),
    late("9113 8.3", "a pseudo-header field in trailers", reply(end=False) + trailers((":status", "200"))),
    late("9113 8.3", "a request's pseudo-header field in trailers", reply(end=False) + trailers((":path", "/"))),
    late("9113 8.2.1", "an upper case name in trailers", reply(end=False) + trailers(("X-Sum", "1"))),
    late("9113 8.2.1", "LF in a trailer's value", reply(end=False) + trailers(("x-sum", "1\n2"))),
    late("9113 8.2.2", "connection in trailers", reply(end=False) + trailers(("connection", "close"))),
    Answer("9113 8.6", "101 has no place in HTTP/2", raw_reply([(":status", "101")], end=False), resets(P)),
]  # fmt: skip


def sized(length: str, *pieces: bytes, status: int = 200) -> bytes:
    return raw_reply(h2.response_fields(status, ("content-length", length)), end=False) + b"".join(pieces)


AB = h2.data(1, b"ab", end=True)
LENGTH = [
    Answer("9113 8.1.1", "content-length is right", sized("2", AB), lives(), 200),
    Answer("9113 8.1.1", "content-length counts no padding", sized("2", h2.data(1, b"ab", pad=5, end=True)), lives(),
           200),
    Answer("9113 8.1.1", "content-length and trailers", sized("2", h2.data(1, b"ab"), trailers(SUM)), lives(), 200),
    ended("9113 8.1.1", "DATA is shorter than content-length", sized("5", AB)),
    # What is there by content-length may be complete for the client before the excess is seen.
    ended("9113 8.1.1", "DATA is longer than content-length", sized("1", AB), ANY),
    ended("9113 8.1.1", "content-length 0 and DATA", sized("0", AB), ANY),
    Answer("9113 8.1.1", "DATA is longer, no END_STREAM", sized("1", h2.data(1, b"ab")), resets(P), ANY),
    ended("9113 8.1.1", "trailers before content-length is reached", sized("5", h2.data(1, b"ab"), trailers(SUM))),
    Answer("9113 8.1.1", "content-length and END_STREAM on HEADERS",
           raw_reply(with_field("content-length", "5")), any_of(lives(), resets(P)), BROKEN),
    Answer("9113 8.1.1", "HEAD: content-length and no DATA",
           raw_reply(with_field("content-length", "5")), lives(), 200, request=HEAD),
    Answer("9113 8.1.1", "304: content-length and no DATA",
           raw_reply(h2.response_fields(304, ("content-length", "5"))), lives(), 304),
    Answer("9113 8.1.1", "204 without DATA", raw_reply(h2.response_fields(204)), lives(), 204),
    Answer("9113 8.1.1", "HEAD: an empty DATA with END_STREAM",
           sized("5", h2.data(1, end=True)), lives(), 200, request=HEAD),
    *(bad("9113 8.1.1", f"content-length {value!r}", with_field("content-length", value))
      for value in ("-1", "+1", "1x", "", "1 1", "1,2", "99999999999999999999")),
    bad("9113 8.1.1", "two content-lengths that differ",
        h2.response_fields(200, ("content-length", "1"), ("content-length", "2"))),
]  # fmt: skip

NAMES = [
    bad("9113 8.2.1", f"field name {name!r}", with_field(name, "v"))
    for name in ("Upper", b"", b"a b", b"a\0b", b"a\nb", b"a\rb", b"\x7fa", b"a\xff", b"a:b", b" a", b"a\r\nx: 1\r\nb")
]  # fmt: skip
VALUES = [
    bad("9113 8.2.1", f"field value {value!r}", with_field("x-value", value))
    for value in (b"a\0b", b"a\nb", b"a\rb", b"a\r\nx-inner: 1", b" a", b"a ", b"\ta", b"a\t")
]
HOP = [
    bad("9113 8.2.2", f"{name}: {value}", with_field(name, value))
    for name, value in (
        ("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
    )
]  # fmt: skip

PSEUDO = [
    bad("9113 8.3.2", "no :status", [("x", "y")]),
    bad("9113 8.3.2", "nothing at all", []),
    *(bad("9113 8.3.2", f":status {value!r}", [(":status", value)])
      for value in ("", "20", "2000", "abc", "2x0", "099", "000", " 200", "200 OK", "-20", "+200")),
    bad("9113 8.3", "two :status", [(":status", "200"), (":status", "200")]),
    bad("9113 8.3", ":status after a regular field", [("x", "y"), (":status", "200")]),
    *(bad("9113 8.3", f"{name} in a response", [(":status", "200"), (name, "/")])
      for name in (":path", ":method", ":scheme", ":authority", ":unknown", ":")),
    bad("9113 8.3.2", "an interim response without :status", [("x", "y")]),
]  # fmt: skip


@pytest.mark.parametrize("case", [*FRAMING, *LENGTH, *NAMES, *VALUES, *HOP, *PSEUDO], ids=str)
def test_message(upstream: Upstream, case: Answer) -> None:
    upstream.run(case)


# --- what fastmesh sends; the watch looks at every head


def sent(upstream: Upstream, data: bytes, settings: dict[int, int] | None = None) -> tuple[Stream, Response]:
    """The stream of a request as the origin got it, and the client's response, which echoes nothing."""
    streams = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request()
        streams.append(stream)
        connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script, settings or {}) as client:
        response = client.ask(data, data.split(b" ")[0].decode())
    upstream.end()
    return streams[0], response


def regular(fields: Fields) -> dict[str, str]:
    return {name: value for name, value in fields if not name.startswith(":")}


def test_8_3_1_a_request_has_its_pseudo_header_fields(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("GET", "/a/b?c=d", host="one.test:81"))
    fields = stream.fields
    assert (fields[":method"], fields[":path"], fields[":authority"]) == ("GET", "/a/b?c=d", "one.test:81")
    assert fields[":scheme"] == "http"
    assert fields.get("host", "one.test:81") == "one.test:81"


def test_8_3_1_an_absolute_target_gives_the_authority(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("GET", "http://two.test/x", host="two.test"))
    assert (stream.fields[":path"], stream.fields[":authority"]) == ("/x", "two.test")


def test_8_3_1_options_in_asterisk_form(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("OPTIONS", "*"))
    assert (stream.fields[":method"], stream.fields[":path"]) == ("OPTIONS", "*")


def test_8_2_names_are_lower_case(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("GET", "/", "X-Mixed-CASE: Kept As Is"))
    assert stream.fields["x-mixed-case"] == "Kept As Is"


def test_8_2_1_blanks_around_values_are_gone(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("GET", "/", "X-Blank: \t  v w \t"))
    assert stream.fields["x-blank"] == "v w"


def test_8_2_2_fields_of_the_connection_stay_out(upstream: Upstream) -> None:
    hop = ("Connection: keep-alive, X-Hop", "Keep-Alive: timeout=5", "X-Hop: 1", "Proxy-Connection: x")
    stream, _ = sent(upstream, request("GET", "/", *hop))
    assert not {"connection", "keep-alive", "x-hop", "proxy-connection"} & stream.fields.keys()


@pytest.mark.parametrize(("value", "kept"), [("trailers", "trailers"), ("gzip", None), ("gzip, trailers;q=0.5", None)])
def test_8_2_2_te_is_trailers_or_nothing(upstream: Upstream, value: str, kept: str | None) -> None:
    stream, _ = sent(upstream, request("GET", "/", f"TE: {value}", "Connection: TE"))
    assert stream.fields.get("te") in (kept, "trailers" if "trailers" in value else None)


def test_8_1_a_chunked_body_becomes_data(upstream: Upstream) -> None:
    body = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 1\r\n\r\n"
    stream, _ = sent(upstream, request("POST", "/", "Transfer-Encoding: chunked", "Trailer: X-Sum") + body)
    assert "transfer-encoding" not in stream.fields
    assert (bytes(stream.body), stream.trailers) == (b"abcdefg", {"x-sum": "1"})


def test_8_1_1_a_body_with_length_keeps_it(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("POST", "/", body=b"0123456789"))
    assert (stream.fields["content-length"], bytes(stream.body)) == ("10", b"0123456789")


def test_8_1_a_request_without_body_ends_on_headers(upstream: Upstream) -> None:
    stream, _ = sent(upstream, request("GET", "/"))
    assert len(stream.frames) == 1
    assert stream.frames[0].has(h2.END_STREAM)


def test_8_1_a_cut_request_body_is_reset(upstream: Upstream) -> None:
    """A body that ends too early must not look complete (8.1.1)."""
    seen = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        connection.wait(lambda: len(stream.body) == 5, "half the body")
        half.close()
        connection.wait_ended(stream.number)
        seen.append((stream.ended, stream.reset))
        connection.wait_end()

    half = upstream.settled(script)
    half.send(OPEN)
    begin = len(upstream.origin.connections) - 1
    upstream.proxy.wait_metric("fastmesh_exchanges_in_flight", 0)
    upstream.origin.drop_connections()
    assert upstream.origin.peer(begin).closed.wait(10)
    upstream.end()
    assert len(seen) == 1
    assert seen[0][0] is False
    assert seen[0][1] is not None


def test_8_1_trailers_reach_http1(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        stream = connection.next_request().number
        connection.send(h2.headers(stream, h2.block(OK)), h2.data(stream, b"ok"))
        connection.send(h2.headers(stream, h2.block([SUM]), end=True))
        connection.wait_end()

    with upstream.settled(script) as client:
        response = client.get("/", "TE: trailers", "Connection: TE")
        assert bytes(response.body) == b"ok"
        assert [(name.lower(), value) for name, value in response.trailers] == [(b"x-sum", b"1")]
    upstream.end()


def test_8_1_interim_responses_reach_http1(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        stream = connection.next_request().number
        connection.send(h2.headers(stream, h2.block([(":status", "103"), ("link", "</a>")])))
        connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script) as client:
        assert client.get("/").status == 200
        assert [(interim.status, interim.get("link")) for interim in client.interim] == [(103, b"</a>")]
    upstream.end()


def test_8_5_connect_has_two_pseudo_header_fields(upstream: Upstream) -> None:
    """The watch refuses CONNECT with :scheme or :path; the tunnel's bytes are DATA."""
    heads = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        heads.append(dict(stream.heads[0]))
        connection.send(h2.headers(stream.number, h2.block(OK)), h2.data(stream.number, b"hello"))
        connection.wait(lambda: bytes(stream.body) == b"ping", "the tunnel's bytes")
        connection.send(h2.data(stream.number, b"pong", end=True))
        connection.wait_ended(stream.number)
        connection.wait_end()

    with upstream.settled(script) as client:
        client.send(b"CONNECT t.test:443 HTTP/1.1\r\nHost: t.test:443\r\n\r\n")
        assert client.read_head("CONNECT").status == 200
        assert client.read_until(b"hello")
        client.send(b"ping")
        assert client.read_until(b"pong")
        client.half_close()
        client.read_to_end()
    upstream.end()
    assert (heads[0][":method"], heads[0][":authority"]) == ("CONNECT", "t.test:443")


WEBSOCKET = request(
    "GET", "/chat", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


def test_8441_5_a_websocket_becomes_an_extended_connect(upstream: Upstream) -> None:
    heads = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        heads.append(dict(stream.heads[0]))
        connection.send(h2.headers(stream.number, h2.block(OK)))
        connection.wait(lambda: bytes(stream.body) == b"ping", "the socket's bytes")
        connection.send(h2.data(stream.number, b"pong", end=True))
        connection.wait_end()

    with upstream.settled(script, {Setting.ENABLE_CONNECT_PROTOCOL: 1}) as client:
        client.send(WEBSOCKET)
        response = client.read_head("GET")
        assert response.status == 101
        assert response.get("sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        client.send(b"ping")
        assert client.read_until(b"pong")
    upstream.end()
    head = heads[0]
    assert (head[":method"], head[":protocol"], head[":path"]) == ("CONNECT", "websocket", "/chat")
    assert (head[":scheme"], head[":authority"]) == ("http", "t.test")
    assert not {"upgrade", "connection", "sec-websocket-key"} & head.keys()


def test_8441_3_no_extended_connect_unless_the_server_allows_it(upstream: Upstream) -> None:
    """The watch refuses :protocol; the client is told that there is no switching."""

    def script(connection: OriginConnection) -> None:
        while True:
            connection.respond(connection.next_request())

    with upstream.settled(script) as client:
        client.send(WEBSOCKET)
        assert client.read("GET").status != 101
    upstream.end()
