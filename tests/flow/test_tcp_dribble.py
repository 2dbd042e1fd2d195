"""First bytes that come one by one, each read before the next is sent, from clients of real servers."""

import contextlib
import ssl
import tempfile
from collections.abc import Callable, Iterator
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support import daemons, net
from tests.support.client import Client, request
from tests.support.daemons import missing
from tests.support.fastmesh import Fastmesh
from tests.support.server import Nginx
from tests.support.wait import until

BODY = b"hello\n"
T = TypeVar("T")


@pytest.fixture
def folder() -> Iterator[str]:
    """A path short enough for a Unix socket's."""
    with tempfile.TemporaryDirectory(prefix="fm-") as path:
        yield path


@contextlib.contextmanager
def before(server: str, folder: str) -> Iterator[Fastmesh]:
    """A proxy on a Unix socket, where one sees what it has read."""
    with Fastmesh(upstream=server, listen=f"unix:{folder}/s", listener_protocol="detect") as proxy:
        yield proxy


def dribble(client: Client, data: bytes) -> None:
    for byte in data:
        client.send(bytes([byte]))
        until(lambda: net.unread_bytes(client.sock) == 0, "the byte to be read")


@contextlib.contextmanager
def nginx(how: str = "") -> Iterator[str]:
    with daemons.folder() as where:
        site = "server {{ listen LISTEN {}; root ROOT; ssl_certificate {}; ssl_certificate_key {}; }}"
        with Nginx(site.format(how, where.cert, where.key), {"small": BODY}) as server:
            yield server.address


def test_http1(folder: str) -> None:
    with nginx() as server, before(server, folder) as proxy, Client(proxy.address) as client:
        dribble(client, request("GET", "/small"))
        assert client.read().body == BODY
        assert proxy.metrics().sum("fastmesh_detected_http1_total") == 1


def test_http2(folder: str) -> None:
    talk = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="ascii"))
    talk.initiate_connection()
    talk.send_headers(
        1, [(":method", "GET"), (":scheme", "http"), (":authority", "t.test"), (":path", "/small")], end_stream=True
    )
    with nginx("http2") as server, before(server, folder) as proxy, Client(proxy.address) as client:
        dribble(client, talk.data_to_send())
        body, ended = b"", False
        while not ended:
            for event in talk.receive_data(client.sock.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                ended |= isinstance(event, h2.events.StreamEnded)
        assert body == BODY
        assert proxy.metrics().sum("fastmesh_detected_http2_total") == 1


class Tls:
    """A TLS client whose first flight is dribbled."""

    def __init__(self, client: Client) -> None:
        context = ssl.create_default_context()
        daemons.authority().configure_trust(context)
        self.client = client
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.talk = context.wrap_bio(self.incoming, self.outgoing, server_hostname="a.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            self.talk.do_handshake()
        dribble(client, self.outgoing.read())
        self.patiently(self.talk.do_handshake)

    def patiently(self, step: Callable[[], T]) -> T:
        """What a step comes to that may want more bytes."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.client.send(self.outgoing.read())
                data = self.client.sock.recv(65536)
                assert data, "it ended early"
                self.incoming.write(data)

    def ask(self, data: bytes, answer_ends: bytes) -> None:
        self.talk.write(data)
        answer = b""
        while not answer.endswith(answer_ends):
            answer += self.patiently(lambda: self.talk.read(65536))


def test_tls(folder: str) -> None:
    """To its end the handshake is the server's own."""
    with nginx("ssl") as server, before(server, folder) as proxy, Client(proxy.address) as client:
        Tls(client).ask(request("GET", "/small"), BODY)
        assert proxy.metrics().sum("fastmesh_detected_tls_total") == 1


@pytest.mark.skipif(bool(missing("redis-server")), reason=missing("redis-server"))
@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"PING\r\n", b"+PONG\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"$-1\r\n"),
        (b"GET /a HTTP\r\n", b"-ERR wrong number"),
    ],
    ids=["inline", "array", "like-http"],
)
def test_redis(folder: str, data: bytes, answer: bytes) -> None:
    with (
        daemons.redis() as port,
        before(f"127.0.0.1:{port}", folder) as proxy,
        Client(proxy.address) as client,
    ):
        dribble(client, data)
        assert client.read_until(answer) == answer
        assert proxy.metrics().sum("fastmesh_detected_opaque_total") == 1


@pytest.mark.skipif(bool(missing("initdb")), reason=missing("initdb"))
def test_postgres(folder: str) -> None:
    """An SSLRequest and its answer, then a StartupMessage of a database that is not there."""
    startup = b"\0\3\0\0user\0fm\0database\0nowhere\0\0"
    with (
        daemons.postgres() as port,
        before(f"127.0.0.1:{port}", folder) as proxy,
    ):
        with Client(proxy.address) as client:
            dribble(client, bytes.fromhex("0000000804d2162f"))
            assert client.read_until(b"S") == b"S"
        with Client(proxy.address) as client:
            dribble(client, (len(startup) + 4).to_bytes(4, "big") + startup)
            assert b"FATAL" in client.read_until(b"nowhere")
