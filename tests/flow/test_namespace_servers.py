"""Real servers on one machine, their own clients on another, a fastmesh on each, and nobody told.

Network namespaces of the test's own; ports are whatever was free, so that detection decides on each.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import pytest

from tests.support import daemons, net, netns
from tests.support.client import digest, pattern
from tests.support.daemon_clients import LINE, psql, redis_cli, reversed_line, send_mail, sql
from tests.support.daemons import needs, run
from tests.support.fastmesh import Fastmesh
from tests.support.netns import Namespace
from tests.support.server import Nginx
from tests.support.sidecars import ORIGINAL, Count, redirect, transparent

CLIENT, SERVICE = "192.0.2.1", "192.0.2.2"
BIG = pattern(5_000_000)
LINES = 5_000
ROWS = (LINE + "\n").encode() * LINES
TO_CLIENT, FROM_CLIENT = "fastmesh_tcp_sent_bytes_total", "fastmesh_tcp_received_bytes_total"
SITE = """
server {{ listen LISTEN; root ROOT; }}
server {{ listen {host}:{port} ssl http2; root ROOT; ssl_certificate {cert}; ssl_certificate_key {key}; }}
"""

pytestmark = pytest.mark.skipif(bool(netns.impossible()), reason=netns.impossible())
with_nft = pytest.mark.parametrize("mesh", ["nft"], indirect=True, scope="module")
with_both = pytest.mark.parametrize("mesh", ["nft", "iptables"], indirect=True, scope="module")


@dataclasses.dataclass
class Mesh:
    """Both machines and the fastmesh on each."""

    client: Namespace
    service: Namespace
    outbound: Fastmesh
    inbound: Fastmesh

    @contextlib.contextmanager
    def relayed(self, connections: int, *, to_client: int = 0, from_client: int = 0) -> Iterator[None]:
        """The client's machine. Both have then relayed so many connections and the same bytes, at least so many."""
        both = [Count(self.outbound), Count(self.inbound)]
        with self.client.entered():
            yield
        for count in both:
            count.proxy.settle()
            assert count("fastmesh_tcp_connections_total", backend=ORIGINAL) == connections
            assert count("fastmesh_requests_total") == 0
        for name, least in ((TO_CLIENT, to_client), (FROM_CLIENT, from_client)):
            near, far = (count(name, backend=ORIGINAL) for count in both)
            assert near == far >= max(least, 1)


@dataclasses.dataclass
class Server:
    port: str
    host: str = SERVICE


@pytest.fixture(scope="module")
def unruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("admin")
    with Namespace() as client, Namespace() as service:
        client.join(service, (f"{CLIENT}/24",), (f"{SERVICE}/24",))
        with transparent(client, folder) as outbound, transparent(service, folder) as inbound:
            yield Mesh(client, service, outbound, inbound)


@pytest.fixture(scope="module")
def mesh(unruled: Mesh, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    for space in (unruled.client, unruled.service):
        redirect(space, "apply", "--backend", request.param)
    yield unruled
    for space in (unruled.client, unruled.service):
        redirect(space, "remove")


# --- Redis


@pytest.fixture(scope="module")
def redis(unruled: Mesh) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        with unruled.service.entered():
            port = stack.enter_context(daemons.redis(SERVICE))
        yield Server(str(port))


@needs("redis-server", "redis-cli")
@with_both
def test_redis_keeps_five_megabytes(mesh: Mesh, redis: Server) -> None:
    with mesh.relayed(3, to_client=len(BIG), from_client=len(BIG)):
        assert redis_cli(redis, "PING") == b"PONG\n"
        assert redis_cli(redis, "-x", "SET", "big", told=BIG) == b"OK\n"
        assert digest(redis_cli(redis, "GET", "big")[:-1]) == digest(BIG)


# --- nginx: HTTP is routed, HTTPS relayed


@dataclasses.dataclass
class Site:
    http: str
    https: str
    ca: pathlib.Path


@pytest.fixture(scope="module")
def nginx(unruled: Mesh) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(daemons.folder())
        with unruled.service.entered():
            port = net.free_port()
            site = SITE.format(host=SERVICE, port=port, cert=where.cert, key=where.key)
            server = stack.enter_context(Nginx(site, {"big": BIG}, host=SERVICE))
        yield Site(server.address, f"{SERVICE}:{port}", where.ca)


@needs("nginx", "curl")
@with_both
def test_nginx_over_http(mesh: Mesh, nginx: Site) -> None:
    both = [Count(mesh.outbound), Count(mesh.inbound)]
    with mesh.client.entered():
        assert digest(run("curl", "-sS", f"http://{nginx.http}/big")) == digest(BIG)
    for count in both:
        assert count("fastmesh_requests_total", backend=ORIGINAL) == 1
        assert count("fastmesh_response_bytes_total", backend=ORIGINAL) >= len(BIG)
        assert count("fastmesh_tcp_connections_total") == 0


@needs("nginx", "curl")
@with_both
def test_nginx_over_https(mesh: Mesh, nginx: Site) -> None:
    with mesh.relayed(2, to_client=2 * len(BIG)):
        for version in ("--http1.1", "--http2"):
            to = ["--connect-to", f"a.example:443:{nginx.https}", "--cacert", str(nginx.ca)]
            assert digest(run("curl", "-sS", version, *to, "https://a.example/big")) == digest(BIG)


# --- openssl


@pytest.fixture(scope="module")
def tls(unruled: Mesh) -> Iterator[tuple[Server, pathlib.Path]]:
    with contextlib.ExitStack() as stack:
        with unruled.service.entered():
            port, where = stack.enter_context(daemons.openssl_server("-rev", host=SERVICE))
        yield Server(str(port)), where.ca


@needs("openssl")
@with_nft
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_shakes_hands_and_is_answered(mesh: Mesh, tls: tuple[Server, pathlib.Path], version: str) -> None:
    server, ca = tls
    checks = ["-CAfile", ca, "-verify_return_error", "-verify_hostname", "b.example", "-servername", "b.example"]
    with mesh.relayed(1):
        answer, said = reversed_line(server, b"sidecar\n", version, *checks)
    assert answer == b"racedis\n", said
    assert b"verify return:1" in said


# --- PostgreSQL: the client speaks first, and asks for TLS in a way of its own


@pytest.fixture(scope="module")
def postgres(unruled: Mesh) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        with unruled.service.entered():
            port = stack.enter_context(daemons.postgres(SERVICE))
        yield Server(str(port))


@needs("initdb", "psql")
@with_nft
@pytest.mark.parametrize(("sslmode", "encrypted"), [("disable", b"f"), ("require", b"t")])
def test_postgres_answers_and_copies_out(mesh: Mesh, postgres: Server, sslmode: str, encrypted: bytes) -> None:
    with mesh.relayed(2, to_client=len(ROWS)):
        asked = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert psql(postgres, asked, sslmode).strip() == encrypted
        out = psql(postgres, f"copy (select repeat('x', 999) from generate_series(1, {LINES})) to stdout", sslmode)
    assert digest(out) == digest(ROWS)


# --- MariaDB and mail: the server speaks first


@pytest.fixture(scope="module")
def mariadb(unruled: Mesh) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        with unruled.service.entered():
            port = stack.enter_context(daemons.mariadb(SERVICE))
        yield Server(str(port))


@needs("mariadbd", "mariadb-install-db", "mariadb")
@with_nft
@pytest.mark.parametrize(("option", "encrypted"), [("--skip-ssl", False), ("--ssl", True)], ids=["plain", "tls"])
def test_mariadb_greets_and_answers(mesh: Mesh, mariadb: Server, option: str, encrypted: bool) -> None:
    with mesh.relayed(2, to_client=len(ROWS)):
        cipher = sql(mariadb, "show status like 'Ssl_cipher'", option).split()
        out = sql(mariadb, f"select repeat('x', 999) from mysql.seq_1_to_{LINES}", option)
    assert (len(cipher) == 2) == encrypted  # a name and a cipher, if there is one
    assert digest(out) == digest(ROWS)


@pytest.fixture(scope="module")
def mail(unruled: Mesh) -> Iterator[tuple[Server, pathlib.Path]]:
    with contextlib.ExitStack() as stack:
        with unruled.service.entered():
            port, queue = stack.enter_context(daemons.exim())
        yield Server(str(port)), queue


@needs("exim4")
@with_nft
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "starttls"])
def test_mail_arrives_whole(mesh: Mesh, mail: tuple[Server, pathlib.Path], encrypted: bool) -> None:
    server, queue = mail
    text = "\r\n".join(f"line {i} {LINE[:60]}" for i in range(10_000))
    with mesh.relayed(1, from_client=len(text)):
        send_mail(server, text, encrypted)
    stored = [path for path in queue.glob("*-D") if text.replace("\r\n", "\n") in path.read_text()]
    assert len(stored) == 1
    stored[0].unlink()
