"""Servers of other protocols than HTTP, as Debian has them: each in the foreground, in a directory of its own, on a
free port of an address (127.0.0.1), ended by its pid. Root runs them as nobody, since databases refuse root."""

import contextlib
import functools
import glob
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import trustme

from tests.support import net
from tests.support.server import plain_environment
from tests.support.wait import DEADLINE_S, until

NOBODY = 65534
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"))])
Word = str | pathlib.Path
NAMES = ("localhost", "a.example", "b.example")
LOOPBACK = "127.0.0.1"


def program(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def missing(*names: str) -> str:
    """Why a test with these programs cannot run; empty when it can."""
    absent = [name for name in names if program(name) is None]
    return f"not installed: {', '.join(absent)} (tools/need test)" if absent else ""


def needs(*names: str) -> pytest.MarkDecorator:
    reason = missing(*names)
    return pytest.mark.skipif(bool(reason), reason=reason)


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


def found(command: Sequence[Word]) -> list[Word]:
    return [program(str(command[0])) or command[0], *command[1:]]


def finished(*command: Word, told: bytes = b"", own: bool = False) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        found(command), input=told, capture_output=True, timeout=40, check=False, env=plain_environment(),
        **(as_nobody() if own else {}),
    )  # fmt: skip


def run(*command: Word, told: bytes = b"", fails: bool = False, own: bool = False) -> bytes:
    """A program's output; that it fails, or does not although it is to, is the test's. `own`: as the servers' user."""
    done = finished(*command, told=told, own=own)
    said = (done.stderr + done.stdout)[-2000:].decode("utf-8", "replace")
    assert (done.returncode != 0) == fails, f"exit status {done.returncode}: {said}"
    return done.stdout + done.stderr if fails else done.stdout


def as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


class Folder:
    """A directory that belongs to the servers' user, with a certificate for NAMES."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.ca, self.cert, self.key = path / "ca.pem", path / "cert.pem", path / "key.pem"
        issued = authority().issue_cert(*NAMES)
        authority().cert_pem.write_to_path(self.ca)
        for index, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(self.cert, append=index > 0)
        issued.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)
        self.own(path, self.ca, self.cert, self.key)

    def own(self, *paths: pathlib.Path) -> None:
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, NOBODY, NOBODY)

    def make(self, name: str, text: str | None = None) -> pathlib.Path:
        """A file with this text, or a folder."""
        path = self.path / name
        if text is None:
            path.mkdir()
        else:
            path.write_text(text)
        self.own(path)
        return path


@contextlib.contextmanager
def folder() -> Iterator[Folder]:
    with tempfile.TemporaryDirectory(prefix="fm-daemon-") as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield Folder(path)


@contextlib.contextmanager
def running(
    where: Folder, *command: Word, ready: Callable[[], bool], end: int = signal.SIGTERM, root: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A server from when it is ready until it has ended."""
    log = where.path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            found(command), cwd=where.path, env=plain_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            **({} if root else as_nobody()),
        )  # fmt: skip

    def is_ready() -> bool:
        assert process.poll() is None, f"{command[0]} ended: {log.read_text(errors='replace')[-2000:]}"
        return ready()

    try:
        until(is_ready, f"{command[0]} to be ready", 20)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(end)
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE_S)


def listens(port: int, host: str = LOOPBACK) -> bool:
    try:
        net.dial(f"{host}:{port}", timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def postgres(host: str = LOOPBACK) -> Iterator[int]:
    """PostgreSQL with TLS; its user is fm, without a password."""
    with folder() as where:
        port, data = net.free_port(), where.path / "data"
        run("initdb", "-D", data, "-A", "trust", "-U", "fm", "-E", "UTF8", "--no-locale", "--no-sync", own=True)
        with (data / "pg_hba.conf").open("a") as trusted:
            trusted.write("host all all samenet trust\n")
        settings = {
            "listen_addresses": host, "unix_socket_directories": "", "fsync": "off", "ssl": "on",
            "ssl_cert_file": where.cert, "ssl_key_file": where.key, "shared_buffers": "8MB", "autovacuum": "off",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        # SIGINT is its fast shutdown: connections end at once.
        with running(
            where, "postgres", "-D", data, "-p", str(port), *options, end=signal.SIGINT,
            ready=lambda: finished("pg_isready", "-h", host, "-p", str(port)).returncode == 0,
        ):  # fmt: skip
            yield port


@contextlib.contextmanager
def mariadb(host: str = LOOPBACK) -> Iterator[int]:
    """MariaDB with TLS; its user is fm, without a password."""
    with folder() as where:
        port, data = net.free_port(), where.make("data")
        users = where.make("users", "create user if not exists fm;\ngrant all on *.* to fm;\n")
        lean = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync"]
        run(
            "mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db",
            "--auth-root-authentication-method=normal", *lean, own=True,
        )  # fmt: skip
        with running(
            where, "mariadbd", "--no-defaults", f"--datadir={data}", f"--bind-address={host}", f"--port={port}",
            f"--socket={where.path / 'socket'}", f"--ssl-cert={where.cert}", f"--ssl-key={where.key}",
            f"--init-file={users}", "--skip-name-resolve", *lean, ready=lambda: listens(port, host),
        ):  # fmt: skip
            yield port


@contextlib.contextmanager
def redis(host: str = LOOPBACK) -> Iterator[int]:
    with folder() as where:
        port = net.free_port()
        with running(
            where, "redis-server", "--bind", host, "--protected-mode", "no", "--port", str(port), "--save", "",
            "--appendonly", "no", ready=lambda: listens(port, host),
        ):  # fmt: skip
            yield port


EXIM = """
primary_hostname = mail.example
exim_user = nobody
exim_group = nogroup
keep_environment =
spool_directory = {path}/spool
log_file_path = {path}/%slog
pid_file_path = {path}/pid
acl_smtp_rcpt = anything
acl_smtp_data = anything
queue_only
tls_advertise_hosts = *
tls_certificate = {path}/cert.pem
tls_privatekey = {path}/key.pem
begin acl
anything:
  accept
begin routers
here:
  driver = accept
  transport = nowhere
begin transports
nowhere:
  driver = appendfile
  file = /dev/null
"""


@contextlib.contextmanager
def exim() -> Iterator[tuple[int, pathlib.Path]]:
    """A mail server that takes everything and leaves it in its queue, and where that is. Only root may start it."""
    with folder() as where:
        port = net.free_port()
        where.make("spool")
        config = where.path / "config"
        config.write_text(EXIM.format(path=where.path))
        with running(where, "exim4", "-bdf", "-oX", str(port), "-C", config, ready=lambda: listens(port), root=True):
            yield port, where.path / "spool" / "input"


SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {path}/host
AuthorizedKeysFile {path}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


@contextlib.contextmanager
def sshd() -> Iterator[tuple[int, pathlib.Path]]:
    """OpenSSH's server for the user who runs the tests, and the key it takes."""
    with folder() as where:
        port = net.free_port()
        for name in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", where.path / name)
        config = where.path / "config"
        config.write_text(SSHD.format(path=where.path, port=port))
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        with running(where, "sshd", "-D", "-e", "-f", config, ready=lambda: listens(port), root=True):
            yield port, where.path / "user"


@contextlib.contextmanager
def openssl_server(*options: str, host: str = LOOPBACK) -> Iterator[tuple[int, Folder]]:
    """openssl s_server with the certificate of a.example, serving the files in its folder."""
    with folder() as where:
        port = net.free_port()
        with running(
            where, "openssl", "s_server", "-accept", f"{host}:{port}", "-cert", where.cert, "-key", where.key,
            *options, ready=lambda: b"ACCEPT" in (where.path / "log").read_bytes(),
        ):  # fmt: skip
            yield port, where
