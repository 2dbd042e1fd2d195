"""What tests of a worker under pressure do to sockets, and what they see on them without waiting."""

import array
import contextlib
import fcntl
import os
import select
import socket
import termios
from collections.abc import Iterable

from tests.support.wait import until

WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def arrived(*socks: socket.socket) -> None:
    """Waits until the peer's kernel has everything that was sent on these TCP sockets."""
    until(lambda: not any(_unacknowledged(sock) for sock in socks), "the peer's kernel to take all bytes")


def _unacknowledged(sock: socket.socket) -> int:
    out = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, out)
    return out[0]


def is_silent(sock: socket.socket) -> bool:
    """Nothing to read, no end, no error so far."""
    return not select.select([sock], [], [], 0)[0]


def until_readable(sock: socket.socket, what: str) -> None:
    until(lambda: not is_silent(sock), what)


class Feed:
    """Sends `data` piece by piece, never waiting."""

    def __init__(self, sock: socket.socket, data: bytes) -> None:
        self._sock = sock
        self._left = memoryview(data)

    def push(self) -> int:
        """Sends what the socket takes now; how much that was."""
        try:
            n = os.write(self._sock.fileno(), self._left)  # send() would wait for the time limit of the socket
        except BlockingIOError:
            return 0
        self._left = self._left[n:]
        return n


def stuff(socks: Iterable[socket.socket], data: bytes) -> int:
    """Sends on each what it takes at once; how much all took. Refused and broken ones take nothing."""
    taken = 0
    for sock in socks:
        with contextlib.suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
            while True:
                taken += os.write(sock.fileno(), data)
    return taken
