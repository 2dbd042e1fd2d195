"""A client that sends exactly the bytes it is given and reads strictly."""

import array
import hashlib
import socket
import sys
from types import TracebackType
from typing import NoReturn

from tests.support import net
from tests.support.http1 import Malformed, Response, ResponseStream
from tests.support.wait import DEADLINE_S, Deadline

READ_BYTES = 1 << 18


class Ended(Exception):
    """The connection ended before what was waited for; `data` is what is left of it."""

    def __init__(self, data: bytes, how: str) -> None:
        super().__init__(f"connection ended by {how} with {data[:200]!r}")
        self.data = data
        self.how = how  # FIN | RST


class Client:
    """One connection. Every wait has a deadline; TimeoutError is a failure of the test."""

    def __init__(self, address: str, *, timeout: float = DEADLINE_S, receive_buffer_bytes: int = 0) -> None:
        self.sock = net.dial(address, timeout=timeout, receive_buffer_bytes=receive_buffer_bytes)
        self.stream = ResponseStream(patient=True)
        self.interim: list[Response] = []
        self._done: list[Response] = []
        self._timeout = timeout
        self._how = ""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.sock.close()

    @property
    def name(self) -> str:
        """Own address, as the proxy sees it."""
        return net.text(self.sock)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, data: bytes, method: str = "GET") -> Response:
        """Send one request and read its final response."""
        self.send(data)
        return self.read(method)

    def get(self, target: str = "/", *fields: str, host: str = "t.test") -> Response:
        return self.ask(request("GET", target, *fields, host=host))

    def read(self, method: str = "GET") -> Response:
        """The final response to the next request; interim ones gather in `interim`. Ended when it never comes."""
        self.expect(method)
        while True:
            response = self.next_response()
            if response.status >= 200 or response.status == 101:
                return response
            self.interim.append(response)

    def expect(self, method: str) -> None:
        """Announces one more response, to a request with this method."""
        self.stream.expect(method)
        self._done += self.stream.advance()

    def next_response(self) -> Response:
        """The next response, interim or final, whose request was announced by `expect`."""
        while not self._done:
            if not self._feed() and not self._done:
                self._raise_ended()
        return self._done.pop(0)

    def _feed(self) -> bool:
        """Reads once; False at the end of the connection."""
        data, how = self._receive()
        self._how = how
        self._done += self.stream.feed(data, how)
        return bool(data)

    def _raise_ended(self) -> NoReturn:
        current = self.stream.current
        raise Ended(bytes(current.head + current.body if current else self.stream.buffer), self._how)

    def _receive(self) -> tuple[bytes, str]:
        try:
            return self.sock.recv(READ_BYTES), "FIN"
        except (ConnectionResetError, BrokenPipeError):
            return b"", "RST"

    def read_head(self, method: str = "GET") -> Response:
        """The next response as soon as its head is there, its body incomplete."""
        seen = len(self.stream.messages)
        self.expect(method)
        while len(self.stream.messages) == seen:
            if not self._feed():
                self._raise_ended()
        return self.stream.messages[-1]

    def read_until(self, mark: bytes) -> bytes:
        """Raw bytes up to and including a mark, for tunnels; what came behind it stays in `stream.raw`."""
        while mark not in self.stream.raw:
            data, how = self._receive()
            if not data:
                raise Ended(bytes(self.stream.raw), how)
            self.stream.raw += data
        end = self.stream.raw.index(mark) + len(mark)
        found = bytes(self.stream.raw[:end])
        del self.stream.raw[:end]
        return found

    def read_to_end(self) -> tuple[bytes, str]:
        """Everything until the peer ends the connection, unparsed, and how it ended: FIN or RST."""
        gathered = bytearray()
        deadline = Deadline(self._timeout, "the end of the connection")
        while True:
            self.sock.settimeout(deadline.left())
            data, how = self._receive()
            if not data:
                return bytes(gathered), how
            gathered += data

    def expect_end(self) -> str:
        """The peer ends the connection without another byte; how."""
        data, how = self.read_to_end()
        if data or self.stream.buffer or self.stream.raw:
            extra = bytes(self.stream.buffer + self.stream.raw + data)
            raise Malformed(f"bytes after the last response: {extra[:200]!r}")
        return how

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        net.reset(self.sock)

    def close(self) -> None:
        self.sock.close()


def request(method: str, target: str, *fields: str, host: str = "t.test", body: bytes | None = None) -> bytes:
    """A well-formed HTTP/1.1 request; Content-Length when a body is given."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def pattern(size: int) -> bytes:
    """`size` bytes in which every 4-byte word differs, so that a lost or doubled piece shows."""
    words = array.array("I", range(-(-size // 4)))  # quick: some tests want 64 MiB
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()[:size]
