"""HTTP/2 peers that send exactly the bytes they are given: RawClient dials, RawOrigin listens.

Both read on demand in the thread that uses them, decode header blocks with the `hpack` package and hold every frame
that comes against `http2_watch`. What they do by themselves (acking SETTINGS and PING) can be switched off.
"""

import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import cast

from hpack import Decoder, Encoder
from hpack.struct import NeverIndexedHeaderTuple

from tests.support import http2_frames as h2
from tests.support import net
from tests.support.http2_frames import Field, Frame, Kind
from tests.support.http2_watch import Breach, Fields, Stream, Watch, code_name
from tests.support.origin import Gone, Origin
from tests.support.wait import DEADLINE_S, Deadline, until

READ_BYTES = 1 << 18
SEND_BYTES = 1 << 16


class Peer:
    """One connection from our side. `client`: the program under test is the client.

    Waiting methods read frames until what they wait for is there; Gone when the connection ends first, TimeoutError at
    the deadline, Breach when a frame that came must not have been sent.
    """

    def __init__(self, sock: socket.socket, *, client: bool) -> None:
        self.sock = sock
        self.watch = Watch(client)
        self.frames: list[Frame] = []  # every one that came
        self.goaway: Frame | None = None  # the last that came
        self.ended = ""  # FIN or RST once the peer ended the connection
        self.auto_settings = True  # ack SETTINGS as they come
        self.auto_ping = True
        self.auto_window = False  # grant again what DATA took
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.acks = 0  # of our SETTINGS
        self.settings_frames = 0  # the peer's
        self._buffer = bytearray()
        self._outgoing = bytearray()  # sent and not yet understood: half a frame
        self._block = bytearray()
        self._held: bytearray | None = None  # what we would answer by ourselves amid a long send
        self._pings = itertools.count(1)

    # --- sending

    def send(self, *pieces: bytes) -> None:
        """All at once. A connection the peer has ended swallows it: what it said before that is still to be read."""
        self._transmit([b"".join(pieces)])

    def send_split(self, data: bytes, size: int = 1) -> None:
        """In pieces, each a packet of its own."""
        self._transmit([data[at : at + size] for at in range(0, len(data), size)])

    def send_reading(self, pieces: Sequence[bytes], *, deaf: bool = False, patience: float = DEADLINE_S) -> bool:
        """Sends piece by piece while it reads what comes, so that neither side waits for the other. `deaf`: without
        reading. What we would answer by ourselves waits for the last piece, since a piece may end amid a frame.

        False: the peer has taken nothing for `patience` seconds. A connection that ends swallows the rest.
        """
        self._held = bytearray()
        if not all(self._send_piece(piece, deaf, patience) for piece in pieces):
            return False
        held, self._held = self._held, None
        if held and not self.ended:
            self.send(bytes(held))
        return True

    def _send_piece(self, piece: bytes, deaf: bool, patience: float) -> bool:
        self._outgoing += piece
        self._note_sent()
        left = memoryview(piece)
        while left and not self.ended:
            readable, writable, _ = select.select([] if deaf else [self.sock], [self.sock], [], patience)
            if not (readable or writable):
                return False
            if readable:
                self._read_some()
            if writable and not self.ended:
                left = left[self._send_some(left) :]
        return True

    def _read_some(self) -> None:
        try:
            self._receive(Deadline(DEADLINE_S, "what is there"))
        except Gone:
            return
        self._take_all()

    def _take_all(self) -> None:
        for frame in h2.take_frames(self._buffer):
            self.frames.append(frame)
            self._came(frame)

    def _send_some(self, data: memoryview) -> int:
        """An ended connection takes everything; what the peer said before that is read."""
        try:
            return self.sock.send(data[:SEND_BYTES])
        except (ConnectionResetError, BrokenPipeError):
            self.wait_end()
            return len(data)

    def _transmit(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if self._held is not None:
                self._held += piece
                continue
            self._outgoing += piece
            self._note_sent()
            try:
                self.sock.sendall(piece)
            except (ConnectionResetError, BrokenPipeError):
                return

    def _note_sent(self) -> None:
        """Frames that are now sent whole. P, R and I would be the length of a frame we never send."""
        if self._outgoing.startswith(h2.PREFACE):
            del self._outgoing[: len(h2.PREFACE)]
        if not h2.PREFACE.startswith(bytes(self._outgoing[:3])):
            for frame in h2.take_frames(self._outgoing):
                self.watch.sent(frame)

    def block(self, fields: Iterable[Field]) -> bytes:
        """A header block by the hpack package, which uses the dynamic table."""
        return self.encoder.encode([(h2.raw(name), h2.raw(value)) for name, value in fields])

    # --- reading

    def read_frame(self, deadline: Deadline) -> Frame:
        while True:
            for frame in h2.take_frames(self._buffer):
                self.frames.append(frame)
                self._came(frame)
                return frame
            self._receive(deadline)

    def _receive(self, deadline: Deadline) -> None:
        if self.ended:
            raise Gone(self.ended)
        self.sock.settimeout(deadline.left())
        try:
            data = self.sock.recv(READ_BYTES)
            how = "FIN"
        except (ConnectionResetError, BrokenPipeError):
            data, how = b"", "RST"
        if not data:
            self.ended = how
            self._take_all()
            if self._buffer and how == "FIN":  # a reset may take the end of what was sent with it
                raise Breach(f"the connection ends in a frame: {bytes(self._buffer[:40])!r}")
            raise Gone(how)
        self._buffer += data

    def _came(self, frame: Frame) -> None:
        self.watch.came(frame)
        if frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
            self._block += frame.content
            if frame.has(h2.END_HEADERS):
                self._came_head(frame.stream)
        elif frame.kind == Kind.SETTINGS and not frame.has(h2.ACK):
            self.settings_frames += 1
            if self.auto_settings:
                self.send(h2.SETTINGS_ACK)
        elif frame.kind == Kind.SETTINGS:
            self.acks += 1
            self.decoder.max_allowed_table_size = self.watch.header_table_max
        elif frame.kind == Kind.PING and self.auto_ping and not frame.has(h2.ACK):
            self.send(h2.ping(frame.payload, ack=True))
        elif frame.kind == Kind.GOAWAY:
            self.goaway = frame
        elif frame.kind == Kind.DATA and self.auto_window and frame.payload:
            size = len(frame.payload)
            again = b"" if frame.has(h2.END_STREAM) else h2.window_update(frame.stream, size)
            self.send(h2.window_update(0, size), again)
        if frame.kind in (Kind.DATA, Kind.HEADERS, Kind.CONTINUATION) and self.watch.stream(frame.stream).ended:
            self.watch.end(frame.stream)

    def _came_head(self, number: int) -> None:
        decoded = self.decoder.decode(bytes(self._block), raw=True)
        self._block.clear()
        fields: Fields = [(bytes(item[0]).decode("latin-1"), bytes(item[1]).decode("latin-1")) for item in decoded]
        pairs = zip(decoded, fields, strict=True)
        never = {name for item, (name, _) in pairs if isinstance(item, NeverIndexedHeaderTuple)}
        self.watch.stream(number).never |= never
        self.watch.head(number, fields)

    def wait(self, wanted: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
        """Reads frames until `wanted()` is true."""
        deadline = Deadline(seconds, what)
        while not wanted():
            self.read_frame(deadline)

    def stream(self, number: int) -> Stream:
        return self.watch.stream(number)

    def wait_ended(self, number: int) -> Stream:
        """The stream once END_STREAM or RST_STREAM came."""
        stream = self.stream(number)
        self.wait(lambda: stream.over, f"the end of stream {number}")
        return stream

    def wait_head(self, number: int) -> Stream:
        """The stream once its head came (no interim one), or its end."""
        stream = self.stream(number)
        self.wait(lambda: stream.final or stream.over, f"the head of stream {number}")
        return stream

    def wait_acks(self, count: int = 1) -> None:
        """`count` of our SETTINGS frames are acked, counted from the beginning."""
        self.wait(lambda: self.acks >= count, "a SETTINGS ack")

    def sync(self) -> None:
        """A PING there and back: everything sent before has been looked at, and the connection lives."""
        payload = b"sync" + next(self._pings).to_bytes(4, "big")
        self.send(h2.ping(payload))
        seen = len(self.frames)

        def acked() -> bool:
            return any(frame.kind == Kind.PING and frame.payload == payload for frame in self.frames[seen:])

        self.wait(acked, "a PING ack")

    def wait_end(self, seconds: float = DEADLINE_S) -> str:
        """FIN or RST: how the peer ended the connection. Frames that come before are taken note of."""
        try:
            self.wait(lambda: False, "the end of the connection", seconds)
        except Gone:
            pass
        return self.ended

    @property
    def goaway_code(self) -> int | None:
        """None while there is no GOAWAY."""
        return None if self.goaway is None else int.from_bytes(self.goaway.payload[4:8], "big")

    def story(self) -> str:
        """What came, for a failure's message."""
        told = [f"{frame} {code_name(frame.number)}" if frame.kind == Kind.RST_STREAM else f"{frame}"
                for frame in self.frames]  # fmt: skip
        if self.goaway is not None:
            told.append(f"GOAWAY says {code_name(self.goaway_code)}, {self.goaway.payload[8:]!r}")
        return "; ".join([*told, f"ended by {self.ended}" if self.ended else "open"])

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        net.reset(self.sock)

    def close(self) -> None:
        self.sock.close()


class RawClient(Peer):
    """A client's connection. `handshake`: preface and SETTINGS are sent, the server's SETTINGS and its ack awaited."""

    def __init__(
        self, address: str, settings: h2.Settings = (), *, handshake: bool = True,
        receive_buffer_bytes: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(net.dial(address, receive_buffer_bytes=receive_buffer_bytes), client=False)
        self._next = 1
        if not handshake:
            return
        try:
            self.send_preface(settings)
            self.wait(lambda: self.acks and self.settings_frames, "the handshake")
        except BaseException:
            self.close()
            raise

    def send_preface(self, settings: h2.Settings = ()) -> None:
        self.send(h2.PREFACE, h2.settings(settings))

    def open_stream(self) -> int:
        """The next stream's number."""
        number, self._next = self._next, self._next + 2
        return number

    def request(self, fields: Iterable[Field] | None = None, body: bytes | None = None, *, end: bool = True) -> int:
        """Sends a request (GET / unless `fields` say otherwise) and answers its stream. Not bounded by windows.

        `end`: with END_STREAM, on HEADERS or, where there is a body, on DATA.
        """
        fields = h2.request_fields() if fields is None else list(fields)
        number = self.open_stream()
        self.stream(number).method = str(dict(fields).get(":method", ""))
        self.send(
            h2.headers(number, h2.block(fields), end=end and body is None),
            b"" if body is None else h2.data(number, body, end=end),
        )
        return number

    def get(self, path: str = "/", *fields: Field) -> Stream:
        """The whole answer."""
        return self.wait_ended(self.request(h2.request_fields("GET", path, *fields)))

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class OriginConnection(Peer):
    """One accepted connection, used by its script's thread."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        super().__init__(sock, client=True)
        self.index = index
        self.closed = threading.Event()  # by either side
        self._answered: set[int] = set()

    def handshake(self, settings: h2.Settings = (), *, acked: bool = True) -> None:
        """Sends SETTINGS at once, takes the preface. `acked`: and waits until both sides' SETTINGS are settled."""
        self.send(h2.settings(settings))
        self.take_preface()
        if acked:
            self.wait(lambda: self.acks and self.settings_frames, "the handshake")

    def take_preface(self) -> None:
        deadline = Deadline(DEADLINE_S, "the preface")
        while len(self._buffer) < len(h2.PREFACE):
            self._receive(deadline)
        if not self._buffer.startswith(h2.PREFACE):
            raise Breach(f"RFC 9113 3.4: the connection begins with {bytes(self._buffer[:60])!r}")
        del self._buffer[: len(h2.PREFACE)]

    def next_request(self, *, whole: bool = True) -> Stream:
        """The next stream with a head that was not answered here before; `whole`: once it has ended."""
        self.wait(lambda: self._unanswered(whole), "a request")
        stream = self._unanswered(whole)[0]
        self._answered.add(stream.number)
        return stream

    def _unanswered(self, whole: bool) -> list[Stream]:
        return [
            stream for number, stream in self.watch.streams.items()
            if stream.heads and number not in self._answered and (stream.over or not whole)
        ]  # fmt: skip

    def respond(self, stream: Stream | int, status: int = 200, *fields: Field, body: bytes = b"ok") -> None:
        """A whole response. Not bounded by windows."""
        number = stream if isinstance(stream, int) else stream.number
        head = h2.block(h2.response_fields(status, *fields))
        self.send(h2.headers(number, head, end=not body), h2.data(number, body, end=True) if body else b"")


Script = Callable[[OriginConnection], None]


def serve(connection: OriginConnection) -> None:
    """A script that answers every request with 200 and `ok` until the connection ends."""
    connection.handshake()
    while True:
        stream = connection.next_request()
        if stream.reset is None:
            connection.respond(stream)


class RawOrigin(Origin):
    """An origin of HTTP/2. `script` may be replaced at any time: it is looked up when a connection is accepted."""

    def __init__(self, script: Script = serve, address: str = "127.0.0.1:0", *, backlog: int = 512) -> None:
        super().__init__(script, address, backlog=backlog)  # type: ignore[arg-type]  # _accepted makes what it takes

    def __enter__(self) -> "RawOrigin":
        return self

    def _accepted(self, sock: socket.socket, index: int) -> OriginConnection:  # type: ignore[override]
        return OriginConnection(sock, index)

    def peer(self, index: int = 0) -> OriginConnection:
        """The index-th connection ever accepted, as soon as it is there."""
        return cast(OriginConnection, self.connection(index))

    def wait_error(self) -> BaseException:
        """What a script's failure or a Breach was; it is then not raised again at the end."""
        until(lambda: self.errors, "an error of the script")
        return self.errors.pop()
