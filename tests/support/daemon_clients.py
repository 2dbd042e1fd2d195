"""The clients of the servers in daemons.py, as Debian has them."""

import smtplib
import ssl
import subprocess
from typing import Protocol

from tests.support import daemons
from tests.support.daemons import Word, program, run
from tests.support.server import plain_environment

LINE = "x" * 999


class Place(Protocol):
    """Where a client finds its server."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> str: ...


def psql_command(at: Place, statement: str, sslmode: str = "prefer") -> list[str]:
    where = f"host={at.host} port={at.port} user=fm dbname=postgres sslmode={sslmode}"
    return ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", where, "-c", statement]


def psql(at: Place, statement: str, sslmode: str = "prefer", told: bytes = b"") -> bytes:
    return run(*psql_command(at, statement, sslmode), told=told)


def sql(at: Place, statement: str, *options: str) -> bytes:
    where = ["-h", at.host, "-P", at.port, "-u", "fm"]
    return run("mariadb", "--no-defaults", *where, "-N", "-B", *options, "-e", statement)


def redis_cli(at: Place, *words: str, told: bytes = b"") -> bytes:
    return run("redis-cli", "-h", at.host, "-p", at.port, *words, told=told)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    daemons.authority().configure_trust(context)
    return context


def send_mail(at: Place, text: str, encrypted: bool) -> None:
    with smtplib.SMTP(at.host, int(at.port), timeout=20) as client:
        client.ehlo("client.example")
        if encrypted:
            client._host = "localhost"  # type: ignore[attr-defined]  # the name that the certificate is checked for
            client.starttls(context=trusting())
        client.sendmail("a@client.example", ["b@mail.example"], f"Subject: whole\r\n\r\n{text}\r\n")
        code, answer = client.docmd("NOOP")
        assert (code, answer) == (250, b"OK")


def reversed_line(at: Place, line: bytes, *options: Word) -> tuple[bytes, bytes]:
    """What openssl s_client is answered by `s_server -rev`, and what it says of the connection."""
    client = subprocess.Popen(
        [program("openssl") or "openssl", "s_client", "-connect", f"{at.host}:{at.port}", "-quiet", "-no_ign_eof",
         *options],
        env=plain_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(line)
        client.stdin.flush()
        answer = client.stdout.readline()
        _, said = client.communicate(timeout=10)
        return answer, said
    finally:
        client.kill()
        client.wait()
