"""An origin that records every byte of every connection and answers by a script."""

import socket
import threading
from collections.abc import Callable

from tests.support import net
from tests.support.http1 import Request, RequestStream
from tests.support.wait import DEADLINE_S, until

READ_BYTES = 1 << 18
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Gone(Exception):
    """The proxy ended the connection. `how`: FIN or RST."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Connection:
    """One accepted connection, used by its own thread; `received` may be read by any."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.sock = sock
        self.index = index
        self.received = bytearray()
        self.stream = RequestStream()
        self.ended = ""  # FIN or RST once the proxy ended it
        self.head_seen = threading.Event()  # the first request's head has arrived
        self.closed = threading.Event()  # by either side
        self._pending: list[Request] = []

    def read(self) -> bytes:
        """The next bytes. Gone at the end."""
        try:
            data = self.sock.recv(READ_BYTES)
            how = "FIN"
        except (ConnectionResetError, BrokenPipeError):
            data, how = b"", "RST"
        if not data:
            self.ended = how
            raise Gone(how)
        self.received += data
        return data

    def request(self) -> Request:
        """The next complete request. Gone when the connection ends first."""
        while not self._pending:
            self._feed()
        return self._pending.pop(0)

    def _feed(self) -> None:
        self._pending += self.stream.feed(self.read())
        if self.stream.messages:
            self.head_seen.set()

    def head(self) -> Request:
        """The next request as soon as its head is complete; `request()` answers the same one when its body is."""
        seen = len(self.stream.messages)
        while len(self.stream.messages) == seen:
            self._feed()
        return self.stream.messages[seen]

    def more(self, request: Request, size: int) -> bytes:
        """Waits until `size` bytes of the body of a request begun by `head()` are there."""
        while len(request.body) < size:
            self._feed()
        return bytes(request.body)

    def tunnel(self, mark: bytes) -> bytes:
        """Raw bytes up to and including `mark`, once the connection is a tunnel."""
        self.stream.tunnel()
        while mark not in self.stream.raw:
            self.stream.feed(self.read())
        end = self.stream.raw.index(mark) + len(mark)
        found = bytes(self.stream.raw[:end])
        del self.stream.raw[:end]
        return found

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            raise Gone("RST") from None

    def answer(self, data: bytes = OK) -> Request:
        """Reads one request, sends `data`."""
        request = self.request()
        self.send(data)
        return request

    def wait_end(self) -> str:
        """Reads until the proxy ends the connection; how. Whatever comes is recorded."""
        while True:
            try:
                self.read()
            except Gone as gone:
                return gone.how

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        net.reset(self.sock)

    def close(self) -> None:
        self.sock.close()


Script = Callable[[Connection], None]


def serve(answer: "bytes | Callable[[Request], bytes]" = OK) -> Script:
    """A script that answers every request on a connection, complete, until the proxy ends it."""

    def script(connection: Connection) -> None:
        while True:
            request = connection.request()
            data = answer if isinstance(answer, bytes) else answer(request)
            connection.send(data)
            if request.method == "HEAD" and isinstance(answer, bytes):
                raise AssertionError("serve(bytes) cannot answer HEAD")

    return script


class Origin:
    """Listens on `address`, runs `script` in a thread for each connection. `errors` must be empty at the end."""

    def __init__(self, script: Script, address: str = "127.0.0.1:0", *, backlog: int = 512) -> None:
        self.script = script
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._backlog = backlog
        self._closing = False
        self._open(address)

    def __enter__(self) -> "Origin":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self.errors:
            raise self.errors[0]

    def _open(self, address: str) -> None:
        self._closing = False
        self._listener = net.listen(address, self._backlog)
        self.address = net.text(self._listener)
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def _accepted(self, sock: socket.socket, index: int) -> Connection:
        return Connection(sock, index)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(DEADLINE_S)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                if self._closing:
                    sock.close()
                    return
                connection = self._accepted(sock, len(self.connections))
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self.connections.append(connection)
                self._threads.append(thread)
                self._changed.notify_all()
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            self.script(connection)
        except Gone:
            pass
        except BaseException as error:  # kept for the test's thread, which raises it
            if not self._closing:
                self.errors.append(error)
        finally:
            connection.sock.close()
            connection.closed.set()
            with self._changed:
                self._changed.notify_all()

    def connection(self, index: int = 0) -> Connection:
        """The index-th connection ever accepted, as soon as it is there."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.connections) > index, DEADLINE_S):
                raise TimeoutError(f"{len(self.connections)} connections reached the origin, waited for {index + 1}")
            return self.connections[index]

    def requests(self) -> list[Request]:
        """Every request whose head arrived, over all connections in order of their acceptance."""
        return [request for connection in list(self.connections) for request in connection.stream.messages]

    def open_connections(self) -> int:
        return sum(not connection.closed.is_set() for connection in list(self.connections))

    def close_listener(self) -> None:
        """No new connections (they are refused); those there are go on."""
        with self._changed:
            self._closing = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self._acceptor.join(DEADLINE_S)

    def reopen(self) -> None:
        """Listens again where it did before."""
        self._open(self.address)

    def close(self) -> None:
        """Ends every connection and waits for their threads."""
        self.close_listener()
        self.drop_connections_now()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        if any(thread.is_alive() for thread in self._threads):
            raise TimeoutError("an origin thread did not end")

    def drop_connections_now(self) -> None:
        """Ends every connection there is; the listener stays."""
        for connection in list(self.connections):
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def drop_connections(self) -> None:
        """The same, and waits until they are gone."""
        self.drop_connections_now()
        until(lambda: self.open_connections() == 0, "the origin's connections to end")
