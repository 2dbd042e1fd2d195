"""FASTMESH_USER: started as root, listening, then somebody without any rights; everything else goes on."""

import itertools
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.client import Client
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import START_S, Fastmesh
from tests.support.reach import for_everyone
from tests.support.sanitizer import FOREIGN, SANITIZED
from tests.support.wait import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
UID, GID = 2102, 2103
USER = f"{UID}:{GID}"
RELOADS = "fastmesh_config_reloads_total"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root"),
    pytest.mark.skipif(SANITIZED, reason=FOREIGN),
]


@pytest.fixture(scope="module")
def origin() -> Iterator[EchoOrigin]:
    with EchoOrigin() as made:
        yield made


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """One that the user owns; those above it let it through while the test runs."""
    made = tmp_path / "own"
    made.mkdir()
    os.chown(made, UID, GID)
    above = [parent for parent in made.parents if parent.stat().st_mode & 0o001 == 0]
    modes = [parent.stat().st_mode for parent in above]
    for parent, mode in zip(above, modes, strict=True):
        parent.chmod(mode | 0o001)
    yield made
    for parent, mode in zip(above, modes, strict=True):
        parent.chmod(mode)


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def status(pid: int) -> list[dict[str, list[str]]]:
    """/proc/PID/status of every thread: what privileges each has."""
    threads = pathlib.Path(f"/proc/{pid}/task").iterdir()
    pairs = ([line.partition(":") for line in (task / "status").read_text().splitlines()] for task in threads)
    return [{name: value.split() for name, _, value in each} for each in pairs]


def run(**settings: str) -> "subprocess.CompletedProcess[str]":
    """A `fastmesh run` that is expected to end by itself."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTMESH_")} | {
        f"FASTMESH_{key.upper()}": value for key, value in settings.items()
    }
    return subprocess.run(
        [*for_everyone(), sys.executable, "-m", "fastmesh", "run"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=START_S, check=False,
    )  # fmt: skip


def test_every_thread_is_the_user_without_any_capability(origin: EchoOrigin, folder: pathlib.Path) -> None:
    """Threads that resolve names and write the access log too; a name in the upstream makes the first start."""
    log, port = folder / "access.log", origin.address.rpartition(":")[2]
    with Fastmesh(
        upstream=f"localhost:{port}", user=USER, before=for_everyone(), workers=2, access_log="{status}",
        access_log_path=log,
    ) as proxy:  # fmt: skip
        with Client(proxy.address) as client:
            assert client.get("/").status == 200
        threads = status(proxy.process.pid)
        assert len(threads) >= 4
        for thread in threads:
            assert thread["Uid"] == [str(UID)] * 4
            assert thread["Gid"] == [str(GID)] * 4
            assert thread["Groups"] in ([], [str(GID)])
            assert {thread[f"Cap{which}"][0] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
            assert thread["NoNewPrivs"] == ["1"]
        line = proxy.wait_log(lambda line: "privileges dropped" in line)
        assert f"uid {UID}, gid {GID}" in line
        assert proxy.metrics().sum("process_open_fds") > 0
        assert log.stat().st_uid == UID


def test_rotation_reload_and_drain_still_work(origin: EchoOrigin, folder: pathlib.Path) -> None:
    log, config = folder / "access.log", folder / "fastmesh.toml"
    content = f'[[backends]]\nname = "b"\nendpoints = ["{origin.address}"]\n'
    config.write_text(content)
    with Fastmesh(
        extra_env={"FASTMESH_CONFIG": str(config)}, user=USER, before=for_everyone(), access_log="{target}",
        access_log_path=log, reload_interval="off",
    ) as proxy, Client(proxy.address) as client:  # fmt: skip
        assert client.get("/before").status == 200
        until(lambda: "/before" in log.read_text(), "the first line")
        log.rename(folder / "rotated")
        proxy.signal(signal.SIGUSR1)
        until(log.exists, "the new file")
        assert client.get("/behind").status == 200
        until(lambda: log.read_text() == "/behind\n", "the line in the new file")
        config.write_text("keepalive_requests = 7\n" + content)
        proxy.signal(signal.SIGHUP)
        until(lambda: proxy.metrics().sum(RELOADS, result="ok") == 1, "the reload")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0


def test_a_privileged_port_is_had_at_start_and_refused_in_a_reload(origin: EchoOrigin, folder: pathlib.Path) -> None:
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1000:
        pytest.skip("every port is free to everyone here")
    config = folder / "fastmesh.toml"

    def content(*ports: int) -> str:
        listeners = "".join(f'[[listeners]]\nname = "l{p}"\naddress = "127.0.0.1:{p}"\n' for p in ports)
        return f'{listeners}[[backends]]\nname = "b"\nendpoints = ["{origin.address}"]\n'

    first, second = itertools.islice(filter(is_free, range(1000, 600, -1)), 2)
    config.write_text(content(first))
    with Fastmesh(
        listen=None, extra_env={"FASTMESH_CONFIG": str(config)}, user=USER, before=for_everyone(), reload_interval="off"
    ) as proxy:
        with Client(f"127.0.0.1:{first}") as client:
            assert client.get("/").status == 200
        config.write_text(content(first, second))
        proxy.signal(signal.SIGHUP)
        line = proxy.wait_log(lambda line: "configuration refused" in line)
        assert f"cannot listen on 127.0.0.1:{second}" in line
        assert "EACCES" in line
        with Client(f"127.0.0.1:{first}") as client:
            assert client.get("/").status == 200


def test_what_the_user_cannot_do_later_is_told(origin: EchoOrigin, folder: pathlib.Path) -> None:
    """A configuration it cannot read; a folder it cannot write to, which is refused at start already."""
    config = folder / "fastmesh.toml"
    config.write_text(f'[[backends]]\nname = "b"\nendpoints = ["{origin.address}"]\n')
    config.chmod(0o600)
    given = {"FASTMESH_CONFIG": str(config)}
    with Fastmesh(extra_env=given, user=USER, before=for_everyone(), reload_interval="off") as proxy:
        proxy.wait_log(lambda line: "the user cannot read the configuration, no reload" in line)
        proxy.signal(signal.SIGHUP)
        proxy.wait_log(lambda line: "configuration refused" in line)
        proxy.wait_log(lambda line: "Permission denied" in line)
    folder.chmod(0o500)
    os.chown(folder, 0, 0)
    done = run(upstream=origin.address, user=USER, listen="127.0.0.1:0", admin="off", access_log="json",
               access_log_path=str(folder / "access.log"))  # fmt: skip
    assert done.returncode == 1
    assert "access.log" in done.stderr
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize(
    ("user", "said"),
    [("no-such-user", "there is no user 'no-such-user'"), ("1:no-such-group", "there is no group 'no-such-group'")],
)
def test_an_unknown_user_is_exit_1(user: str, said: str) -> None:
    done = run(upstream="127.0.0.1:9", user=user, listen="127.0.0.1:0", admin="off")
    assert done.returncode == 1
    assert f"FASTMESH_USER={user}" in done.stderr
    assert said in done.stderr


def test_a_user_that_is_no_name_is_a_configuration_error() -> None:
    done = run(upstream="127.0.0.1:9", user="some one")
    assert done.returncode == 64
    assert "must be a user, or user:group" in done.stderr
