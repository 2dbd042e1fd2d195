"""Toward fastmesh as a server: the rules of each frame type (RFC 9113 6.1 to 6.8)."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_case import (
    MARK,
    Case,
    Server,
    answers,
    any_of,
    dies,
    echoed,
    head,
    lives,
    refuses,
    resets,
    resets_of,
)
from tests.support.http2_frames import WINDOW_MAX, Error, Kind, Setting

P = Error.PROTOCOL_ERROR
SIZE = Error.FRAME_SIZE_ERROR
FLOW = Error.FLOW_CONTROL_ERROR
GET = h2.block(h2.request_fields())
POST = head("POST", end=False)
ECHO = head("POST", "/echo", end=False)

DATA = [
    Case("9113 6.1", "DATA on stream 0", h2.data(0, b"x"), dies(P)),
    Case("9113 6.1", "DATA on stream 0 while a stream is open", POST + h2.data(0, b"x"), dies(P)),
    Case("9113 6.1", "padding of the frame's length", POST + h2.frame(Kind.DATA, 8, 1, b"\2xy"), lives()),
    Case("9113 6.1", "padding as long as the payload", POST + h2.frame(Kind.DATA, 8, 1, b"\3xy"), dies(P)),
    Case("9113 6.1", "padding longer than the payload", POST + h2.frame(Kind.DATA, 8, 1, b"\xffxy"), dies(P)),
    Case("9113 6.1", "padding of 255 bytes and no data", POST + h2.data(1, pad=255, end=True), answers()),
    Case("9113 6.1", "empty DATA ends the stream", POST + h2.data(1, end=True), answers()),
    Case("9113 6.1", "empty DATA does nothing", POST + h2.data(1) + h2.data(1, b"x", end=True), answers()),
]

HEADERS = [
    Case("9113 6.2", "HEADERS on stream 0", h2.headers(0, GET, end=True), dies(P)),
    Case("9113 6.2", "padding", h2.headers(1, GET, end=True, pad=100), answers()),
    Case("9113 6.2", "padding of length 0", h2.headers(1, GET, end=True, pad=0), answers()),
    Case("9113 6.2", "padding as long as the payload", h2.frame(Kind.HEADERS, 0xD, 1, b"\x06" + GET[:5]), dies(P)),
    Case("9113 6.2", "padding longer than the payload", h2.frame(Kind.HEADERS, 0xD, 1, b"\xff" + GET), dies(P)),
    Case("9113 6.2", "padding that leaves no room for the priority",
         h2.frame(Kind.HEADERS, 0x2D, 1, b"\4" + bytes(8)), any_of(dies(P), dies(SIZE))),
    Case("9113 6.2", "priority", h2.headers(1, GET, end=True, priority=h2.priority_fields(0, 200)), answers()),
    Case("9113 6.2", "priority, exclusive, after an idle stream, and padding",
         h2.headers(1, GET, end=True, pad=3, priority=h2.priority_fields(77, 0, True)), answers()),
    # RFC 7540 5.3.1 made it an error, RFC 9113 5.3.2 only says that priorities are deprecated.
    Case("9113 6.2", "priority after itself", h2.headers(1, GET, end=True, priority=h2.priority_fields(1)),
         any_of(lives(), resets(P))),
    Case("9113 6.2", "END_STREAM before CONTINUATION",
         h2.headers(1, GET[:9], end=True, whole=False) + h2.continuation(1, GET[9:]), answers()),
    Case("9113 6.2", "no END_HEADERS and another stream's HEADERS",
         h2.headers(1, GET, whole=False) + h2.headers(3, GET, end=True), dies(P)),
]  # fmt: skip

PRIORITY = [
    Case("9113 6.3", "on stream 0", h2.priority(0, 1), dies(P)),
    Case("9113 6.3", "on an idle stream", h2.priority(1) + head(), answers()),
    Case("9113 6.3", "on a stream far ahead opens nothing", h2.priority(99) + head(), answers()),
    Case("9113 6.3", "on a stream of the server's", h2.priority(2, 4) + head(), answers()),
    Case("9113 6.3", "of 4 bytes on an open stream", POST + h2.frame(Kind.PRIORITY, 0, 1, bytes(4)),
         any_of(resets(SIZE), dies(SIZE))),
    Case("9113 6.3", "of 6 bytes on an open stream", POST + h2.frame(Kind.PRIORITY, 0, 1, bytes(6)),
         any_of(resets(SIZE), dies(SIZE))),
    Case("9113 6.3", "after itself", POST + h2.priority(1, 1), any_of(lives(), resets(P))),
]  # fmt: skip

RST_STREAM = [
    Case("9113 6.4", "on stream 0", h2.rst_stream(0), dies(P)),
    Case("9113 6.4", "on an idle stream", h2.rst_stream(1), dies(P)),
    Case("9113 6.4", "on an idle stream of the server's", h2.rst_stream(2), dies(P)),
    Case("9113 6.4", "ends the stream and no other", head(path="/hold") + h2.rst_stream(1) + head(stream=3),
         answers(stream=3)),
    Case("9113 7", "an unknown code", head(path="/hold") + h2.rst_stream(1, 0xDEAD), lives()),
]  # fmt: skip

SETTINGS = [
    Case("9113 6.5", "ack with a payload", h2.frame(Kind.SETTINGS, 1, 0, bytes(6)), dies(SIZE)),
    Case("9113 6.5", "on a stream", h2.frame(Kind.SETTINGS, 0, 1, bytes(6)), dies(P)),
    Case("9113 6.5", "ack on a stream", h2.frame(Kind.SETTINGS, 1, 1), dies(P)),
    Case("9113 6.5", "of 7 bytes", h2.frame(Kind.SETTINGS, 0, 0, bytes(7)), dies(SIZE)),
    Case("9113 6.5", "without a setting", h2.settings() + head(), answers()),
    Case("9113 6.5.2", "ENABLE_PUSH 2", h2.settings({Setting.ENABLE_PUSH: 2}), dies(P)),
    Case("9113 6.5.2", "ENABLE_PUSH 0 and 1", h2.settings([(2, 0), (2, 1)]) + head(), answers()),
    Case("9113 6.5.2", "INITIAL_WINDOW_SIZE 2^31", h2.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31}), dies(FLOW)),
    Case("9113 6.5.2", "INITIAL_WINDOW_SIZE 2^32-1", h2.settings({4: (1 << 32) - 1}), dies(FLOW)),
    Case("9113 6.5.2", "INITIAL_WINDOW_SIZE 2^31-1", h2.settings({4: WINDOW_MAX}) + head(), answers()),
    Case("9113 6.5.2", "MAX_FRAME_SIZE 2^14-1", h2.settings({Setting.MAX_FRAME_SIZE: (1 << 14) - 1}), dies(P)),
    Case("9113 6.5.2", "MAX_FRAME_SIZE 0", h2.settings({Setting.MAX_FRAME_SIZE: 0}), dies(P)),
    Case("9113 6.5.2", "MAX_FRAME_SIZE 2^24", h2.settings({Setting.MAX_FRAME_SIZE: 1 << 24}), dies(P)),
    Case("9113 6.5.2", "MAX_FRAME_SIZE 2^24-1", h2.settings({5: (1 << 24) - 1}) + head(path="/big"), lives()),
    Case("9113 6.5.2", "MAX_CONCURRENT_STREAMS 0 of a client is about pushes", h2.settings({3: 0}) + head(), answers()),
    Case("9113 6.5.2", "an unknown setting", h2.settings([(0, 1), (0xFFFF, 0xFFFFFFFF)]) + head(), answers()),
    Case("9113 6.5.2", "the same setting twice, the second wrong", h2.settings([(5, 16384), (5, 1)]), dies(P)),
    Case("9113 6.5.3", "values apply in their order", h2.settings([(4, 1 << 20), (4, 0)]) + head(), lives()),
    Case("8441 3", "ENABLE_CONNECT_PROTOCOL 1 of a client", h2.settings({8: 1}) + head(), answers()),
]  # fmt: skip

PUSH_PROMISE = [
    Case("9113 8.4", "a client's push on an open stream", POST + h2.push_promise(1, 2, GET), dies(P)),
    Case("9113 6.6", "a client's push on stream 0", h2.push_promise(0, 2, GET), dies(P)),
]

PING = [
    Case("9113 6.7", "on a stream", POST + h2.frame(Kind.PING, 0, 1, bytes(8)), dies(P)),
    Case("9113 6.7", "ack on a stream", POST + h2.frame(Kind.PING, 1, 1, bytes(8)), dies(P)),
    Case("9113 6.7", "ack of 7 bytes", h2.frame(Kind.PING, 1, 0, bytes(7)), dies(SIZE)),
]

GOAWAY = [
    Case("9113 6.8", "on a stream", POST + h2.frame(Kind.GOAWAY, 0, 1, bytes(8)), dies(P)),
    Case("9113 6.8", "of 4 bytes", h2.frame(Kind.GOAWAY, 0, 0, bytes(4)), dies(SIZE)),
]


@pytest.mark.parametrize(
    "case", [*DATA, *HEADERS, *PRIORITY, *RST_STREAM, *SETTINGS, *PUSH_PROMISE, *PING, *GOAWAY], ids=str
)
def test_frame(server: Server, case: Case) -> None:
    server.run(case)


def test_6_1_padding_is_not_forwarded(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(ECHO, h2.data(1, b"abc", pad=10), h2.data(1, b"", pad=0), h2.data(1, b"def", pad=0, end=True))
        assert echoed(client.wait_ended(1))[2] == b"abcdef"


def test_5_4_2_a_reset_is_not_answered_with_a_reset(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head("POST", "/hold", end=False), h2.rst_stream(1), h2.rst_stream(1), h2.rst_stream(1, P))
        client.sync()
        client.sync()
        assert resets_of(client, 1) == []


def test_6_4_nothing_is_sent_on_a_stream_after_its_reset(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head(path="/big"))
        client.wait_head(1)
        client.send(h2.rst_stream(1))
        client.sync()
        client.sync()
        seen = len(client.stream(1).frames)
        client.send(head(stream=3), h2.window_update(0, 1 << 20))
        assert client.wait_ended(3).status == 200
        assert len(client.stream(1).frames) == seen


def test_6_5_every_settings_is_acked_in_order(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(*(h2.settings({Setting.INITIAL_WINDOW_SIZE: 1000 + i}) for i in range(5)))
        client.wait_acks(6)
        client.sync()
        assert client.acks == 6


def test_6_5_3_a_settings_ack_is_not_acked(server: Server) -> None:
    with RawClient(server.address) as client:
        client.sync()
        assert client.acks == 1
        assert client.settings_frames == 1


def test_6_5_2_frames_are_no_larger_than_the_client_allows(server: Server) -> None:
    """The watch measures every frame: 2^14 as it begins, more only after the ack."""
    with RawClient(server.address) as client:
        client.auto_window = True
        assert len(client.get("/big").body) == 200_000
        assert max(len(frame.payload) for frame in client.frames) <= h2.FRAME_MAX


def test_6_7_a_ping_is_acked_with_its_payload(server: Server) -> None:
    with RawClient(server.address) as client:
        payloads = [bytes([i]) * 8 for i in range(4)]
        client.send(*(h2.ping(payload) for payload in payloads))
        client.wait(lambda: sum(frame.kind == Kind.PING for frame in client.frames) == 4, "four acks")
        acks = [frame for frame in client.frames if frame.kind == Kind.PING]
        assert [frame.payload for frame in acks] == payloads
        assert all(frame.has(h2.ACK) for frame in acks)


def test_6_7_a_ping_ack_is_not_answered(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(h2.ping(b"unasked!", ack=True))
        client.sync()
        assert sum(frame.kind == Kind.PING for frame in client.frames) == 1


def test_6_7_a_ping_is_acked_while_streams_wait_for_windows(server: Server) -> None:
    with RawClient(server.address, {Setting.INITIAL_WINDOW_SIZE: 0}) as client:
        client.send(head(path="/big"), head(path="/big", stream=3))
        client.wait_head(1)
        client.sync()


@pytest.mark.parametrize("code", [Error.NO_ERROR, Error.ENHANCE_YOUR_CALM, 0xFEED])
def test_6_8_streams_go_on_after_the_clients_goaway(server: Server, code: int) -> None:
    """A client's GOAWAY is about streams that the server might open; those of its own may still complete."""
    with RawClient(server.address) as client:
        client.send(ECHO, h2.goaway(0, code, b"debug data"), h2.data(1, b"body", end=True))
        assert client.wait_ended(1).status == 200, client.story()


def test_6_8_goaway_twice(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(ECHO, h2.goaway(WINDOW_MAX), h2.goaway(0), h2.data(1, b"body", end=True))
        assert client.wait_ended(1).status == 200, client.story()


def test_8_1_1_a_block_of_a_refused_request_is_still_decoded(server: Server) -> None:
    """The table stays in step even when the request is malformed (4.3)."""
    with RawClient(server.address) as client:
        bad = [*h2.request_fields(), MARK, ("x-kept", "v1"), ("Upper", "x")]
        client.send(h2.headers(1, client.block(bad), end=True))
        client.wait_ended(1)
        client.send(h2.headers(3, client.block(h2.request_fields("GET", "/echo", ("x-kept", "v1"))), end=True))
        assert echoed(client.wait_ended(3))[1]["x-kept"] == ["v1"]
    server.check_unforwarded()


def test_5_1_a_block_on_a_reset_stream_is_still_decoded(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(head("POST", "/hold", end=False), h2.window_update(1, 0))
        client.wait_ended(1)
        client.send(h2.headers(1, client.block([("x-kept", "v2")]), end=True))
        client.send(h2.headers(3, client.block(h2.request_fields("GET", "/echo", ("x-kept", "v2"))), end=True))
        assert echoed(client.wait_ended(3))[1]["x-kept"] == ["v2"]


def test_5_1_2_a_block_of_a_refused_stream_is_still_decoded(server: Server) -> None:
    with RawClient(server.address) as client:
        limit = client.watch.settings[Setting.MAX_CONCURRENT_STREAMS]
        client.send(*(head(path="/hold", stream=1 + 2 * i) for i in range(limit)))
        last = 1 + 2 * limit
        client.send(h2.headers(last, client.block(h2.request_fields("GET", "/", ("x-kept", "v3"))), end=True))
        client.wait_ended(last)
        client.send(h2.rst_stream(1))
        client.sync()
        block = client.block(h2.request_fields("GET", "/echo", ("x-kept", "v3")))
        client.send(h2.headers(last + 2, block, end=True))
        assert echoed(client.wait_ended(last + 2))[1]["x-kept"] == ["v3"]


def test_8_1_1_a_refusal_waits_for_nobody(server: Server) -> None:
    """A malformed request is refused though another one on the connection waits for its upstream."""
    with RawClient(server.address) as client:
        client.send(head(path="/hold"), head("GET", "/", MARK, ("connection", "close"), stream=3))
        see = refuses(stream=3)
        see.wait(client)
        assert see.true(client), client.story()
    server.check_unforwarded()
