"""Metrics equal what was sent, to the byte."""

from collections.abc import Iterator

import pytest

from tests.support.client import Client, pattern, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import chunked
from tests.support.metrics import Metrics
from tests.support.origin import Connection, Origin
from tests.support.wait import DEADLINE_S


@pytest.fixture(scope="module")
def origin() -> Iterator[EchoOrigin]:
    with EchoOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(origin: EchoOrigin) -> Iterator[Fastmesh]:
    with Fastmesh(upstream=origin.address) as proxy:
        yield proxy


class Difference:
    """What changed between two scrapes."""

    def __init__(self, proxy: Fastmesh) -> None:
        self._proxy = proxy
        self._before = proxy.counts()

    def taken(self) -> "Difference":
        self._proxy.settle()
        self._after: Metrics = self._proxy.counts()
        return self

    def of(self, name: str, **labels: str) -> float:
        return self._after.sum(name, **labels) - self._before.sum(name, **labels)


def test_requests_codes_and_connections(proxy: Fastmesh) -> None:
    change = Difference(proxy)
    codes = [200] * 5 + [204] * 2 + [304, 404, 500, 503]
    with Client(proxy.address) as client:
        for code in codes:
            client.get(f"/status?code={code}")
    change.taken()
    assert change.of("fastmesh_requests_total") == len(codes)
    for code in set(codes):
        assert change.of("fastmesh_responses_total", code=str(code)) == codes.count(code)
    assert change.of("fastmesh_responses_total", **{"class": "2xx"}) == 7
    assert change.of("fastmesh_request_duration_seconds_count") == len(codes)
    assert change.of("fastmesh_request_duration_seconds_bucket", le="+Inf") == len(codes)
    assert 0 < change.of("fastmesh_request_duration_seconds_sum") < 10
    assert change.of("fastmesh_connections_accepted_total") == 1
    assert change.of("fastmesh_connections_closed_total") == 1
    assert change.of("fastmesh_worker_connects_total") + change.of("fastmesh_worker_reuses_total") == len(codes)
    assert change.of("fastmesh_proxy_errors_total") == 0


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 100, 70_000, 3_000_000])
def test_bytes(proxy: Fastmesh, size: int, how: str) -> None:
    """Bytes as they crossed the client's connection: heads, chunk lines and all."""
    change = Difference(proxy)
    body = pattern(size)
    if how == "length":
        data = request("POST", "/echo", body=body)
    else:
        data = request("POST", "/echo?as=chunked", "Transfer-Encoding: chunked") + chunked(
            body[: size // 2], body[size // 2 :]
        )
    with Client(proxy.address) as client:
        client.send(data)
        client.half_close()
        received, _ = client.read_to_end()
    change.taken()
    assert change.of("fastmesh_request_bytes_total") == len(data)
    assert change.of("fastmesh_response_bytes_total") == len(received)


def test_refusals_by_cause(proxy: Fastmesh) -> None:
    change = Difference(proxy)
    bad = {
        "host_missing": b"GET / HTTP/1.1\r\n\r\n",
        "bad_method": b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "obs_fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
        "length_and_coding": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "line_too_long": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        "too_many_fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    }
    for data in bad.values():
        with Client(proxy.address) as client:
            client.ask(data)
    change.taken()
    for cause in bad:
        assert change.of("fastmesh_proxy_errors_total", cause=cause) == 1, cause
    assert change.of("fastmesh_requests_total") == len(bad)
    assert change.of("fastmesh_responses_total", code="400") == 4
    assert change.of("fastmesh_responses_total", code="414") == 1
    assert change.of("fastmesh_responses_total", code="431") == 1


def test_upstream_failures_are_counted_once() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nX : bad\r\n\r\n")
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            assert client.get("/").status == 502
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_responses_total", code="502") == 1
        assert metrics.sum("fastmesh_proxy_errors_total") == 1
        assert metrics.sum("fastmesh_upstream_failures_total") == 1


def test_a_client_that_leaves_is_an_abort() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.wait_end()

    with Origin(script) as origin, Fastmesh(upstream=origin.address) as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/"))
            assert origin.connection().head_seen.wait(DEADLINE_S)
            client.reset()
        proxy.settle()
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_client_aborts_total") == 1
        assert metrics.sum("fastmesh_responses_total", code="499") == 1


@pytest.mark.parametrize(("detail", "buckets"), [("full", True), ("coarse", True), ("off", False)])
def test_histogram_detail_is_a_switch(origin: EchoOrigin, detail: str, buckets: bool) -> None:
    with Fastmesh(upstream=origin.address, metrics_histogram=detail) as proxy:
        with Client(proxy.address) as client:
            client.get("/")
        metrics = proxy.counts()
        assert metrics.has("fastmesh_request_duration_seconds_bucket") == buckets
        assert metrics.sum("fastmesh_request_duration_seconds_count") == 1
        counts = sorted(
            (float(dict(labels)["le"]), value)
            for (name, labels), value in metrics.samples.items()
            if name == "fastmesh_request_duration_seconds_bucket"
        )
        assert [value for _, value in counts] == sorted(value for _, value in counts)  # cumulative
