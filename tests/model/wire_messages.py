"""Hypothesis strategies for HTTP/1 messages: lawful ones, nearly lawful ones, and damage."""

from collections.abc import Iterable

from hypothesis import strategies as st

from tests.model.wire_model import Limits

KINDS = ("request", "response", "trailers")

REQUEST_LINES = (
    b"GET / HTTP/1.1", b"GET /a/b?c=d&e=? HTTP/1.1", b"POST /x HTTP/1.0", b"HEAD //h/%20;p=1 HTTP/1.1",
    b"GET /" + b"long/" * 30 + b"?q HTTP/1.1", b"GET http://example.com HTTP/1.1",
    b"GET HTTP://Example.COM:80/p?q HTTP/1.1", b"OPTIONS http://example.com HTTP/1.1",
    b"GET https://example.com?x HTTP/1.1", b"GET https://example.com:8443/ HTTP/1.0", b"OPTIONS * HTTP/1.1",
    b"CONNECT example.com:443 HTTP/1.1", b"CONNECT [::1]:80 HTTP/1.1", b"BREW /pot HTTP/1.2", b"PATCH /p HTTP/1.9",
    b"PUT /p HTTP/1.1", b"TRACE /t HTTP/1.1", b"DELETE /d HTTP/1.1", b"get / HTTP/1.1",
)  # fmt: skip
ODD_REQUEST_LINES = (
    b"GET /caf\xc3\xa9 HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1",
    b"GET / HTTP/2.0", b"GET / HTTP/1.10", b"GET / http/1.1", b"GET /", b"GET * HTTP/1.1", b"G@T / HTTP/1.1",
    b"PRI * HTTP/2.0", b"CONNECT example.com HTTP/1.1", b"CONNECT a:0 HTTP/1.1", b"CONNECT a:99999 HTTP/1.1",
    b"GET ftp://a/ HTTP/1.1", b"GET http://u@a/ HTTP/1.1", b"GET http:///p HTTP/1.1", b"GET http://a:b/ HTTP/1.1",
    b"GET a HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /\tx HTTP/1.1", b"CONNECT / HTTP/1.1", b"CONNECT a: HTTP/1.1",
)  # fmt: skip
STATUS_LINES = (
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.0 404 Not Found",
    b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 204 No\tContent", b"HTTP/1.1 304 N\xe9", b"HTTP/1.7 599 x",
    b"HTTP/1.1 100 Continue", b"HTTP/1.1 600 x", b"HTTP/1.1 999 x",
)  # fmt: skip
ODD_STATUS_LINES = (
    b"HTTP/1.1 000 x", b"HTTP/1.1 099 x", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1  200 OK",
    b"HTTP/2.0 200 OK", b"HTTP/1.1200 OK", b"HTTP/1.1 200OK", b"http/1.1 200 OK", b"HTTP/1.1", b"HTTP/1.1 ", b"",
    b"ICY 200 OK", b"HTTP/1.12 200 OK",
)  # fmt: skip
HOST_LINES = (
    b"Host: example.com", b"host: EXAMPLE.com:80", b"Host: example.com:443", b"Host: [::1]:80",
    b"Host: %41.b:",
)  # fmt: skip
FIELD_LINES = (
    b"Connection: close", b"Connection: keep-alive", b"Connection: Keep-Alive, Upgrade", b"Connection: X-Foo, ,te",
    b"Connection: upgrade, HTTP2-Settings", b"Connection:", b"Connection: trailer", b"Connection: " + b"a," * 64,
    b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"X-Foo: 1", b"x-foo:  2  ", b"X-Bar:\t\tv\t ",
    b"TE: trailers", b"TE: deflate;q=0.5, Trailers", b"TE: gzip", b"Trailer: X-Foo", b"Upgrade: websocket",
    b"Upgrade: h2c", b"Upgrade: h2c, WebSocket/13", b"Upgrade:", b"Upgrade: ,a", b"HTTP2-Settings: AAAA",
    b"Expect: 100-Continue", b"Expect: x", b"Max-Forwards: 0", b"Max-Forwards: 7", b"Max-Forwards: 255",
    b"Max-Forwards: 256", b"Max-Forwards: x", b"Date: now",
    b"Via: 1.1 a", b"Forwarded: for=a", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-For:", b"X-Forwarded-Proto: https",
    b"Cookie: a=b", b"Set-Cookie: a=b", b"Grpc-Timeout: 1S", b"grpc-status: 0", b"User-Agent: " + b"Mozilla/5.0 " * 9,
    b"Accept: */*", b"_odd!name: v", b"A-name-longer-than-thirty-two-bytes_with.all+kinds: v", b"X: \x80\xff",
    b"Empty:", b"Blank: \t ", b"Time: 12:30:00", b"If-Match: x", b"Referer: /", b"Authorization: x", b"Age: 1",
    b"Proxy-Authorization: x", b"Content-Type: text/plain", b"Cache-Control: no-cache", b"Vary: *", b"Location: /",
    b"Retry-After: 1", b"Expires: 0", b"Pragma: x", b"Range: x", b"WWW-Authenticate: x", b"Proxy-Authenticate: x",
)  # fmt: skip
FRAMING_LINES = (
    b"Content-Length: 0", b"Content-Length: 5", b"content-length:5", b"Content-Length: 9223372036854775807",
    b"Content-Length: 00000000000000000000000007", b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED",
)  # fmt: skip
ODD_FIELD_LINES = (
    b"Content-Length: 5, 5", b"Content-Length: +5", b"Content-Length: 9223372036854775808", b"Content-Length:",
    b"Content-Length: 1 1", b"Content-Length: 0x5", b"Content-Length: 18446744073709551617",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: ", b"Transfer-Encoding: chunked;a=b", b"Transfer-Encoding: gzip ; q = 1",
    b"Transfer-Encoding: x;y", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: ch unked", b'Transfer-Encoding: x;y="z"', b"Transfer-Encoding: gzip", b"Transfer-Encoding: x;",
    b"Host:", b"Host: \t ",
    b"Host: a b", b"Host: a@b", b"Host: [::1", b"Host: a:123456", b"Host: http://a/", b"Host: :80", b"Host: a:65536",
    b"Connection: a b", b"Connection: Host", b"Connection: content-length", b"Connection: Cookie",
    b"Connection: Content-Foo", b"Connection: cache-control", b"Connection: " + b"a," * 65,
    b"Upgrade: a/b/c", b"Upgrade: a b", b"Upgrade: /x", b"Upgrade: x/", b" folded: x", b"\tfolded", b"No colon",
    b": empty", b"Blank : v", b"Bl ank: v", b"N\xe9: v", b"Par(en: v",
)  # fmt: skip
SPECIAL = (
    b"\0", b"\t", b"\n", b"\r", b"\r\n", b"\x01", b"\x1f", b" ", b":", b",", b";", b"\x7f", b"\x80", b"\xff", b"#",
    b"\r\r\n",
)  # fmt: skip


def _joined(start: Iterable[bytes], fields: list[bytes], end: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in [*start, *fields]) + end


# Mostly lawful: a head that breaks one rule shows that rule, one that breaks five shows the first.
_ends = st.sampled_from([b"\r\n"] * 5 + [b"\r\n\r\n", b"", b"\r", b"\r\nBody: x\r\n"])
_skipped = st.sampled_from([[]] * 6 + [[b""], [b""] * 4, [b""] * 5])
_framing = st.sampled_from([[]] * 2 + [[line] for line in FRAMING_LINES])
_odd = st.sampled_from([[]] * len(ODD_FIELD_LINES) + [[line] for line in ODD_FIELD_LINES + HOST_LINES + FRAMING_LINES])
_hosts = st.sampled_from([[]] + [[line] for line in HOST_LINES[:1] * 4 + HOST_LINES])


def _fields(*parts: st.SearchStrategy[list[bytes]]) -> st.SearchStrategy[list[bytes]]:
    plain = st.lists(st.sampled_from(FIELD_LINES), max_size=7)
    every = st.tuples(plain, _odd, *parts).map(lambda lists: [line for part in lists for line in part])
    return every.flatmap(st.permutations)


def _starts(lawful: tuple[bytes, ...], odd: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    return st.sampled_from(lawful * 6 + odd)


def messages() -> st.SearchStrategy[tuple[str, bytes]]:
    """(kind, bytes): any start line with any fields."""
    starts = st.builds(lambda skip, line: [*skip, line], _skipped, _starts(REQUEST_LINES, ODD_REQUEST_LINES))
    status = _starts(STATUS_LINES, ODD_STATUS_LINES).map(lambda line: [line])
    requests = st.builds(_joined, starts, _fields(_hosts, _framing), _ends)
    responses = st.builds(_joined, status, _fields(_framing), _ends)
    trailers = st.builds(_joined, st.just([]), _fields(), _ends)
    return st.one_of(
        st.tuples(st.just("request"), requests), st.tuples(st.just("request"), requests),
        st.tuples(st.just("response"), responses), st.tuples(st.just("trailers"), trailers),
    )  # fmt: skip


def damaged(message: tuple[str, bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    """The message with a few bytes replaced, inserted or removed."""
    kind, data = message

    def apply(edits: list[tuple[int, int, bytes]]) -> tuple[str, bytes]:
        result = data
        for at, cut, put in edits:
            at = min(at, len(result))
            result = result[:at] + put + result[at + cut :]
        return kind, result

    what = st.one_of(st.sampled_from(SPECIAL), st.binary(max_size=3))
    return st.lists(st.tuples(st.integers(0, len(data)), st.integers(0, 2), what), min_size=1, max_size=3).map(apply)


def limits() -> st.SearchStrategy[Limits]:
    """Mostly the defaults; else limits that the messages cross."""
    small = st.builds(Limits, st.integers(4, 400), st.integers(4, 60), st.integers(4, 60), st.integers(0, 6))
    return st.one_of(st.just(Limits()), st.just(Limits()), small)
