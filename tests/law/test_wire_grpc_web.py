"""gRPC-Web: text and bytes of messages, whole, byte by byte and at every split; what Content-Type and Accept mean."""

import base64
import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.probe.wire_grpc_web import Messages, Scan, decode, frame, media

NONE, BINARY, TEXT = range(3)
WIDE = 1 << 16
UNITS = re.compile(rb"(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*")

messages = st.lists(st.tuples(st.sampled_from([0, 1, 0x80]), st.binary(max_size=20)), max_size=6)
cuts = st.lists(st.integers(0, 200), max_size=8)


def framed(parts: list[tuple[int, bytes]]) -> list[bytes]:
    return [bytes([flags]) + len(data).to_bytes(4, "big") + data for flags, data in parts]


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in at), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def encode(parts: list[bytes], room: int = WIDE) -> bytes:
    """As a proxy does: what was not taken is offered again with what came since."""
    stream, held, out = Messages(), b"", b""
    for index, part in enumerate(parts):
        held += part
        last = index == len(parts) - 1
        while True:
            used, text = stream.encode(held, last, room)
            assert len(text) <= room
            held, out = held[used:], out + text
            if not used:
                break
        assert len(held) < 3
    assert held == b""
    return out


def decoded(parts: list[bytes], room: int = WIDE) -> bytes:
    held, out = b"", b""
    for part in parts:
        held += part
        while True:
            used, data = decode(held, room)
            assert len(data) <= room
            held, out = held[used:], out + data
            if not used:
                break
    assert len(held) < 4
    return out


@given(messages, cuts, st.integers(4, 40), st.integers(0, 20))
def test_text_is_base64_of_each_message_at_every_split(
    parts: list[tuple[int, bytes]], at: list[int], room: int, cut: int
) -> None:
    """Whole messages are padded where they end; the last one may be cut short."""
    each = framed(parts)
    whole = b"".join(each)[: len(b"".join(each)) - cut] if each else b""
    stops = [sum(map(len, each[: i + 1])) for i in range(len(each))]
    edges = [0, *(stop for stop in stops if stop < len(whole)), len(whole)]
    wanted = b"".join(base64.b64encode(whole[a:b]) for a, b in pairwise(edges))
    assert encode([whole]) == wanted
    assert encode([whole[i : i + 1] for i in range(len(whole))] or [b""], room) == wanted
    assert encode(pieces(whole, at), room) == wanted


@given(messages, cuts, st.integers(3, 40))
def test_what_is_encoded_decodes_to_itself(parts: list[tuple[int, bytes]], at: list[int], room: int) -> None:
    data = b"".join(framed(parts))
    text = encode([data])
    assert decoded([text]) == decoded(pieces(text, at), room) == data
    assert decoded([text[i : i + 1] for i in range(len(text))], room) == data


@given(messages)
def test_a_message_is_sent_whole_before_the_next_begins(parts: list[tuple[int, bytes]]) -> None:
    """A receiver that waits for a message has it, and not all but its last byte."""
    each = framed(parts)
    stream = Messages()
    for data in each:
        used, text = stream.encode(data, False, WIDE)
        assert (used, base64.b64decode(text)) == (len(data), data)


@given(messages, cuts)
def test_the_edges_of_messages_are_found_at_every_split(parts: list[tuple[int, bytes]], at: list[int]) -> None:
    each = framed(parts)
    whole = b"".join(each)
    edges = {0, *(sum(map(len, each[: i + 1])) for i in range(len(each)))}
    for split in (pieces(whole, at), [whole[i : i + 1] for i in range(len(whole))]):
        stream, done = Messages(), 0
        for part in split:
            done += len(part)
            assert stream.skip(part) == (done in edges)


chunks = st.lists(st.binary(max_size=20).map(base64.b64encode), max_size=6).map(b"".join)
odd = st.text("AZaz09+/==-_ \n\0é", max_size=24).map(lambda text: text.encode("latin-1"))


@settings(max_examples=400)
@given(chunks | odd | st.tuples(chunks, odd).map(b"".join), cuts)
@example(b"AA=A", [])
@example(b"A===", [])
@example(b"====", [])
@example(b"AA==AA==", [3, 5])
@example(b"AAA=AAAA", [3])
def test_only_padded_base64_is_lawful(text: bytes, at: list[int]) -> None:
    """Chunks that were padded each for itself may follow each other."""
    begun = UNITS.match(text)
    assert begun is not None
    rest = text[begun.end() :]
    lawful = re.fullmatch(rb"[A-Za-z0-9+/]{0,3}|[A-Za-z0-9+/]{2}=", rest) is not None
    for split in ([text], pieces(text, at), [text[i : i + 1] for i in range(len(text))]):
        scan = Scan()
        verdict = all(scan.feed(part) for part in split)
        assert verdict == lawful
        assert not verdict or scan.whole == (rest == b"")


@pytest.mark.parametrize("byte", range(256))
def test_every_byte(byte: int) -> None:
    lawful = bytes([byte]) in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert Scan().feed(bytes([byte])) == lawful
    assert decode(bytes([byte]) * 4, 3)[0] == 4


@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_a_frame_says_how_long_its_message_is(flags: int, n: int) -> None:
    assert frame(flags, n) == bytes([flags]) + n.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/grpc-web", BINARY), ("application/grpc-web+proto", BINARY), ("application/grpc-web+json", BINARY),
        ("application/grpc-web; charset=utf-8", BINARY), ("Application/gRPC-Web", BINARY),
        ("application/grpc-web-text", TEXT), ("application/grpc-web-text+proto", TEXT),
        ("APPLICATION/GRPC-WEB-TEXT", TEXT), ("application/grpc-web-text ;x=y", TEXT),
        ("application/grpc", NONE), ("application/grpc+proto", NONE), ("application/grpc-websocket", NONE),
        ("application/grpc-web-texts", NONE), ("application/grpc-web-", NONE), ("application/grpc-we", NONE),
        ("application/json", NONE), ("", NONE),
        ("application/grpc-web\r\nContent-Type: application/grpc-web", NONE),
    ],
)  # fmt: skip
def test_what_a_content_type_means(value: str, kind: int) -> None:
    request = f"POST /s/m HTTP/1.1\r\nHost: a\r\ncontent-TYPE: {value}\r\nX: y\r\n\r\n".encode()
    found, _, grpc = media(request)
    assert found == kind
    assert grpc == (value in ("application/grpc", "application/grpc+proto"))


def test_a_request_without_a_type_is_none() -> None:
    assert media(b"POST /s/m HTTP/1.1\r\nHost: a\r\n\r\n") == (NONE, False, False)


@pytest.mark.parametrize(
    ("own", "accept", "text"),
    [
        ("-text", None, True), ("", None, False), ("-text", "*/*", True), ("", "*/*", False),
        ("", "application/grpc-web-text", True), ("-text", "application/grpc-web", False),
        ("-text", "application/grpc-web+proto, */*", False),
        ("", "text/plain, application/grpc-web-text+proto;q=1", True),
        ("-text", "application/grpc-web-texts", True), ("", "", False),
    ],
)  # fmt: skip
def test_the_answer_has_the_form_that_is_accepted(own: str, accept: str | None, text: bool) -> None:
    line = "" if accept is None else f"Accept: {accept}\r\n"
    request = f"POST /s/m HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web{own}\r\n{line}\r\n".encode()
    assert media(request)[1] == text
