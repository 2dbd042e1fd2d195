"""Real servers and their own clients, with a listener between them that is told `detect` and nothing else."""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import daemons
from tests.support.client import Client, digest, pattern
from tests.support.daemon_clients import LINE, psql, psql_command, redis_cli, reversed_line, send_mail, sql
from tests.support.daemons import needs, run
from tests.support.fastmesh import Fastmesh
from tests.support.server import Nginx, plain_environment
from tests.support.wait import until

BIG = pattern(10_000_000)
LINES = 10_000


@dataclasses.dataclass
class Way:
    """To a server, through the proxy."""

    proxy: Fastmesh
    host: str = "127.0.0.1"

    @property
    def port(self) -> str:
        return self.proxy.address.rpartition(":")[2]


@contextlib.contextmanager
def way_to(port: int) -> Iterator[Way]:
    with Fastmesh(upstream=f"127.0.0.1:{port}", listener_protocol="detect") as proxy:
        yield Way(proxy)


# --- PostgreSQL: the client speaks first, and asks for TLS in a way of its own


@pytest.fixture(scope="module")
def postgres() -> Iterator[Way]:
    with daemons.postgres() as port, way_to(port) as way:
        yield way


@needs("initdb", "psql")
@pytest.mark.parametrize(("sslmode", "encrypted"), [("disable", b"f"), ("prefer", b"t"), ("require", b"t")])
def test_postgres_with_and_without_tls(postgres: Way, sslmode: str, encrypted: bytes) -> None:
    asked = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    assert psql(postgres, asked, sslmode).strip() == encrypted


@needs("initdb", "psql")
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_postgres_copies_ten_megabytes_each_way(postgres: Way, sslmode: str) -> None:
    out = psql(postgres, f"copy (select repeat('x', 999) from generate_series(1, {LINES})) to stdout", sslmode)
    assert digest(out) == digest((LINE + "\n").encode() * LINES)
    psql(postgres, f"create table t_{sslmode} (line text)", sslmode)
    psql(postgres, f"copy t_{sslmode} from stdin", sslmode, told=out)
    assert psql(postgres, f"select count(*), sum(length(line)) from t_{sslmode}").strip() == b"10000|9990000"


@needs("initdb", "psql")
def test_postgres_cancels_over_a_connection_of_its_own(postgres: Way) -> None:
    """That one is 16 bytes and their end, and is never answered."""
    command = psql_command(postgres, "select pg_sleep(100)", "disable")
    sleeping = subprocess.Popen(command, stderr=subprocess.PIPE, env=plain_environment())
    try:
        asked = "select count(*) from pg_stat_activity where query = 'select pg_sleep(100)' and state = 'active'"
        until(lambda: psql(postgres, asked).strip() == b"1", "the statement to run")
        sleeping.send_signal(signal.SIGINT)
        _, said = sleeping.communicate(timeout=10)
        assert b"canceling statement due to user request" in said
    finally:
        sleeping.kill()
        sleeping.wait()


# --- MariaDB: the server speaks first


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Way]:
    with daemons.mariadb() as port, way_to(port) as way:
        yield way


@needs("mariadbd", "mariadb-install-db", "mariadb")
def test_mariadb_greets_a_client_that_says_nothing(mariadb: Way) -> None:
    before = mariadb.proxy.metrics().sum("fastmesh_detected_server_first_total")
    with Client(mariadb.proxy.address) as client:
        greeting = client.read_until(b"mysql_native_password\0")
    assert b"MariaDB" in greeting
    assert mariadb.proxy.metrics().sum("fastmesh_detected_server_first_total") == before + 1


@needs("mariadbd", "mariadb-install-db", "mariadb")
@pytest.mark.parametrize(("options", "encrypted"), [(["--skip-ssl"], False), (["--ssl"], True)], ids=["plain", "tls"])
def test_mariadb_answers_ten_megabytes(mariadb: Way, options: list[str], encrypted: bool) -> None:
    cipher = sql(mariadb, "show status like 'Ssl_cipher'", *options).split()
    assert (len(cipher) == 2) == encrypted  # a name and a cipher, if there is one
    out = sql(mariadb, f"select repeat('x', 999) from mysql.seq_1_to_{LINES}", *options)
    assert digest(out) == digest((LINE + "\n").encode() * LINES)


@needs("mariadbd", "mariadb-install-db", "mariadb")
def test_mariadb_says_why_it_refuses(mariadb: Way) -> None:
    said = run("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", mariadb.port, "-u", "nobody", fails=True)
    assert b"Access denied for user 'nobody'" in said


# --- Redis: words like methods of HTTP, and clients that are silent


@pytest.fixture(scope="module")
def redis() -> Iterator[Way]:
    with daemons.redis() as port, way_to(port) as way:
        yield way


@needs("redis-server", "redis-cli")
def test_redis_values_long_and_short(redis: Way) -> None:
    assert redis_cli(redis, "PING") == b"PONG\n"
    assert redis_cli(redis, "-x", "SET", "big", told=BIG) == b"OK\n"
    assert digest(redis_cli(redis, "GET", "big")[:-1]) == digest(BIG)


@needs("redis-server", "redis-cli")
def test_redis_pipelines(redis: Way) -> None:
    out = redis_cli(redis, "--pipe", told=b"".join(b"SET key%d value%d\r\n" % (i, i) for i in range(10_000)))
    assert b"errors: 0, replies: 10000" in out
    assert redis_cli(redis, "GET", "key9999") == b"value9999\n"


@needs("redis-server", "redis-cli")
@pytest.mark.parametrize(
    ("line", "answer"),
    [(b"PING\r\n", b"+PONG\r\n"), (b"GET /path\r\n", b"$-1\r\n"), (b"SET / *\r\n", b"+OK\r\n")],
    ids=["ping", "get", "set"],
)
def test_redis_lines_that_begin_like_requests(redis: Way, line: bytes, answer: bytes) -> None:
    with Client(redis.proxy.address) as client:
        client.send(line)
        assert client.read_until(b"\r\n") == answer


@needs("redis-server", "redis-cli")
def test_redis_publishes_to_a_silent_client(redis: Way) -> None:
    with Client(redis.proxy.address) as silent, Client(redis.proxy.address) as subscriber:
        subscriber.send(b"SUBSCRIBE news\r\n")
        assert subscriber.read_until(b":1\r\n").endswith(b"$4\r\nnews\r\n:1\r\n")
        for i in range(50):
            assert redis_cli(redis, "PUBLISH", "news", f"item {i}") == b"1\n"
            assert f"item {i}\r\n".encode() in subscriber.read_until(f"item {i}\r\n".encode())
        silent.send(b"PING\r\n")
        assert silent.read_until(b"\r\n") == b"+PONG\r\n"


# --- mail: the server speaks first, and TLS begins later


@pytest.fixture(scope="module")
def mail() -> Iterator[tuple[Way, pathlib.Path]]:
    with daemons.exim() as (port, queue), way_to(port) as way:
        yield way, queue


@needs("exim4")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start exim")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "starttls"])
def test_mail_arrives_whole(mail: tuple[Way, pathlib.Path], encrypted: bool) -> None:
    way, queue = mail
    text = "\r\n".join(f"line {i} {LINE[:60]}" for i in range(30_000))
    send_mail(way, text, encrypted)
    stored = [path for path in queue.glob("*-D") if text.replace("\r\n", "\n") in path.read_text()]
    assert len(stored) == 1
    stored[0].unlink()


# --- TLS: not ours, so not touched


@pytest.fixture(scope="module")
def tls() -> Iterator[tuple[Way, daemons.Folder]]:
    with daemons.openssl_server("-WWW", "-alpn", "http/1.1,echo") as (port, where), way_to(port) as way:
        (where.path / "big").write_bytes(BIG)
        yield way, where


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    "options", [[], ["-servername", "b.example"], ["-noservername", "-alpn", "echo"]], ids=["plain", "name", "alpn"]
)
def test_openssl_shakes_hands_with_the_server_itself(
    tls: tuple[Way, daemons.Folder], version: str, options: list[str]
) -> None:
    way, where = tls
    name = [] if "-noservername" in options else ["-verify_hostname", "b.example" if options else "localhost"]
    said = run(
        "openssl", "s_client", "-connect", f"localhost:{way.port}", "-4", version, "-CAfile", str(where.ca),
        "-verify_return_error", "-showcerts", *name, *options, told=b"",
    ).decode()  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    sent = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", said, re.DOTALL)
    assert sent
    assert sent[0].strip() in where.cert.read_text()
    assert ("ALPN protocol: echo" in said) == ("-alpn" in options)


@needs("openssl", "curl")
def test_openssl_serves_ten_megabytes(tls: tuple[Way, daemons.Folder]) -> None:
    way, where = tls
    out = run("curl", "-sS", "--cacert", str(where.ca), "--http1.1", f"https://localhost:{way.port}/big")
    assert digest(out) == digest(BIG)


@needs("openssl")
def test_a_server_chooses_its_certificate_by_the_name_that_was_asked_for() -> None:
    with daemons.folder() as other:
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=c.example", "-keyout", other.key, "-out", other.cert)  # fmt: skip
        other.own(other.key, other.cert)
        options = ["-servername", "c.example", "-cert2", str(other.cert), "-key2", str(other.key), "-rev"]
        with daemons.openssl_server(*options) as (port, _), way_to(port) as way:
            for name, shown in (("c.example", True), ("a.example", False)):
                answer, said = reversed_line(way, b"sidecar\n", "-servername", name)
                assert answer == b"racedis\n"
                assert (b"CN = c.example" in said) == shown


# --- nginx: HTTP of both versions is routed, HTTPS passed through


SITE = """
server {{
    listen LISTEN {how};
    root ROOT;
    ssl_certificate {cert};
    ssl_certificate_key {key};
}}
"""


@contextlib.contextmanager
def nginx(how: str) -> Iterator[tuple[Way, daemons.Folder]]:
    with daemons.folder() as where:
        site = SITE.format(how=how, cert=where.cert, key=where.key)
        with Nginx(site, {"big": BIG}) as server, way_to(int(server.address.rpartition(":")[2])) as way:
            yield way, where


@needs("nginx", "curl")
@pytest.mark.parametrize(("how", "version"), [("", "--http1.1"), ("http2", "--http2-prior-knowledge")])
def test_nginx_over_http(how: str, version: str) -> None:
    with nginx(how) as (way, _):
        assert digest(run("curl", "-sS", version, f"http://127.0.0.1:{way.port}/big")) == digest(BIG)
        metrics = way.proxy.metrics()
        assert metrics.sum("fastmesh_requests_total") == 1
        assert metrics.sum("fastmesh_tcp_connections_total") == 0


@needs("nginx", "curl")
def test_nginx_over_https() -> None:
    with nginx("ssl http2") as (way, where):
        for version in ("--http1.1", "--http2"):
            url = f"https://localhost:{way.port}/big"
            out = run("curl", "-sS", version, "-w", "%{http_version}", "--cacert", str(where.ca), url)
            assert digest(out[: len(BIG)]) == digest(BIG)
            assert out[len(BIG) :] == (b"2" if version == "--http2" else b"1.1")
        metrics = way.proxy.metrics()
        assert metrics.sum("fastmesh_requests_total") == 0
        assert metrics.sum("fastmesh_tcp_connections_total") == 2


# --- SSH: both speak at once


@needs("sshd", "ssh", "ssh-keygen")
def test_ssh_runs_a_command() -> None:
    with daemons.sshd() as (port, key), way_to(port) as way:
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"]
        words = [word for option in options for word in ("-o", option)]
        out = run("ssh", "-q", "-F", "none", "-i", str(key), *words, "-p", way.port, "127.0.0.1", "cat", told=BIG)
        assert digest(out) == digest(BIG)
