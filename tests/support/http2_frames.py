"""HTTP/2 frames and header blocks as bytes, right or wrong on purpose (RFC 9113 4 and 6, RFC 7541 5 and 6).

Builders answer bytes, so that a script is a sum of them. Huffman codes are the `hpack` package's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
FRAME_MAX = 16384  # SETTINGS_MAX_FRAME_SIZE as it begins
WINDOW = 65535  # RFC 9113 6.9.2
WINDOW_MAX = 0x7FFFFFFF

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20


class Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


class Error(IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


@dataclass(frozen=True)
class Frame:
    """One frame as it was received."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    reserved: bool = False

    def __str__(self) -> str:
        name = Kind(self.kind).name if self.kind in Kind.__members__.values() else f"type {self.kind:#x}"
        return f"{name}(stream={self.stream}, flags={self.flags:#x}, {len(self.payload)} bytes)"

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    @property
    def content(self) -> bytes:
        """The payload of DATA, HEADERS or PUSH_PROMISE without padding, priority and promised id."""
        body = self.payload
        if self.kind in (Kind.DATA, Kind.HEADERS, Kind.PUSH_PROMISE) and self.has(PADDED):
            body = body[1 : len(body) - body[0]]
        if self.kind == Kind.HEADERS and self.has(PRIORITY_FLAG):
            body = body[5:]
        return body[4:] if self.kind == Kind.PUSH_PROMISE else body

    @property
    def number(self) -> int:
        """The last 31 bits of RST_STREAM's code, WINDOW_UPDATE's increment."""
        return int.from_bytes(self.payload[:4], "big")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Of SETTINGS, in order."""
        starts = range(0, len(self.payload), 6)
        return [(int.from_bytes(self.payload[i : i + 2], "big"), int.from_bytes(self.payload[i + 2 : i + 6], "big"))
                for i in starts]  # fmt: skip


def take_frames(buffer: bytearray) -> Iterator[Frame]:
    """Every complete frame at the beginning of `buffer`, which loses it."""
    while len(buffer) >= HEADER_BYTES:
        size = int.from_bytes(buffer[:3], "big")
        if len(buffer) < HEADER_BYTES + size:
            return
        word = int.from_bytes(buffer[5:9], "big")
        payload = bytes(buffer[HEADER_BYTES : HEADER_BYTES + size])
        found = Frame(buffer[3], buffer[4], word & 0x7FFFFFFF, payload, bool(word >> 31))
        del buffer[: HEADER_BYTES + size]
        yield found


# --- frames


def frame(
    kind: int, flags: int, stream: int, payload: bytes = b"", *, reserved: bool = False, size: int | None = None
) -> bytes:
    """Any frame. `size`: the length field, when it shall not be the payload's."""
    length = len(payload) if size is None else size
    word = stream | (0x80000000 if reserved else 0)
    return length.to_bytes(3, "big") + bytes([kind, flags]) + word.to_bytes(4, "big") + payload


def _padded(payload: bytes, pad: int | None) -> tuple[int, bytes]:
    return (0, payload) if pad is None else (PADDED, bytes([pad]) + payload + bytes(pad))


def data(stream: int, body: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    flags, payload = _padded(body, pad)
    return frame(Kind.DATA, flags | (END_STREAM if end else 0), stream, payload)


def priority_fields(depends: int = 0, weight: int = 15, exclusive: bool = False) -> bytes:
    """The five bytes of PRIORITY, and of HEADERS with its flag."""
    return (depends | (0x80000000 if exclusive else 0)).to_bytes(4, "big") + bytes([weight])


def headers(
    stream: int, block: bytes, *, end: bool = False, whole: bool = True, pad: int | None = None, priority: bytes = b""
) -> bytes:
    """`whole`: END_HEADERS is set. `priority`: what `priority_fields` answers."""
    flags, payload = _padded(priority + block, pad)
    flags |= (END_STREAM if end else 0) | (END_HEADERS if whole else 0) | (PRIORITY_FLAG if priority else 0)
    return frame(Kind.HEADERS, flags, stream, payload)


def continuation(stream: int, block: bytes, *, whole: bool = True) -> bytes:
    return frame(Kind.CONTINUATION, END_HEADERS if whole else 0, stream, block)


def priority(stream: int, depends: int = 0, weight: int = 15, exclusive: bool = False) -> bytes:
    return frame(Kind.PRIORITY, 0, stream, priority_fields(depends, weight, exclusive))


def rst_stream(stream: int, code: int = Error.CANCEL) -> bytes:
    return frame(Kind.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


Settings = Mapping[Any, int] | Iterable[tuple[int, int]]  # values by Setting, or by any number


def settings(values: Settings = ()) -> bytes:
    pairs = values.items() if isinstance(values, Mapping) else values
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs)
    return frame(Kind.SETTINGS, 0, 0, payload)


SETTINGS_ACK = frame(Kind.SETTINGS, ACK, 0)


def push_promise(stream: int, promised: int, block: bytes, *, whole: bool = True) -> bytes:
    return frame(Kind.PUSH_PROMISE, END_HEADERS if whole else 0, stream, promised.to_bytes(4, "big") + block)


def ping(payload: bytes = b"\0" * 8, *, ack: bool = False) -> bytes:
    return frame(Kind.PING, ACK if ack else 0, 0, payload)


def goaway(last: int, code: int = Error.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(Kind.GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


# --- HPACK, byte for byte

Text = str | bytes
Field = tuple[Text, Text]

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def raw(text: Text) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def integer(value: int, bits: int, pattern: int = 0, *, more: int = 0) -> bytes:
    """RFC 7541 5.1: `value` behind a prefix of `bits`, above which `pattern` is. `more`: needless zeros at the end."""
    top = (1 << bits) - 1
    if value < top:
        return bytes([pattern | value])
    out = bytearray([pattern | top])
    value -= top
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    if more:
        out[-1] |= 128
        out += b"\x80" * (more - 1) + b"\0"
    return bytes(out)


def string(text: Text, *, huffman: bool = False, size: int | None = None) -> bytes:
    """RFC 7541 5.2. `size`: the length field, when it shall not be the text's."""
    body = _huffman.encode(raw(text)) if huffman else raw(text)
    return integer(len(body) if size is None else size, 7, 0x80 if huffman else 0) + body


def huffman_string(body: bytes) -> bytes:
    """A string that claims to be Huffman code and is `body`."""
    return integer(len(body), 7, 0x80) + body


def indexed(index: int) -> bytes:
    return integer(index, 7, 0x80)


_LITERALS = {"plain": (4, 0), "index": (6, 0x40), "never": (4, 0x10)}


def literal(name: Text, value: Text, mode: str = "plain", *, name_index: int = 0, huffman: bool = False) -> bytes:
    """RFC 7541 6.2. `mode`: plain (without indexing), index or never; `name_index` takes the place of the name."""
    bits, pattern = _LITERALS[mode]
    begin = integer(name_index, bits, pattern)
    return begin + (b"" if name_index else string(name, huffman=huffman)) + string(value, huffman=huffman)


def size_update(size: int) -> bytes:
    return integer(size, 5, 0x20)


def block(fields: Iterable[Field], mode: str = "plain") -> bytes:
    """Fields exactly as they are, as literals with their names; touches no table unless `mode` is index."""
    return b"".join(literal(name, value, mode) for name, value in fields)


def request_fields(method: str = "GET", path: str = "/", *fields: Field, authority: str = "t.test") -> list[Field]:
    """A lawful request's fields; `fields` follow the pseudo-header fields."""
    pseudo = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)]
    return [*pseudo, *fields]


def response_fields(status: int = 200, *fields: Field) -> list[Field]:
    return [(":status", str(status)), *fields]


def without(fields: Iterable[Field], *names: str) -> list[Field]:
    return [field for field in fields if field[0] not in names]
