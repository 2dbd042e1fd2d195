"""Toward fastmesh as a server: flow control (RFC 9113 5.2, 6.9). The watch judges every DATA frame fastmesh sends."""

import pytest

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_case import BIG_BYTES, Case, Server, answers, any_of, dies, head, lives, overfill, resets
from tests.support.http2_frames import FRAME_MAX, WINDOW, WINDOW_MAX, Error, Kind, Setting

P = Error.PROTOCOL_ERROR
FLOW = Error.FLOW_CONTROL_ERROR
POST = head("POST", "/hold", end=False)
STALL = head("POST", "/stall", end=False)
BIG = head(path="/big")
ROOM = WINDOW_MAX - WINDOW
INITIAL = Setting.INITIAL_WINDOW_SIZE


CASES = [
    Case("9113 6.9", "increment 0 on a stream", POST + h2.window_update(1, 0), resets(P)),
    Case("9113 6.9", "increment 0 with the reserved bit", POST + h2.window_update(1, 1 << 31), resets(P)),
    Case("9113 6.9", "increment 0 on the connection", h2.window_update(0, 0), dies(P)),
    Case("9113 6.9", "on an idle stream", h2.window_update(1, 1), dies(P)),
    Case("9113 6.9", "on a stream that is closed", lambda c: (c.get(), c.send(h2.window_update(1, 5))), lives()),
    Case("9113 6.9", "on a half-closed stream", head(path="/hold") + h2.window_update(1, 100), lives()),
    Case("9113 6.9", "the reserved bit is ignored", h2.window_update(0, 1 << 31 | 5) + head(), answers()),
    Case("9113 6.9.1", "a stream's window to 2^31-1", POST + h2.window_update(1, ROOM), lives()),
    Case("9113 6.9.1", "a stream's window over 2^31-1", POST + h2.window_update(1, ROOM + 1), resets(FLOW)),
    Case("9113 6.9.1", "a stream's window over 2^31-1 in two steps",
         POST + h2.window_update(1, ROOM) + h2.window_update(1, 1), resets(FLOW)),
    Case("9113 6.9.1", "the connection's window to 2^31-1", h2.window_update(0, ROOM) + head(), answers()),
    Case("9113 6.9.1", "the connection's window over 2^31-1", h2.window_update(0, ROOM + 1), dies(FLOW)),
    Case("9113 6.9.1", "the connection's window over 2^31-1 by 2^31-1", h2.window_update(0, WINDOW_MAX), dies(FLOW)),
    Case("9113 6.9.2", "a setting makes a stream's window exceed 2^31-1",
         POST + h2.window_update(1, 1) + h2.settings({INITIAL: WINDOW_MAX}), dies(FLOW)),
    Case("9113 6.9.1", "DATA over the window", lambda c: (c.send(STALL), overfill(c, 1)),
         any_of(resets(FLOW), dies(FLOW))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_window(server: Server, case: Case) -> None:
    server.run(case)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_6_9_1_tiny_windows_are_never_exceeded(server: Server, size: int) -> None:
    with RawClient(server.address, {INITIAL: size}) as client:
        client.auto_window = True
        body = client.get("/trailers" if size < 1000 else "/big").body
        assert len(body) == (2 if size < 1000 else BIG_BYTES)


def test_6_9_1_a_response_stops_at_the_stream_window(server: Server) -> None:
    with RawClient(server.address, {INITIAL: 10}) as client:
        client.send(BIG)
        client.wait(lambda: len(client.stream(1).body) == 10, "ten bytes")
        client.sync()
        assert len(client.stream(1).body) == 10
        client.send(h2.window_update(1, 7))
        client.wait(lambda: len(client.stream(1).body) == 17, "seven more")
        client.sync()
        assert len(client.stream(1).body) == 17


def test_6_9_1_a_response_stops_at_the_connection_window(server: Server) -> None:
    with RawClient(server.address, {INITIAL: WINDOW_MAX}) as client:
        client.send(BIG)
        client.wait(lambda: len(client.stream(1).body) == WINDOW, "one window")
        client.sync()
        client.send(h2.window_update(1, 100))
        client.sync()
        assert len(client.stream(1).body) == WINDOW
        client.send(h2.window_update(0, BIG_BYTES))
        assert len(client.wait_ended(1).body) == BIG_BYTES


def test_6_9_1_heads_need_no_window(server: Server) -> None:
    with RawClient(server.address, {INITIAL: 0}) as client:
        client.send(BIG, head(path="/204", stream=3), head(path="/304", stream=5))
        assert client.wait_head(1).status == 200
        assert client.wait_ended(3).status == 204
        assert client.wait_ended(5).status == 304
        assert client.stream(1).body == b""


def test_6_9_1_an_empty_end_needs_no_window(server: Server) -> None:
    """Trailers and an empty DATA with END_STREAM are not held back."""
    with RawClient(server.address, {INITIAL: 2}) as client:
        stream = client.get("/trailers")
        assert (bytes(stream.body), stream.trailers) == (b"ok", {"x-sum": "1"})


def test_6_9_1_a_stalled_stream_stops_no_other(server: Server) -> None:
    with RawClient(server.address, {INITIAL: 5}) as client:
        client.send(BIG, head(stream=3))
        assert bytes(client.wait_ended(3).body) == b"ok"
        assert len(client.stream(1).body) <= 5


def test_6_9_2_a_larger_initial_window_wakes_streams(server: Server) -> None:
    with RawClient(server.address, {INITIAL: 0}) as client:
        client.send(BIG)
        client.wait_head(1)
        client.send(h2.window_update(0, BIG_BYTES), h2.settings({INITIAL: BIG_BYTES}))
        assert len(client.wait_ended(1).body) == BIG_BYTES


def test_6_9_2_a_window_may_become_negative(server: Server) -> None:
    """1000 bytes came of 1000; the setting takes 900 away; 900 must be granted before one more may come."""
    with RawClient(server.address, {INITIAL: 1000}) as client:
        client.send(BIG)
        client.wait(lambda: len(client.stream(1).body) == 1000, "one window")
        client.send(h2.settings({INITIAL: 100}))
        client.wait_acks(2)
        client.send(h2.window_update(1, 900))
        client.sync()
        assert len(client.stream(1).body) == 1000
        client.send(h2.window_update(1, 50))
        client.wait(lambda: len(client.stream(1).body) == 1050, "fifty more")
        client.sync()
        assert len(client.stream(1).body) == 1050


def test_6_9_2_the_initial_window_does_not_change_the_connections(server: Server) -> None:
    with RawClient(server.address, {INITIAL: WINDOW_MAX}) as client:
        client.send(BIG)
        client.wait(lambda: len(client.stream(1).body) == WINDOW, "one window")
        client.send(h2.settings({INITIAL: 1 << 20}))
        client.wait_acks(2)
        client.sync()
        assert len(client.stream(1).body) == WINDOW


def test_6_9_discarded_data_counts_for_the_connection(server: Server) -> None:
    """Ten times a stream is reset while its DATA is under way: the connection's window comes back (6.9)."""
    with RawClient(server.address) as client:
        for i in range(10):
            number = client.open_stream()
            client.send(head("POST", "/hold", end=False, stream=number), h2.window_update(number, 0))
            client.wait_ended(number)
            client.send(h2.data(number, bytes(FRAME_MAX)))
            client.sync()
            assert client.watch.granted.size > FRAME_MAX, f"after {i}: {client.watch.granted.size}"
        assert client.get().status == 200


def test_6_9_padding_counts_and_is_granted_again(server: Server) -> None:
    """5 MB of padding around a small body pass only when padding is given back (6.1)."""
    with RawClient(server.address) as client:
        client.send(head("POST", "/echo", end=False))
        for _ in range(2000):
            client.wait(lambda: min(client.stream(1).granted.size, client.watch.granted.size) >= 1000, "a window")
            client.send(h2.data(1, b"x", pad=255))
        client.send(h2.data(1, end=True))
        client.auto_window = True
        assert client.wait_ended(1).status == 200


def test_6_9_a_long_request_body_is_granted_windows(server: Server) -> None:
    with RawClient(server.address) as client:
        client.auto_window = True
        client.send(head("POST", "/", end=False))
        for _ in range(40):
            client.wait(
                lambda: min(client.stream(1).granted.size, client.watch.granted.size) >= FRAME_MAX, "room for a frame"
            )
            client.send(h2.data(1, bytes(FRAME_MAX)))
        client.send(h2.data(1, end=True))
        assert client.wait_ended(1).status == 200


def test_5_2_2_windows_are_read_while_a_response_is_sent(server: Server) -> None:
    """WINDOW_UPDATE of one byte at a time, for a thousand bytes."""
    with RawClient(server.address, {INITIAL: 0}) as client:
        client.send(BIG)
        client.wait_head(1)
        client.send(*(h2.window_update(1, 1) for _ in range(1000)))
        client.wait(lambda: len(client.stream(1).body) == 1000, "a thousand bytes")
        assert all(frame.kind != Kind.RST_STREAM for frame in client.stream(1).frames)
