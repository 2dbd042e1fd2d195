"""HPACK's generated tables, its representations one by one, and the examples of RFC 7541 appendix C."""

import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

from tests.model.wire_enums import BAD, CLOSED, Policy
from tests.probe.wire_hpack import Decoder, Encoder
from tools import gen_hpack

Fields = list[tuple[bytes, bytes]]

# RFC 7541 C.3 and C.5: the messages; C.4 and C.6 say the same with Huffman codes.
REQUESTS: list[Fields] = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]  # fmt: skip
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
DATE, LATER = b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"
PLACE = (b"location", b"https://www.example.com")
RESPONSES: list[Fields] = [
    [(b":status", b"302"), (b"cache-control", b"private"), (b"date", DATE), PLACE],
    [(b":status", b"307"), (b"cache-control", b"private"), (b"date", DATE), PLACE],
    [
        (b":status", b"200"), (b"cache-control", b"private"), (b"date", LATER), PLACE,
        (b"content-encoding", b"gzip"), (b"set-cookie", COOKIE),
    ],
]  # fmt: skip
C3 = ("828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")  # fmt: skip
C4 = ("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")  # fmt: skip
C5 = (
    "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f77"
    "77772e6578616d706c652e636f6d",
    "4803333037c1c0bf",
    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a"
    "584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
)
C6 = (
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
    "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
)


def plain(fields: list[tuple[bytes, bytes, int, int]]) -> Fields:
    return [(name, value) for name, value, _, _ in fields]


def test_the_header_is_what_the_generator_writes() -> None:
    assert gen_hpack.HEADER.read_text() == gen_hpack.header()


def test_the_tables_are_those_of_the_hpack_package() -> None:
    assert gen_hpack.canonical()[0] == list(REQUEST_CODES)
    assert list(gen_hpack.BITS) == list(REQUEST_CODES_LENGTH)
    assert [(name.encode(), value.encode()) for name, value in gen_hpack.STATIC] == list(HeaderTable.STATIC_TABLE)


@pytest.mark.parametrize(
    ("blocks", "messages", "limit"),
    [(C3, REQUESTS, 4096), (C4, REQUESTS, 4096), (C5, RESPONSES, 256), (C6, RESPONSES, 256)],
    ids=["C.3", "C.4", "C.5", "C.6"],
)
def test_the_examples_of_the_rfc(blocks: tuple[str, ...], messages: list[Fields], limit: int) -> None:
    decoder = Decoder(limit)
    for block, message in zip(blocks, messages, strict=True):
        status, fields = decoder.read(bytes.fromhex(block))
        assert (status, plain(fields)) == (CLOSED, message)
    newest = messages[-1][-1]
    assert decoder.table[0] == newest
    if limit == 256:
        assert decoder.table == [newest, (b"content-encoding", b"gzip"), (b"date", LATER)]
    else:
        assert decoder.table == [newest, (b"cache-control", b"no-cache"), (b":authority", b"www.example.com")]


@pytest.mark.parametrize("index", range(1, 62))
def test_every_static_entry(index: int) -> None:
    name, value = HeaderTable.STATIC_TABLE[index - 1]
    first = 1 + [other for other, _ in HeaderTable.STATIC_TABLE].index(name)
    assert Decoder().read(bytes([0x80 | index])) == (CLOSED, [(name, value, first, 0)])
    assert Encoder().write([(name, value)]) == bytes([0x80 | index])
    assert Encoder().write([(name, value, Policy.HPACK_PLAIN)]) == bytes([0x80 | index])
    # A literal name is known too, and other values go with the name's first index.
    literal = bytes([0, len(name)]) + name + b"\x01?"
    assert Decoder().read(literal) == (CLOSED, [(name, b"?", first, 0)])
    block = Encoder().write([(name, b"?")])
    assert Decoder().read(block) == (CLOSED, [(name, b"?", first, 0)])
    assert len(block) == (3 if first < 15 else 4)


@pytest.mark.parametrize("block", ["80", "be", "ff00", "ffffffff7f", "7f00016100", "0f300161", "7e00"])
def test_indices_that_are_nowhere(block: str) -> None:
    assert Decoder().read(bytes.fromhex(block))[0] == BAD
