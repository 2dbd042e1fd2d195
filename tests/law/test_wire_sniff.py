"""The first bytes of a connection: a verdict stays, comes in time, and is what the formats' own parsers say."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model.wire_enums import OK, enum_of
from tests.model.wire_messages import messages
from tests.probe.wire_guard import Guard
from tests.probe.wire_http1 import Parser
from tests.probe.wire_sniff import is_http2_server, sniff, sniff_at

Verdict = enum_of("sniff.pxd", "SniffVerdict")
MORE, HTTP1, HTTP2, TLS, OPAQUE = Verdict
MOST = 1024
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HELLO = bytes.fromhex("1603010100010000fc0303")
TARGET = rb"(?:CONNECT (?=[A-Za-z0-9\-._~!$&'()*+,;=\[])|(?!CONNECT )[A-Z][A-Z_-]{2,23} (?:/|\*(?= )|(?i:https?://)))"
START = re.compile(TARGET + rb"[^\x00-\x20\x7f]*")
LINE = re.compile(START.pattern + rb" HTTP/")
WHOLE = (
    b"GET / HTTP/1.1", b"GET http://a/ HTTP/1.1", b"GET https://a/ HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1", PREFACE, HELLO,
)  # fmt: skip
GUARD = Guard(1)

words = st.sampled_from([
    *WHOLE, b"GET", b"CONNECT", b"PRI", b" ", b"/", b"*", b"http://", b" HTTP/", b"\r\n", b"\x16\x03\x01", b"x" * 300,
    b"\x00", b"key", b"-", b"_",
])  # fmt: skip
openings = st.lists(words | st.binary(max_size=3), max_size=6).map(b"".join)


def check_prefixes(data: bytes) -> None:
    verdict = MORE
    for n in range(len(data) + 1):
        found = sniff(data[:n])
        assert found == verdict or verdict == MORE
        verdict = found
    assert verdict != MORE or len(data) < MOST


@settings(max_examples=400, deadline=None)
@given(openings)
@example(b"GET /" + b"x" * 1019 + b"\r\n")
@example(b"GET /" + b"x" * 1015 + b" HTT" + b"q")
def test_a_verdict_stays_and_comes_in_time(data: bytes) -> None:
    check_prefixes(data)


@settings(max_examples=800, deadline=None)
@given(openings)
def test_http1_is_a_line_of_three_parts(data: bytes) -> None:
    seen = data[:MOST]
    found = sniff(data)
    line = LINE.match(seen)
    start = START.match(seen)
    open_at_the_end = start and len(data) >= MOST and b" HTTP".startswith(seen[start.end() :])
    preface = PREFACE.startswith(data) or data.startswith(PREFACE)
    wanted = (line is not None or bool(open_at_the_end)) and not preface
    assert (found == HTTP1) == wanted
    assert (found == HTTP2) == data.startswith(PREFACE)


@settings(max_examples=400, deadline=None)
@given(openings)
def test_more_means_that_it_may_still_become_something(data: bytes) -> None:
    if sniff(data) != MORE:
        return
    ends = [whole[n:] for whole in WHOLE for n in range(len(whole) + 1)] + [b"/ HTTP/", b"  HTTP/"]
    ends += [b"GET"[len(data) :] + b" / HTTP/"]
    assert any(sniff(data + end) in (HTTP1, HTTP2, TLS) for end in ends)


@settings(max_examples=200, deadline=None)
@given(messages())
def test_what_the_head_parser_takes_is_http1(message: tuple[str, bytes]) -> None:
    kind, data = message
    plain = re.match(rb"[A-Z][A-Z_-]{2,23} ", data)
    if kind == "request" and plain and Parser(kind).feed(data)[0] == OK:
        assert sniff(data) == HTTP1


@settings(max_examples=200, deadline=None)
@given(openings)
def test_nothing_outside_is_read(data: bytes) -> None:
    data = data[: GUARD.room]
    for place in (GUARD.put_back, GUARD.put_front):
        assert sniff_at(place(data), len(data)) == sniff(data)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_at_every_place(byte: int) -> None:
    for whole in WHOLE:
        for at in range(len(whole)):
            check_prefixes(whole[:at] + bytes([byte]) + whole[at + 1 :])


@pytest.mark.parametrize("first", sorted(set(range(256)) - {0x16, *range(0x41, 0x5B)}))
def test_most_first_bytes_decide(first: int) -> None:
    assert sniff(bytes([first])) == OPAQUE


@pytest.mark.parametrize("head", ["000000040000000000", "000012040000000000", "003ffc040000000000"])
def test_a_settings_frame_is_how_a_server_of_http2_begins(head: str) -> None:
    whole = bytes.fromhex(head)
    assert is_http2_server(whole)
    assert is_http2_server(whole + b"\x00\x03")
    assert not any(is_http2_server(whole[:n]) for n in range(len(whole)))


@pytest.mark.parametrize(
    "head",
    ["000013040000000000", "000000040100000000", "000000040000000001", "000000060000000000", "004002040000000000",
     "4a0000000a382e302e", "323230206d61696c2e"],
)  # fmt: skip
def test_what_is_no_servers_settings_is_no_beginning_of_http2(head: str) -> None:
    assert not is_http2_server(bytes.fromhex(head))
