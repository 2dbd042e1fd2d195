"""HTTP/2 header blocks: read as the model reads them, into heads that HTTP/1 accepts, and written back alike."""

import base64
import re
from typing import Any

import hpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model.block_messages import Fields, damaged_lists, encoded, field_lists
from tests.model.block_model import KEY, Judged, judge_block
from tests.model.edit_model import DATE, edits, wanted_dropped, wanted_forwarding, wanted_via
from tests.model.wire_enums import BAD, CLOSED, FULL, LIMIT, OK, Block, Edit, Fault, Flag, Method
from tests.model.wire_messages import messages
from tests.model.wire_model import Limits, Verdict, judge
from tests.probe.wire_http2 import Peer

WIDE = Limits(1 << 20, 1 << 20, 1 << 20, 1024)
KEY_LINE = re.compile(rb"Sec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)\r\n")


def check(peer: Peer, block: bytes, kind: str, wanted: Judged, extended: bool = False, **limits: int) -> bytes:
    """Reads the block and compares; the text as it came."""
    status, fault, flags, code, text = peer.read(block, kind, extended, **limits)
    assert (status, fault) == (wanted.status, wanted.fault)
    if status != OK:
        return b""
    made = KEY_LINE.search(text)
    if KEY in wanted.text:
        assert made
        assert len(base64.b64decode(made[1])) == 16
    shown = text.replace(made[1], KEY) if made else text
    assert (flags, code, shown) == (wanted.flags, wanted.code, wanted.text)
    return bytes(text)


def check_lawful(kind: str, text: bytes, fields: Fields, flags: int) -> None:
    """The text is one whole head of the strict HTTP/1 grammar, and says what the fields said."""
    verdict = judge(kind, text, WIDE)
    assert (verdict.status, verdict.head["head_bytes"]) == (OK, len(text))
    if kind != "request":
        return
    pseudo = dict(fields)
    head = verdict.head

    def part(name: str) -> bytes:
        return text[head[f"{name}_off"] :][: head[f"{name}_len"]]

    method = text[: head["method_len"]]
    assert method == (b"GET" if flags & Block.BLOCK_EXTENDED else pseudo[b":method"])
    assert part("path") == (b"" if flags & Block.BLOCK_CONNECT else pseudo[b":path"])
    assert part("authority") == pseudo.get(b":authority", pseudo.get(b"host"))
    assert bool(flags & Block.BLOCK_EXTENDED) == bool(part("upgrade"))


@settings(max_examples=1500, deadline=None)
@given(st.one_of(field_lists(), damaged_lists()), st.booleans(), st.booleans())
@example(("trailers", []), False, False)
def test_a_block_is_read_as_the_model_reads_it(message: tuple[str, Fields], extended: bool, huffman: bool) -> None:
    kind, fields = message
    wanted = judge_block(kind, fields, extended)
    text = check(Peer(), encoded(hpack.Encoder(), fields, huffman), kind, wanted, extended)
    if wanted.status == OK:
        check_lawful(kind, text, fields, wanted.flags)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(field_lists(), damaged_lists()), min_size=2, max_size=6), st.integers(0, 400),
       st.integers(0, 8))  # fmt: skip
def test_a_refused_block_leaves_the_table_in_step(lists: list[tuple[str, Fields]], size: int, count: int) -> None:
    """Block after block on one connection, most of them refused, with limits that some cross."""
    peer, encoder, decoder = Peer(), hpack.Encoder(), hpack.Decoder()
    decoder.max_header_list_size = 1 << 20
    for kind, fields in lists:
        block = encoded(encoder, fields)
        decoder.decode(block, raw=True)
        check(peer, block, kind, judge_block(kind, fields, True, size, count), True, list_bytes=size, fields=count)
        assert peer.decoder_entries() == (decoder.header_table._current_size, len(decoder.header_table.dynamic_entries))


@given(field_lists(), st.binary(min_size=1, max_size=4))
def test_a_block_that_cannot_be_decoded_closes(message: tuple[str, Fields], junk: bytes) -> None:
    kind, fields = message
    block = encoded(hpack.Encoder(), fields)
    assert Peer().read(b"\x80" + block, kind)[0] == CLOSED
    assert Peer().read(block + b"\xff\xff\xff\xff\xff" + junk, kind)[0] == CLOSED
    assert Peer().read(block + b"\x00", kind)[0] == CLOSED


def test_a_never_indexed_field_is_told() -> None:
    fields = [(b":status", b"200"), hpack.NeverIndexedHeaderTuple(b"x-secret", b"s")]
    assert Peer().read(encoded(hpack.Encoder(), fields), "response")[2] == Block.BLOCK_NEVER
    secret = hpack.NeverIndexedHeaderTuple(b":path", b"/secret")
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), secret]
    assert Peer().read(encoded(hpack.Encoder(), fields))[2] == Block.BLOCK_NEVER


def test_many_cookies_become_one_line() -> None:
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    crumbs = [(b"cookie", b"c%d=%s" % (i, b"x" * (i % 40))) for i in range(600)]
    apart = [pair for crumb in crumbs[:60] for pair in (crumb, (b"x", b"y"))]
    for cookies in (crumbs, apart):
        fields = pseudo + cookies
        text = check(Peer(), encoded(hpack.Encoder(), fields), "request", judge_block("request", fields))
        assert text.count(b"cookie: ") == 1


@pytest.mark.parametrize("kind", ["request", "response", "trailers"])
def test_the_limits_are_exact(kind: str) -> None:
    pseudo = {"request": [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")],
              "response": [(b":status", b"200")], "trailers": []}[kind]  # fmt: skip
    fields = [*pseudo, (b"a", b"b"), (b"c", b"d" * 300)]
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    lines = 2 + (kind == "request")
    block = encoded(hpack.Encoder(), fields)
    assert Peer().read(block, kind, list_bytes=size, fields=lines)[0] == OK
    assert Peer().read(block, kind, list_bytes=size - 1)[:2] == (LIMIT, Fault.FAULT_HEAD_TOO_LONG)
    assert Peer().read(block, kind, fields=lines - 1)[:2] == (LIMIT, Fault.FAULT_TOO_MANY_FIELDS)


def prefixed(first: int, bits: int, value: int) -> bytes:
    """An integer with a prefix (RFC 7541 5.1)."""
    if value < (1 << bits) - 1:
        return bytes([first | value])
    out, value = bytearray([first | ((1 << bits) - 1)]), value - (1 << bits) + 1
    while value >= 0x80:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*out, value])


def long_literal(name: bytes, length: int, huffman: bool) -> bytes:
    """name and so many (a multiple of 8) "0", which are five zero bits, or "/", six bits, in a :path."""
    octets = b"/" * length if name == b":path" else b"0" * length
    if huffman:
        octets = b"\x61\x86\x18" * (length // 4) if name == b":path" else b"\0" * (length // 8 * 5)
    return b"\0" + prefixed(0, 7, len(name)) + name + prefixed(0x80 * huffman, 7, len(octets)) + octets


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("room", [1 << 16, 1 << 17, 1 << 19])
@pytest.mark.parametrize("name", [b"x", b"cookie", b":path", b":authority"])
def test_what_does_not_fit_into_the_room_is_over_a_limit(name: bytes, room: int, huffman: bool) -> None:
    """Half of the room less 8 KiB always fits, what is longer than the half never does."""
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    before = encoded(hpack.Encoder(), [pair for pair in pseudo if pair[0] != name])
    half = room // 2
    for length in (half - 8192, half - 104, half - 40, half - 32, half - 8, half, room):
        status = Peer().read(before + long_literal(name, length, huffman), list_bytes=1 << 20, room=room)[0]
        assert status in ((OK,) if length < half - 8000 else (LIMIT,) if length >= half else (OK, LIMIT))


# --- Writing


def lower(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in pairs]


def kept_fields(kind: str, data: bytes, verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """Fields of a head that go into a block whatever the edit."""
    gone = {b"transfer-encoding"} | ({b"host"} if kind == "request" else set())
    if kind == "request" and not verdict.head["minor"]:
        gone.add(b"expect")
    if kind == "request" and data[verdict.head["line_off"] :].startswith(b"CONNECT "):
        gone.add(b"content-length")
    if kind == "response" and verdict.head["status"] == 101:
        gone.add(b"content-length")
    pairs = [(data[n : n + nn], data[v : v + vn]) for n, nn, v, vn, _, drop in verdict.fields if not drop]
    return [pair for pair in lower(pairs) if pair[0] not in gone]


def wanted_pseudo(kind: str, data: bytes, verdict: Verdict, edit: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    head = verdict.head
    if kind == "trailers":
        return []
    if kind == "response":
        return [(b":status", b"%d" % (200 if head["status"] == 101 else head["status"]))]
    method = data[head["line_off"] :][: head["method_len"]]
    host = data[head["authority_off"] :][: head["authority_len"]] or edit["host"]
    authority = [(b":authority", host)] if host else []
    if method == b"CONNECT":
        return [(b":method", method), *authority]
    path = data[head["path_off"] :][: head["path_len"]]
    if not path.startswith((b"/", b"*")):
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    scheme = b"https" if edit["https"] else b"http"
    return [(b":method", method), (b":scheme", scheme), *authority, (b":path", path)]


def tunnel_protocol(data: bytes, verdict: Verdict, flags: int) -> bytes:
    """:protocol of the extended CONNECT that a head becomes; empty: it does not."""
    head = verdict.head
    if not (flags & Edit.EDIT_UPGRADE and head["flags"] & Flag.HEAD_UPGRADE and head["method"] == Method.METHOD_GET):
        return b""
    offers = data[head["upgrade_off"] :][: head["upgrade_len"]].lower().split(b",")
    tokens = [offer.strip(b" \t") for offer in offers]
    tokens = [token for token in tokens if token and token.split(b"/")[0] != b"h2c"]
    return tokens[0] if len(tokens) == 1 and b"/" not in tokens[0] else b""


def wanted_block(kind: str, data: bytes, verdict: Verdict, edit: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """The fields of the block that a head and an edit become."""
    flags = edit["flags"] & ~Edit.EDIT_CHUNKED
    pseudo, fields = wanted_pseudo(kind, data, verdict, edit), kept_fields(kind, data, verdict)
    if kind == "trailers":
        return fields
    came = lower([(data[n : n + nn], data[v : v + vn]) for n, nn, v, vn, _, drop in verdict.fields if not drop])
    dropped = wanted_dropped(flags, False)
    protocol = tunnel_protocol(data, verdict, flags) if kind == "request" else b""
    if protocol:
        pseudo = [(b":method", b"CONNECT"), (b":protocol", protocol), *pseudo[1:]]
        dropped |= {b"sec-websocket-key", b"content-length"}
    elif verdict.head["status"] == 101:
        dropped |= {b"sec-websocket-accept"}
    out = pseudo + [pair for pair in fields if pair[0] not in dropped]
    if kind == "response" and edit["date"] and not verdict.head["flags"] & Flag.HEAD_HAS_DATE:
        out.append((b"date", DATE))
    if edit["via"]:
        out.append((b"via", wanted_via(verdict.head, edit)))
    if flags & Edit.EDIT_MAX_FORWARDS:
        out.append((b"max-forwards", b"%d" % edit["max_forwards"]))
    if flags & Edit.EDIT_TYPE:
        out.append((b"content-type", b"application/x-test"))
    out += lower(wanted_forwarding(came, edit))
    return [*out, (b"te", b"trailers")] if kind == "request" and flags & Edit.EDIT_TE_TRAILERS else out


SECRETS = {b"authorization", b"proxy-authorization", b"set-cookie", b"x-api-key"}


@settings(max_examples=1500, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=3), edits())
def test_a_written_block_is_the_model_s(heads: list[tuple[str, bytes]], edit: dict[str, Any]) -> None:
    """And it is lawful HTTP/2 whatever the edit, and secrets are never indexed."""
    peer, decoder = Peer(), hpack.Decoder(max_header_list_size=1 << 20)
    for kind, data in heads:
        verdict = judge(kind, data, WIDE)
        if verdict.status != OK:
            continue
        decoded = decoder.decode(peer.write(data, kind, **edit), raw=True)
        fields = [tuple(pair) for pair in decoded]
        assert fields == wanted_block(kind, data, verdict, edit)
        authority = any(name == b":authority" for name, _ in fields) or kind != "request"
        assert not authority or judge_block(kind, fields, True, 1 << 20, 1024).status == OK
        every = edit["flags"] & Edit.EDIT_NEVER
        for pair in decoded:
            secret = pair[0] in SECRETS or (pair[0] == b"cookie" and len(pair[1]) < 20)
            assert isinstance(pair, hpack.NeverIndexedHeaderTuple) == bool(secret or every)


@settings(max_examples=600, deadline=None)
@given(st.lists(field_lists(), min_size=1, max_size=4), st.booleans())
def test_read_then_write_is_identity(lists: list[tuple[str, Fields]], huffman: bool) -> None:
    """On both connections' tables, several blocks long. Cookies are joined; a lone host becomes :authority."""
    near, far, encoder, decoder = Peer(), Peer(), hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 20)
    for kind, fields in lists:
        status, _, flags, _, text = near.read(encoded(encoder, fields, huffman), kind, True)
        if status != OK:
            continue
        https = dict(fields).get(b":scheme", b"").lower() == b"https"
        upgrade = int(Edit["EDIT_UPGRADE"]) if flags & Block.BLOCK_EXTENDED else 0
        block = far.write(text, kind, https=https, flags=upgrade)
        again = [tuple(pair) for pair in decoder.decode(block, raw=True)]
        assert sorted(again) == sorted(wanted_again(kind, fields))
        names = [name for name, _ in again]
        assert names == sorted(names, key=lambda name: not name.startswith(b":"))
        assert judge_block(kind, again, True).status == OK


def wanted_again(kind: str, fields: Fields) -> Fields:
    """What a proxy passes on of a lawful list."""
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    gone = {b"te", b"http2-settings"}
    if kind == "request":
        authority = pseudo.get(b":authority", dict(fields).get(b"host", b""))
        pseudo[b":authority"] = authority
        gone.add(b"host")
    if b":scheme" in pseudo:
        pseudo[b":scheme"] = pseudo[b":scheme"].lower()
    if b":protocol" in pseudo:
        pseudo[b":protocol"] = pseudo[b":protocol"].lower()
        gone.add(b"sec-websocket-key")
    if pseudo.get(b":method") == b"CONNECT":
        gone.add(b"content-length")
    rest = [pair for pair in fields if not pair[0].startswith(b":") and pair[0] not in gone]
    if kind == "request" and any(name == b"cookie" for name, _ in rest):
        joined = b"; ".join(value for name, value in rest if name == b"cookie").strip(b" ")  # an empty one may be last
        rest = [pair for pair in rest if pair[0] != b"cookie"] + [(b"cookie", joined)]
    if kind == "trailers":
        verdict = judge(kind, judge_block(kind, fields).text, WIDE)
        rest = kept_fields(kind, judge_block(kind, fields).text, verdict)
    return [*pseudo.items(), *rest]


@settings(max_examples=200, deadline=None)
@given(messages())
def test_a_room_too_small_is_full_and_leaves_the_table_alone(message: tuple[str, bytes]) -> None:
    kind, data = message
    if judge(kind, data, WIDE).status != OK:
        return
    peer, other = Peer(), Peer()
    enough = peer.room(data, kind)
    for room in (0, 1, 100, 1000, enough // 4):
        assert peer.write(data, kind, room=room) == FULL
    for _ in range(3):
        assert peer.write(data, kind, room=enough) == other.write(data, kind)


def test_bad_is_not_closed() -> None:
    assert Peer().read(encoded(hpack.Encoder(), []), "request")[0] == BAD
