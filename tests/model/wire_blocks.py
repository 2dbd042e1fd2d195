"""Hypothesis strategies for HPACK: fields as they come in practice, and blocks as an unruly encoder may write them."""

from hpack.hpack import encode_integer
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import strategies as st

HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
SIZES = (0, 1, 31, 32, 33, 64, 100, 200, 1000, 4095, 4096)

NAMES = st.sampled_from([
    b":method", b":path", b":scheme", b":authority", b":status", b"accept-encoding", b"content-length", b"cookie",
    b"authorization", b"date", b"grpc-timeout", b"te", b"traceparent", b"x", b"x-request-id", b"vary", b"a" * 50, b"",
])  # fmt: skip
VALUES = st.sampled_from([
    b"", b"/", b"GET", b"POST", b"200", b"404", b"http", b"https", b"gzip, deflate", b"trailers", b"application/grpc",
    b"/index.html", b"/grpc.testing.TestService/UnaryCall", b"v" * 60, b"w" * 900, b"z" * 2100, b"y" * 4064,
])  # fmt: skip
FIELDS = st.tuples(NAMES | st.binary(max_size=12), VALUES | st.binary(max_size=40))


def integer(value: int, bits: int, flags: int) -> bytes:
    """RFC 7541 5.1, under the flags of its first octet."""
    octets = encode_integer(value, bits)
    octets[0] |= flags
    return bytes(octets)


def text(value: bytes, huffman: bool) -> bytes:
    """RFC 7541 5.2"""
    coded = HUFFMAN.encode(value) if huffman else value
    return integer(len(coded), 7, 0x80 if huffman else 0) + coded


@st.composite
def literals(draw: st.DrawFn) -> bytes:
    bits, flags = draw(st.sampled_from([(6, 0x40), (6, 0x40), (4, 0), (4, 0x10)]))
    name, value = draw(FIELDS)
    index = draw(st.sampled_from([0, 0, 2, 4, 16, 31, 61, 62, 63, 64, 70]))
    head = integer(index, bits, flags)
    if index == 0:
        head += text(name, draw(st.booleans()))
    return head + text(value, draw(st.booleans()))


INDEXED = (st.integers(1, 66) | st.integers(0, 300)).map(lambda index: integer(index, 7, 0x80))
UPDATES = (st.sampled_from(SIZES) | st.integers(0, 5000)).map(lambda size: integer(size, 5, 0x20))


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """Size updates, then fields; sometimes damaged."""
    parts = draw(st.lists(UPDATES, max_size=2)) + draw(st.lists(INDEXED | literals(), max_size=8))
    block = bytearray(b"".join(parts))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        if block:
            at = draw(st.integers(0, len(block) - 1))
            match draw(st.integers(0, 2)):
                case 0:
                    block[at] = draw(st.integers(0, 255))
                case 1:
                    del block[at:]
                case _:
                    block[at:at] = draw(st.binary(max_size=3) | UPDATES)
    return bytes(block)
