"""Asks a port whether it is ready: a message of bench/load/tcp.c, and the first byte of an answer or greeting."""

import contextlib
import socket

MESSAGE_BYTES = 100
ECHO = b"\x01".ljust(MESSAGE_BYTES, b"\0")


def answers(port: int, path: str = "/", host: str = "127.0.0.1") -> bool:
    """There is no path; it is asked like the other protocols."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2) as s:
        s.sendall(ECHO)
        return len(s.recv(MESSAGE_BYTES)) > 0
    return False
