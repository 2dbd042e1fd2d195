"""Start: what the start line says, and every way a start is refused."""

import errno
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.support import net
from tests.support.client import Client
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import START_S, Fastmesh

ROOT = pathlib.Path(__file__).resolve().parents[2]


def refused(**settings: str) -> tuple[int, str]:
    """Exit status and standard error of a `fastmesh run` that is expected to end by itself."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTMESH_")} | {
        f"FASTMESH_{key.upper()}": value for key, value in settings.items()
    }
    done = subprocess.run(
        [sys.executable, "-m", "fastmesh", "run"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=START_S, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_the_start_line_names_every_address(tmp_path: pathlib.Path) -> None:
    listen = f"127.0.0.1:0,[::1]:0,unix:{tmp_path}/front"
    with (
        EchoOrigin() as one,
        EchoOrigin(f"unix:{tmp_path}/back") as two,
        Fastmesh(listen=listen, upstream=f"{one.address};weight=2,{two.address}") as proxy,
    ):
        (line,) = [line for line in proxy.lines if "is ready" in line]
        fields = dict(re.findall(r"(\w+)=(\S+)", line))
        assert re.fullmatch(rf"127\.0\.0\.1:\d+,\[::1\]:\d+,unix:{tmp_path}/front", fields["listen"])
        assert fields["upstream"].split(",") == [one.address, two.address]
        assert fields["admin"] == proxy.admin
        assert fields["pid"] == str(proxy.process.pid)
        for address in fields["listen"].split(","):
            with Client(address) as client:
                assert client.get("/").status == 200


def test_the_start_line_is_json_when_the_log_is_and_there_at_any_level() -> None:
    with EchoOrigin() as origin, Fastmesh(upstream=origin.address, log="error,json") as proxy:
        (line,) = proxy.lines
        assert f'"listen":"{proxy.address}"' in line


def test_admin_off_opens_no_port() -> None:
    with EchoOrigin() as origin:
        environment = os.environ | {
            "FASTMESH_LISTEN": "127.0.0.1:0", "FASTMESH_ADMIN": "off", "FASTMESH_UPSTREAM": origin.address,
        }  # fmt: skip
        command = [sys.executable, "-m", "fastmesh", "run"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "is ready" in line)
            assert "admin=off" in line
            address = re.findall(r"listen=(\S+)", line)[0]
            with Client(address) as client:
                assert client.get("/").status == 200
            listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout
            mine = [row for row in listening.splitlines() if f"pid={process.pid}," in row]
            assert [row.split()[3] for row in mine] == [address]
            process.terminate()
            assert process.wait(START_S) == 0
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("what", ["listen", "admin"])
def test_an_address_in_use_is_exit_1_with_address_and_errno(what: str, workers: str) -> None:
    with net.listen() as taken:
        address = net.text(taken)
        settings = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", what: address}
        status, said = refused(upstream="127.0.0.1:9", workers=workers, **settings)
    assert status == 1
    assert f"cannot listen on {address}" in said
    assert errno.errorcode[errno.EADDRINUSE] in said
    assert "is ready" not in said


def test_a_second_instance_does_not_share_the_port_of_the_first() -> None:
    with EchoOrigin() as origin, Fastmesh(upstream=origin.address, workers=2) as proxy:
        status, said = refused(upstream=origin.address, workers="2", listen=proxy.address, admin="off")
        assert (status, proxy.address in said) == (1, True)
        with Client(proxy.address) as client:
            assert client.get("/").status == 200


def test_a_failed_start_leaves_no_socket_file(tmp_path: pathlib.Path) -> None:
    with net.listen() as taken:
        listen = f"unix:{tmp_path}/front,{net.text(taken)}"
        status, _ = refused(upstream="127.0.0.1:9", listen=listen, admin=f"unix:{tmp_path}/admin")
    assert status == 1
    assert list(tmp_path.iterdir()) == []


def test_every_configuration_error_is_told_at_once_with_exit_64() -> None:
    status, said = refused(upstream="127.0.0.1:9", workers="many", listen="nowhere", access_log="{no_such_field}")
    assert status == 64
    for variable in ("FASTMESH_WORKERS", "FASTMESH_LISTEN", "FASTMESH_ACCESS_LOG"):
        assert variable in said


def test_an_access_log_that_cannot_be_opened_is_exit_1(tmp_path: pathlib.Path) -> None:
    status, said = refused(
        upstream="127.0.0.1:9", access_log="json", access_log_path=str(tmp_path / "no" / "log"), listen="127.0.0.1:0"
    )
    assert status == 1
    assert "no/log" in said


def test_an_upstream_name_nobody_knows_does_not_stop_the_start() -> None:
    with Fastmesh(upstream="does-not-exist.invalid:80") as proxy:
        proxy.wait_log(lambda line: "name not resolved" in line and "does-not-exist.invalid" in line)
        with Client(proxy.address) as client:
            assert client.get("/").status == 503
        assert proxy.metrics().sum("fastmesh_resolve_failures_total", backend="default") > 0


def test_the_descriptor_limit_is_raised_to_what_connections_need() -> None:
    with EchoOrigin() as origin, Fastmesh(upstream=origin.address, max_connections=2000) as proxy:
        limits = pathlib.Path(f"/proc/{proxy.process.pid}/limits").read_text()
        soft = int(re.findall(r"Max open files\s+(\d+)", limits)[0])
        assert soft >= 4000


def test_an_idle_process_is_small() -> None:
    from fastmesh._core import bridge

    if bridge.PROFILE != "release":
        return  # a sanitizer's memory is its own
    as_shipped = {"PYTHONOPTIMIZE": ""}  # the harness's own: without cached bytecode the compiler's memory shows
    with EchoOrigin() as origin, Fastmesh(upstream=origin.address, extra_env=as_shipped) as proxy:
        with Client(proxy.address) as client:
            assert client.get("/").status == 200
        rollup = pathlib.Path(f"/proc/{proxy.process.pid}/smaps_rollup").read_text()
        assert int(re.findall(r"Rss:\s+(\d+) kB", rollup)[0]) <= 28 * 1024
