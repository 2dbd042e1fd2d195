"""Toward fastmesh as a server: header compression (RFC 7541), as it decodes and as it encodes."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_case import MARK, Case, See, Server, answers, dies, echoed, head, refuses
from tests.support.http2_frames import Error, Setting

BAD = dies(Error.COMPRESSION_ERROR)
REQUEST = h2.request_fields("GET", "/echo")
# :method GET, :scheme http, :path / of the static table (appendix A), and an authority
SHORT = h2.indexed(2) + h2.indexed(6) + h2.indexed(4) + h2.literal("", "t.test", name_index=1)
TABLE = 4096  # SETTINGS_HEADER_TABLE_SIZE as it begins


def one(section: str, name: str, block: bytes, see: See) -> Case:
    """One request whose header block is `block`."""
    return Case(section, name, h2.headers(1, block, end=True), see)


def blocks(section: str, name: str, *parts: bytes, see: See | None = None) -> Case:
    """Several requests on streams 1, 3, ...; the last one is looked at."""
    last = 2 * len(parts) - 1
    frames = b"".join(h2.headers(1 + 2 * i, part, end=True) for i, part in enumerate(parts))
    return Case(section, name, frames, see or answers(stream=last))


def huffman(body: bytes) -> bytes:
    """A request with a field whose value is this Huffman code."""
    return SHORT + b"\x00" + h2.string("x") + h2.huffman_string(body)


INDEX = [
    one("7541 2.3.3", "index 0", SHORT + h2.indexed(0), BAD),
    one("7541 6.1", "index 0 alone", h2.indexed(0), BAD),
    one("7541 2.3.3", "index 62 of an empty dynamic table", SHORT + h2.indexed(62), BAD),
    one("7541 2.3.3", "index 70", SHORT + h2.indexed(70), BAD),
    one("7541 2.3.3", "name index 62 of an empty dynamic table", SHORT + h2.literal("", "v", name_index=62), BAD),
    one("7541 2.3.3", "name index 62, incremental", SHORT + h2.literal("", "v", "index", name_index=62), BAD),
    one("7541 2.3.3", "name index 62, never indexed", SHORT + h2.literal("", "v", "never", name_index=62), BAD),
    one("7541 2.3.3", "one index too many", SHORT + h2.literal("a", "b", "index") + h2.indexed(63), BAD),
    one("7541 2.3.3", "the newest entry is 62", SHORT + h2.literal("a", "b", "index") + h2.indexed(62), answers()),
    one("7541 2.1", "every static entry that is a field",
        SHORT + b"".join(h2.indexed(i) for i in range(15, 62) if i not in (28, 38, 57)), answers()),
    blocks("7541 2.2", "the dynamic table lasts from block to block", SHORT + h2.literal("a", "b", "index"),
           SHORT + h2.indexed(62)),
    blocks("7541 2.2", "also through trailers and refused requests",
           SHORT + h2.literal("a", "b", "index") + h2.literal("Upper", "x") + h2.literal(*MARK),
           SHORT + h2.indexed(62)),
    blocks("7541 4.4", "an entry larger than the table empties it", SHORT + h2.literal("a", "b", "index"),
           SHORT + h2.literal("x-big", "v" * TABLE, "index"), SHORT + h2.indexed(62), see=BAD),
    blocks("7541 4.4", "an entry larger than the table is no error",
           SHORT + h2.literal("x-big", "v" * TABLE, "index"), SHORT),
    blocks("7541 4.4", "the oldest entry is evicted",
           SHORT + h2.literal("x-a", "1", "index"), SHORT + h2.literal("x-b", "v" * (TABLE - 32 - 3), "index"),
           SHORT + h2.indexed(63), see=BAD),
    blocks("7541 4.1", "an entry of just the table's size stays",
           SHORT + h2.literal("x-b", "v" * (TABLE - 32 - 3), "index"), SHORT + h2.indexed(62)),
    blocks("7541 4.4", "an evicted entry still gives its name",
           SHORT + h2.literal("x-name", "1", "index"),
           SHORT + h2.literal("", "v" * (TABLE - 32 - 6), "index", name_index=62), SHORT + h2.indexed(62)),
]  # fmt: skip

SIZE = [
    one("7541 4.2", "an update at the start", h2.size_update(100) + SHORT, answers()),
    one("7541 4.2", "two updates at the start", h2.size_update(0) + h2.size_update(TABLE) + SHORT, answers()),
    one("7541 6.3", "an update to the limit", h2.size_update(TABLE) + SHORT, answers()),
    one("7541 6.3", "an update over the limit", h2.size_update(TABLE + 1) + SHORT, BAD),
    one("7541 6.3", "an update to 2^31", h2.size_update(1 << 31) + SHORT, BAD),
    one("7541 4.2", "an update after a field", SHORT + h2.size_update(100), BAD),
    one("7541 4.2", "an update among fields", h2.indexed(2) + h2.size_update(100) + SHORT[1:], BAD),
    one("7541 4.2", "a block of an update only has no fields", h2.size_update(100), refuses()),
    blocks("7541 4.3", "an update to 0 empties the table", SHORT + h2.literal("a", "b", "index"),
           h2.size_update(0) + SHORT, h2.size_update(TABLE) + SHORT + h2.indexed(62), see=BAD),
    blocks("7541 4.3", "a smaller size evicts", SHORT + h2.literal("a", "b", "index"),
           h2.size_update(33) + SHORT + h2.indexed(62), see=BAD),
    blocks("7541 4.3", "a smaller size keeps what fits", SHORT + h2.literal("a", "b", "index"),
           h2.size_update(34) + SHORT + h2.indexed(62)),
    blocks("7541 4.3", "no entry stays in a table of size 0", h2.size_update(0) + SHORT + h2.literal("a", "b", "index"),
           SHORT + h2.indexed(62), see=BAD),
]  # fmt: skip

INTEGERS = [
    one("7541 5.1", "needless zero bytes", SHORT + b"\x00" + h2.string("x") + h2.integer(130, 7, more=1) + b"v" * 130,
        answers()),
    one("7541 5.1", "an index over 2^32", SHORT + b"\xff\x80\x80\x80\x80\x80\x80\x01", BAD),
    one("7541 5.1", "an index of 2^64", SHORT + b"\xff\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01", BAD),
    one("7541 5.1", "an index that wraps to 2", SHORT + h2.integer((1 << 32) + 2, 7, 0x80), BAD),
    one("7541 5.1", "an index that never ends", SHORT + b"\xff" * 30, BAD),
    one("7541 5.1", "an endless row of zeros", SHORT + b"\xff" + b"\x80" * 40, BAD),
    one("7541 5.1", "the block ends within an integer", SHORT + b"\xff\x80", BAD),
    one("7541 5.2", "a name longer than the block", SHORT + b"\x00" + h2.string("name", size=5), BAD),
    one("7541 5.2", "a value longer than the block", SHORT + b"\x00" + h2.string("x") + h2.string("v", size=2), BAD),
    one("7541 5.2", "a value of 2^31 bytes", SHORT + b"\x00" + h2.string("x") + h2.string("v", size=1 << 31), BAD),
    one("7541 5.2", "a value of 2^64 bytes", SHORT + b"\x00" + h2.string("x") + h2.string("v", size=1 << 64), BAD),
    one("7541 5.2", "the block ends before the value", SHORT + b"\x00" + h2.string("x"), BAD),
    one("7541 6.2", "the block ends before the name", SHORT + b"\x00", BAD),
]  # fmt: skip

HUFFMAN = [  # the code of "a" is 00011
    one("7541 5.2", "EOS in a string", huffman(b"\xff\xff\xff\xff"), BAD),
    one("7541 5.2", "EOS after a symbol", huffman(b"\x1f\xff\xff\xff\xff"), BAD),
    one("7541 5.2", "padding of 11 bits", huffman(b"\x1f\xff"), BAD),
    one("7541 5.2", "padding of zeros", huffman(b"\x18"), BAD),
    one("7541 5.2", "padding of 3 ones", huffman(b"\x1f"), answers()),
    one("7541 5.2", "padding of 7 ones", SHORT + h2.literal("x", "aaaaa", huffman=True), answers()),
    one("7541 5.2", "padding that is not of ones", huffman(b"\x1e"), BAD),
    one("7541 5.2", "an empty Huffman string", huffman(b""), answers()),
    one("7541 5.2", "padding alone", huffman(b"\xff"), BAD),
    one("7541 5.2", "a Huffman name", SHORT + h2.literal("x-name", "value", huffman=True), answers()),
    one("7541 5.2", "a Huffman name in upper case", SHORT + h2.literal("X-NAME", "v", huffman=True) + h2.literal(*MARK),
        refuses()),
    one("7541 5.2", "LF in Huffman code", SHORT + h2.literal("x", "a\nb", huffman=True) + h2.literal(*MARK), refuses()),
]  # fmt: skip


@pytest.mark.parametrize("case", [*INDEX, *SIZE, *INTEGERS, *HUFFMAN], ids=str)
def test_decoding(server: Server, case: Case) -> None:
    server.run(case)


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("mode", ["plain", "index", "never"])
def test_6_2_representations_mean_the_same(server: Server, mode: str, huffman: bool) -> None:
    value = bytes(range(0x20, 0x7F)).strip() + bytes(range(0x80, 0x100))
    block = h2.block(REQUEST) + h2.literal("x-all", value, mode, huffman=huffman)
    with RawClient(server.address) as client:
        client.send(h2.headers(1, block, end=True))
        assert echoed(client.wait_ended(1))[1]["x-all"] == [value.decode("latin-1")]


def test_6_2_1_only_incremental_literals_enter_the_table(server: Server) -> None:
    first = (
        h2.block(REQUEST) + h2.literal("x-a", "1", "plain") + h2.literal("x-b", "2", "never")
        + h2.literal("x-c", "3", "index")
    )  # fmt: skip
    with RawClient(server.address) as client:
        client.send(h2.headers(1, first, end=True), h2.headers(3, h2.block(REQUEST) + h2.indexed(62), end=True))
        fields = echoed(client.wait_ended(3))[1]
        assert fields["x-c"] == ["3"]
        assert not {"x-a", "x-b"} & fields.keys()


def test_2_3_2_entries_are_first_in_first_out(server: Server) -> None:
    fill = b"".join(h2.literal(f"x-{i}", str(i), "index") for i in range(20))
    with RawClient(server.address) as client:
        client.send(h2.headers(1, h2.block(REQUEST) + fill, end=True))
        client.send(h2.headers(3, h2.block(REQUEST) + h2.indexed(62) + h2.indexed(81), end=True))
        fields = echoed(client.wait_ended(3))[1]
        assert (fields["x-19"], fields["x-0"]) == (["19"], ["0"])


def test_2_3_2_a_table_full_of_entries_keeps_its_order(server: Server) -> None:
    """More entries than fit, over many blocks; hpack's encoder knows what is left, and the echo is what was meant."""
    with RawClient(server.address) as client:
        for i in range(60):
            number = client.open_stream()
            fields = [*REQUEST, (f"x-{i % 7}", "v" * (i * 13 % 400)), ("x-turn", str(i)), ("cookie", f"c{i % 3}")]
            client.send(h2.headers(number, client.block(fields), end=True))
            seen = echoed(client.wait_ended(number))[1]
            assert (seen["x-turn"], seen[f"x-{i % 7}"]) == ([str(i)], ["v" * (i * 13 % 400)])


@pytest.mark.parametrize("size", [0, 31, 64, 200, 4096, 1 << 20])
def test_4_2_the_encoder_keeps_to_the_clients_table(server: Server, size: int) -> None:
    """The hpack package refuses updates over the limit, and a table that did not shrink when it had to."""
    with RawClient(server.address, {Setting.HEADER_TABLE_SIZE: size}) as client:
        for _ in range(4):
            assert client.get("/fields").fields["x-upper"] == "Yes"
        assert client.decoder.header_table_size <= size


def test_4_2_a_table_that_shrinks_and_grows(server: Server) -> None:
    with RawClient(server.address) as client:
        for size in (4096, 0, 4096, 100, 60, 4096, 0, 0, 200):
            client.send(h2.settings({Setting.HEADER_TABLE_SIZE: size}))
            assert client.get("/fields").fields["x-upper"] == "Yes"


def test_4_2_two_settings_between_blocks_are_both_announced(server: Server) -> None:
    """The smallest size must be signalled though the last one is as before: what was evicted is gone."""
    with RawClient(server.address) as client:
        client.get("/fields")
        client.send(h2.settings({Setting.HEADER_TABLE_SIZE: 0}), h2.settings({Setting.HEADER_TABLE_SIZE: 4096}))
        client.wait_acks(3)
        client.decoder.header_table_size = 0  # as it would be for a decoder that evicted at once
        client.decoder.max_allowed_table_size = 4096
        client.send(head(path="/fields", stream=3))
        stream = client.wait_ended(3)
        begin = stream.frames[0].content
        assert begin[0] >> 5 == 1, f"no size update: {begin!r}"
        assert stream.fields["x-upper"] == "Yes"


def test_7_1_3_what_is_never_indexed_may_still_be_forwarded(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(h2.headers(1, h2.block(REQUEST) + h2.literal("authorization", "secret", "never"), end=True))
        assert echoed(client.wait_ended(1))[1]["authorization"] == ["secret"]
