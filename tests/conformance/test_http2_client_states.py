"""Toward fastmesh as a client: every frame in every state of a stream (RFC 9113 5.1)."""

from collections.abc import Callable

import pytest

from tests.support import http2_frames as h2
from tests.support.client import Client, request
from tests.support.http2 import OriginConnection
from tests.support.http2_case import See, any_of, dies, lives, resets
from tests.support.http2_frames import Error, Kind
from tests.support.http2_upstream import ANY, GET, OPEN, Answer, Upstream, reply

P = Error.PROTOCOL_ERROR
CLOSED = Error.STREAM_CLOSED
HEAD = h2.block(h2.response_fields())


def _frames(stream: int) -> dict[str, bytes]:
    return {
        "DATA": h2.data(stream, b"x"),
        "DATA with END_STREAM": h2.data(stream, b"x", end=True),
        "HEADERS": h2.headers(stream, HEAD),
        "HEADERS with END_STREAM": h2.headers(stream, HEAD, end=True),
        "PRIORITY": h2.priority(stream),
        "RST_STREAM": h2.rst_stream(stream),
        "SETTINGS": h2.frame(Kind.SETTINGS, 0, stream),
        "PUSH_PROMISE": h2.push_promise(stream, 2, h2.block(h2.request_fields())),
        "PING": h2.frame(Kind.PING, 0, stream, bytes(8)),
        "GOAWAY": h2.frame(Kind.GOAWAY, 0, stream, bytes(8)),
        "WINDOW_UPDATE": h2.window_update(stream, 1),
        "CONTINUATION": h2.continuation(stream, HEAD),
        "unknown": h2.frame(0x2A, 0, stream, b"x"),
    }


FRAMES = list(_frames(1))
ALWAYS = {
    "SETTINGS": dies(P), "PING": dies(P), "GOAWAY": dies(P), "PUSH_PROMISE": dies(P), "CONTINUATION": dies(P),
    "PRIORITY": lives(), "unknown": lives(),
}  # fmt: skip
HARMLESS = {"WINDOW_UPDATE": lives(), "RST_STREAM": lives()}
LATE = any_of(lives(known=1), resets(CLOSED), dies(CLOSED), dies(P))
LATES = dict.fromkeys(("DATA", "DATA with END_STREAM", "HEADERS", "HEADERS with END_STREAM"), LATE)
# A message must begin with HEADERS (8.1): malformed, and it may be taken for an error of the connection (5.4.1).
EARLY = any_of(resets(P), dies(P))


def _wait(connection: OriginConnection) -> None:
    pass


def _answered(connection: OriginConnection) -> None:
    connection.send(reply())
    connection.sync()


def _reset(connection: OriginConnection) -> None:
    connection.send(h2.rst_stream(1))
    connection.sync()


STATES: dict[str, tuple[Callable[[OriginConnection], None], bytes, int, dict[str, See]]] = {
    "idle": (_wait, GET, 3, dict.fromkeys(FRAMES, dies(P)) | {"PRIORITY": lives(), "unknown": lives()}),
    "idle and the server's": (
        _wait, GET, 2, dict.fromkeys(FRAMES, dies(P)) | {"PRIORITY": lives(), "unknown": lives()}
    ),
    "half-closed (local)": (_wait, GET, 1, HARMLESS | {
        "DATA": EARLY, "DATA with END_STREAM": EARLY, "HEADERS": lives(), "HEADERS with END_STREAM": lives(),
    }),
    "open": (_wait, OPEN, 1, HARMLESS | {
        "DATA": EARLY, "DATA with END_STREAM": EARLY, "HEADERS": lives(), "HEADERS with END_STREAM": lives(known=1),
    }),
    # fastmesh may stop the request when the response has ended: then what comes late may be thrown away (5.1).
    "half-closed (remote)": (_answered, OPEN, 1, LATES | {
        "WINDOW_UPDATE": lives(known=1), "RST_STREAM": lives(known=1), "PRIORITY": lives(known=1),
        "unknown": lives(known=1),
    }),
    "closed by END_STREAM": (_answered, GET, 1, LATES | HARMLESS),
    "closed by the server's RST_STREAM": (_reset, GET, 1, LATES | HARMLESS),
}  # fmt: skip


def _case(state: str, frame: str) -> Answer:
    enter, ask, stream, sees = STATES[state]

    def act(connection: OriginConnection) -> None:
        enter(connection)
        connection.send(_frames(stream)[frame])

    return Answer("9113 5.1", f"{frame} on a stream that is {state}", act, (ALWAYS | sees)[frame], ANY, request=ask)


@pytest.mark.parametrize("case", [_case(state, frame) for state in STATES for frame in FRAMES], ids=str)
def test_state(upstream: Upstream, case: Answer) -> None:
    upstream.run(case)


# Frames that the server sent before it saw fastmesh's RST_STREAM must be taken and thrown away (5.1).
UNDER_WAY = {
    name: frame
    for name, frame in _frames(1).items()
    if name not in ("SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "CONTINUATION")
}


@pytest.mark.parametrize("name", UNDER_WAY)
def test_5_1_what_was_under_way_when_fastmesh_reset_the_stream(upstream: Upstream, name: str) -> None:
    """The client goes away, fastmesh cancels; what comes then hurts neither the connection nor its table."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.next_request()
        gone.reset()
        stream = connection.stream(1)
        connection.wait(lambda: stream.reset is not None, "the reset")
        assert stream.reset == Error.CANCEL
        connection.send(UNDER_WAY[name] if "HEADERS" not in name else _indexed(name))
        connection.sync()
        assert connection.goaway is None
        second = connection.next_request()
        connection.send(h2.headers(second.number, h2.block([(":status", "200")]) + _field(name), end=True))
        connection.wait_end()

    gone = upstream.ask(script)
    gone.send(request("GET", "/gone"))
    upstream.origin.peer(len(upstream.origin.connections) - 1)
    with Client(upstream.address) as client:
        _await_reset(upstream)
        response = client.get("/")
        assert response.status == 200
        assert (response.get("x-kept") == b"v") == ("HEADERS" in name)
    upstream.end()


def _indexed(name: str) -> bytes:
    block = HEAD + h2.literal("x-kept", "v", "index")
    return h2.headers(1, block, end="END" in name)


def _field(name: str) -> bytes:
    return h2.indexed(62) if "HEADERS" in name else b""


def _await_reset(upstream: Upstream) -> None:
    """The first request's stream is gone, so that the next request finds the connection free."""
    upstream.proxy.wait_metric("fastmesh_exchanges_in_flight", 0)
