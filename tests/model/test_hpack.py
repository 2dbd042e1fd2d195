"""HPACK against the hpack package, both ways and block after block: the same fields, verdicts and tables."""

from typing import Any

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.wire_blocks import FIELDS, SIZES, blocks
from tests.model.wire_enums import BAD, CLOSED, Policy
from tests.probe.wire_hpack import Decoder, Encoder

Block = tuple[list[int], list[tuple[tuple[bytes, bytes], int]], bool]


def their_decoder(limit: int = 4096) -> hpack.Decoder:
    decoder = hpack.Decoder(max_header_list_size=1 << 30)
    decoder.max_allowed_table_size = limit
    decoder.header_table_size = limit
    return decoder


def tables(theirs: hpack.Encoder | hpack.Decoder) -> tuple[list[tuple[bytes, bytes]], int]:
    return list(theirs.header_table.dynamic_entries), theirs.header_table_size


@st.composite
def conversations(draw: st.DrawFn) -> list[Block]:
    """Blocks of (size changes before, (field, policy) ..., Huffman): most fields are of a few, so that they repeat."""
    pool = st.sampled_from(draw(st.lists(FIELDS, min_size=1, max_size=12)))
    fields = st.lists(st.tuples(pool | pool | pool | FIELDS, st.sampled_from([0, 0, 0, 0, 1, 2])), max_size=10)
    changes = st.sampled_from([[], [], []]) | st.lists(st.sampled_from([*SIZES, 65536]), max_size=3)
    return draw(st.lists(st.tuples(changes, fields, st.booleans()), max_size=12))


@settings(max_examples=100, deadline=None)
@given(conversations())
def test_they_read_what_we_write(conversation: list[Block]) -> None:
    ours, theirs = Encoder(), their_decoder()
    for changes, fields, _ in conversation:
        for size in changes:
            ours.resize(size)
            theirs.max_allowed_table_size = size
        block = ours.write([(*field, policy) for field, policy in fields])
        if not fields and not block:
            continue  # they look for a missing update at the end of a block only, and an empty one is none
        found = theirs.decode(block, raw=True)
        assert [tuple(field) for field in found] == [field for field, _ in fields]
        never = [isinstance(field, hpack.NeverIndexedHeaderTuple) for field in found]
        assert never == [policy == Policy.HPACK_NEVER for _, policy in fields]
        assert tables(theirs) == (ours.table, ours.size_max)


@settings(max_examples=100, deadline=None)
@given(conversations())
def test_we_read_what_they_write(conversation: list[Block]) -> None:
    ours, theirs, reader = Decoder(), hpack.Encoder(), their_decoder()
    for changes, fields, huffman in conversation:
        for size in changes:
            if min(size, 4096) != theirs.header_table_size:  # they forget a change that is made twice
                theirs.header_table_size = min(size, 4096)
        kinds = [hpack.NeverIndexedHeaderTuple if policy else hpack.HeaderTuple for _, policy in fields]
        block = theirs.encode([kind(*field) for kind, (field, _) in zip(kinds, fields, strict=True)], huffman)
        status, found = ours.read(block)
        assert status == CLOSED
        assert [field[:2] for field in found] == [field for field, _ in fields]
        never = [isinstance(field, hpack.NeverIndexedHeaderTuple) for field in reader.decode(block, raw=True)]
        assert [bool(field[3]) for field in found] == never  # they write an index where they have one
        assert tables(theirs) == (ours.table, ours.size_max)


def their_verdict(decoder: hpack.Decoder, block: bytes) -> Any:
    try:
        return [tuple(field) for field in decoder.decode(block, raw=True)]
    except hpack.HPACKError:
        return BAD


@settings(max_examples=300, deadline=None)
@given(st.lists(blocks() | st.binary(max_size=40), max_size=6), st.sampled_from([0, 64, 200, 4096]))
def test_verdicts(stream: list[bytes], limit: int) -> None:
    """Any blocks at all. There is nothing that one refuses and the other takes."""
    ours, theirs = Decoder(limit), their_decoder(limit)
    for block in stream:
        status, found = ours.read(block)
        wanted = their_verdict(theirs, block)
        assert (BAD if status == BAD else [field[:2] for field in found]) == wanted
        if status == BAD:
            break
        assert tables(theirs) == (ours.table, ours.size_max)
