"""The access log: one line for every exchange, true in every field, safe against what clients put in them."""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.origin import Connection, Origin, serve
from tests.support.wait import until

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin(serve(ANSWER)) as origin:
        yield origin


class Logged:
    """A proxy with an access log in a file."""

    def __init__(self, origin: Origin, tmp_path: pathlib.Path, form: str, **settings: Any) -> None:
        self.path = tmp_path / "access.log"
        self.proxy = Fastmesh(
            upstream=origin.address,
            access_log=form,
            access_log_path=str(self.path),
            **settings,
        )

    def __enter__(self) -> "Logged":
        return self

    def __exit__(self, *what: Any) -> None:
        self.proxy.__exit__(*what)

    def lines(self, count: int) -> list[str]:
        """All lines, once `count` are there; more are an error."""

        def complete() -> bool:
            return self.path.exists() and self.path.read_bytes().count(b"\n") >= count

        until(complete, f"{count} lines of access log")
        lines = self.path.read_text("utf-8").splitlines()
        assert len(lines) == count
        return lines


def test_json_lines_are_true(origin: Origin, tmp_path: pathlib.Path) -> None:
    with Logged(origin, tmp_path, "json") as logged:
        data = request("POST", "/a?b=c", "User-Agent: tests/1", "Referer: http://r.test/", body=b"12345")
        with Client(logged.proxy.address) as client:
            answer = client.ask(data, "POST")
            port = client.name.rpartition(":")[2]
        line = json.loads(logged.lines(1)[0])
        assert line["client_addr"] == "127.0.0.1"
        assert line["client_port"] == int(port)
        assert line["listener"] == "default"
        assert line["route"] == "default"
        assert (line["method"], line["target"], line["version"]) == ("POST", "/a?b=c", "HTTP/1.1")
        assert line["host"] == "t.test"
        assert line["status"] == 201
        assert line["request_bytes"] == len(data)
        assert line["response_bytes"] == len(answer.head) + len(answer.body)
        assert line["upstream_addr"] == origin.address
        assert (line["user_agent"], line["referer"]) == ("tests/1", "http://r.test/")
        assert line["retries"] == 0
        assert not line["fault"] or line["fault"] == "-"
        assert 0 <= line["upstream_ms"] <= line["duration_ms"] < 10_000
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", line["time_iso"])


def test_every_exchange_has_one_line(origin: Origin, tmp_path: pathlib.Path) -> None:
    with Logged(origin, tmp_path, "json") as logged, Client(logged.proxy.address) as client:
        client.send(b"".join(request("GET", f"/{i}") for i in range(500)))
        for _ in range(500):
            client.read()
        assert [json.loads(line)["target"] for line in logged.lines(500)] == [f"/{i}" for i in range(500)]


def test_refused_requests_are_logged_with_their_cause(origin: Origin, tmp_path: pathlib.Path) -> None:
    with Logged(origin, tmp_path, "json") as logged:
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"\x16\x03\x01\r\n"):
            with Client(logged.proxy.address) as client:
                client.ask(data)
        lines = [json.loads(line) for line in logged.lines(3)]
        assert [line["status"] for line in lines] == [400, 505, 400]
        assert [line["fault"] for line in lines] == ["host_missing", "unsupported_version", "bad_method"]


def test_failed_exchanges_are_logged_with_their_cause(tmp_path: pathlib.Path) -> None:
    def script(connection: Connection) -> None:
        connection.request()

    with (
        Origin(script) as origin,
        Logged(origin, tmp_path, "{status} {fault} {upstream_addr}") as logged,
        Client(logged.proxy.address) as client,
    ):
        assert client.get("/").status == 502
        status, fault, address = logged.lines(1)[0].split(" ")
        assert (status, address) == ("502", origin.address)
        assert fault in ("upstream_closed", "upstream_reset")


def test_combined_lines(origin: Origin, tmp_path: pathlib.Path) -> None:
    with Logged(origin, tmp_path, "combined") as logged, Client(logged.proxy.address) as client:
        answer = client.get("/x", "User-Agent: a b", "Referer: -")
        client.get("/plain")
        first, second = logged.lines(2)
        pattern = (
            r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
            r'"GET /(\S*) HTTP/1\.1" 201 (?P<body>\d+) "([^"]*)" "([^"]*)"'
        )  # fmt: skip
        match = re.fullmatch(pattern, first)
        assert match, first
        assert (match[4], int(match["body"])) == ("a b", len(answer.body))
        assert re.fullmatch(pattern, second), second
        assert second.endswith('"-" "-"')


def test_template_with_header_fields(origin: Origin, tmp_path: pathlib.Path) -> None:
    form = "{{{method}}} {target} {header:x-request-id}|{header:X-Missing}|{status}"
    with Logged(origin, tmp_path, form) as logged, Client(logged.proxy.address) as client:
        client.get("/t", "X-Request-Id: abc-1")
        assert logged.lines(1) == ["{GET} /t abc-1|-|201"]


NASTY = 'a"b\\c\td\u00e9\u00ff}{'


def test_what_clients_send_cannot_break_a_json_line(origin: Origin, tmp_path: pathlib.Path) -> None:
    with Logged(origin, tmp_path, "json") as logged, Client(logged.proxy.address) as client:
        client.get("/%22", f"User-Agent: {NASTY}", f"Referer: {NASTY}")
        line = logged.lines(1)[0]
        assert line.isprintable()
        agent = json.loads(line)["user_agent"]
        assert agent.startswith('a"b\\c\td')
        assert agent.endswith("}{")


def test_what_clients_send_cannot_break_a_text_line(origin: Origin, tmp_path: pathlib.Path) -> None:
    with Logged(origin, tmp_path, "combined") as logged, Client(logged.proxy.address) as client:
        client.get("/", f"User-Agent: {NASTY}")
        line = logged.lines(1)[0]
        assert line.isascii()
        assert line.isprintable()
        assert line.replace('\\"', "").count('"') == 6


def test_off_writes_nothing(origin: Origin) -> None:
    with Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.get("/")
        proxy.settle()
        assert proxy.stdout.read_bytes() == b""


def test_standard_output_is_the_default_place(origin: Origin) -> None:
    with Fastmesh(upstream=origin.address, access_log="{method} {status}") as proxy:
        with Client(proxy.address) as client:
            client.get("/")
        until(lambda: proxy.stdout.read_bytes() == b"GET 201\n", "the line")


def test_lines_survive_the_drain(origin: Origin, tmp_path: pathlib.Path) -> None:
    """What was answered before SIGTERM is in the file when the process has ended."""
    with Logged(origin, tmp_path, "{target}") as logged:
        with Client(logged.proxy.address) as client:
            client.send(b"".join(request("GET", f"/{i}") for i in range(200)))
            for _ in range(200):
                client.read()
        logged.proxy.stop()
        assert logged.path.read_text().split() == [f"/{i}" for i in range(200)]
