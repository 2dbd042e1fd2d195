"""As much of HTTP/2 as it takes to ask a port whether it is ready: one request, and the first byte of its answer."""

import contextlib
import socket

_HEADERS, _END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20  # RFC 9113 6.2
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 0x4, 0, 0, 0, 0, 0))  # and an empty SETTINGS
_STATUS_200 = 0x88  # RFC 7541 6.1 with static index 8: what every encoder sends for it


def _request(path: str) -> bytes:
    """GET on stream 1: :method and :scheme by index, :path and :authority as literals (RFC 7541 6.2.2)."""
    target, authority = path.encode(), b"bench.test"
    block = b"\x82\x86\x04" + bytes((len(target),)) + target + b"\x01" + bytes((len(authority),)) + authority
    return len(block).to_bytes(3, "big") + bytes((_HEADERS, _END_STREAM | _END_HEADERS, 0, 0, 0, 1)) + block


def _says_200(flags: int, block: bytes) -> bool:
    """Whether a header block's first field is `:status: 200`; a change of the table's size may precede it."""
    at = (1 if flags & _PADDED else 0) + (5 if flags & _PRIORITY else 0)
    while at < len(block) and block[at] & 0xE0 == 0x20:  # RFC 7541 6.3
        long = block[at] & 0x1F == 0x1F
        at += 1
        while long and at < len(block):
            long = block[at] >= 0x80
            at += 1
    return at < len(block) and block[at] == _STATUS_200


def answers_200(port: int, path: str = "/", host: str = "127.0.0.1") -> bool:
    """One request on a new connection, by prior knowledge; whether its final or first answer begins with a 200."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port), timeout=2) as s,
        s.makefile("rb") as received,
    ):
        s.sendall(_PREFACE + _request(path))
        while len(head := received.read(9)) == 9:
            payload = received.read(int.from_bytes(head[:3], "big"))
            if head[3] == _HEADERS:
                return _says_200(head[4], payload)
    return False
