"""Addresses as fastmesh writes them ("127.0.0.1:80", "[::1]:80", "unix:/path") and the sockets behind them."""

import array
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Iterator

from tests.support.wait import DEADLINE_S

SockAddress = tuple[str, int] | tuple[str, int, int, int] | str


def parse(address: str) -> tuple[socket.AddressFamily, SockAddress]:
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


def text(sock: socket.socket) -> str:
    """The local address of a socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def dial(address: str, *, timeout: float = DEADLINE_S, receive_buffer_bytes: int = 0) -> socket.socket:
    """A connected socket whose every operation is bounded by `timeout` seconds."""
    family, target = parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.settimeout(timeout)
        sock.connect(target)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(address: str = "127.0.0.1:0", backlog: int = 512) -> socket.socket:
    family, target = parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def free_port() -> int:
    """A TCP port that was free a moment ago, for servers that cannot say which one they took."""
    with contextlib.closing(listen()) as sock:
        return int(sock.getsockname()[1])


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def unread_bytes(sock: socket.socket) -> int:
    """What was sent on a Unix socket and the peer has not read yet. Linux counts memory, not bytes: only 0 is exact."""
    out = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, out)
    return out[0]


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address that takes no connection and refuses none: its accept queue is full."""
    listener = listen(backlog=0)
    address = text(listener)
    fillers = []
    try:
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield address
    finally:
        for sock in (listener, *fillers):
            sock.close()
