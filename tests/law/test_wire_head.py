"""Heads: the core equals the model, whole, byte by byte and at every split, in verdict, place and offsets."""

from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model import wire_messages as lines
from tests.model.wire_enums import AGAIN, OK
from tests.model.wire_messages import KINDS, damaged, limits, messages
from tests.model.wire_model import Limits, Verdict, judge
from tests.probe.wire_http1 import Parser


def parser(kind: str, limit: Limits) -> Parser:
    return Parser(kind, limit.head_bytes, limit.line_bytes, limit.field_line_bytes, limit.fields)


def same(found: Parser, answer: tuple[int, int], wanted: Verdict) -> None:
    assert answer == (wanted.status, wanted.fault)
    if wanted.status == OK:
        assert found.scalars() == wanted.head
        assert found.fields() == wanted.fields


def check_whole(kind: str, data: bytes, limit: Limits, wanted: Verdict) -> None:
    whole = parser(kind, limit)
    same(whole, whole.feed(data), wanted)


def check_cuts(kind: str, data: bytes, limit: Limits, wanted: Verdict, cuts: list[int]) -> None:
    """Feeds growing prefixes; each answers AGAIN before the deciding byte and the verdict from it on."""
    pieces = parser(kind, limit)
    for cut in cuts:
        answer = pieces.feed(data[:cut])
        if cut < wanted.at or wanted.status == AGAIN:
            assert answer == (AGAIN, 0), f"after {cut} bytes, decided at {wanted.at}"
        else:
            same(pieces, answer, wanted)


def check(kind: str, data: bytes, limit: Limits) -> None:
    wanted = judge(kind, data, limit)
    check_whole(kind, data, limit, wanted)
    check_cuts(kind, data, limit, wanted, list(range(len(data) + 1)))


@settings(max_examples=600, deadline=None)
@given(messages(), limits())
@example(("request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Limits())
def test_core_equals_model_byte_by_byte(message: tuple[str, bytes], limit: Limits) -> None:
    check(*message, limit)


@settings(max_examples=1500, deadline=None)
@given(messages().flatmap(damaged), limits())
def test_damaged_heads_equal_model_byte_by_byte(message: tuple[str, bytes], limit: Limits) -> None:
    check(*message, limit)


@settings(max_examples=500, deadline=None)
@given(messages().flatmap(damaged), st.data())
def test_every_split(message: tuple[str, bytes], draw: st.DataObject) -> None:
    kind, data = message
    wanted = judge(kind, data, Limits())
    cuts = [*sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6))), len(data)]
    check_cuts(kind, data, Limits(), wanted, cuts)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes(kind: str, data: bytes) -> None:
    check(kind, data, Limits())


@settings(max_examples=300, deadline=None)
@given(messages(), st.binary(max_size=100))
def test_bytes_after_the_head_change_nothing(message: tuple[str, bytes], after: bytes) -> None:
    kind, data = message
    wanted = judge(kind, data, Limits())
    if wanted.status != AGAIN:
        check_whole(kind, data + after, Limits(), wanted)


STARTS = (b"POST /x HTTP/1.1", b"POST http://example.com/ HTTP/1.0", b"CONNECT example.com:443 HTTP/1.1")


@pytest.mark.parametrize("start", STARTS)
def test_every_pair_of_request_fields(start: bytes) -> None:
    every = lines.FIELD_LINES + lines.FRAMING_LINES + lines.ODD_FIELD_LINES
    for host, (one, two) in product((b"", b"Host: example.com\r\n"), product(every + lines.HOST_LINES, every)):
        data = start + b"\r\n" + host + one + b"\r\n" + two + b"\r\n\r\n"
        check_whole("request", data, Limits(), judge("request", data, Limits()))


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 101 S\r\n", b""])
def test_every_pair_of_response_and_trailer_fields(start: bytes) -> None:
    kind = "response" if start else "trailers"
    every = lines.FIELD_LINES + lines.FRAMING_LINES + lines.ODD_FIELD_LINES + lines.HOST_LINES
    for one, two in product(every, every):
        data = start + one + b"\r\n" + two + b"\r\n\r\n"
        check_whole(kind, data, Limits(), judge(kind, data, Limits()))


@pytest.mark.parametrize("start", lines.REQUEST_LINES + lines.ODD_REQUEST_LINES)
def test_every_request_line_with_every_host(start: bytes) -> None:
    for host in (b"", *lines.HOST_LINES, b"Host: [0::1]:80", b"Host: example.com:8443", b"Host: example.org"):
        data = start + b"\r\n" + (host + b"\r\n" if host else b"") + b"\r\n"
        check("request", data, Limits())


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_at_every_place(byte: int) -> None:
    for kind, head in (
        ("request", b"\r\nGET http://a:80/p?q HTTP/1.1\r\nHost: a\r\nB: c d\r\n\r\n"),
        ("request", b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]\r\n\r\n"),
        ("response", b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
        ("response", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("trailers", b"A: b\r\n\r\n"),
    ):
        for at in range(len(head)):
            for data in (head[:at] + bytes([byte]) + head[at + 1 :], head[:at] + bytes([byte]) + head[at:]):
                check_whole(kind, data, Limits(), judge(kind, data, Limits()))
