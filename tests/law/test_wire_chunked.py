"""The chunked coding: scan == strip == model, whole, byte by byte and at every split."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.wire_enums import AGAIN, BAD, OK, Fault
from tests.model.wire_model import Body, decode_chunked
from tests.probe.wire_chunked import Decoder

SIZES = (b"0", b"00", b"0000000000000000", b"1", b"5", b"a", b"F", b"1F", b"0000000000000005", b"7fffffffffffffff")
ODD_SIZES = (b"", b"8000000000000000", b"00000000000000005", b"+5", b"0x5", b"-1", b" 5", b"5 ", b"5\t", b"g", b"5.")
EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b' ; a = "q \\" ,;\t\xff" ', b';a="";b', b"\t;\tx\t=\ty;z", b";a=\"\\\\\"")
ODD_EXTENSIONS = (b";", b";=", b";a=", b';a="', b';a="\\', b";a b", b";a;", b"; a ", b';a="x"y', b";a==b", b';a="\x01"',
                  b";\xff", b";a=b c", b";a,b", b';"a"')  # fmt: skip
ENDS = (b"\r\n",) * 12 + (b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b"")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A few chunks, now and then wrong somewhere, then bytes of whatever comes after."""
    out = bytearray()
    for _ in range(draw(st.integers(0, 4))):
        data = draw(st.binary(max_size=20))
        size = draw(st.sampled_from([b"%x", b"%X", b"%04x"])) % len(data) if data else b"1"
        if draw(st.integers(0, 19)) == 0:
            size = draw(st.sampled_from(SIZES + ODD_SIZES))
        extension = draw(st.sampled_from(EXTENSIONS * 3 + ODD_EXTENSIONS))
        out += size + extension + draw(st.sampled_from(ENDS)) + (data or b"x") + draw(st.sampled_from(ENDS))
    out += draw(st.sampled_from([b"0\r\n", b"0\r\n", b"000;x=y\r\n", b"0", b""]))
    return bytes(out + draw(st.sampled_from([b"\r\n", b"X: y\r\n\r\n", b"", b"GET / HTTP/1.1\r\n"])))


def run(data: bytes, cuts: list[int], strip: bool) -> Body:
    """Feeds data in pieces; a call's leftover is not offered again, for AGAIN takes all."""
    decoder, used, payload, start = Decoder(), 0, b"", 0
    status = AGAIN
    for cut in [*cuts, len(data)]:
        piece, start = data[start:cut], cut
        if strip:
            status, took, moved = decoder.strip(piece)
            payload += moved
        else:
            status, took, count = decoder.scan(piece)
            payload += bytes(count)
        used += took
        if status != AGAIN:
            break
        assert took == len(piece)
    return Body(status, decoder.fault, used, payload)


def check(data: bytes, cuts: list[int]) -> None:
    wanted = decode_chunked(data)
    assert run(data, cuts, strip=True) == wanted
    wanted.payload = bytes(len(wanted.payload))
    assert run(data, cuts, strip=False) == wanted


@settings(max_examples=1500, deadline=None)
@given(bodies(), st.data())
def test_core_equals_model_at_every_split(data: bytes, draw: st.DataObject) -> None:
    check(data, [])
    check(data, list(range(1, len(data))))
    check(data, sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5))))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    check(data, [])
    check(data, list(range(1, len(data))))


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_at_every_place(byte: int) -> None:
    body = b'3 ; a = "q\\"" ;b=c\r\nxyz\r\n10;d\r\n0123456789abcdef\r\n0\r\n'
    for at in range(len(body)):
        check(body[:at] + bytes([byte]) + body[at + 1 :], [])
        check(body[:at] + bytes([byte]) + body[at:], [])


@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
@pytest.mark.parametrize("extension", EXTENSIONS + ODD_EXTENSIONS)
def test_every_size_with_every_extension(size: bytes, extension: bytes) -> None:
    check(size + extension + b"\r\nabcde\r\n0\r\n\r\n", [])


def test_a_size_line_is_bounded() -> None:
    line = b"1;" + b"a" * 4092
    assert run(line + b"\r\nx\r\n0\r\n", [], strip=True) == decode_chunked(line + b"\r\nx\r\n0\r\n")
    assert run(line + b"\r\nx\r\n0\r\n", [], strip=True).status == OK
    answer = run(line + b"a\r\n", [], strip=True)
    assert (answer.status, answer.fault, answer.used) == (BAD, Fault.FAULT_CHUNK_EXTENSION, 4096)


def test_the_extensions_of_a_body_are_bounded() -> None:
    chunk = b"1;" + b"a" * 1023 + b"\r\nx\r\n"
    answer = run(chunk * 64 + b"0\r\n", [], strip=False)
    assert (answer.status, len(answer.payload)) == (OK, 64)
    answer = run(chunk * 64 + b"0;\r\n", [], strip=False)
    assert (answer.status, answer.fault) == (BAD, Fault.FAULT_CHUNK_EXTENSION)


def test_a_verdict_stays() -> None:
    decoder = Decoder()
    assert decoder.scan(b"0\r\nX") == (OK, 3, 0)
    assert decoder.scan(b"5\r\n") == (OK, 0, 0)
    decoder = Decoder()
    assert decoder.scan(b"z") == (BAD, 0, 0)
    assert decoder.scan(b"5\r\n") == (BAD, 0, 0)
