"""ClientHellos made by hand from RFC 8446 4.1.2, and by real clients."""

import ssl
import struct
from collections.abc import Iterable, Sequence

SERVER_NAME, ALPN, VERSIONS = 0, 16, 43


def vector(data: bytes, width: int) -> bytes:
    """Data behind its length in so many bytes."""
    return len(data).to_bytes(width, "big") + data


def server_name(*names: bytes, kind: int = 0) -> tuple[int, bytes]:
    return SERVER_NAME, vector(b"".join(bytes([kind]) + vector(name, 2) for name in names), 2)


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    return ALPN, vector(b"".join(vector(protocol, 1) for protocol in protocols), 2)


def versions(*numbers: int) -> tuple[int, bytes]:
    return VERSIONS, vector(b"".join(struct.pack(">H", number) for number in numbers), 1)


def body(
    extensions: Sequence[tuple[int, bytes]] | None = (),
    legacy: int = 0x0303,
    session: bytes = b"",
    ciphers: bytes = b"\x13\x01",
    compression: bytes = b"\x00",
) -> bytes:
    """A ClientHello without its handshake header. extensions None: the field is left out."""
    out = struct.pack(">H", legacy) + bytes(range(32))
    out += vector(session, 1) + vector(ciphers, 2) + vector(compression, 1)
    if extensions is None:
        return out
    return out + vector(b"".join(struct.pack(">H", kind) + vector(data, 2) for kind, data in extensions), 2)


def handshake(hello: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(hello, 3)


def records(message: bytes, cuts: Iterable[int] = (), version: int = 0x0301) -> bytes:
    """A handshake message in records that end at the cuts."""
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(message)}), len(message)]
    out, start = b"", 0
    for end in ends:
        out += b"\x16" + struct.pack(">H", version) + vector(message[start:end], 2)
        start = end
    return out


def unwrap(data: bytes) -> bytes:
    """The message inside records."""
    out = b""
    while data:
        length = int.from_bytes(data[3:5], "big")
        out, data = out + data[5 : 5 + length], data[5 + length :]
    return out


def of_python(
    name: str | None, protocols: Sequence[str] = (), newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bytes:
    """What Python's ssl sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
