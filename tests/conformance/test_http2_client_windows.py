"""Toward fastmesh as a client: flow control and stream limits (RFC 9113 5.1.2, 5.2, 6.9). The watch judges frames."""

import threading

import pytest

from tests.support import http2_frames as h2
from tests.support.client import Client, pattern, request
from tests.support.http2 import OriginConnection
from tests.support.http2_case import dies, lives, overfill, resets
from tests.support.http2_frames import FRAME_MAX, WINDOW, WINDOW_MAX, Error, Kind, Setting
from tests.support.http2_upstream import OPEN, Answer, Upstream, raw_reply, reply

P = Error.PROTOCOL_ERROR
FLOW = Error.FLOW_CONTROL_ERROR
OK = reply()
BEGIN = raw_reply(h2.response_fields(), end=False)
INITIAL = Setting.INITIAL_WINDOW_SIZE
ROOM = WINDOW_MAX - WINDOW
BODY = pattern(300_000)


CASES = [
    Answer("9113 6.9", "increment 0 on a stream", h2.window_update(1, 0), resets(P)),
    Answer("9113 6.9", "increment 0 on the connection", h2.window_update(0, 0), dies(P)),
    Answer("9113 6.9", "on an idle stream", h2.window_update(3, 1), dies(P)),
    Answer("9113 6.9", "on a stream that is closed", OK + h2.window_update(1, 9), lives(), 200),
    Answer("9113 6.9.1", "a stream's window to 2^31-1", h2.window_update(1, ROOM) + OK, lives(), 200),
    Answer("9113 6.9.1", "a stream's window over 2^31-1", h2.window_update(1, ROOM + 1), resets(FLOW)),
    Answer("9113 6.9.1", "the connection's window to 2^31-1", h2.window_update(0, ROOM) + OK, lives(), 200),
    Answer("9113 6.9.1", "the connection's window over 2^31-1", h2.window_update(0, ROOM + 1), dies(FLOW)),
    Answer("9113 6.9.2", "a setting makes a stream's window exceed 2^31-1",
           h2.window_update(1, 100) + h2.settings({INITIAL: WINDOW_MAX}), dies(FLOW), request=OPEN),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_window(upstream: Upstream, case: Answer) -> None:
    upstream.run(case)


def test_6_9_1_data_over_the_window_is_an_error(upstream: Upstream) -> None:
    """The client reads nothing, so that fastmesh cannot grant without end."""
    seen: list[tuple[int | None, int | None]] = []

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        number = connection.next_request().number
        connection.send(BEGIN)
        overfill(connection, number)
        try:
            connection.wait(lambda: connection.stream(1).reset is not None or connection.goaway, "an error")
        finally:
            seen.append((connection.stream(1).reset, connection.goaway_code))

    with upstream.ask(script) as client:
        begin = len(upstream.origin.connections)
        client.send(request("GET", "/"))
        assert upstream.origin.peer(begin).closed.wait(20)
    upstream.end()
    assert seen in ([(FLOW, None)], [(None, FLOW)])


def upload(upstream: Upstream, settings: dict[int, int], size: int, *, more: tuple[bytes, ...] = ()) -> None:
    """A request body through windows that are granted again as they are used; the watch sees that none is exceeded."""
    bodies = []

    def script(connection: OriginConnection) -> None:
        connection.auto_window = True
        connection.send(*more)
        stream = connection.next_request()
        bodies.append(bytes(stream.body))
        connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script, settings) as client:
        assert client.ask(request("POST", "/", body=BODY[:size]), "POST").status == 200
    upstream.end()
    assert bodies == [BODY[:size]]


@pytest.mark.parametrize(("window", "size"), [(1, 40), (2, 41), (7, 100), (1000, 20_000), (65_536, 300_000)])
def test_6_9_1_small_windows_are_never_exceeded(upstream: Upstream, window: int, size: int) -> None:
    upload(upstream, {INITIAL: window}, size)


def test_6_9_1_the_connections_window_is_never_exceeded(upstream: Upstream) -> None:
    upload(upstream, {INITIAL: WINDOW_MAX}, len(BODY))


@pytest.mark.parametrize("size", [FRAME_MAX, FRAME_MAX + 1, 100_000])
def test_6_5_2_frames_are_no_larger_than_the_server_allows(upstream: Upstream, size: int) -> None:
    upload(upstream, {INITIAL: 1 << 20, Setting.MAX_FRAME_SIZE: size}, len(BODY), more=(h2.window_update(0, 1 << 20),))


def test_6_9_2_a_window_that_becomes_negative_is_respected(upstream: Upstream) -> None:
    got = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        connection.wait(lambda: len(stream.body) == 1000, "one window")
        connection.send(h2.settings({INITIAL: 100}))
        connection.wait_acks(2)
        connection.send(h2.window_update(stream.number, 900))
        connection.sync()
        got.append(len(stream.body))
        connection.send(h2.window_update(stream.number, 50))
        connection.wait(lambda: len(stream.body) == 1050, "fifty more")
        connection.sync()
        got.append(len(stream.body))
        connection.send(h2.settings({INITIAL: 1 << 20}))
        connection.wait_ended(stream.number)
        connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script, {INITIAL: 1000}) as client:
        assert client.ask(request("POST", "/", body=BODY[:50_000]), "POST").status == 200
    upstream.end()
    assert got == [1000, 1050]


def test_6_9_1_an_empty_end_needs_no_window(upstream: Upstream) -> None:
    """The window is used up to the byte; END_STREAM still comes."""
    upload(upstream, {INITIAL: 0}, 0)

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request()
        assert bytes(stream.body) == b"12345"
        connection.respond(stream)
        connection.wait_end()

    chunked = request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\n12345\r\n0\r\n\r\n"
    with upstream.settled(script, {INITIAL: 5}) as client:
        assert client.ask(chunked, "POST").status == 200
    upstream.end()


def test_6_9_a_response_body_is_granted_windows(upstream: Upstream) -> None:
    """A megabyte comes through windows that fastmesh has to grant again, padding included (6.1)."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        stream = connection.next_request()
        connection.send(BEGIN)
        for _ in range(100):
            connection.wait(lambda: min(stream.granted.size, connection.watch.granted.size) >= 10_300, "room")
            connection.send(h2.data(1, bytes(10_000), pad=255))
        connection.send(h2.data(1, end=True))
        connection.wait_end()

    with upstream.ask(script) as client:
        assert len(client.get("/").body) == 1_000_000
    upstream.end()


def test_6_9_discarded_data_counts_for_the_connection(upstream: Upstream) -> None:
    """DATA on streams that fastmesh has reset gives the connection's window back."""
    turns = 12

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        for turn in range(turns):
            stream = connection.next_request()
            connection.send(h2.window_update(stream.number, 0))
            connection.wait_ended(stream.number)
            connection.send(h2.data(stream.number, bytes(FRAME_MAX)))
            connection.sync()
            assert connection.watch.granted.size > FRAME_MAX, f"turn {turn}: {connection.watch.granted.size}"
        connection.respond(connection.next_request())
        connection.wait_end()

    with upstream.ask(script) as client:
        for _ in range(turns):
            assert client.get("/").status == 502
        assert client.get("/").status == 200
    upstream.end()


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_5_1_2_the_servers_stream_limit_is_respected(upstream: Upstream, limit: int) -> None:
    """Twelve requests at once; the watch counts open streams on each connection, from the ack on."""
    clients = 12
    most: list[int] = []

    def script(connection: OriginConnection) -> None:
        while True:
            stream = connection.next_request()
            connection.sync()  # whoever is too many has time to come
            if connection.index == begin:
                most.append(sum(not other.settled for other in connection.watch.streams.values() if other.frames))
            connection.respond(stream)

    def ask() -> None:
        with Client(upstream.address) as client:
            statuses.append(client.get("/").status)

    statuses: list[int] = []
    begin = len(upstream.origin.connections)
    with upstream.settled(script, {Setting.MAX_CONCURRENT_STREAMS: limit}):
        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    upstream.end()
    assert statuses == [200] * clients
    assert max(most, default=0) <= limit


def test_5_1_2_a_limit_that_is_lowered_is_respected(upstream: Upstream) -> None:
    """After the ack of MAX_CONCURRENT_STREAMS 0 no stream is opened on the connection."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        first = connection.next_request()
        connection.send(h2.settings({Setting.MAX_CONCURRENT_STREAMS: 0}))
        connection.wait_acks(2)
        connection.respond(first)
        if connection.index == begin:
            connection.wait_end()
            assert len(connection.watch.streams) == 1
        connection.wait_end()

    begin = len(upstream.origin.connections)
    with upstream.ask(script) as client, Client(upstream.address) as other:
        assert client.get("/").status == 200
        assert other.get("/").status == 200
        assert len(upstream.origin.connections) == begin + 2
    upstream.end()


def test_6_8_no_stream_is_opened_after_goaway(upstream: Upstream) -> None:
    begin = len(upstream.origin.connections)

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        stream = connection.next_request()
        if connection.index == begin:
            connection.send(h2.goaway(stream.number))
            connection.sync()
        connection.respond(stream)
        connection.wait_end()
        assert len([other for other in connection.watch.streams.values() if other.heads]) == 1

    with upstream.ask(script) as client:
        assert client.get("/").status == 200
        assert client.get("/").status == 200
    upstream.end()
    assert len(upstream.origin.connections) == begin + 2


def test_5_2_1_a_stalled_upload_stops_no_other_stream(upstream: Upstream) -> None:
    def script(connection: OriginConnection) -> None:
        stalled = connection.next_request(whole=False)
        connection.wait(lambda: len(stalled.body) == 10, "the stalled window")
        ready.set()
        second = connection.next_request()
        connection.respond(second)
        connection.send(h2.settings({INITIAL: 100_000}))
        connection.wait_ended(stalled.number)
        connection.respond(stalled)
        connection.wait_end()

    ready = threading.Event()
    with upstream.settled(script, {INITIAL: 10}) as client, Client(upstream.address) as other:
        client.send(request("POST", "/", body=BODY[:10_000]))
        assert ready.wait(10)
        assert other.get("/").status == 200
        assert client.read("POST").status == 200
    upstream.end()


def test_6_7_pings_are_answered_while_an_upload_is_stalled(upstream: Upstream) -> None:
    seen = []

    def script(connection: OriginConnection) -> None:
        stream = connection.next_request(whole=False)
        connection.sync()
        seen.append([frame.kind for frame in stream.frames if frame.kind == Kind.DATA])
        connection.send(h2.window_update(stream.number, 100))
        connection.wait_ended(stream.number)
        connection.respond(stream)
        connection.wait_end()

    with upstream.settled(script, {INITIAL: 0}) as client:
        assert client.ask(request("POST", "/", body=b"x" * 100), "POST").status == 200
    upstream.end()
    assert seen == [[]]
