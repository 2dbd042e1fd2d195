"""A small HTTP/1.1 server for the admin port: strict, bounded in every direction, one task per answer.

Bounds: connections (the longest idle one makes room), bytes of a head and of a body, requests read ahead, and time
without progress. Upgrades are not taken up.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, cast

import httptools

HEAD_BYTES = 16384  # request line and fields
BODY_BYTES = 4096  # the longest thing anybody posts here is a word
AHEAD = 16  # requests parsed before the one under way is answered
CONNECTIONS = 64
IDLE_S = 60.0  # between requests
STALL_S = 15.0  # without progress inside a request or an answer

_REASONS = {
    200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip


class Request(NamedTuple):
    """One request, whole."""

    method: str
    path: str  # without query, as sent
    body: bytes
    is_local: bool  # came over loopback or a Unix socket
    origin: str  # Origin field: present when a web page made the request
    keep_alive: bool


class Response(NamedTuple):
    """One answer. `body` is sent piece by piece as it is."""

    status: int
    body: tuple[bytes, ...] | list[bytes]
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""  # methods, for 405


Handler = Callable[[Request], Awaitable[Response]]


def text_response(status: int, text: str, allow: str = "") -> Response:
    """A line of text."""
    return Response(status, (text.encode() + b"\n",), allow=allow)


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def is_local_peer(peer: object, family: int) -> bool:
    """Whether a peer address is this machine's own: loopback, or the other end of a Unix socket."""
    if family == socket.AF_UNIX:
        return True
    host = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")


def _head(response: Response, length: int, close: bool) -> bytes:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())  # RFC 9110 5.6.7; the C locale is in force
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}",
        f"Date: {date}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {length}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
    ]
    if response.allow:
        lines.append(f"Allow: {response.allow}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class _Connection(asyncio.Protocol):
    """One client. httptools calls the on_* methods while data_received feeds it."""

    def __init__(self, server: "AdminServer") -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._refusal: _Refused | None = None
        self._in_message = self._in_head = False
        self._pending_bytes = 0  # received since the head under way began
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = False  # nothing more is read
        self.moved_s = time.monotonic()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peername")
        self._is_local = is_local_peer(peer, transport.get_extra_info("socket").family)
        self._server.add(self)

    def data_received(self, data: bytes) -> None:
        self.moved_s = time.monotonic()
        if self._refusal is not None or self._ended:
            return  # what follows a refused request is not read as another one
        try:
            self._parser.feed_data(data)
            if self._in_head:
                self._pending_bytes += len(data)
                if self._pending_bytes > 2 * HEAD_BYTES:
                    raise _Refused(431, "head too large")
        except _Refused as refusal:
            self._refuse(refusal)
        except httptools.HttpParserUpgrade:
            self._ended = True  # answered as if it had not asked; what follows may be of another protocol
        except httptools.HttpParserError as error:
            # An exception of ours travels through the parser as the context of its own.
            cause = error.__context__
            self._refuse(cause if isinstance(cause, _Refused) else _Refused(400, "not an HTTP/1.1 request"))

    def eof_received(self) -> bool:
        self._ended = True
        return self._task is not None  # an answer under way is still sent

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._writable.set()
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
        self._server.discard(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self.moved_s = time.monotonic()
        self._writable.set()

    # httptools' side

    def on_message_begin(self) -> None:
        if len(self._queue) >= AHEAD:
            raise _Refused(400, "too many requests at once")
        self._in_message = self._in_head = True
        self._pending_bytes = 0
        self._head_bytes = 0
        self._target = b""
        self._body = b""
        self._origin = ""
        self._hosts = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        field = name.lower()
        if field == b"host":
            self._hosts += 1
        elif field == b"origin":
            self._origin = value.decode("latin-1")
        elif field == b"expect" and value.lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._hosts != 1 and self._parser.get_http_version() != "1.0":
            raise _Refused(400, "one Host field is required")  # RFC 9112 3.2

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > BODY_BYTES:
            raise _Refused(413, f"body over {BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        self._in_message = False
        method = self._parser.get_method().decode("latin-1")
        keep_alive = self._parser.should_keep_alive()
        path = _path_of(self._target)
        self._queue.append(Request(method, path, self._body, self._is_local, self._origin, keep_alive))
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise _Refused(431, f"head over {HEAD_BYTES} bytes")

    # answers

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: the connection may be closed without harm."""
        return self._task is None and not self._in_message

    def is_late(self, now_s: float) -> bool:
        """Whether the client has had its time. An answer that is still being made is not the client's fault."""
        if self._task is not None and self._writable.is_set():
            return False
        return now_s - self.moved_s > (IDLE_S if self.is_idle else STALL_S)

    def close(self) -> None:
        """Ends the connection now; what was not sent is lost."""
        self._transport.abort()

    def close_if_idle(self) -> None:
        if self.is_idle:
            self._transport.close()

    def _refuse(self, refusal: _Refused) -> None:
        self._refusal = refusal
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())

    async def _answer_all(self) -> None:
        """Answers in the order of the requests, each written out before the next is looked at."""
        while self._queue:
            request = self._queue.popleft()
            response = await self._server.respond(request)
            close = not request.keep_alive or self._server.closing
            self._write(response, request.method == "HEAD", close)
            await self._writable.wait()
            if close:
                self._queue.clear()
                self._refusal = None
                self._transport.close()
        if self._refusal is not None:
            self._write(text_response(self._refusal.status, str(self._refusal)), False, True)
            self._transport.close()
        if self._ended:
            self._transport.close()
        self._task = None
        self.moved_s = time.monotonic()

    def _write(self, response: Response, head_only: bool, close: bool) -> None:
        head = _head(response, sum(map(len, response.body)), close)
        self._transport.writelines([head] if head_only else [head, *response.body])


def _path_of(target: bytes) -> str:
    """The path of an origin-form or absolute-form target; other forms raise _Refused."""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise _Refused(400, "not a request target") from None
    path = (url.path or b"/").decode("latin-1")
    if not path.startswith("/"):
        raise _Refused(400, "the target must be a path")
    return path


class AdminServer:
    """Listens on given sockets and hands every request to `handler`."""

    def __init__(self, handler: Handler, log: Callable[..., None]) -> None:
        self._handler = handler
        self._log = log
        self._connections: dict[_Connection, None] = {}
        self._servers: list[asyncio.Server] = []
        self.closing = False

    async def start(self, fds: Iterable[int]) -> None:
        """Serves on listening descriptors, which it owns from here."""
        loop = asyncio.get_running_loop()
        for fd in fds:
            sock = socket.socket(fileno=fd)
            make = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await make(lambda: _Connection(self), sock=sock))

    def sweep(self) -> None:
        """Ends connections whose client has had its time. To be called about once a second."""
        now_s = time.monotonic()
        for connection in [c for c in self._connections if c.is_late(now_s)]:
            connection.close()

    def close(self) -> None:
        """Stops listening and closes idle connections; the others end with their answer."""
        self.closing = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.close_if_idle()

    def add(self, connection: _Connection) -> None:
        """Takes a new connection; over the limit the one idle for longest goes, or the new one when none is idle."""
        self._connections[connection] = None
        if len(self._connections) > CONNECTIONS:
            idle = [c for c in self._connections if c.is_idle and c is not connection]
            min(idle, key=lambda c: c.moved_s, default=connection).close()

    def discard(self, connection: _Connection) -> None:
        """The connection has ended."""
        self._connections.pop(connection, None)

    async def respond(self, request: Request) -> Response:
        """The handler's answer; 500 when it fails, which is logged."""
        try:
            return await self._handler(request)
        except Exception as error:
            self._log("error", "admin request failed", path=request.path, error=f"{type(error).__name__}: {error}")
            return text_response(500, "internal error")
