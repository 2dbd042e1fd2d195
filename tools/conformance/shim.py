"""A program under connectconformance's test, with fastmesh between it and its reference peer.

    python -m tools.conformance.shim server UPSTREAM_PROTOCOL PROGRAM   tells the runner fastmesh's port for its own
    python -m tools.conformance.shim client UPSTREAM_PROTOCOL PROGRAM   is told fastmesh's port for the runner's

Both speak with the runner over stdin and stdout: Protobuf messages behind their lengths in four bytes.
"""

import contextlib
import signal
import subprocess
import sys
import threading
from typing import IO

from tools.conformance.running import BRIDGED, front

SERVER_PROTOCOL = 1  # ServerCompatRequest.protocol
PROTOCOL_GRPC = 2
SERVER_VERSION = 2  # ServerCompatRequest.http_version
VERSIONS = {"http1": 1, "http2": 2, BRIDGED: 2}  # HTTPVersion
SERVER_PORT = 2  # ServerCompatResponse.port
CLIENT_PORT = 7  # ClientCompatRequest.port
CLIENT_END_S = 30.0
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_message(stream: IO[bytes]) -> bytes | None:
    """The next message; None at the end."""
    prefix = stream.read(4)
    if len(prefix) < 4:
        return None
    return stream.read(int.from_bytes(prefix, "big"))


def write_message(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(4, "big") + message)
    stream.flush()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field_end(message: bytes, wire_type: int, at: int) -> int:
    if wire_type == _VARINT:
        return _varint(message, at)[1]
    if wire_type == _BYTES:
        size, at = _varint(message, at)
        return at + size
    return at + {_FIXED64: 8, _FIXED32: 4}[wire_type]


def number_field(message: bytes, number: int) -> int:
    """The value of a top-level number, its last one; 0 when it is not there, as Protobuf has it."""
    value = at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >> 3 == number:
            value = _varint(message, at)[0]
        at = _field_end(message, key & 7, at)
    return value


def with_number_field(message: bytes, number: int, value: int) -> bytes:
    """The message with another value of a top-level number: of two of them the last one counts."""
    return message + _encoded(number << 3 | _VARINT) + _encoded(value)


def spoken(request: bytes, through: str) -> bytes:
    """What the server is told to speak: as the client does, or as fastmesh is told to speak to it."""
    if through == BRIDGED:
        request = with_number_field(request, SERVER_PROTOCOL, PROTOCOL_GRPC)
    version = VERSIONS.get(through)
    return request if version is None else with_number_field(request, SERVER_VERSION, version)


def serve(through: str, program: str) -> int:
    """Runs the server under test until SIGTERM."""
    request = read_message(sys.stdin.buffer)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            write_message(server.stdin, spoken(request or b"", through))
            response = read_message(server.stdout) or b""
            with front(f"127.0.0.1:{number_field(response, SERVER_PORT)}", through) as address:
                own = int(address.rpartition(":")[2])
                write_message(sys.stdout.buffer, with_number_field(response, SERVER_PORT, own))
                while server.poll() is None:  # SIGTERM ends it; looked after, as a signal just before a wait is lost
                    threading.Event().wait(0.2)
        finally:
            server.terminate()
    return 0


def ask(through: str, program: str) -> int:
    """Runs the client under test until it has answered everything."""
    ports: dict[int, int] = {}
    with contextlib.ExitStack() as fronts, subprocess.Popen([program], stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        try:
            while (message := read_message(sys.stdin.buffer)) is not None:
                port = number_field(message, CLIENT_PORT)
                if port not in ports:
                    address = fronts.enter_context(front(f"127.0.0.1:{port}", through))
                    ports[port] = int(address.rpartition(":")[2])
                write_message(client.stdin, with_number_field(message, CLIENT_PORT, ports[port]))
            client.stdin.close()
            return client.wait(CLIENT_END_S)
        finally:
            client.terminate()


def main(role: str, through: str, program: str) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # by way of every `finally`
    return serve(through, program) if role == "server" else ask(through, program)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
