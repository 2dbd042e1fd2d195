"""How the machine is judged, and that an address in use and a name without address are found."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastmesh import check
from fastmesh.check import Finding, Machine
from fastmesh.config import Config, load
from fastmesh.config.model import Address
from tests.support.configs import write

MACHINE = Machine("Linux", "x86_64", (6, 1), 4, None, 1 << 20, 4096, 8 << 30)


def config(**variables: str) -> Config:
    environ = {"FASTMESH_UPSTREAM": "127.0.0.1:9000", "FASTMESH_LISTEN": "127.0.0.1:0", "FASTMESH_ADMIN": "off"}
    return load(environ | {f"FASTMESH_{name.upper()}": text for name, text in variables.items()})


def one(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize(
    ("machine", "level"),
    [
        (MACHINE, "ok"),
        (MACHINE._replace(architecture="aarch64", kernel=(4, 5)), "ok"),
        (MACHINE._replace(system="Darwin"), "error"),
        (MACHINE._replace(architecture="riscv64"), "error"),
        (MACHINE._replace(kernel=(4, 4)), "error"),
        (MACHINE._replace(kernel=(3, 19)), "error"),
    ],
)
def test_platform(machine: Machine, level: str) -> None:
    assert one(check.judge_platform(machine)).level == level


@pytest.mark.parametrize(
    ("limit", "level", "text"),
    [
        (20073, "ok", "20073 allowed, 20073 needed"),
        (20072, "warning", "FASTMESH_MAX_CONNECTIONS=9999"),
        (1024, "warning", "enough for 475 connections per worker"),
        (75, "warning", "FASTMESH_MAX_CONNECTIONS=1"),
        (74, "error", "20073 are needed"),
    ],
)
def test_descriptors(limit: int, level: str, text: str) -> None:
    finding = one(check.judge_descriptors(config(), MACHINE._replace(fd_limit=limit)))
    assert (finding.level, text in finding.text) == (level, True), finding


def test_slots_for_streams_need_no_descriptors() -> None:
    """Nor are more descriptors than slots needed."""
    machine = MACHINE._replace(fd_limit=20073)
    assert one(check.judge_descriptors(config(connection_slots="400000"), machine)).level == "ok"
    fewer = MACHINE._replace(fd_limit=10074)
    assert one(check.judge_descriptors(config(connection_slots="10001"), fewer)).level == "ok"


@pytest.mark.parametrize("limit", [75, 500, 1024, 20072])
def test_the_advised_number_of_connections_fits(limit: int) -> None:
    machine = MACHINE._replace(fd_limit=limit)
    advised = one(check.judge_descriptors(config(), machine)).text.partition("MAX_CONNECTIONS=")[2]
    assert one(check.judge_descriptors(config(max_connections=advised), machine)).level == "ok"


@pytest.mark.parametrize(
    ("workers", "cpus", "quota", "level"),
    [("1", 1, None, "ok"), ("4", 4, None, "ok"), ("5", 4, None, "warning"), ("1", 4, 0.5, "ok"),
     ("2", 4, 1.5, "warning"), ("2", 4, 2.0, "ok")],
)  # fmt: skip
def test_workers(workers: str, cpus: int, quota: float | None, level: str) -> None:
    machine = MACHINE._replace(cpus=cpus, cpu_quota=quota)
    assert one(check.judge_cpus(config(workers=workers), machine)).level == level


@pytest.mark.parametrize(("memory", "level"), [(144 << 20, "ok"), ((144 << 20) - 1, "warning"), (None, "ok")])
def test_memory(memory: int | None, level: str) -> None:
    assert one(check.judge_memory(config(), MACHINE._replace(memory_bytes=memory))).level == level


@pytest.mark.parametrize(("somaxconn", "level"), [(4096, "ok"), (128, "warning"), (None, "ok")])
def test_backlog(somaxconn: int | None, level: str) -> None:
    assert one(check.judge_backlog(config(), MACHINE._replace(somaxconn=somaxconn))).level == level


def test_metrics() -> None:
    assert list(check.judge_meters(config())) == []
    assert one(check.judge_meters(config(meter_blocks="1"))).level == "warning"


def test_facts_of_this_machine() -> None:
    machine = check.facts()
    assert machine.system == "Linux"
    assert machine.kernel >= (4, 5)
    assert machine.cpus == len(os.sched_getaffinity(0))
    assert machine.somaxconn == int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert machine.memory_bytes is not None
    assert machine.fd_limit > 0


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("150000 100000\n", 1.5), ("", None), ("x y", None), ("1 0", None)]
)
def test_cpu_quota(text: str, quota: float | None) -> None:
    assert check._cpu_quota(text) == quota


@pytest.mark.parametrize(
    ("cgroup", "meminfo", "found"),
    [("max\n", "MemAvailable:    2 kB\n", 2048), ("100\n", "MemTotal: 9 kB\nMemAvailable: 2 kB\n", 100),
     ("", "", None), ("300", "", 300)],
)  # fmt: skip
def test_memory_of_cgroup_and_machine(cgroup: str, meminfo: str, found: int | None) -> None:
    assert check._memory(cgroup, meminfo) == found


@pytest.mark.parametrize(
    ("release", "numbers"), [("6.1.0-13-amd64", (6, 1)), ("5.15-rc1", (5, 15)), ("4.4", (4, 4)), ("odd", ())]
)
def test_kernel_release(release: str, numbers: tuple[int, ...]) -> None:
    assert check._numbers(release) == numbers


# What is looked at on the machine itself.


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on loopback that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use_is_an_error_and_a_free_one_is_not(taken: int) -> None:
    findings = list(check.judge_addresses(config(listen=f"127.0.0.1:{taken},127.0.0.1:0")))
    assert [(finding.level, finding.subject) for finding in findings] == [
        ("error", "listener default"),
        ("ok", "listener default-2"),
    ]
    assert f"127.0.0.1:{taken}" in findings[0].text


def test_the_admin_port_is_looked_at(taken: int) -> None:
    findings = list(check.judge_addresses(config(admin=f"127.0.0.1:{taken}")))
    assert [(finding.level, finding.subject) for finding in findings] == [
        ("ok", "listener default"),
        ("error", "admin"),
    ]


def test_addresses_are_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "l.sock"
    found = config(listen=f"unix:{path}")
    for _ in range(2):
        assert one(check.judge_addresses(found)).level == "ok"
        assert not path.exists()


def test_a_unix_socket_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    listen = f"unix:{tmp_path}/file,unix:{tmp_path}/no/l.sock"
    assert [finding.level for finding in check.judge_addresses(config(listen=listen))] == ["error", "error"]
    assert (tmp_path / "file").read_text() == ""


def test_names_are_resolved_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def look_up(address: Address) -> None:
        meeting.wait(10)
        if address.host == "b":
            raise socket.gaierror(-2, "Name or service not known")
        if address.host == "c":
            raise UnicodeError("label too long")

    findings = list(check.judge_upstreams(config(upstream="a:1,b:1,c:1,127.0.0.1:1"), look_up))
    assert [finding.level for finding in findings] == ["ok", "error", "error"]
    assert findings[1].text == "b cannot be resolved: Name or service not known"
    assert findings[2].text == "c cannot be resolved: label too long"


def test_a_name_without_an_answer_is_an_error() -> None:
    done = threading.Event()

    def look_up(address: Address) -> None:
        done.wait(30)

    try:
        finding = one(check.judge_upstreams(config(upstream="a:1"), look_up, 0.01))
    finally:
        done.set()
    assert (finding.level, finding.text) == ("error", "a cannot be resolved: no answer in 0.01 s")


def test_localhost_is_resolved() -> None:
    check.resolve(Address("name", "localhost", 1))


def test_the_socket_of_an_upstream(tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    assert [f.level for f in check.judge_upstreams(config(upstream=f"unix:{path}"))] == ["warning", "ok"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert [f.level for f in check.judge_upstreams(config(upstream=f"unix:{path}"))] == ["ok"]


def test_the_file_of_the_access_log(tmp_path: Path) -> None:
    assert list(check.judge_access_log(config(access_log_path="/no/file"))) == []
    assert list(check.judge_access_log(config(access_log="json"))) == []
    assert one(check.judge_access_log(config(access_log="json", access_log_path="/no/file"))).level == "error"
    assert one(check.judge_access_log(config(access_log="json", access_log_path=str(tmp_path)))).level == "error"
    path = tmp_path / "log"
    assert one(check.judge_access_log(config(access_log="json", access_log_path=str(path)))).level == "ok"
    assert not path.exists()


def test_the_user_must_be_there_and_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check.judge_user(config())) == []
    assert one(check.judge_user(config(user="no-such-user"))).level == "error"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert one(check.judge_user(config(user="2102:7"))) == ("ok", "user", "2102:7 is uid 2102, gid 7")
    monkeypatch.setattr(os, "geteuid", lambda: 2102)
    assert one(check.judge_user(config(user="2102"))).level == "ok"
    assert one(check.judge_user(config(user="2103"))).level == "error"


def test_a_whole_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], taken: int) -> None:
    environ = write(tmp_path / "f.toml", {"listen": f"127.0.0.1:{taken}", "upstream": "localhost:1", "admin": "off"})
    assert check.run(environ) == 1
    out = capsys.readouterr().out
    assert f"ok       configuration      {tmp_path}/f.toml" in out
    assert f"error    listener default   cannot listen on 127.0.0.1:{taken}" in out
    for subject in ("platform", "compiled core", "file descriptors", "workers", "memory", "backlog", "localhost"):
        assert subject in out


def test_a_missing_core_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    assert one(check.judge_core()).level == "error"
    monkeypatch.setattr(check, "find_spec", lambda name: object())
    assert one(check.judge_core()).level == "ok"


def test_configuration_errors_come_with_what_the_machine_says(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"FASTMESH_LISTEN": "127.0.0.1:0", "FASTMESH_ADMIN": "off"}
    assert check.run(environ | {"FASTMESH_WORKERS": "0"}) == 64
    out, err = capsys.readouterr()
    assert "listener default" in out
    assert err.startswith("fastmesh: 1 problem in the configuration\n")
    assert check.run(environ) == 64
    assert "FASTMESH_UPSTREAM" in capsys.readouterr().err


def test_defaults_fit_an_ordinary_machine() -> None:
    findings = [check.judge_descriptors(Config(), MACHINE), check.judge_cpus(Config(), MACHINE),
                check.judge_memory(Config(), MACHINE), check.judge_backlog(Config(), MACHINE)]  # fmt: skip
    assert {one(finding).level for finding in findings} == {"ok"}
