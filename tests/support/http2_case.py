"""A conformance case: what is sent to fastmesh, by section of the RFC, and what must then be seen of it."""

import base64
import hashlib
import select
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.support import http2_frames as h2
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import Request
from tests.support.http2 import OriginConnection, Peer, RawClient, RawOrigin
from tests.support.http2_frames import Error, Field, Kind
from tests.support.http2_watch import Fields, Stream, names
from tests.support.origin import Connection, Gone, Origin
from tests.support.wait import DEADLINE_S

Act = Callable[[RawClient], None]
MARK = ("x-malformed", "1")  # a field of every request that no upstream may ever see
BIG_BYTES = 200_000


@dataclass(frozen=True)
class See:
    """What must be seen: `wait` reads until it can be, `true` says whether it was. Gone ends the waiting."""

    text: str
    true: Callable[[Peer], bool]
    wait: Callable[[Peer], None]


def resets_of(peer: Peer, number: int) -> list[int]:
    """Codes of the RST_STREAM frames that came for a stream."""
    return [frame.number for frame in peer.stream(number).frames if frame.kind == Kind.RST_STREAM]


def _settle(peer: Peer) -> None:
    """Twice there and back: PING acks may overtake what was queued before them (RFC 9113 6.7)."""
    peer.sync()
    peer.sync()


def _over(number: int) -> Callable[[Peer], None]:
    def wait(peer: Peer) -> None:
        peer.wait_ended(number)
        _settle(peer)

    return wait


def dies(*codes: int) -> See:
    """A connection error: GOAWAY with one of the codes, and the connection is closed (RFC 9113 5.4.1)."""

    def true(peer: Peer) -> bool:
        return bool(peer.ended) and peer.goaway_code in codes

    return See(f"connection error {names(codes)}", true, lambda peer: void(peer.wait_end()))


def void(_: object) -> None:
    """Makes a statement of an expression."""


def closes() -> See:
    """The connection is closed; a GOAWAY that comes before says that nothing is right."""
    return See("the connection is closed", lambda peer: bool(peer.ended), lambda peer: void(peer.wait_end()))


def resets(*codes: int, stream: int = 1) -> See:
    """A stream error: one RST_STREAM, and the connection lives (RFC 9113 5.4.2)."""

    def true(peer: Peer) -> bool:
        found = resets_of(peer, stream)
        return not peer.ended and peer.goaway is None and len(found) == 1 and found[0] in codes

    def wait(peer: Peer) -> None:
        peer.wait(lambda: peer.stream(stream).reset is not None, f"RST_STREAM on {stream}")
        _settle(peer)

    return See(f"stream error {names(codes)} on {stream}", true, wait)


def lives(*, stream: int = 1, known: int = 0) -> See:
    """The connection lives, and the stream has no more than `known` resets."""

    def true(peer: Peer) -> bool:
        return not peer.ended and peer.goaway is None and len(resets_of(peer, stream)) <= known

    return See(f"no error on stream {stream} or the connection", true, _settle)


def leaves() -> See:
    """No error; the connection may be closed, as it is of no more use."""

    def true(peer: Peer) -> bool:
        harmless = (Error.NO_ERROR, Error.CANCEL)
        calm = all(stream.reset is None or stream.reset in harmless for stream in peer.watch.streams.values())
        return peer.goaway_code in (None, Error.NO_ERROR) and calm

    return See("no error", true, _settle)


def answers(status: int = 200, *, stream: int = 1, body: bytes | None = None, last: bool = True) -> See:
    """A whole response, and the connection lives. `last`: nothing was reset."""

    def true(peer: Peer) -> bool:
        found = peer.stream(stream)
        right = found.status == status and found.ended and (body is None or bytes(found.body) == body)
        return right and not peer.ended and peer.goaway is None and not (last and resets_of(peer, stream))

    return See(f"response {status} on {stream}", true, _over(stream))


def refuses(*statuses: int, stream: int = 1) -> See:
    """A malformed request (RFC 9113 8.1.1): an error response, RST_STREAM with PROTOCOL_ERROR, or both."""

    def true(peer: Peer) -> bool:
        found = peer.stream(stream)
        answered = found.status in (statuses or (400,)) and found.ended
        reset = found.reset in (Error.PROTOCOL_ERROR, Error.NO_ERROR if answered else Error.PROTOCOL_ERROR)
        alive = not peer.ended and peer.goaway is None
        return alive and (answered or not found.heads) and (reset or (answered and found.reset is None))

    return See(f"request refused on {stream}", true, _over(stream))


def any_of(*sees: See) -> See:
    """One of several, each of which the RFC allows; whatever it is, it is there after a round trip."""

    def true(peer: Peer) -> bool:
        return any(see.true(peer) for see in sees)

    return See(" | ".join(see.text for see in sees), true, _settle)


@dataclass(frozen=True)
class Case:
    """`act`: bytes to send after the handshake, or what to do instead. `settings`: the client's first."""

    section: str
    name: str
    act: bytes | Act
    see: See
    settings: dict[int, int] = field(default_factory=dict)
    handshake: bool = True

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


class Server:
    """fastmesh before an origin that answers by path, and speaks HTTP/1.1 unless `protocol` is http2."""

    def __init__(self, protocol: str = "http1", **settings: object) -> None:
        self.origin = Origin(serve_paths) if protocol == "http1" else RawOrigin(serve_streams)
        self.proxy = Fastmesh(upstream=self.origin.address, upstream_protocol=protocol, **settings)
        self.address = self.proxy.address

    def run(self, case: Case) -> None:
        with RawClient(self.address, case.settings, handshake=case.handshake) as client:
            try:
                if isinstance(case.act, bytes):
                    client.send(case.act)
                else:
                    case.act(client)
                hold(client, case.see, str(case))
            except Gone as gone:
                raise AssertionError(f"{case}: ended by {gone.how} meanwhile. Came: {client.story()}") from gone
        self.check_unforwarded()

    def check_unforwarded(self) -> None:
        """No malformed request may go on (RFC 9113 8.1.1)."""
        if isinstance(self.origin, RawOrigin):
            if self.origin.errors:
                raise self.origin.errors.pop(0)
            heads = [fields for peer in self.origin.connections for fields in _heads(peer)]
            assert not [fields for fields in heads if MARK in fields]
            return
        mark = MARK[0].encode()
        leaked = [connection for connection in list(self.origin.connections) if mark in connection.received]
        assert not leaked, f"the origin got {bytes(leaked[0].received)!r}"

    def __enter__(self) -> "Server":
        self.origin.__enter__()
        self.proxy.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.proxy.__exit__(*error)  # type: ignore[arg-type]
        finally:
            self.origin.__exit__(*error)


def hold(peer: Peer, see: See, what: str) -> None:
    """Reads until it can be seen, and it must be."""
    try:
        see.wait(peer)
    except Gone:
        pass
    except TimeoutError as error:
        raise AssertionError(f"{what}: {error}; must be: {see.text}. Came: {peer.story()}") from error
    if not see.true(peer):
        raise AssertionError(f"{what}: must be: {see.text}. Came: {peer.story()}")


def overfill(peer: Peer, number: int) -> None:
    """DATA on a stream until nothing is granted any more, and then some. Nobody may be reading it at the other end."""
    stream = peer.stream(number)
    silent = 0  # round trips without a grant: five mean that what was sent has nowhere to go
    while silent < 5:
        room = min(stream.granted.size, peer.watch.granted.size)
        silent = 0 if room else silent + 1
        sizes = [h2.FRAME_MAX] * (room // h2.FRAME_MAX) + [room % h2.FRAME_MAX] * (room > 0)
        peer.send(*(h2.data(number, bytes(size)) for size in sizes))
        peer.sync()
    peer.send(h2.data(number, bytes(h2.FRAME_MAX)))


def serve_paths(connection: Connection) -> None:
    """`/hold` is never answered, `/stall` not even read, `/early` before the body, `/big` with BIG_BYTES, `/echo` with
    what came; anything else with `ok`."""
    while True:
        head = connection.head()
        path = head.target.partition("?")[0]
        if path == "/hold":
            connection.wait_end()
        if path == "/stall":
            _wait_hangup(connection)
            return
        if head.method == "CONNECT" or head.get("upgrade") == b"websocket":
            _tunnel(connection, head)
        if path == "/early":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            connection.request()
            continue
        request = connection.request()
        connection.send(_ANSWERS[path] if path in _ANSWERS else _respond(head.head + bytes(request.body), path))


def _heads(peer: Peer) -> Iterator[Fields]:
    for stream in list(peer.watch.streams.values()):
        yield from stream.heads


def serve_streams(connection: OriginConnection) -> None:
    """The same of HTTP/2: `/hold` is never answered, `/early` before the body, anything else with `ok`."""
    done: set[int] = set()

    def due() -> list[Stream]:
        streams = [stream for stream in connection.watch.streams.values() if stream.heads and stream.number not in done]
        paths = [(stream, stream.fields.get(":path")) for stream in streams]
        return [stream for stream, path in paths if path == "/early" or (path != "/hold" and stream.over)]

    connection.auto_window = True
    connection.handshake()
    while True:
        connection.wait(due, "a request", seconds=3600)
        for stream in due():
            done.add(stream.number)
            if stream.reset is None:
                connection.respond(stream)


def _wait_hangup(connection: Connection) -> None:
    """Until the other side ends the connection, without reading what it sends."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLRDHUP)
    poll.poll(DEADLINE_S * 1000)


def _tunnel(connection: Connection, head: Request) -> None:
    """Sends every byte back until the other side ends; a WebSocket's handshake is accepted (RFC 6455 4.2.2)."""
    connection.request()
    key = head.get("sec-websocket-key") or b""
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        if head.get("upgrade")
        else b"HTTP/1.1 200 Connected\r\n\r\n"
    )
    while True:
        connection.send(connection.read())


def _respond(echo: bytes, path: str) -> bytes:
    body = {"/echo": echo, "/big": b"x" * BIG_BYTES}.get(path, b"ok")
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


_ANSWERS = {
    "/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    "/interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "/fields": b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-UPPER: Yes\r\n"
    b"Content-Length: 2\r\n\r\nok",
}


def head(
    method: str = "GET", path: str = "/", *fields: Field, stream: int = 1, end: bool = True, authority: str = "t.test"
) -> bytes:
    """HEADERS of a lawful request."""
    return h2.headers(stream, h2.block(h2.request_fields(method, path, *fields, authority=authority)), end=end)


def raw_head(fields: Iterable[Field], *, stream: int = 1, end: bool = True) -> bytes:
    """HEADERS with exactly these fields."""
    return h2.headers(stream, h2.block(fields), end=end)


def echoed(stream: Stream) -> tuple[bytes, dict[str, list[str]], bytes]:
    """Of `/echo`: the request line, the fields by name in lower case, and the body that the origin got."""
    text, _, body = bytes(stream.body).partition(b"\r\n\r\n")
    line, *rest = text.split(b"\r\n")
    fields: dict[str, list[str]] = {}
    for item in rest:
        name, _, value = item.decode("latin-1").partition(":")
        fields.setdefault(name.lower(), []).append(value.strip())
    return line, fields, body
