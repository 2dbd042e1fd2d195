"""Toward fastmesh as a server: messages (RFC 9113 8) and extended CONNECT (RFC 8441). The origin speaks HTTP/1.1."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_case import MARK, Case, Server, answers, any_of, echoed, head, raw_head, refuses, resets
from tests.support.http2_frames import Error, Field, Setting, Text

P = Error.PROTOCOL_ERROR
POST = head("POST", end=False)
LATE = any_of(resets(P), refuses())  # seen after the head was forwarded


def bad(section: str, name: str, fields: list[Field]) -> Case:
    """A request that must be refused and not forwarded."""
    return Case(section, name, raw_head([*fields, MARK]), refuses())


def with_field(name: Text, value: Text) -> list[Field]:
    return h2.request_fields("GET", "/", (name, value))


def replaced(name: str, value: Text | None) -> list[Field]:
    """A request's fields with one changed, or taken out for None."""
    fields = [(key, value if key == name and value is not None else old) for key, old in h2.request_fields()]
    return [field for field in fields if field[0] != name or value is not None]


FRAMING = [
    Case("9113 8.1", "trailers end a request", POST + h2.data(1, b"x") + raw_head([("x-sum", "1")]), answers()),
    Case("9113 8.1", "trailers without DATA", POST + raw_head([("x-sum", "1")]), answers()),
    Case("9113 8.1", "trailers without END_STREAM", POST + h2.data(1, b"x") + raw_head([("x-sum", "1")], end=False),
         LATE),
    Case("9113 8.1", "an empty trailer section", POST + h2.data(1, b"x") + h2.headers(1, b"", end=True), answers()),
    Case("9113 8.1", "a pseudo-header field in trailers", POST + raw_head([(":path", "/")]), LATE),
    Case("9113 8.1", "a response's pseudo-header field in trailers", POST + raw_head([(":status", "200")]), LATE),
    Case("9113 8.2.1", "an upper case name in trailers", POST + raw_head([("X-Sum", "1")]), LATE),
    Case("9113 8.2.1", "LF in a trailer's value", POST + raw_head([("x-sum", "1\n2")]), LATE),
    Case("9113 8.2.2", "connection in trailers", POST + raw_head([("connection", "close")]), LATE),
    Case("9113 8.2.2", "transfer-encoding in trailers", POST + raw_head([("transfer-encoding", "chunked")]), LATE),
]  # fmt: skip


def sized(length: str, *pieces: bytes, method: str = "POST") -> bytes:
    return head(method, "/", ("content-length", length), end=False) + b"".join(pieces)


LENGTH = [
    Case("9113 8.1.1", "content-length is right", sized("4", h2.data(1, b"ab"), h2.data(1, b"cd", end=True)),
         answers()),
    Case("9113 8.1.1", "content-length counts no padding", sized("2", h2.data(1, b"ab", pad=9, end=True)), answers()),
    Case("9113 8.1.1", "content-length and trailers", sized("2", h2.data(1, b"ab"), raw_head([("x", "y")])), answers()),
    Case("9113 8.1.1", "content-length 0 and no DATA", head("POST", "/", ("content-length", "0")), answers()),
    Case("9113 8.1.1", "DATA is shorter than content-length", sized("5", h2.data(1, b"ab", end=True)), LATE),
    Case("9113 8.1.1", "DATA is longer than content-length", sized("1", h2.data(1, b"ab", end=True)), LATE),
    Case("9113 8.1.1", "DATA is longer, no END_STREAM", sized("1", h2.data(1, b"ab")), LATE),
    Case("9113 8.1.1", "content-length 0 and DATA", sized("0", h2.data(1, b"ab", end=True)), LATE),
    Case("9113 8.1.1", "content-length and END_STREAM on HEADERS",
         raw_head(h2.request_fields("POST", "/", ("content-length", "5"), MARK)), refuses()),
    Case("9113 8.1.1", "trailers come before content-length is reached",
         sized("5", h2.data(1, b"ab"), raw_head([("x", "y")])), LATE),
    *(
        bad("9113 8.1.1", f"content-length {value!r}", with_field("content-length", value))
        for value in ("-1", "+1", "1x", "0x1", "", "1 1", "1,2", "99999999999999999999")
    ),
    bad("9113 8.1.1", "two content-lengths that differ",
        h2.request_fields("POST", "/", ("content-length", "1"), ("content-length", "2"))),
]  # fmt: skip

NAMES = [
    bad("9113 8.2.1", f"field name {name!r}", with_field(name, "v"))
    for name in (
        "Upper", "uppeR", b"", b"a b", b"a\0b", b"a\nb", b"a\rb", b"a\tb", b"\x7fa", b"a\x80", b"a\xff", b"a:b",
        b"a\r\nx-inner: 1\r\nb", b"a(b", b" a", b"a ",
    )
]  # fmt: skip
VALUES = [
    bad("9113 8.2.1", f"field value {value!r}", with_field("x-value", value))
    for value in (b"a\0b", b"a\nb", b"a\rb", b"a\r\nx-inner: 1", b"\0", b"\n", b"\r", b" a", b"a ", b"\ta", b"a\t",
        b" ")
]  # fmt: skip
HOP = [
    bad("9113 8.2.2", f"{name}: {value}", with_field(name, value))
    for name, value in (
        ("connection", "close"), ("connection", "keep-alive"), ("connection", ""), ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"), ("transfer-encoding", "chunked"), ("transfer-encoding", "identity"),
        ("upgrade", "h2c"), ("upgrade", "websocket"), ("te", "gzip"), ("te", "trailers, deflate"), ("te", "chunked"),
    )
]  # fmt: skip

PSEUDO = [
    *(bad("9113 8.3.1", f"no {name}", replaced(name, None)) for name in (":method", ":scheme", ":path")),
    bad("9113 8.3.1", "nothing at all", []),
    bad("9113 8.3.1", "an empty :path", replaced(":path", "")),
    bad("9113 8.3.1", ":path is no path", replaced(":path", "index.html")),
    bad("9113 8.3.1", ":path is a URI", replaced(":path", "http://t.test/")),
    bad("9113 8.3.1", ":path * with GET", replaced(":path", "*")),
    *(
        bad("9113 8.3.1", f":path {path!r}", replaced(":path", path))
        for path in ("/a b", "/a\tb", "/a\r\nx: y", "/ HTTP/1.1\r\nx: y", "/a\0", "/\n", "/a\x7f", "/#fragment")
    ),
    *(bad("9113 8.3.1", f":method {method!r}", replaced(":method", method))
      for method in ("", "G T", "GET /x HTTP/1.1\r\nx: y\r\n\r\nGET", "GET\0", "G:T")),
    *(bad("9113 8.3.1", f":scheme {scheme!r}", replaced(":scheme", scheme))
      for scheme in ("", "ht tp", "http://x/\r\n", "1http")),
    *(bad("9113 8.3.1", f":authority {authority!r}", replaced(":authority", authority))
      for authority in ("a b", "a\r\nx: y", "user@t.test", "user:pw@t.test", "t.test/x", "t.test:port",
          "t.test#")),
    bad("9113 8.3.1", "host differs from :authority", with_field("host", "other.test")),
    bad("9113 8.3.1", "no :authority and two hosts",
        [*replaced(":authority", None), ("host", "a.test"), ("host", "b.test")]),
    bad("9113 8.3.1", ":authority and two hosts", [*h2.request_fields(), ("host", "t.test"), ("host", "t.test")]),
    bad("9113 8.3.1", "neither :authority nor host", replaced(":authority", None)),
    *(bad("9113 8.3", f"two {name}", [field for field in h2.request_fields() for _ in range(1 + (field[0] == name))])
      for name in (":method", ":scheme", ":path", ":authority")),
    bad("9113 8.3", "an unknown pseudo-header field", [*h2.request_fields(), (":unknown", "x")]),
    bad("9113 8.3", "a name of one colon", [*h2.request_fields(), (":", "x")]),
    bad("9113 8.3", ":status in a request", [*h2.request_fields(), (":status", "200")]),
    bad("9113 8.3", "a pseudo-header field after a regular one", [*replaced(":path", None), ("x", "y"), (":path",
        "/")]),
    bad("9113 8.3", "all pseudo-header fields after a regular one", [("x", "y"), *h2.request_fields()]),
    bad("9113 8.3", "an upper case pseudo-header field", [*replaced(":path", None), (":Path", "/")]),
    bad("8441 4", ":protocol with GET", [*h2.request_fields(), (":protocol", "websocket")]),
]  # fmt: skip

CONNECT = [(":method", "CONNECT"), (":authority", "t.test:443")]
CONNECTS = [
    bad("9113 8.5", "CONNECT with :scheme", [*CONNECT, (":scheme", "http")]),
    bad("9113 8.5", "CONNECT with :path", [*CONNECT, (":path", "/")]),
    bad("9113 8.5", "CONNECT without :authority", [(":method", "CONNECT")]),
    bad("9113 8.5", "CONNECT without a port", [(":method", "CONNECT"), (":authority", "t.test")]),
    bad("8441 4", "extended CONNECT without :path",
        [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "t.test")]),
    bad("8441 4", "extended CONNECT without :scheme",
        [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/"), (":authority", "t.test")]),
    bad("8441 4", "extended CONNECT without :authority",
        [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/"), (":scheme", "http")]),
]  # fmt: skip

LAWFUL = [
    Case("9113 8.2.2", "te: trailers", raw_head(with_field("te", "trailers")), answers()),
    Case("9113 8.3.1", "host beside the same :authority", raw_head(with_field("host", "t.test")), answers()),
    Case("9113 8.3.1", "host without :authority", raw_head([*replaced(":authority", None), ("host", "t.test")]),
         answers()),
    Case("9113 8.3.1", "OPTIONS *", head("OPTIONS", "*"), answers()),
    Case("9113 8.3.1", "scheme https", raw_head(replaced(":scheme", "https")), answers()),
    Case("9113 8.3.1", "an unknown method", head("BREW", "/pot"), answers()),
    Case("9113 8.3", "pseudo-header fields in any order", raw_head(h2.request_fields()[::-1]), answers()),
    Case("9113 8.2.1", "every visible character in a value",
         raw_head(with_field("x-value", bytes(range(0x21, 0x7F)))), answers()),
    Case("9113 8.2.1", "bytes over 0x80 in a value", raw_head(with_field("x-value", bytes(range(0x80, 0x100)))),
         answers()),
    Case("9113 8.2.1", "an empty value", raw_head(with_field("x-value", "")), answers()),
    Case("9113 8.2.1", "spaces within a value", raw_head(with_field("x-value", "a \t b")), answers()),
    Case("9113 8.2.1", "every token character in a name",
         raw_head(with_field("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", "v")), answers()),
]  # fmt: skip


CASES = [*FRAMING, *LENGTH, *NAMES, *VALUES, *HOP, *PSEUDO, *CONNECTS, *LAWFUL]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_message(server: Server, case: Case) -> None:
    server.run(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_message_with_http2_upstream(http2_server: Server, case: Case) -> None:
    http2_server.run(case)


def test_8_1_an_interim_response_comes_before_the_final_one(server: Server) -> None:
    with RawClient(server.address) as client:
        stream = client.get("/interim")
        assert [dict(fields)[":status"] for fields in stream.heads] == ["103", "200"]


def test_8_1_trailers_of_a_response_end_the_stream(server: Server) -> None:
    with RawClient(server.address) as client:
        stream = client.get("/trailers")
        assert (stream.status, bytes(stream.body), stream.trailers) == (200, b"ok", {"x-sum": "1"})
        assert stream.frames[-1].has(h2.END_STREAM)


@pytest.mark.parametrize(("path", "status"), [("/204", 204), ("/304", 304)])
def test_8_1_a_response_without_content_ends_on_headers(server: Server, path: str, status: int) -> None:
    with RawClient(server.address) as client:
        stream = client.get(path)
        assert (stream.status, len(stream.frames), bytes(stream.body)) == (status, 1, b"")


def test_8_1_head_has_no_content(server: Server) -> None:
    with RawClient(server.address) as client:
        stream = client.wait_ended(client.request(h2.request_fields("HEAD", "/204")))
        assert (stream.status, bytes(stream.body), stream.reset) == (204, b"", None)


def test_8_1_a_response_before_the_requests_end_is_kept(server: Server) -> None:
    """RST_STREAM with NO_ERROR may follow, nothing else (8.1)."""
    with RawClient(server.address) as client:
        client.send(head("POST", "/early", end=False), h2.data(1, b"part"))
        stream = client.wait_ended(1)
        client.sync()
        assert (stream.status, bytes(stream.body), stream.ended) == (200, b"ok", True)
        assert stream.reset in (None, Error.NO_ERROR)


def test_8_2_names_of_responses_are_lower_case_and_connection_fields_stay_out(server: Server) -> None:
    with RawClient(server.address) as client:
        fields = client.get("/fields").fields
        assert fields["x-upper"] == "Yes"
        assert not {"connection", "keep-alive", "x-hop"} & fields.keys()


def test_8_2_3_cookies_are_joined_for_http1(server: Server) -> None:
    with RawClient(server.address) as client:
        stream = client.get("/echo", ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f"))
        assert echoed(stream)[1]["cookie"] == ["a=b; c=d; e=f"]


def test_8_3_1_authority_becomes_host(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head("GET", "/echo?q=1", authority="other.test:81"))
        line, fields, _ = echoed(client.wait_ended(1))
        assert line == b"GET /echo?q=1 HTTP/1.1"
        assert fields["host"] == ["other.test:81"]


def test_8_3_1_host_takes_the_place_of_authority(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(raw_head([*h2.without(h2.request_fields("GET", "/echo"), ":authority"), ("host", "only.test")]))
        assert echoed(client.wait_ended(1))[1]["host"] == ["only.test"]


def test_8_1_a_body_without_length_is_chunked_for_http1(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head("POST", "/echo", end=False), h2.data(1, b"abc"), h2.data(1, b"def", end=True))
        _, fields, body = echoed(client.wait_ended(1))
        assert (fields.get("transfer-encoding"), body) == (["chunked"], b"abcdef")


def test_8_1_a_body_with_length_keeps_it(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head("POST", "/echo", ("content-length", "6"), end=False), h2.data(1, b"abcdef", end=True))
        _, fields, body = echoed(client.wait_ended(1))
        assert (fields["content-length"], fields.get("transfer-encoding"), body) == (["6"], None, b"abcdef")


def test_8_1_a_request_without_body_has_no_framing(server: Server) -> None:
    with RawClient(server.address) as client:
        _, fields, _ = echoed(client.get("/echo"))
        assert not {"transfer-encoding", "content-length"} & fields.keys()


def test_8_1_1_an_early_answer_is_not_the_next_requests(server: Server) -> None:
    """A body cut short by a reset never continues with another stream's request on the origin's connection."""
    with RawClient(server.address) as client:
        client.send(head("POST", "/echo", ("content-length", "100"), end=False), h2.data(1, b"part"), h2.rst_stream(1))
        client.send(head("GET", "/echo", stream=3))
        assert echoed(client.wait_ended(3))[0] == b"GET /echo HTTP/1.1"


def test_8_4_nothing_is_pushed(server: Server) -> None:
    """The watch refuses every PUSH_PROMISE, though the client allows them."""
    with RawClient(server.address, {Setting.ENABLE_PUSH: 1}) as client:
        assert client.get("/fields").status == 200


def test_8_6_no_switch_of_protocols(server: Server) -> None:
    """Statuses are looked at by the watch: 101 has no place in HTTP/2."""
    with RawClient(server.address) as client:
        assert client.get("/", ("sec-websocket-key", "x")).status == 200


def test_8_5_connect_is_a_tunnel(server: Server) -> None:
    """DATA is the tunnel's bytes, END_STREAM its FIN, both ways; no other framing is seen by the target."""
    with RawClient(server.address) as client:
        client.send(raw_head(CONNECT, end=False))
        stream = client.wait_head(1)
        assert (stream.status, stream.ended) == (200, False)
        client.send(h2.data(1, b"GET / HTTP/1.1\r\n"), h2.data(1, b"\0\xff", pad=7))
        client.wait(lambda: len(stream.body) == 18, "the echo")
        client.send(h2.data(1, b"last", end=True))
        assert bytes(client.wait_ended(1).body) == b"GET / HTTP/1.1\r\n\0\xfflast"
        client.sync()
        assert stream.reset is None


EXTENDED = [
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
    (":authority", "t.test"), ("sec-websocket-version", "13"), ("origin", "http://t.test"),
]  # fmt: skip


def test_8441_5_a_websocket_crosses_to_http1(server: Server) -> None:
    """200 instead of 101, no key and no accept on the HTTP/2 side, DATA both ways."""
    with RawClient(server.address) as client:
        client.send(raw_head(EXTENDED, end=False))
        stream = client.wait_head(1)
        assert (stream.status, stream.ended) == (200, False)
        assert not {"sec-websocket-accept", "upgrade", "connection"} & stream.fields.keys()
        client.send(h2.data(1, b"\x81\x02hi"))
        client.wait(lambda: bytes(stream.body) == b"\x81\x02hi", "the echo")
        client.send(h2.data(1, end=True))
        client.wait_ended(1)
        client.sync()
        assert stream.reset is None


def test_8441_3_extended_connect_is_announced(server: Server) -> None:
    with RawClient(server.address) as client:
        assert client.watch.settings.get(Setting.ENABLE_CONNECT_PROTOCOL) == 1


def test_8_5_connect_takes_no_trailers(server: Server) -> None:
    """Only DATA and stream management may follow on a connected stream; anything else is a stream error."""
    with RawClient(server.address) as client:
        client.send(raw_head(CONNECT, end=False))
        client.wait_head(1)
        client.send(raw_head([("x-sum", "1")]))
        client.wait(lambda: client.stream(1).reset is not None, "a reset")
        client.sync()


def test_8441_5_a_protocol_that_the_origin_does_not_switch_to_is_no_success(server: Server) -> None:
    """The HTTP/1 origin ignores Upgrade and says 200; a 2xx would tell the client that it has its tunnel."""
    fields = [(key, "nonsense" if key == ":protocol" else value) for key, value in EXTENDED]
    with RawClient(server.address) as client:
        client.send(raw_head(fields, end=False))
        stream = client.wait_ended(1)
        assert stream.reset is not None or stream.status >= 400, client.story()
        client.sync()
