"""What a connection's first bytes cost: the verdict, a ClientHello whole and in many records, a PROXY header.

    .venv/bin/python -m pytest bench/micro/test_sniff.py --benchmark-enable --benchmark-columns=min,median,ops

Paid once a connection, beside an accept and a connect of some ten microseconds.
"""

from typing import Any

import pytest

from bench.micro.test_wire import BROWSER, WRK, per_call
from tests.model.wire_enums import enum_of
from tests.probe.sniff_bench import hello_loop, proxy_loop, sniff_loop
from tests.probe.wire_proxy import proxy_write
from tests.support import hello

Verdict = enum_of("sniff.pxd", "SniffVerdict")
HELLO = hello.of_python("www.example.com", ("h2", "http/1.1"))
OPENINGS = {
    "wrk": (WRK, Verdict.SNIFF_HTTP1),
    "browser": (BROWSER, Verdict.SNIFF_HTTP1),
    "longest": (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n", Verdict.SNIFF_HTTP1),
    "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Verdict.SNIFF_HTTP2),
    "hello": (HELLO, Verdict.SNIFF_TLS),
    "redis": (b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", Verdict.SNIFF_OPAQUE),
}
MESSAGE = hello.unwrap(HELLO)
HELLOS = {"whole": HELLO, "2-records": hello.records(MESSAGE, [100]), "bytewise": hello.records(MESSAGE, range(600))}
ADDRESSES = {"source": bytes([192, 0, 2, 1]), "destination": bytes([192, 0, 2, 2]), "source_port": 56324}


@pytest.mark.parametrize("name", OPENINGS)
def test_sniff_c(benchmark: Any, name: str) -> None:
    data, verdict = OPENINGS[name]
    per_call(benchmark, lambda loops: sniff_loop(data, verdict, loops), min(len(data), 1024))


@pytest.mark.parametrize("name", HELLOS)
def test_client_hello_c(benchmark: Any, name: str) -> None:
    per_call(benchmark, lambda loops: hello_loop(HELLOS[name], loops), len(HELLOS[name]))


@pytest.mark.parametrize("version", [1, 2])
def test_proxy_header_c(benchmark: Any, version: int) -> None:
    data = proxy_write(version, 2, **ADDRESSES)
    per_call(benchmark, lambda loops: proxy_loop(data, loops), len(data))
