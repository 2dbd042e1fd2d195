"""Hypothesis strategies for the fields of HTTP/2 header blocks: lawful ones, nearly lawful ones, and damage."""

from typing import Any

import hpack
from hypothesis import strategies as st

Fields = list[tuple[bytes, bytes]]

METHODS = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"BREW", b"get", b"CONNECT")
ODD_METHODS = (b"", b"G T", b"GET ", b"G\r\nT", b"G@T", b"\xe9")
SCHEMES = (b"http", b"https", b"HTTPS")
ODD_SCHEMES = (b"", b"ftp", b"https:", b"http\r\n", b"h")
PATHS = (b"/", b"/a/b?c=d&e=?", b"//x", b"/pkg.Service/Method", b"/" + b"long/" * 40, b"*", b"/%00;p")
ODD_PATHS = (b"", b"a", b"/a b", b"/a#b", b"/a\r\nX: y", b"/\x00", b"/\xc3\xa9", b"http://a/", b"/a HTTP/1.1\r\n",
             b"**", b"/\x7f", b"/a\t", b"?x")  # fmt: skip
AUTHORITIES = (b"example.com", b"EXAMPLE.com:80", b"example.com:443", b"[::1]:8080", b"a:", b"%41.b")
ODD_AUTHORITIES = (b"", b"u@a", b"a b", b"a:b", b"a:65536", b"[::1", b"a\r\n", b"a/b", b":80", b"a:0")
PROTOCOLS = (b"websocket", b"WebSocket", b"connect-udp")
ODD_PROTOCOLS = (b"", b"h2c", b"H2C", b"a/b", b"web socket", b"a,b", b"a\r\n")
STATUSES = (b"200", b"204", b"404", b"500", b"599", b"299", b"100", b"103", b"304", b"600", b"999")
ODD_STATUSES = (b"", b"101", b"099", b"000", b"20", b"2000", b"2 0", b"20\n", b"abc", b"+20")
PLAIN = (
    (b"accept", b"*/*"), (b"user-agent", b"Mozilla/5.0 " * 7), (b"x", b""), (b"_odd!name", b"v"),
    (b"a-name-longer-than-thirty-two-bytes_with.all+kinds", b"v"), (b"x-obs", b"\x80\xff"), (b"x-tab", b"a\tb"),
    (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"cookie", b""), (b"cookie", b"e=" + b"f" * 90), (b"te", b"trailers"),
    (b"content-type", b"application/grpc"), (b"content-type", b"application/grpc+proto"),
    (b"content-type", b"application/grpc-web"), (b"content-type", b"Application/gRPC;x"), (b"content-type", b"text/a"),
    (b"content-type", b"application/grp"), (b"date", b"now"), (b"expect", b"100-continue"), (b"trailer", b"x-sum"),
    (b"max-forwards", b"3"), (b"via", b"2.0 a"), (b"x-forwarded-for", b"1.2.3.4"), (b"authorization", b"Basic eA=="),
    (b"http2-settings", b"AAAA"), (b"grpc-timeout", b"1S"), (b"set-cookie", b"a=b"), (b"colon", b"a: b"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), (b"sec-websocket-version", b"13"),
    (b"proxy-authorization", b"x"), (b"referer", b"/"), (b"if-match", b"*"),
)  # fmt: skip
LENGTHS = ((b"content-length", b"0"), (b"content-length", b"5"), (b"content-length", b"9223372036854775807"))
ODD = (
    (b"", b"v"), (b"Accept", b"v"), (b"a b", b"v"), (b"a:", b"v"), (b"a:b", b"v"), (b"x\x00", b"v"), (b"x\r\ny", b"v"),
    (b"n\xe9", b"v"), (b"par(en", b"v"), (b"x ", b"v"), (b" x", b"v"), (b"x-\x7f", b"v"), (b"X", b"v"),
    (b"v", b" x"), (b"v", b"x "), (b"v", b"\tx"), (b"v", b"x\t"), (b"v", b"a\x00b"), (b"v", b"a\rb"), (b"v", b"a\nb"),
    (b"v", b"a\r\nHost: evil"), (b"v", b"\x7f"), (b"v", b"\x1f"), (b"v", b" "), (b"v", b"x" * 40 + b"\n"),
    (b"connection", b"close"), (b"keep-alive", b"1"), (b"proxy-connection", b"close"), (b"upgrade", b"h2c"),
    (b"transfer-encoding", b"chunked"), (b"te", b"gzip"), (b"te", b"trailers, gzip"), (b"te", b"Trailers"),
    (b"te", b""),
    (b"content-length", b""), (b"content-length", b"+1"), (b"content-length", b"1, 1"), (b"content-length", b"1 1"),
    (b"content-length", b"9223372036854775808"), (b"content-length", b"0x1"), (b":path", b"/late"),
    (b":status", b"200"), (b":method", b"GET"), (b":unknown", b"x"), (b":", b"x"), (b":Path", b"/"),
    (b":protocol", b"x"),
    (b"host", b""), (b"host", b"a b"), (b"host", b"u@example.com"), (b"host", b"other.com"),
)  # fmt: skip
SPECIAL = (b"\0", b"\r", b"\n", b"\r\n", b" ", b":", b"\t", b"A")
HOSTS = ((b"host", b"example.com"), (b"host", b"Example.com:80"), (b"host", b"example.com:443"))


def _of(lawful: Any, odd: Any, weight: int = 8) -> st.SearchStrategy[Any]:
    """Mostly a lawful one: a list that breaks one rule shows that rule."""
    return st.one_of(*[st.sampled_from(lawful)] * weight, st.sampled_from(odd))


@st.composite
def _request_pseudo(draw: st.DrawFn) -> Fields:
    method = draw(_of(METHODS, ODD_METHODS, 12))
    path = draw(_of(PATHS, ODD_PATHS, 6))
    if path == b"*" and draw(st.integers(0, 3)):
        method = b"OPTIONS"
    parts = [(b":method", method), (b":authority", draw(_of(AUTHORITIES, ODD_AUTHORITIES, 9)))]
    if method == b"CONNECT" and draw(st.booleans()):
        parts.append((b":protocol", draw(_of(PROTOCOLS, ODD_PROTOCOLS, 4))))
    if method != b"CONNECT" or len(parts) == 3 or draw(st.integers(0, 5)) == 0:
        parts += [(b":scheme", draw(_of(SCHEMES, ODD_SCHEMES, 12))), (b":path", path)]
    if draw(st.integers(0, 7)) == 0:
        parts.pop(draw(st.integers(0, len(parts) - 1)))
    return list(draw(st.permutations(parts)))


def _regular() -> st.SearchStrategy[Fields]:
    plain = st.lists(st.sampled_from(PLAIN), max_size=8)
    some = st.sampled_from([[]] * 3 + [[pair] for pair in LENGTHS])
    host = st.sampled_from([[]] * 6 + [[pair] for pair in HOSTS])
    odd = st.sampled_from([[]] * len(ODD) + [[pair] for pair in ODD + LENGTHS + HOSTS])
    lists = st.tuples(plain, some, host, odd).map(lambda parts: [pair for part in parts for pair in part])
    return lists.flatmap(st.permutations).map(list)


@st.composite
def field_lists(draw: st.DrawFn) -> tuple[str, Fields]:
    """(kind, fields): any pseudo-headers with any fields."""
    kind = draw(st.sampled_from(["request", "request", "response", "trailers"]))
    pseudo: Fields = []
    if kind == "request":
        pseudo = draw(_request_pseudo())
    elif kind == "response":
        pseudo = [(b":status", draw(_of(STATUSES, ODD_STATUSES)))] if draw(st.integers(0, 15)) else []
    fields = pseudo + draw(_regular())
    if len(fields) > 1 and draw(st.integers(0, 15)) == 0:
        a = draw(st.integers(0, len(fields) - 2))
        fields[a], fields[a + 1] = fields[a + 1], fields[a]
    return kind, fields


@st.composite
def damaged_lists(draw: st.DrawFn) -> tuple[str, Fields]:
    """The same with a few bytes replaced, inserted or removed in one name or value."""
    kind, fields = draw(field_lists())
    if fields:
        at, part = draw(st.integers(0, len(fields) - 1)), draw(st.integers(0, 1))
        text = fields[at][part]
        cut = draw(st.integers(0, len(text)))
        what = draw(st.one_of(st.sampled_from(SPECIAL), st.binary(max_size=3)))
        text = text[:cut] + what + text[cut + draw(st.integers(0, 2)) :]
        fields[at] = (text, fields[at][1]) if part == 0 else (fields[at][0], text)
    return kind, fields


def encoded(encoder: hpack.Encoder, fields: Fields, huffman: bool = True) -> bytes:
    """A block of these fields, whatever they are."""
    return bytes(encoder.encode(fields, huffman=huffman))
