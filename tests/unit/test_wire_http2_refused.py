"""What a header block is refused for, one rule at a time, each with the section that says so; and what just passes.

Every case is read twice: from a connection's first block, as literals, and from its second, out of the table, where a
reader that trusted its table would let it pass.
"""

import hpack
import pytest

from tests.model.block_messages import Fields, encoded
from tests.model.wire_enums import BAD, OK, Fault
from tests.probe.wire_http2 import Peer

M, S, A, P = (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.com"), (b":path", b"/")
REQUEST = [M, S, A, P]
CONNECT = (b":method", b"CONNECT")
STATUS = [(b":status", b"200")]
PROTOCOL = (b":protocol", b"websocket")
FIVE = (b"content-length", b"5")
TUNNEL = [(b":method", b"CONNECT"), PROTOCOL, S, A, P]

# section (RFC 9113 unless another is named), what, fault, fields
REQUESTS: list[tuple[str, str, str, Fields]] = [
    # Names
    ("8.2", "upper case", "FIELD_NAME", [*REQUEST, (b"Accept", b"x")]),
    ("8.2", "one upper-case letter, last", "FIELD_NAME", [*REQUEST, (b"accepT", b"x")]),
    ("8.2.1", "an empty name", "FIELD_NAME", [*REQUEST, (b"", b"x")]),
    ("8.2.1", "NUL in a name", "FIELD_NAME", [*REQUEST, (b"a\x00b", b"x")]),
    ("8.2.1", "CR in a name", "FIELD_NAME", [*REQUEST, (b"a\rb", b"x")]),
    ("8.2.1", "LF in a name", "FIELD_NAME", [*REQUEST, (b"a\nb", b"x")]),
    ("8.2.1", "a whole field in a name", "FIELD_NAME", [*REQUEST, (b"a: b\r\nhost", b"evil")]),
    ("8.2.1", "SP in a name", "FIELD_NAME", [*REQUEST, (b"a b", b"x")]),
    ("8.2.1", "SP before a name", "FIELD_NAME", [*REQUEST, (b" a", b"x")]),
    ("8.2.1", "SP behind a name", "FIELD_NAME", [*REQUEST, (b"transfer-encoding ", b"chunked")]),
    ("8.2.1", "HTAB in a name", "FIELD_NAME", [*REQUEST, (b"a\tb", b"x")]),
    ("8.2.1", "a colon in a name", "FIELD_NAME", [*REQUEST, (b"a:b", b"x")]),
    ("8.2.1", "a colon behind a name", "FIELD_NAME", [*REQUEST, (b"content-length:", b"5")]),
    ("8.2.1", "DEL in a name", "FIELD_NAME", [*REQUEST, (b"a\x7f", b"x")]),
    ("8.2.1", "a byte above ASCII in a name", "FIELD_NAME", [*REQUEST, (b"caf\xc3\xa9", b"x")]),
    ("RFC 9110 5.1", "a separator in a name", "FIELD_NAME", [*REQUEST, (b"a(b", b"x")]),
    ("8.2.1", "a bad byte late in a long name", "FIELD_NAME", [*REQUEST, (b"a" * 40 + b"@", b"x")]),
    # Values
    ("8.2.1", "NUL in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\x00y")]),
    ("8.2.1", "CR in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\ry")]),
    ("8.2.1", "LF in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\ny")]),
    ("8.2.1", "a field in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\r\nhost: evil")]),
    ("8.2.1", "a request in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")]),
    ("8.2.1", "LF at the end of a long value", "FIELD_VALUE", [*REQUEST, (b"a", b"x" * 63 + b"\n")]),
    ("8.2.1", "SP before a value", "FIELD_VALUE", [*REQUEST, (b"a", b" x")]),
    ("8.2.1", "SP behind a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x ")]),
    ("8.2.1", "HTAB before a value", "FIELD_VALUE", [*REQUEST, (b"a", b"\tx")]),
    ("8.2.1", "HTAB behind a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\t")]),
    ("8.2.1", "a value of one blank", "FIELD_VALUE", [*REQUEST, (b"a", b" ")]),
    ("RFC 9110 5.5", "a control byte in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"x\x01")]),
    ("RFC 9110 5.5", "DEL in a value", "FIELD_VALUE", [*REQUEST, (b"a", b"\x7f")]),
    ("8.2.1", "CR in a cookie crumb", "FIELD_VALUE", [*REQUEST, (b"cookie", b"a=b"), (b"cookie", b"c\rd")]),
    ("8.2.1", "LF in a static name's value", "FIELD_VALUE", [*REQUEST, (b"user-agent", b"a\nb")]),
    # Connection-specific fields
    ("8.2.2", "connection", "CONNECTION_FIELD", [*REQUEST, (b"connection", b"close")]),
    ("8.2.2", "connection, empty", "CONNECTION_FIELD", [*REQUEST, (b"connection", b"")]),
    ("8.2.2", "keep-alive", "CONNECTION_FIELD", [*REQUEST, (b"keep-alive", b"timeout=5")]),
    ("8.2.2", "proxy-connection", "CONNECTION_FIELD", [*REQUEST, (b"proxy-connection", b"keep-alive")]),
    ("8.2.2", "transfer-encoding", "CONNECTION_FIELD", [*REQUEST, (b"transfer-encoding", b"chunked")]),
    ("8.2.2", "transfer-encoding, unknown", "CONNECTION_FIELD", [*REQUEST, (b"transfer-encoding", b"xchunked")]),
    ("8.2.2", "upgrade", "CONNECTION_FIELD", [*REQUEST, (b"upgrade", b"websocket")]),
    ("8.2.2", "te: gzip", "CONNECTION_FIELD", [*REQUEST, (b"te", b"gzip")]),
    ("8.2.2", "te with more than trailers", "CONNECTION_FIELD", [*REQUEST, (b"te", b"trailers, deflate")]),
    ("8.2.2", "te with a weight", "CONNECTION_FIELD", [*REQUEST, (b"te", b"trailers;q=0.5")]),
    ("8.2.2", "te, empty", "CONNECTION_FIELD", [*REQUEST, (b"te", b"")]),
    # Pseudo-headers
    ("8.3", "behind a field", "PSEUDO", [M, S, A, (b"accept", b"x"), P]),
    ("8.3", "repeated at once", "PSEUDO", [*REQUEST, P]),
    ("8.3", "repeated with another value", "PSEUDO", [*REQUEST, (b":path", b"/admin")]),
    ("8.3", "repeated :authority", "PSEUDO", [*REQUEST, (b":authority", b"evil")]),
    ("8.3", "repeated :method", "PSEUDO", [*REQUEST, (b":method", b"POST")]),
    ("8.3", "unknown", "PSEUDO", [*REQUEST, (b":version", b"1.1")]),
    ("8.3", "a lone colon", "PSEUDO", [*REQUEST, (b":", b"x")]),
    ("8.3", "upper case", "PSEUDO", [M, S, A, (b":Path", b"/")]),
    ("8.3", "one for responses", "PSEUDO", [*REQUEST, (b":status", b"200")]),
    ("8.3.1", "no :method", "PSEUDO", [S, A, P]),
    ("8.3.1", "no :scheme", "PSEUDO", [M, A, P]),
    ("8.3.1", "no :path", "PSEUDO", [M, S, A]),
    ("8.3.1", "nothing", "PSEUDO", []),
    ("8.3.1", "fields alone", "PSEUDO", [(b"host", b"example.com")]),
    ("RFC 8441 3", ":protocol unasked", "PSEUDO", [*REQUEST, PROTOCOL]),
    # :method and :scheme
    ("8.3.1", ":method empty", "METHOD", [(b":method", b""), S, A, P]),
    ("8.3.1", ":method with a request line", "METHOD", [(b":method", b"GET /admin HTTP/1.1\r\nX:"), S, A, P]),
    ("8.3.1", ":method with SP", "METHOD", [(b":method", b"GET "), S, A, P]),
    ("8.3.1", ":scheme empty", "TARGET", [M, (b":scheme", b""), A, P]),
    ("8.3.1", ":scheme of another protocol", "TARGET", [M, (b":scheme", b"ftp"), A, P]),
    ("8.3.1", ":scheme with a URI", "TARGET", [M, (b":scheme", b"http://evil/?"), A, P]),
    # :path
    ("8.3.1", ":path empty", "TARGET", [M, S, A, (b":path", b"")]),
    ("8.3.1", ":path without a slash", "TARGET", [M, S, A, (b":path", b"admin")]),
    ("8.3.1", ":path with SP", "TARGET", [M, S, A, (b":path", b"/a b")]),
    ("8.3.1", ":path with a version", "TARGET", [M, S, A, (b":path", b"/a HTTP/1.1\r\nhost: evil\r\nx:")]),
    ("8.3.1", ":path with LF", "TARGET", [M, S, A, (b":path", b"/a\n")]),
    ("8.3.1", ":path with NUL", "TARGET", [M, S, A, (b":path", b"/a\x00")]),
    ("8.3.1", ":path with HTAB", "TARGET", [M, S, A, (b":path", b"/a\tb")]),
    ("8.3.1", ":path with a fragment", "TARGET", [M, S, A, (b":path", b"/a#b")]),
    ("8.3.1", ":path with a byte above ASCII", "TARGET", [M, S, A, (b":path", b"/caf\xc3\xa9")]),
    ("8.3.1", ":path in absolute form", "TARGET", [M, S, A, (b":path", b"http://evil/")]),
    ("8.3.1", ":path with a query alone", "TARGET", [M, S, A, (b":path", b"?a")]),
    ("8.3.1", "* without OPTIONS", "TARGET", [M, S, A, (b":path", b"*")]),
    ("8.3.1", "* and more", "TARGET", [(b":method", b"OPTIONS"), S, A, (b":path", b"*a")]),
    # :authority and host
    ("8.3.1", "userinfo", "HOST", [M, S, (b":authority", b"user@example.com"), P]),
    ("8.3.1", "userinfo with a password", "HOST", [M, S, (b":authority", b"u:p@example.com"), P]),
    ("8.3.1", ":authority empty", "HOST", [M, S, (b":authority", b""), P]),
    ("8.3.1", ":authority with a path", "HOST", [M, S, (b":authority", b"example.com/x"), P]),
    ("8.3.1", ":authority with SP", "HOST", [M, S, (b":authority", b"example.com evil"), P]),
    ("8.3.1", ":authority with CR LF", "HOST", [M, S, (b":authority", b"a\r\nx: y"), P]),
    ("8.3.1", ":authority with a huge port", "HOST", [M, S, (b":authority", b"example.com:65536"), P]),
    ("8.3.1", ":authority of an open bracket", "HOST", [M, S, (b":authority", b"[::1"), P]),
    ("8.3.1", "neither :authority nor host", "HOST_MISSING", [M, S, P]),
    ("8.3.1", "host contradicts", "HOST_MISMATCH", [*REQUEST, (b"host", b"evil.com")]),
    ("8.3.1", "host contradicts in its port", "HOST_MISMATCH", [*REQUEST, (b"host", b"example.com:80")]),
    ("8.3.1", "a second host", "HOST_REPEATED", [*REQUEST, (b"host", b"example.com"), (b"host", b"evil")]),
    ("RFC 9110 7.2", "host twice", "HOST_REPEATED", [M, S, P, (b"host", b"example.com"), (b"host", b"example.com")]),
    ("RFC 9110 7.2", "host empty", "HOST", [M, S, P, (b"host", b"")]),
    ("RFC 9110 7.2", "host with userinfo", "HOST", [M, S, P, (b"host", b"u@example.com")]),
    # content-length
    ("8.1.1", "repeated, equal", "CONTENT_LENGTH", [*REQUEST, FIVE, FIVE]),
    ("8.1.1", "repeated, different", "CONTENT_LENGTH", [*REQUEST, FIVE, (b"content-length", b"6")]),
    ("RFC 9110 8.6", "a list", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"5, 5")]),
    ("RFC 9110 8.6", "a sign", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"+5")]),
    ("RFC 9110 8.6", "negative", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"-1")]),
    ("RFC 9110 8.6", "hexadecimal", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"0x5")]),
    ("RFC 9110 8.6", "empty", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"")]),
    ("RFC 9110 8.6", "2^63", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"9223372036854775808")]),
    ("RFC 9110 8.6", "2^64 and 5", "CONTENT_LENGTH", [*REQUEST, (b"content-length", b"18446744073709551621")]),
    # CONNECT
    ("8.5", "CONNECT with :path", "PSEUDO", [CONNECT, A, P]),
    ("8.5", "CONNECT with :scheme", "PSEUDO", [CONNECT, A, S]),
    ("8.5", "CONNECT with both", "PSEUDO", [CONNECT, S, A, P]),
    ("8.5", "CONNECT without :authority", "PSEUDO", [CONNECT]),
    ("8.5", "CONNECT without a port", "TARGET", [CONNECT, A]),
    ("8.5", "CONNECT to port 0", "TARGET", [CONNECT, (b":authority", b"example.com:0")]),
    ("8.5", "CONNECT with host elsewhere", "HOST_MISMATCH", [CONNECT, (b":authority", b"a:443"), (b"host", b"b:443")]),
    ("RFC 9110 9.3.6", "CONNECT with content", "CONTENT_LENGTH", [CONNECT, (b":authority", b"a:1"), FIVE]),
]  # fmt: skip

TUNNELS: list[tuple[str, str, str, Fields]] = [
    ("RFC 8441 4", "without :path", "PSEUDO", [CONNECT, PROTOCOL, S, A]),
    ("RFC 8441 4", "without :scheme", "PSEUDO", [CONNECT, PROTOCOL, A, P]),
    ("RFC 8441 4", "without :authority", "PSEUDO", [CONNECT, PROTOCOL, S, P]),
    ("RFC 8441 4", "with host instead of :authority", "PSEUDO", [CONNECT, PROTOCOL, S, P, (b"host", b"a")]),
    ("RFC 8441 4", "of another method", "PSEUDO", [*REQUEST, PROTOCOL]),
    ("RFC 8441 4", ":protocol twice", "PSEUDO", [*TUNNEL, PROTOCOL]),
    ("RFC 8441 4", ":protocol behind a field", "PSEUDO", [CONNECT, S, A, P, (b"a", b"b"), PROTOCOL]),
    ("RFC 9110 7.8", ":protocol empty", "UPGRADE", [CONNECT, (b":protocol", b""), S, A, P]),
    ("RFC 9110 7.8", ":protocol of two", "UPGRADE", [CONNECT, (b":protocol", b"a, b"), S, A, P]),
    ("RFC 9110 7.8", ":protocol with a field", "UPGRADE", [CONNECT, (b":protocol", b"a\r\nx: y"), S, A, P]),
    ("RFC 9113 3.1", ":protocol h2c", "UPGRADE", [CONNECT, (b":protocol", b"h2c"), S, A, P]),
    ("8.3.1", "to *", "TARGET", [CONNECT, PROTOCOL, S, A, (b":path", b"*")]),
    ("RFC 8441 5", "with content-length", "CONTENT_LENGTH", [*TUNNEL, (b"content-length", b"1")]),
    ("8.2.2", "with upgrade as well", "CONNECTION_FIELD", [*TUNNEL, (b"upgrade", b"websocket")]),
]  # fmt: skip

RESPONSES: list[tuple[str, str, str, Fields]] = [
    ("8.3.2", "no :status", "PSEUDO", [(b"server", b"x")]),
    ("8.3.2", "nothing", "PSEUDO", []),
    ("8.3", ":status twice", "PSEUDO", [*STATUS, *STATUS]),
    ("8.3", ":status behind a field", "PSEUDO", [(b"server", b"x"), *STATUS]),
    ("8.3", ":path in a response", "PSEUDO", [*STATUS, P]),
    ("8.3", ":protocol in a response", "PSEUDO", [*STATUS, PROTOCOL]),
    ("8.6", "101", "STATUS_LINE", [(b":status", b"101")]),
    ("RFC 9110 15", "two digits", "STATUS_LINE", [(b":status", b"20")]),
    ("RFC 9110 15", "four digits", "STATUS_LINE", [(b":status", b"2000")]),
    ("RFC 9110 15", "a reason phrase", "STATUS_LINE", [(b":status", b"200 OK")]),
    ("RFC 9110 15", "empty", "STATUS_LINE", [(b":status", b"")]),
    ("RFC 9110 15", "000", "STATUS_LINE", [(b":status", b"000")]),
    ("RFC 9110 15", "099", "STATUS_LINE", [(b":status", b"099")]),
    ("RFC 9110 15", "a letter", "STATUS_LINE", [(b":status", b"2O0")]),
    ("RFC 9110 15", "a line end", "STATUS_LINE", [(b":status", b"20\n")]),
    ("8.2.2", "transfer-encoding", "CONNECTION_FIELD", [*STATUS, (b"transfer-encoding", b"chunked")]),
    ("8.2.2", "connection", "CONNECTION_FIELD", [*STATUS, (b"connection", b"close")]),
    ("8.2.2", "upgrade", "CONNECTION_FIELD", [*STATUS, (b"upgrade", b"h2c")]),
    ("8.2.1", "a response in a value", "FIELD_VALUE", [*STATUS, (b"a", b"b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")]),
    ("8.2", "upper case", "FIELD_NAME", [*STATUS, (b"Server", b"x")]),
    ("8.1.1", "content-length twice", "CONTENT_LENGTH", [*STATUS, FIVE, FIVE]),
]  # fmt: skip

TRAILERS: list[tuple[str, str, str, Fields]] = [
    ("8.1", ":path", "PSEUDO", [P]),
    ("8.1", ":status behind a field", "PSEUDO", [(b"grpc-status", b"0"), *STATUS]),
    ("8.2.2", "transfer-encoding", "CONNECTION_FIELD", [(b"transfer-encoding", b"chunked")]),
    ("8.2.2", "connection", "CONNECTION_FIELD", [(b"connection", b"x")]),
    ("8.2.1", "CR LF in a value", "FIELD_VALUE", [(b"grpc-message", b"a\r\nb")]),
    ("8.2", "upper case", "FIELD_NAME", [(b"Grpc-Status", b"0")]),
]  # fmt: skip

CASES = [
    pytest.param(kind, extended, fault, fields, id=f"{kind} {section}: {what}")
    for kind, extended, cases in (
        ("request", False, REQUESTS), ("request", True, TUNNELS), ("response", False, RESPONSES),
        ("trailers", False, TRAILERS),
    )
    for section, what, fault, fields in cases
]  # fmt: skip


@pytest.mark.parametrize(("kind", "extended", "fault", "fields"), CASES)
def test_refused(kind: str, extended: bool, fault: str, fields: Fields) -> None:
    peer, encoder = Peer(), hpack.Encoder()
    for _ in range(2):
        status, found, _, _, text = peer.read(encoded(encoder, fields), kind, extended)
        assert (status, Fault(found).name, text) == (BAD, f"FAULT_{fault}", None)


ACCEPTED: list[tuple[str, str, bool, Fields]] = [
    ("obs-text in a value", "request", False, [*REQUEST, (b"a", b"\x80\xff")]),
    ("HTAB inside a value", "request", False, [*REQUEST, (b"a", b"x\ty")]),
    ("an empty value", "request", False, [*REQUEST, (b"a", b"")]),
    ("a colon in a value", "request", False, [*REQUEST, (b"a", b"b: c")]),
    ("odd token bytes in a name", "request", False, [*REQUEST, (b"!#$%&'*+-.^_`|~", b"x")]),
    ("te: trailers", "request", False, [*REQUEST, (b"te", b"trailers")]),
    ("pseudo-headers in any order", "request", False, [P, A, S, M]),
    ("host that agrees", "request", False, [*REQUEST, (b"host", b"EXAMPLE.com:443")]),
    ("host alone", "request", False, [M, S, P, (b"host", b"example.com")]),
    ("an unknown method", "request", False, [(b":method", b"BREW"), S, A, P]),
    ("OPTIONS *", "request", False, [(b":method", b"OPTIONS"), S, A, (b":path", b"*")]),
    ("content-length 2^63 - 1", "request", False, [*REQUEST, (b"content-length", b"9223372036854775807")]),
    ("CONNECT", "request", False, [CONNECT, (b":authority", b"example.com:443")]),
    ("CONNECT with its host", "request", False, [CONNECT, (b":authority", b"a:443"), (b"host", b"a")]),
    ("extended CONNECT", "request", True, TUNNEL),
    ("an unregistered status", "response", False, [(b":status", b"299")]),
    ("an interim response", "response", False, [(b":status", b"103"), (b"link", b"x")]),
    ("no trailers", "trailers", False, []),
    ("fields that trailers lose later", "trailers", False, [(b"content-length", b"x"), (b"host", b"x")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "extended", "fields"), [pytest.param(*case[1:], id=case[0]) for case in ACCEPTED]
)
def test_accepted(kind: str, extended: bool, fields: Fields) -> None:
    peer, encoder = Peer(), hpack.Encoder()
    for _ in range(2):
        assert peer.read(encoded(encoder, fields), kind, extended)[:2] == (OK, 0)
