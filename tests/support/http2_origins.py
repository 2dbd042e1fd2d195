"""One behaviour for an origin of HTTP/1 and one of HTTP/2, by path, and what reached them in one form.

`/hold...` is never answered, `/deaf` is not even read, `/half` gets a head and 10 bytes of 100, `/early` is answered
before its body, `/shut` ends the connection, `/big` gets BIG_BYTES, `/tail` trailers, `/interim` a 103 before; anything
else gets `ok`.
"""

import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from tests.support import http2_frames as h2
from tests.support.http1 import Fields, Request
from tests.support.http2 import OriginConnection, RawOrigin
from tests.support.http2_watch import Stream
from tests.support.origin import Connection, Origin
from tests.support.wait import Deadline, until

BIG_BYTES = 300_000
BIG = b"0123456789" * (BIG_BYTES // 10)
IDLE_S = 120.0  # a connection of an origin rests as long as the module's tests take
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_HTTP1 = {
    "/big": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG_BYTES + BIG,
    "/tail": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
    "/interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
}


def _wait_hangup(connection: Connection) -> None:
    """Until either side ends the connection, without reading what came."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLRDHUP)
    poll.poll(IDLE_S * 1000)


def serve_http1(connection: Connection) -> None:
    connection.sock.settimeout(IDLE_S)
    while True:
        head = connection.head()
        path = head.target
        if path.startswith("/hold"):
            continue  # the next head never comes; what does, is taken note of
        if path == "/deaf":
            _wait_hangup(connection)
            return
        if path == "/half":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        elif path == "/shut":
            return
        elif path == "/early":
            connection.send(OK)
            connection.request()
        else:
            request = connection.request()
            connection.send(OK[:-2] if request.method == "HEAD" else _HTTP1.get(path, OK))


class _Answers:
    """What a connection of HTTP/2 owes, sent as far as the windows go."""

    def __init__(self, connection: OriginConnection) -> None:
        self.connection = connection
        self.begun: set[int] = set()
        self.owed: dict[int, bytes] = {}

    def turn(self) -> bool:
        """False: the connection shall end."""
        for stream in list(self.connection.watch.streams.values()):
            if stream.number in self.begun or not stream.heads or stream.reset is not None:
                continue
            path = stream.fields.get(":path", "")
            if path == "/shut":
                return False
            if stream.ended or path in ("/early", "/half") or path.startswith("/hold"):
                self.begun.add(stream.number)
                self._begin(stream, path)
        for number in list(self.owed):
            self._go_on(number)
        return True

    def _begin(self, stream: Stream, path: str) -> None:
        connection, number = self.connection, stream.number
        if path.startswith("/hold"):
            return
        if path == "/interim":
            connection.send(h2.headers(number, h2.block([(":status", "103"), ("link", "</a>")])))
        if path == "/half":
            head = h2.block(h2.response_fields(200, ("content-length", "100")))
            connection.send(h2.headers(number, head), h2.data(number, b"0123456789"))
        elif path == "/tail":
            tail = h2.headers(number, h2.block([("x-sum", "1")]), end=True)
            connection.send(h2.headers(number, h2.block(h2.response_fields())), h2.data(number, b"ok"), tail)
        elif stream.fields.get(":method") == "HEAD":
            connection.respond(number, body=b"")
        else:
            connection.send(h2.headers(number, h2.block(h2.response_fields())))
            self.owed[number] = BIG if path == "/big" else b"ok"

    def _go_on(self, number: int) -> None:
        watch, stream = self.connection.watch, self.connection.stream(number)
        if stream.reset is not None:
            del self.owed[number]
            return
        while number in self.owed:
            body = self.owed[number]
            size = min(len(body), h2.FRAME_MAX, stream.granted.size, watch.granted.size)
            if size <= 0:
                return
            last = size == len(body)
            self.connection.send(h2.data(number, body[:size], end=last))
            self.owed[number] = body[size:]
            if last:
                del self.owed[number]


def serve_http2(connection: OriginConnection) -> None:
    connection.auto_window = True
    connection.handshake(acked=False)
    answers = _Answers(connection)
    while answers.turn():
        connection.read_frame(Deadline(IDLE_S, "a frame"))


@dataclass
class Seen:
    """A request that reached an origin. `ended`: the proxy took it back, by RST_STREAM or by ending the connection."""

    request: Request
    ended: bool


class Origins:
    """One origin, and what reached it since `mark()`."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.origin: Origin = RawOrigin(serve_http2) if protocol == "http2" else Origin(serve_http1)
        self._mark = 0

    @property
    def address(self) -> str:
        return self.origin.address

    def mark(self) -> None:
        self._mark = len(self.origin.connections)

    def seen(self) -> list[Seen]:
        """In order of the connections, and of the requests on each."""
        found: list[Seen] = []
        for connection in list(self.origin.connections)[self._mark :]:
            found += _seen_http2(connection) if self.protocol == "http2" else _seen_http1(connection)
        return found

    def settle(self, wanted: Callable[[Seen], bool], *, half: bool = False) -> list[Seen]:
        """What reached it. Incomplete requests must be taken back, but for `half` ones, which an origin that does not
        read may never hear of; then every connection is ended, and read out."""
        if not half:
            until(
                lambda: all(seen.ended or seen.request.complete for seen in self.seen()),
                "half requests to be taken back",
            )
        self.origin.drop_connections()
        if self.origin.errors:
            raise AssertionError(f"the origin was sent nonsense: {self.origin.errors.pop()!r}")
        return [seen for seen in self.seen() if wanted(seen)]

    def close(self) -> None:
        self.origin.close()


def _seen_http1(connection: Connection) -> list[Seen]:
    gone = bool(connection.ended) or connection.closed.is_set()
    found = [Seen(request, gone) for request in list(connection.stream.messages)]
    if connection.stream.buffer and (not found or found[-1].request.complete):
        found.append(Seen(Request(bytes(connection.stream.buffer), []), gone))  # a part of a head
    return found


def _seen_http2(connection: object) -> list[Seen]:
    peer = cast(OriginConnection, connection)
    gone = bool(peer.ended) or peer.closed.is_set()
    streams = [stream for stream in list(peer.watch.streams.values()) if stream.heads]
    return [Seen(as_request(stream), gone or stream.reset is not None) for stream in streams]


def as_request(stream: Stream) -> Request:
    """A request of HTTP/2 as one of HTTP/1.1 that means the same."""
    pseudo = {name: value for name, value in stream.heads[0] if name.startswith(":")}
    fields: Fields = [(b"host", pseudo[":authority"].encode("latin-1"))] if ":authority" in pseudo else []
    fields += _fields(stream.heads[0])
    target = pseudo.get(":path", pseudo.get(":authority", ""))
    request = Request(f"{pseudo[':method']} {target} HTTP/1.1".encode("latin-1"), fields)
    request.body = stream.body
    request.complete = stream.ended
    request.trailers = _fields(stream.heads[1]) if len(stream.heads) > 1 else []
    return request


def _fields(pairs: list[tuple[str, str]]) -> Fields:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs if not name.startswith(":")]
