"""One client and one recording origin around the proxy, all in the test's own thread.

Because one loop moves every byte, the order of events is decided by the case alone: the client's next piece is sent
when the proxy has read the one before (exact on Unix sockets), the origin answers when a request is complete.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support import net
from tests.support.http1 import Request, RequestStream, Response, ResponseStream
from tests.support.wait import DEADLINE_S

READ_BYTES = 1 << 18
# A piece the proxy leaves unread this long is held back on purpose (back-pressure); the next one follows anyway.
HELD_BACK_S = 0.03

Then = str  # what the origin does after its answer: keep | close | half-close | reset


@dataclass
class Answer:
    """What the origin sends to one request, in pieces, and does then."""

    pieces: list[bytes]
    then: Then = "keep"


class Wire:
    """One end of a connection in the loop: bytes out in pieces, bytes in recorded."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.out: deque[bytes] = deque()
        self.then: Then = "keep"
        self.received = bytearray()
        self.ended = ""  # FIN | RST
        self.closed = False
        self._sent_at = 0.0
        sock.setblocking(False)

    def queue(self, pieces: list[bytes], then: Then = "keep") -> None:
        self.out.extend(pieces)
        self.then = then

    def pump(self) -> bool:
        """Sends the next piece if the one before was read; True when something happened."""
        if self.closed or not (self.out or self.then != "keep"):
            return False
        if not self._was_read():
            return False
        if self.out:
            self._send()
        else:
            self._finish()
        return True

    def _was_read(self) -> bool:
        if self.sock.family != socket.AF_UNIX or self.ended:
            return True
        return net.unread_bytes(self.sock) == 0 or time.monotonic() - self._sent_at > HELD_BACK_S

    def _send(self) -> None:
        piece = self.out.popleft()
        try:
            sent = self.sock.send(piece)
        except BlockingIOError:
            sent = 0
        except (ConnectionResetError, BrokenPipeError):
            self.out.clear()
            return
        if sent < len(piece):
            self.out.appendleft(piece[sent:])
        self._sent_at = time.monotonic()

    def _finish(self) -> None:
        then, self.then = self.then, "keep"
        if then == "half-close":
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        elif then == "reset":
            self.closed = True
            net.reset(self.sock)
        else:
            self.close()

    def read(self) -> bytes | None:
        """New bytes, b"" at the end of the connection, None when there is nothing."""
        if self.closed or self.ended:
            return None
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "RST"
            return b""
        if not data:
            self.ended = "FIN"
        self.received += data
        return data

    def close(self) -> None:
        self.closed = True
        self.sock.close()


class OriginWire(Wire):
    """An accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.stream = RequestStream()
        self.answered = 0

    @property
    def holds_half(self) -> bool:
        """A part of a request has arrived and the rest has not."""
        return bool(self.stream.buffer) or any(not message.complete for message in self.stream.messages)


class ClientWire(Wire):
    """The client's connection."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.stream = ResponseStream()
        self.finals: list[Response] = []
        self.interim: list[Response] = []


@dataclass
class Stage:
    """The loop. `answer` is asked for every complete request that reaches the origin."""

    front: str  # address of the proxy
    listener: socket.socket  # of the origin
    answer: Callable[[Request], Answer]
    clients: list[ClientWire] = field(default_factory=list)
    origins: list[OriginWire] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)  # complete ones, in the order they became so

    def client(self, pieces: list[bytes], then: Then = "keep") -> ClientWire:
        """A new client that sends the pieces. Responses are read as answers to what the origin was asked."""
        wire = ClientWire(net.dial(self.front))
        self.clients.append(wire)
        wire.queue(pieces, then)
        return wire

    def run(self, done: Callable[[], bool], what: str, seconds: float = DEADLINE_S) -> None:
        """Moves bytes until `done`; TimeoutError says what everyone had received by then."""
        end = time.monotonic() + seconds
        self.listener.setblocking(False)
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s for {what}: {self.describe()}")
            if not self._turn():
                self._wait()

    def no_half_request(self) -> bool:
        """Every origin connection with a part of a request has been ended by the proxy."""
        return all(origin.ended or not origin.holds_half for origin in self.origins)

    def describe(self) -> str:
        clients = [(bytes(c.received[-400:]), c.ended) for c in self.clients]
        origins = [(bytes(o.received[-400:]), o.ended) for o in self.origins]
        return f"client received {clients}, origin received {origins}"

    def _turn(self) -> bool:
        moved = self._accept()
        for origin in self.origins:
            moved |= self._serve(origin)
        for client in self.clients:
            moved |= client.pump()
            data = client.read()
            if data is not None:
                moved = True
                for response in client.stream.feed(data, client.ended):
                    final = response.status >= 200 or response.status == 101
                    (client.finals if final else client.interim).append(response)
        return moved

    def _accept(self) -> bool:
        try:
            sock, _ = self.listener.accept()
        except BlockingIOError:
            return False
        self.origins.append(OriginWire(sock))
        return True

    def _serve(self, origin: OriginWire) -> bool:
        moved = origin.pump()
        data = origin.read()
        if data:
            for request in origin.stream.feed(data):
                self.requests.append(request)
                self.clients[-1].stream.expect(request.method)
                origin.answered += 1
                answer = self.answer(request)
                origin.queue(answer.pieces, answer.then)
        return moved or data is not None

    def _wait(self) -> None:
        """Until a socket is readable; not at all while a piece waits to be read by the proxy."""
        wires: list[Wire] = [*self.clients, *self.origins]
        pacing = any(not w.closed and (w.out or w.then != "keep") for w in wires)
        readable = [w.sock for w in wires if not w.closed and not w.ended]
        select.select([self.listener, *readable], [], [], 0 if pacing else 0.05)

    def close(self) -> None:
        for wire in (*self.clients, *self.origins):
            if not wire.closed:
                wire.close()
