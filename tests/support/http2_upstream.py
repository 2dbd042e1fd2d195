"""A conformance case toward fastmesh as a client: an HTTP/1 request comes in, a scripted HTTP/2 origin answers it."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support import http2_frames as h2
from tests.support.client import Client, Ended, request
from tests.support.fastmesh import Fastmesh
from tests.support.http2 import OriginConnection, RawOrigin, serve
from tests.support.http2_case import See, hold
from tests.support.http2_frames import Field
from tests.support.origin import Gone
from tests.support.wait import DEADLINE_S

Act = Callable[[OriginConnection], None]
GET = request("GET", "/")
HEAD = request("HEAD", "/")
POST = request("POST", "/", body=b"0123456789")
OPEN = POST[:-5]  # half of its body never comes
CUT = -1  # instead of a status: the response begins, and does not end
ANY = 0
BROKEN = 1  # CUT, or 502 where the fault was seen before the head went on


@dataclass(frozen=True)
class Answer:
    """`act`: bytes to send once the request is there on stream 1, or what to do then. `status`: the client's."""

    section: str
    name: str
    act: bytes | Act
    see: See
    status: int = 502
    settings: dict[int, int] = field(default_factory=dict)
    request: bytes = GET
    last: int = 1  # connections the origin may get at most: 2 where a retry is safe

    def __str__(self) -> str:
        return f"{self.section} {self.name}"

    @property
    def whole(self) -> bool:
        """The request has an end."""
        return self.request != OPEN


class Upstream:
    """fastmesh before an origin whose script changes from case to case."""

    def __init__(self, **settings: object) -> None:
        self.origin = RawOrigin(serve)
        self.proxy = Fastmesh(upstream=self.origin.address, upstream_protocol="http2", **settings)
        self.address = self.proxy.address

    def run(self, case: Answer) -> None:
        """The first connection is the case's, others are served as they should be."""
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        first = len(self.origin.connections)

        def script(connection: OriginConnection) -> None:
            if connection.index > first:
                serve(connection)
                return
            try:
                self._play(case, connection)
                done.put(None)
            except BaseException as error:
                done.put(error)

        self.origin.script = script  # type: ignore[assignment]
        with Client(self.address) as client:
            client.send(case.request)
            early = self._status(case, client) if case.whole else ANY
            error = done.get(timeout=DEADLINE_S * 3)
            if error is not None:
                raise error
            status = early or self._status(case, client)
        self.end()
        right = status in (CUT, 502) if case.status == BROKEN else case.status in (ANY, status)
        assert right, f"{case}: the client got {status}"
        used = len(self.origin.connections) - first
        assert used <= case.last, f"{case}: {used} connections"

    @staticmethod
    def _play(case: Answer, connection: OriginConnection) -> None:
        connection.handshake(case.settings)
        connection.next_request(whole=case.whole)
        try:
            if isinstance(case.act, bytes):
                connection.send(case.act)
            else:
                case.act(connection)
        except Gone as gone:
            raise AssertionError(f"{case}: ended by {gone.how} meanwhile. Came: {connection.story()}") from gone
        hold(connection, case.see, str(case))

    @staticmethod
    def _status(case: Answer, client: Client) -> int:
        try:
            return client.read(case.request.split(b" ")[0].decode()).status
        except Ended:
            return CUT

    def ask(self, script: Callable[[OriginConnection], None]) -> Client:
        """A client whose request meets a connection with this script."""
        self.origin.script = script  # type: ignore[assignment]
        return Client(self.address)

    def settled(self, script: Callable[[OriginConnection], None], settings: h2.Settings = ()) -> Client:
        """A client whose next request meets a connection that knows these settings: a first request was answered.

        Before it has seen them fastmesh may go by their initial values (RFC 9113 6.5.2). `script` goes on from there.
        """

        def begin(connection: OriginConnection) -> None:
            connection.handshake(settings)
            connection.respond(connection.next_request())
            script(connection)

        client = self.ask(begin)
        assert client.get("/").status == 200
        return client

    def end(self) -> None:
        """Every upstream connection is gone; failures of scripts come out."""
        self.origin.drop_connections()
        self.proxy.wait_pool_empty()
        if self.origin.errors:
            raise self.origin.errors.pop(0)

    def clear(self) -> None:
        """The same for a test that failed, whose scripts' failures were told."""
        self.origin.drop_connections()
        self.origin.errors.clear()
        self.proxy.wait_pool_empty()

    def __enter__(self) -> "Upstream":
        self.origin.__enter__()
        self.proxy.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.origin.drop_connections()
            self.proxy.__exit__(*error)  # type: ignore[arg-type]
        finally:
            self.origin.__exit__(*error)


def reply(status: int = 200, *fields: Field, body: bytes = b"ok", stream: int = 1, end: bool = True) -> bytes:
    """A response; without `end` more may follow."""
    block = h2.block(h2.response_fields(status, *fields))
    head = h2.headers(stream, block, end=end and not body)
    return head + (h2.data(stream, body, end=end) if body else b"")


def raw_reply(fields: list[Field], *, end: bool = True) -> bytes:
    """HEADERS with exactly these fields."""
    return h2.headers(1, h2.block(fields), end=end)


def trailers(*fields: Field, end: bool = True) -> bytes:
    return h2.headers(1, h2.block(fields), end=end)
