"""What the wire layer costs per message, and what httptools (llhttp) costs for the same bytes.

    .venv/bin/python -m pytest bench/micro/test_wire.py --benchmark-enable --benchmark-columns=min,median,ops

Ours is timed twice: `c` loops inside the probe without the interpreter, divided by the loops (what a worker pays), and
`python` calls the probe once per message, as httptools is called. httptools checks less (it takes bare LF by default
and leaves Host, Connection and repeated lengths to its caller) and calls back into Python for every field.
"""

from collections.abc import Callable
from typing import Any

import httptools
import pytest

from tests.model.wire_enums import OK, Edit
from tests.probe.wire_bench import HeadBench, scan_chunks
from tests.probe.wire_http1 import Parser

LOOPS = 1000

WRK = (
    b"GET /index.html?x=1 HTTP/1.1\r\nHost: 127.0.0.1:4143\r\nUser-Agent: wrk/4.1.0 (benchmark client)\r\n"
    b"Accept: text/plain\r\n\r\n"
)
BROWSER = (
    b"GET /shop/articles/2026/autumn/coats-and-jackets.html?size=large&colour=blue&page=3 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    b"Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Referer: https://www.example.com/shop/articles\r\nConnection: keep-alive\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; consent=essential; theme=dark; last=/shop/articles"
    b"; basket=4f1c2d3e5a6b7c8d9e0f; seen=1732186366; region=eu\r\n"
    b"Upgrade-Insecure-Requests: 1\r\nCache-Control: max-age=0\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 100\r\nConnection: keep-alive\r\n\r\n"
)
# A head with fields that go no further than the next hop.
HOP_BY_HOP = (
    WRK[:-2] + b"Connection: keep-alive, x-one\r\nKeep-Alive: timeout=5\r\nX-One: 1\r\n"
    b"Proxy-Connection: close\r\n\r\n"
)
HEADS = {"wrk": WRK, "browser": BROWSER, "response": RESPONSE}
FORWARDING = int(Edit["EDIT_XFF"]) | int(Edit["EDIT_FORWARDED"])
BODIES = {"small": b"5\r\nhello\r\n" * 100 + b"0\r\n", "large": (b"4000\r\n" + b"x" * 16384 + b"\r\n") * 16 + b"0\r\n"}


class Sink:
    """What a caller of httptools needs at least: the fields."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def per_call(benchmark: Any, run: Callable[[int], int], size: int) -> None:
    """Times LOOPS calls at once; extra_info says nanoseconds and bytes per nanosecond of one in the best round."""
    taken: list[int] = []
    benchmark.pedantic(lambda: taken.append(run(LOOPS)), rounds=100, warmup_rounds=5)
    assert min(taken) > 0
    benchmark.extra_info["ns"] = round(min(taken) / LOOPS, 1)
    benchmark.extra_info["bytes_per_ns"] = round(size * LOOPS / min(taken), 2)


@pytest.mark.parametrize("name", HEADS)
def test_parse_c(benchmark: Any, name: str) -> None:
    bench = HeadBench(HEADS[name], name != "response")
    per_call(benchmark, bench.parse, len(HEADS[name]))


@pytest.mark.parametrize("size", [500, 5000, 50000])
@pytest.mark.parametrize("lines", [1, 100])
def test_parse_byte_by_byte_c(benchmark: Any, lines: int, size: int) -> None:
    """A head that dribbles in: ns in extra_info is the cost of one byte, the same for every size."""
    field = b"X: " + b"y" * max(0, size // lines - 5) + b"\r\n"
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + field * lines + b"\r\n"
    bench = HeadBench(head)
    taken: list[int] = []
    benchmark.pedantic(lambda: taken.append(bench.dribble(1)), rounds=10, warmup_rounds=1)
    assert min(taken) > 0
    benchmark.extra_info["ns"] = round(min(taken) / len(head), 1)


@pytest.mark.parametrize("name", HEADS)
def test_write_c(benchmark: Any, name: str) -> None:
    bench = HeadBench(HEADS[name], name != "response")
    per_call(benchmark, bench.write, len(HEADS[name]))


@pytest.mark.parametrize("name", ["wrk", "browser"])
def test_write_with_forwarding_c(benchmark: Any, name: str) -> None:
    bench = HeadBench(HEADS[name])
    per_call(benchmark, lambda loops: bench.write(loops, FORWARDING, True), len(HEADS[name]))


@pytest.mark.parametrize("name", [b"user-agent", b"cache-control", b"x-absent"])
def test_field_get_c(benchmark: Any, name: bytes) -> None:
    """The second of eleven fields, the last, one that is not there."""
    bench = HeadBench(BROWSER)
    per_call(benchmark, lambda loops: bench.find(loops, name), len(BROWSER))


def test_write_without_four_fields_c(benchmark: Any) -> None:
    per_call(benchmark, HeadBench(HOP_BY_HOP).write, len(HOP_BY_HOP))


@pytest.mark.parametrize("name", BODIES)
def test_chunks_c(benchmark: Any, name: str) -> None:
    per_call(benchmark, lambda loops: scan_chunks(BODIES[name], loops), len(BODIES[name]))


@pytest.mark.parametrize("name", HEADS)
def test_parse_python(benchmark: Any, name: str) -> None:
    data, kind = HEADS[name], "response" if name == "response" else "request"

    def run() -> object:
        return Parser(kind).feed(data)

    assert benchmark(run) == (OK, 0)


@pytest.mark.parametrize("name", HEADS)
def test_parse_httptools(benchmark: Any, name: str) -> None:
    data = HEADS[name]
    make = httptools.HttpResponseParser if name == "response" else httptools.HttpRequestParser

    def run() -> list[tuple[bytes, bytes]]:
        sink = Sink()
        make(sink).feed_data(data)
        return sink.fields

    assert len(benchmark(run)) == data.count(b"\r\n") - 2


@pytest.mark.parametrize("name", HEADS)
def test_parse_httptools_without_callbacks(benchmark: Any, name: str) -> None:
    data = HEADS[name]
    make = httptools.HttpResponseParser if name == "response" else httptools.HttpRequestParser
    benchmark(lambda: make(object()).feed_data(data))
