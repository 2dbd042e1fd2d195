"""HPACK's laws: strictness one rule of RFC 7541 at a time, tables in step, nothing outside what was given."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.wire_blocks import FIELDS, HUFFMAN, blocks, integer, text
from tests.model.wire_enums import BAD, CLOSED, Policy
from tests.probe.wire_guard import Guard
from tests.probe.wire_hpack import Decoder, Encoder

GUARD = Guard(4)
PLAIN, NEVER = int(Policy.HPACK_PLAIN), int(Policy.HPACK_NEVER)


def literal(name: bytes, value: bytes, flags: int = 0x40) -> bytes:
    return bytes([flags]) + text(name, False) + text(value, False)


def coded(data: bytes) -> bytes:
    """A block of one literal whose value is said to be this Huffman text."""
    return b"\x00\x01n" + integer(len(data), 7, 0x80) + data


# --- Memory


@settings(max_examples=400, deadline=None)
@given(st.lists(blocks() | st.binary(max_size=60), max_size=4))
def test_blocks_flush_against_a_forbidden_page(stream: list[bytes]) -> None:
    behind, before, free = Decoder(), Decoder(), Decoder()
    for block in stream:
        wanted = free.read(block)
        assert behind.read_at(GUARD.put_back(block), len(block)) == wanted
        assert before.read_at(GUARD.put_front(block), len(block)) == wanted
        if wanted[0] == BAD:
            break
        assert behind.table == before.table == free.table


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FIELDS, st.sampled_from([0, 0, 1, 2])), min_size=1, max_size=8), st.integers(1, 30))
def test_a_block_fits_into_exactly_its_bytes(fields: list[tuple[tuple[bytes, bytes], int]], missing: int) -> None:
    flat = [(*field, policy) for field, policy in fields]
    wide, exact, tight = Encoder(), Encoder(), Encoder()
    block = wide.write(flat)
    assert exact.write(flat, len(block)) == block
    assert tight.write(flat, max(0, len(block) - missing)) is None
    assert tight.table == exact.table == wide.table


def test_the_text_is_moved_without_loss() -> None:
    """Entries of every length, until the table's text went round many times; names come from entries on the way out."""
    encoder, decoder = Encoder(), Decoder()
    for turn in range(3000):
        name = b"n%d" % (turn // 2) + b"-" * (turn * 7 % 200)
        fields = [(name, b"v" * (turn * 31 % 900)), (name, b"w%d" % (turn * 17 % 500))]
        for field in (fields[0], fields[0], fields[1], fields[1]):
            status, found = decoder.read(encoder.write([field]))
            assert (status, found[0][:2]) == (CLOSED, field)
        assert encoder.table == decoder.table


def test_a_name_of_the_entry_that_is_evicted() -> None:
    """RFC 7541 4.4: the new entry may refer to the name of an entry that has to go for it."""
    decoder = Decoder(200)
    name = b"n" * 100
    assert decoder.read(literal(name, b"1"))[0] == CLOSED
    for turn in range(300):
        value = b"%d" % turn + b"v" * (turn % 60)
        assert decoder.read(b"\x7e" + text(value, False)) == (CLOSED, [(name, value, 0, 0)])
        assert decoder.table == [(name, value)]


# --- Strictness


@pytest.mark.parametrize("size", [0, 100, 4096])
def test_an_entry_larger_than_the_table_empties_it(size: int) -> None:
    decoder = Decoder()
    assert decoder.read(integer(size, 5, 0x20) + literal(b"a", b"b"))[0] == CLOSED
    assert len(decoder.table) == (size > 0)
    status, found = decoder.read(literal(b"big", b"v" * size))
    assert (status, found, decoder.table) == (CLOSED, [(b"big", b"v" * size, 0, 0)], [])
    assert decoder.read(b"\xbe")[0] == BAD


def test_the_fullest_table() -> None:
    """128 entries of nothing (RFC 7541 4.1 counts 32 bytes for each), and one that takes it all."""
    decoder = Decoder()
    assert decoder.read(literal(b"", b"") * 200)[0] == CLOSED
    assert decoder.table == [(b"", b"")] * 128
    assert decoder.read(integer(62 + 127, 7, 0x80)) == (CLOSED, [(b"", b"", 0, 0)])
    assert decoder.read(integer(62 + 128, 7, 0x80))[0] == BAD
    decoder = Decoder()
    whole = (b"n", b"v" * 4063)
    assert decoder.read(literal(b"a", b"b") + literal(*whole)) == (CLOSED, [(b"a", b"b", 0, 0), (*whole, 0, 0)])
    assert decoder.table == [whole]


@pytest.mark.parametrize(
    ("octets", "good"),
    [
        ("", True), ("00", True), ("8000", True), ("8080808000", True), ("808080808000", False), ("80", False),
        ("8080808080", False), ("ffffffff0f", False), ("ffffffff7f", False), ("ffffffffffffffffff01", False),
        ("8180808010", False),  # 2^32 more than a good one
    ],
)  # fmt: skip
def test_integers(octets: str, good: bool) -> None:
    """At most five octets behind the prefix, no more than 32 bits (RFC 7541 5.1): here of a value's length."""
    tail = bytes.fromhex(octets)
    block = b"\x00\x01n" + (b"\x7f" + tail + b"v" * 127 if tail else b"\x00")
    assert (Decoder().read(block)[0] == CLOSED) is good


@pytest.mark.parametrize("symbol", range(256))
def test_every_byte_in_huffman(symbol: int) -> None:
    """Alone, in company, and with one byte of ones behind it, which is padding longer than 7 bits (RFC 7541 5.2)."""
    for value in (bytes([symbol]), bytes([symbol]) * 9, b"abc" + bytes([symbol]) + b"0", b"\x00" + bytes([symbol])):
        data = HUFFMAN.encode(value)
        assert Decoder().read(coded(data)) == (CLOSED, [(b"n", value, 0, 0)])
        assert Decoder().read(coded(data + b"\xff"))[0] == BAD
        assert Decoder().read(coded(data + b"\xff\xff\xff\xff"))[0] == BAD


@given(st.binary(min_size=1, max_size=30), st.integers(0, 7))
def test_padding_is_ones(value: bytes, bit: int) -> None:
    data = HUFFMAN.encode(value)
    spare = -sum(HUFFMAN.huffman_code_list_lengths[byte] for byte in value) % 8
    assert Decoder().read(coded(data)) == (CLOSED, [(b"n", value, 0, 0)])
    if bit < spare:
        other = data[:-1] + bytes([data[-1] ^ (1 << bit)])
        status, found = Decoder().read(coded(other))
        assert status == BAD or HUFFMAN.encode(found[0][1]) == other  # a short symbol more


@pytest.mark.parametrize("before", [b"", b"a", b"\x00", b"~~~~", b"0123456789abcdef"])
def test_end_of_string_is_no_symbol(before: bytes) -> None:
    bits = "".join(
        format(HUFFMAN.huffman_code_list[b], "0%db" % HUFFMAN.huffman_code_list_lengths[b]) for b in before
    ) + "1" * 30  # fmt: skip
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert Decoder().read(coded(data))[0] == BAD
    assert Decoder().read(coded(data + HUFFMAN.encode(b"more")))[0] == BAD


def test_every_huffman_text_of_two_bytes() -> None:
    """What is taken is what the encoder writes: there is one way to write a text."""
    for number in range(1 << 16):
        data = number.to_bytes(2, "big")
        status, found = Decoder().read(coded(data))
        assert status == BAD or HUFFMAN.encode(found[0][1]) == data


@pytest.mark.parametrize("missing", range(1, 40))
def test_a_cut_block_is_refused(missing: int) -> None:
    block = literal(b"name", b"v" * 10) + b"\x00" + text(b"longer-name", True) + text(b"value", True)
    whole = Decoder().read(block)[1]
    if missing < len(block):
        status, found = Decoder().read(block[:-missing])
        assert found == whole[: len(found)]
        assert (status == CLOSED) is (missing == len(block) - len(literal(b"name", b"v" * 10)))


def test_updates_come_first() -> None:
    """RFC 7541 4.2"""
    assert Decoder().read(bytes.fromhex("203fe11f82"))[0] == CLOSED
    assert Decoder().read(bytes.fromhex("8220"))[0] == BAD
    assert Decoder().read(integer(4097, 5, 0x20))[0] == BAD
    assert Decoder(100).read(integer(101, 5, 0x20))[0] == BAD


def test_a_smaller_limit_must_be_answered() -> None:
    """RFC 7541 4.2: the first block after it says so."""
    for first, status in ((b"", BAD), (integer(100, 5, 0x20), CLOSED), (integer(101, 5, 0x20), BAD)):
        decoder = Decoder()
        decoder.read(literal(b"a", b"b" * 90))
        decoder.limit = 100
        assert decoder.read(first + b"\x82")[0] == status
        if status == CLOSED:
            assert (decoder.table, decoder.size_max) == ([], 100)


def test_more_huffman_text_than_room_is_passed_over() -> None:
    """The table is as if it had been read: emptied where it was to go in."""
    big = b"a" * 5000
    for flags, left in ((0x40, []), (0x00, [(b"k", b"v")]), (0x10, [(b"k", b"v")])):
        for name, value in ((b"n", big), (big, b"v"), (big[:3000], big[:3000])):
            decoder = Decoder()
            block = literal(b"k", b"v") + bytes([flags]) + text(name, True) + text(value, True) + b"\x82"
            status, found = decoder.read(block, 4096)
            assert (status, found) == (CLOSED, [(b"k", b"v", 0, 0), None, (b":method", b"GET", 2, 0)])
            assert decoder.table == left
            assert Decoder().read(block, 10000)[1][1][:2] == (name, value)


@pytest.mark.parametrize("room", range(4096, 4100))
def test_room_is_used_to_the_last_byte(room: int) -> None:
    for name in (b"", b"a" * 7):
        for last in (b"", b"~", b"\x01"):
            value = b"a" * (room - len(name) - len(last)) + last
            block = b"\x00" + text(name, True) + text(value, True)
            assert Decoder().read(block, room) == (CLOSED, [(name, value, 0, 0)])
            assert Decoder().read(block, room - 1) == (CLOSED, [None])


# --- The encoder


@pytest.mark.parametrize(
    ("changes", "octets"),
    [
        ([4096], []), ([65536], []), ([100], [100]), ([100, 4096], [100, 4096]), ([100, 50, 200], [50, 200]),
        ([0, 0], [0]), ([200, 100], [100]), ([100, 100, 65536], [100, 4096]),
    ],
)  # fmt: skip
def test_size_changes_are_said_smallest_then_last(changes: list[int], octets: list[int]) -> None:
    """RFC 7541 4.2"""
    encoder = Encoder()
    for size in changes:
        encoder.resize(size)
    assert encoder.write([]) == b"".join(integer(size, 5, 0x20) for size in octets)
    assert encoder.size_max == (octets[-1] if octets else 4096)
    assert encoder.write([]) == b""


def test_growth_back_is_said_once() -> None:
    encoder = Encoder()
    encoder.resize(100)
    assert encoder.write([]) == integer(100, 5, 0x20)
    encoder.resize(50000)
    encoder.resize(3000)
    assert encoder.write([]) == integer(3000, 5, 0x20)


def test_what_repeats_becomes_an_index() -> None:
    encoder = Encoder()
    fields = [(b":path", b"/pkg.Service/Method"), (b"grpc-timeout", b"5S"), (b"te", b"trailers"), (b"date", b"now")]
    sizes = [len(encoder.write(fields)) for _ in range(4)]
    assert sizes[0] >= sizes[1] > sizes[2] == sizes[3] == len(fields)
    assert sorted(encoder.table) == sorted(fields)


def test_what_does_not_repeat_stays_out() -> None:
    encoder = Encoder()
    for turn in range(1000):
        encoder.write([(b"traceparent", b"00-%032x-01" % (turn * 0x9E3779B97F4A7C15))])
    assert len(encoder.table) <= 3  # the memory of what was seen keeps 16 bits of a hash


def test_more_than_fits_does_not_drive_out_what_is_used() -> None:
    """Hundreds of paths that come round take turns without entering; what is in every block is found there."""
    encoder = Encoder()
    steady = [(b"user-agent", b"grpc-go/1.60"), (b"te", b"trailers")]
    for turn in range(2000):
        encoder.write([*steady, (b":path", b"/item/%d" % (turn % 700))])
    assert set(steady) <= set(encoder.table)
    assert len(encoder.write(steady)) == 2


@pytest.mark.parametrize("name", [b"authorization", b"proxy-authorization", b"cookie", b"x-other"])
def test_secrets_stay_out_of_the_table(name: bytes) -> None:
    """RFC 7541 7.1.3: authorization, and cookies short enough to guess."""
    encoder = Encoder()
    for _ in range(4):
        encoder.write([(name, b"a-short-value")])
    assert len(encoder.table) == (name == b"x-other")


def test_a_value_above_half_the_table_stays_out() -> None:
    encoder = Encoder()
    fits = (b"x", b"v" * (2048 - 33))
    for _ in range(3):
        encoder.write([fits, (b"x", b"v" * (2048 - 32))])
    assert encoder.table == [fits]


@given(st.lists(FIELDS, min_size=1, max_size=5), st.sampled_from([PLAIN, NEVER]))
def test_policies_leave_the_table_alone(fields: list[tuple[bytes, bytes]], policy: int) -> None:
    encoder, decoder = Encoder(), Decoder()
    for wanted in ([], fields, fields):
        for _ in range(3):
            status, found = decoder.read(encoder.write([(*field, policy) for field in wanted]))
            assert status == CLOSED
            assert [field[:2] for field in found] == wanted
            assert [field[3] for field in found] == [int(policy == NEVER)] * len(wanted)
    assert encoder.table == decoder.table == []


def test_never_indexed_is_never_an_index() -> None:
    """RFC 7541 6.2.3: not even of an entry that is there."""
    encoder = Encoder()
    for _ in range(3):
        encoder.write([(b"x-key", b"value")])
    assert encoder.write([(b"x-key", b"value")]) == b"\xbe"
    assert encoder.write([(b"x-key", b"value", NEVER)]) == b"\x1f\x2f\x05value"
    assert encoder.write([(b":method", b"GET", NEVER)]) == b"\x12\x03GET"


@given(st.binary(min_size=8, max_size=80), st.integers(0, 79), st.integers(1, 255))
def test_texts_that_differ_in_one_byte_are_two_fields(value: bytes, at: int, change: int) -> None:
    """Whether or not the encoder's hash tells them apart."""
    at %= len(value)
    other = value[:at] + bytes([value[at] ^ change]) + value[at + 1 :]
    encoder, decoder = Encoder(), Decoder()
    fields = [(b"x", value), (b"x", other), (b"x" + value, b"y"), (b"x" + other, b"y")]
    for first, second in pairwise([*fields, *fields]):
        wanted = [first, second]
        status, found = decoder.read(encoder.write(wanted))
        assert (status, [field[:2] for field in found]) == (CLOSED, wanted)
