"""The process log and the access log: formats, levels, rate limits, files that move or fail."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.spec import LogTemplateSpec
from fastmesh.telemetry.accesslog import AccessLog, compile_template
from fastmesh.telemetry.log import ProcessLog, RateLimit
from tests.support.wait import until
from tests.unit import fake_bridge

NUMBERS = fake_bridge.LOG_FIELDS
_PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ ]*)')


class Pipe:
    """A log's end to write to, and what came through."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        os.set_blocking(self._read, False)

    def lines(self) -> list[str]:
        try:
            return os.read(self._read, 1 << 20).decode().removesuffix("\n").split("\n")
        except BlockingIOError:
            return []

    def close(self) -> None:
        os.close(self._read)
        os.close(self.fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def parsed(line: str) -> dict[str, str]:
    """key=value text as a reader takes it apart."""
    return {key: json.loads(value) if value.startswith('"') else value for key, value in _PAIR.findall(line)}


def test_text_lines_have_time_level_message_and_fields(pipe: Pipe) -> None:
    ProcessLog(fd=pipe.fd)("warning", "endpoint left out", address="10.0.0.1:80", error="no route", on=True, s=1.5)
    (line,) = pipe.lines()
    assert re.match(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=warning msg=", line)
    assert parsed(line) | {"time": ""} == {
        "time": "", "level": "warning", "msg": "endpoint left out", "address": "10.0.0.1:80", "error": "no route",
        "on": "true", "s": "1.5",
    }  # fmt: skip


@given(st.text(max_size=60), st.booleans())
def test_any_value_is_one_line_that_reads_back(value: str, as_json: bool) -> None:
    pipe = Pipe()
    ProcessLog(json=as_json, fd=pipe.fd)("error", "x", value=value)
    lines = pipe.lines()
    pipe.close()
    assert len(lines) == 1
    assert as_json or lines[0].isprintable()
    read = json.loads(lines[0]) if as_json else parsed(lines[0])
    assert read["value"] == value.encode("utf-8", "replace").decode()


def test_json_keeps_numbers(pipe: Pipe) -> None:
    ProcessLog(json=True, fd=pipe.fd)("info", "m", count=3, share=0.25, on=False, nothing=None)
    (line,) = pipe.lines()
    read = json.loads(line)
    assert (read["count"], read["share"], read["on"], read["nothing"]) == (3, 0.25, False, None)


def test_levels_can_be_changed_and_the_start_line_is_always_written(pipe: Pipe) -> None:
    log = ProcessLog("warning", fd=pipe.fd)
    log("info", "no")
    log.always("info", "start")
    log.level = "debug"
    log("debug", "yes")
    assert [parsed(line)["msg"] for line in pipe.lines()] == ["start", "yes"]
    bad: Any = "loud"
    with pytest.raises(ValueError, match="loud"):
        log.level = bad
    assert log.level == "debug"


def test_a_closed_log_never_ends_the_process() -> None:
    read, write = os.pipe()
    os.close(read)
    log = ProcessLog(fd=write)
    log("error", "nobody hears")
    os.close(write)
    assert log.dropped == 1


def test_rate_limit_holds_back_and_says_how_many() -> None:
    now = [0.0]
    limit = RateLimit(2, 10, lambda: now[0])
    assert [limit.take("a") for _ in range(5)] == [0, 0, -1, -1, -1]
    assert limit.take("b") == 0
    now[0] = 10
    assert [limit.take("a") for _ in range(3)] == [3, 0, -1]
    now[0] = 20
    assert limit.take("a") == 1


def rendered(template: LogTemplateSpec, values: dict[str, str]) -> str:
    names = {number: name for name, number in NUMBERS.items()}
    return "".join(
        values.get(names[number] + (":" + text.decode() if text else ""), names[number]) if number else text.decode()
        for number, text in template.parts
    )


def test_combined_is_the_format_of_apache_and_nginx() -> None:
    template = compile_template("combined", NUMBERS)
    values = {
        "client_addr": "192.0.2.7", "time_local": "10/Oct/2000:13:55:36 -0700", "method": "GET", "target": "/a?b",
        "version": "HTTP/1.1", "status": "200", "body_bytes": "2326", "referer": "http://r/", "user_agent": "UA/1",
    }  # fmt: skip
    assert template.escape == 0
    assert rendered(template, values) == (
        '192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.1" 200 2326 "http://r/" "UA/1"'
    )


def test_json_lines_are_json_with_bare_numbers() -> None:
    template = compile_template("json", NUMBERS)
    numbers = ("client_port", "status", "request_bytes", "response_bytes", "duration_ms", "upstream_ms", "retries")
    read = json.loads(rendered(template, dict.fromkeys(numbers, "1")))
    assert template.escape == 1
    assert {name for name, value in read.items() if value == 1} == set(numbers)
    assert {"method", "target", "route", "listener", "fault", "upstream_addr", "time_iso"} <= read.keys()


def test_templates_have_fields_arguments_and_braces() -> None:
    template = compile_template("{{{method}}} {header:X-Request-Id}|{status}", NUMBERS)
    assert template.parts == (
        (0, b"{"), (NUMBERS["method"], b""), (0, b"} "), (NUMBERS["header"], b"x-request-id"), (0, b"|"),
        (NUMBERS["status"], b""),
    )  # fmt: skip


class Rig:
    """An access log over a ring in memory."""

    def __init__(self) -> None:
        self.ring: Any = fake_bridge.LogRing(1, 65536, LogTemplateSpec((), 0))
        self.logged: list[tuple[str, str]] = []
        self.access = AccessLog(self.ring, lambda level, message, **fields: self.logged.append((level, message)))


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.access.close(10)


def test_what_the_rings_hold_is_written_at_the_end(rig: Rig, tmp_path: Path) -> None:
    rig.access.open(str(tmp_path / "log"))
    rig.access.close(10)
    assert (tmp_path / "log").read_text() == "rest\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640


def test_reopen_writes_to_a_new_file_under_the_same_descriptor(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "log"
    rig.access.open(str(path))
    path.rename(tmp_path / "log.1")
    rig.access.reopen()
    rig.access.close(10)
    assert path.read_text() == "rest\n"
    assert (tmp_path / "log.1").read_text() == ""


def test_a_file_that_cannot_be_reopened_leaves_the_old_one(rig: Rig, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    rig.access.open(str(directory / "log"))
    directory.rename(tmp_path / "moved")
    rig.access.reopen()
    assert rig.logged == [("error", "access log not reopened")]
    assert rig.access.failures == 1
    rig.access.close(10)
    assert (tmp_path / "moved" / "log").read_text() == "rest\n"


def test_a_flusher_that_errors_end_is_started_again_and_told_of_once(rig: Rig, tmp_path: Path) -> None:
    rig.ring.failures = [28, 28, 28]
    rig.access.open(str(tmp_path / "log"))

    def revived() -> bool:
        rig.access.look()
        return rig.access.failures == 3

    until(revived, "three errors")
    rig.access.look()
    assert rig.logged == [("error", "access log interrupted")]
    assert rig.access.failures == 3
    rig.access.close(10)
    assert (tmp_path / "log").read_text() == "rest\n"


def test_a_log_that_is_left_keeps_its_file_until_the_rings_are_written(rig: Rig, tmp_path: Path) -> None:
    def is_open() -> bool:
        return str(tmp_path / "log") in [os.readlink(link.path) for link in os.scandir("/proc/self/fd")]

    rig.access.open(str(tmp_path / "log"))
    rig.access.leave()
    rig.access.look()
    assert is_open()
    rig.access.look()
    assert not is_open()
    rig.access.reopen()  # a rotation has nothing to open
    assert not is_open()
    rig.access.open(str(tmp_path / "log"))
    rig.access.close(10)
    assert (tmp_path / "log").read_text() == "rest\n"


def test_opening_a_directory_is_an_error_for_the_caller(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        rig.access.open(str(tmp_path))
