"""The benchmark believes a port that it is ready only by a 200 over HTTP/2."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from bench.macro import http2
from tests.support.net import listen

ASKED = {":method": "GET", ":scheme": "http", ":authority": "bench.test"}


@contextmanager
def server(status: str) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Its port, and the requests of the one connection that it takes."""
    asked: list[dict[str, str]] = []

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            session = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
            session.initiate_connection()
            while data := connection.recv(65536):
                for event in session.receive_data(data):
                    if isinstance(event, RequestReceived) and event.stream_id and event.headers:
                        asked.append({str(name): str(value) for name, value in event.headers})
                        session.send_headers(event.stream_id, [(":status", status), ("x", "y")], end_stream=True)
                connection.sendall(session.data_to_send())

    with listen() as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], asked
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(("status", "ready"), [("200", True), ("204", False), ("503", False), ("404", False)])
def test_only_a_200_says_that_a_port_is_ready(status: str, ready: bool) -> None:
    with server(status) as (port, asked):
        assert http2.answers_200(port, "/x") == ready
    assert asked == [{**ASKED, ":path": "/x"}]


def test_a_port_that_speaks_something_else_is_not_ready() -> None:
    with listen() as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        assert not http2.answers_200(port)
        thread.join(10)
    assert not http2.answers_200(port)  # and nobody there any more


@pytest.mark.parametrize(
    ("flags", "block", "ready"),
    [
        (0x4, b"\x88", True),
        (0x4, b"\x20\x88", True),  # the table's size becomes 0
        (0x4, b"\x3f\xe1\x1f\x88", True),  # 4096, in three bytes
        (0x4, b"\x20\x3f\xe1\x1f\x88", True),
        (0xC, b"\x01\x88\x00", True),  # padded
        (0x24, b"\x00\x00\x00\x00\x10\x88", True),  # with a priority
        (0x4, b"\x8d", False),  # 404
        (0x4, b"\x20", False),
        (0x4, b"\x3f\xff", False),
        (0x4, b"", False),
        (0x2C, b"\x00", False),
    ],
)
def test_a_200_is_found_behind_everything_that_may_precede_it(flags: int, block: bytes, ready: bool) -> None:
    assert http2._says_200(flags, block) == ready
