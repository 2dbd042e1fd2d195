"""Toward fastmesh as a server: every frame in every state of a stream (RFC 9113 5.1, and 6 for frames' own rules)."""

from collections.abc import Callable

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_case import Case, See, Server, any_of, dies, head, lives, refuses, resets
from tests.support.http2_frames import Error, Kind

P = Error.PROTOCOL_ERROR
CLOSED = Error.STREAM_CLOSED
TRAILERS = h2.block([("x-sum", "1")])

FRAMES = {
    "DATA": h2.data(1, b"x"),
    "DATA with END_STREAM": h2.data(1, b"x", end=True),
    "HEADERS": h2.headers(1, TRAILERS),
    "HEADERS with END_STREAM": h2.headers(1, TRAILERS, end=True),
    "PRIORITY": h2.priority(1),
    "RST_STREAM": h2.rst_stream(1),
    "SETTINGS": h2.frame(Kind.SETTINGS, 0, 1),
    "PUSH_PROMISE": h2.push_promise(1, 2, h2.block(h2.request_fields())),
    "PING": h2.frame(Kind.PING, 0, 1, bytes(8)),
    "GOAWAY": h2.frame(Kind.GOAWAY, 0, 1, bytes(8)),
    "WINDOW_UPDATE": h2.window_update(1, 1),
    "CONTINUATION": h2.continuation(1, TRAILERS),
    "unknown": h2.frame(0x2A, 0, 1, b"x"),
}
# Whatever the stream's state: connection frames on a stream (6.5, 6.7, 6.8), pushes by a client (8.4), stray
# CONTINUATION (6.10); PRIORITY and unknown frames are welcome everywhere (5.1, 5.5).
ALWAYS = {
    "SETTINGS": dies(P), "PING": dies(P), "GOAWAY": dies(P), "PUSH_PROMISE": dies(P), "CONTINUATION": dies(P),
    "PRIORITY": lives(), "unknown": lives(),
}  # fmt: skip
HARMLESS = {"WINDOW_UPDATE": lives(), "RST_STREAM": lives()}
# 6.1 wants a stream error for DATA on a closed stream, 5.1 lets it be a connection error or be discarded.
LATE = any_of(lives(), resets(CLOSED), dies(CLOSED), dies(P))


def _idle(client: RawClient) -> None:
    pass


def _open(client: RawClient) -> None:
    client.send(head("POST", "/hold", end=False))


def _half_closed_remote(client: RawClient) -> None:
    client.send(head("GET", "/hold"))


def _half_closed_local(client: RawClient) -> None:
    """The response has ended, the request has not. A server may ask to stop with RST_STREAM NO_ERROR (8.1)."""
    client.send(head("POST", "/early", end=False))
    client.wait_ended(1)
    client.sync()


def _closed(client: RawClient) -> None:
    client.send(head())
    client.wait_ended(1)


def _reset_by_client(client: RawClient) -> None:
    client.send(head("POST", "/hold", end=False) + h2.rst_stream(1))


def _reset_by_server(client: RawClient) -> None:
    """A stream error that nobody needs an upstream for (6.9)."""
    client.send(head("POST", "/hold", end=False) + h2.window_update(1, 0))
    client.wait_ended(1)


def _skipped(client: RawClient) -> None:
    """Stream 3 is used, so stream 1 can no longer be (5.1.1)."""
    client.send(head(stream=3))
    client.wait_ended(3)


STATES: dict[str, tuple[Callable[[RawClient], None], dict[str, See]]] = {
    "idle": (_idle, {
        "DATA": dies(P), "DATA with END_STREAM": dies(P), "RST_STREAM": dies(P), "WINDOW_UPDATE": dies(P),
        # a request without its pseudo-header fields (8.3.1)
        "HEADERS": refuses(), "HEADERS with END_STREAM": refuses(),
    }),
    "open": (_open, HARMLESS | {
        "DATA": lives(), "DATA with END_STREAM": lives(), "HEADERS with END_STREAM": lives(),
        "HEADERS": resets(P),  # trailers must end the stream (8.1)
    }),
    "half-closed (remote)": (_half_closed_remote, HARMLESS | {
        "DATA": resets(CLOSED), "DATA with END_STREAM": resets(CLOSED),
        "HEADERS": resets(CLOSED), "HEADERS with END_STREAM": resets(CLOSED),
    }),
    "half-closed (local)": (_half_closed_local, {
        "DATA": lives(known=1), "DATA with END_STREAM": lives(known=1), "HEADERS with END_STREAM": lives(known=1),
        "HEADERS": lives(known=2), "WINDOW_UPDATE": lives(known=1), "RST_STREAM": lives(known=1),
        "PRIORITY": lives(known=1), "unknown": lives(known=1),
    }),
    "closed by END_STREAM": (_closed, HARMLESS | {
        "DATA": LATE, "DATA with END_STREAM": LATE, "HEADERS": LATE, "HEADERS with END_STREAM": LATE,
    }),
    "closed by the client's RST_STREAM": (_reset_by_client, HARMLESS | {
        "DATA": LATE, "DATA with END_STREAM": LATE, "HEADERS": LATE, "HEADERS with END_STREAM": LATE,
    }),
    # Frames may have been under way when the reset was sent: they must be taken and thrown away (5.1).
    "closed by the server's RST_STREAM": (_reset_by_server, {
        "DATA": lives(known=2), "DATA with END_STREAM": lives(known=2), "HEADERS": lives(known=2),
        "HEADERS with END_STREAM": lives(known=2), "WINDOW_UPDATE": lives(known=1), "RST_STREAM": lives(known=1),
        "PRIORITY": lives(known=1), "unknown": lives(known=1),
    }),
    "closed by being skipped": (_skipped, {
        "DATA": LATE, "DATA with END_STREAM": LATE, "RST_STREAM": LATE, "WINDOW_UPDATE": any_of(lives(), dies(P)),
        "HEADERS": dies(P), "HEADERS with END_STREAM": dies(P),
    }),
}  # fmt: skip


def _case(state: str, frame: str) -> Case:
    enter, sees = STATES[state]

    def act(client: RawClient) -> None:
        enter(client)
        client.send(FRAMES[frame])

    return Case("9113 5.1", f"{frame} on a stream that is {state}", act, (ALWAYS | sees)[frame])


CASES = [_case(state, frame) for state in STATES for frame in FRAMES]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state(server: Server, case: Case) -> None:
    server.run(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_with_http2_upstream(http2_server: Server, case: Case) -> None:
    http2_server.run(case)
