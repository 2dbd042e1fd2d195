"""A gateway from HTTP/2 to HTTP/1 as it must not be: it copies every field as it came, and believes every length."""

import select
import socket
import threading
from types import TracebackType

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support import net
from tests.support.wait import DEADLINE_S

_CONFIG = h2.config.H2Configuration(
    client_side=False, header_encoding=None, validate_inbound_headers=False, normalize_inbound_headers=False,
)  # fmt: skip


class NaiveGateway:
    """Listens, and asks `target` for every stream on a connection of its own."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.listener = net.listen()
        self.address = net.text(self.listener)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> "NaiveGateway":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self.listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            if select.select([self.listener], [], [], 0.02)[0]:
                sock, _ = self.listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        connection = h2.connection.H2Connection(_CONFIG)
        connection.initiate_connection()
        heads: dict[int, bytes] = {}
        with sock:
            while not self._stop.is_set():
                self._flush(sock, connection)
                if not select.select([sock], [], [], 0.02)[0]:
                    continue
                try:
                    data = sock.recv(1 << 16)
                    events = connection.receive_data(data) if data else []
                except (OSError, h2.exceptions.ProtocolError):
                    self._flush(sock, connection)
                    return
                if not data:
                    return
                for event in events:
                    self._event(connection, heads, event)

    def _flush(self, sock: socket.socket, connection: h2.connection.H2Connection) -> None:
        try:
            sock.sendall(connection.data_to_send())
        except OSError:
            self._stop.is_set()

    def _event(self, connection: h2.connection.H2Connection, heads: dict[int, bytes], event: object) -> None:
        if isinstance(event, h2.events.RequestReceived):
            heads[event.stream_id] = _head(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            heads[event.stream_id] += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._ask(heads[event.stream_id])
            connection.send_headers(event.stream_id, [(":status", "200")])
            connection.send_data(event.stream_id, b"ok", end_stream=True)

    def _ask(self, request: bytes) -> None:
        with net.dial(self.target) as upstream:
            upstream.sendall(request)
            upstream.recv(1 << 16)


def _head(fields: list[tuple[bytes, bytes]]) -> bytes:
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    lines = [b"%s %s HTTP/1.1" % (pseudo.get(b":method", b"GET"), pseudo.get(b":path", b"/"))]
    lines += [b"host: " + pseudo[b":authority"]] if b":authority" in pseudo else []
    lines += [name + b": " + value for name, value in fields if not name.startswith(b":")]
    return b"\r\n".join(lines) + b"\r\n\r\n"
