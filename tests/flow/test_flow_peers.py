"""Programs that know nothing of these tests: nginx as origin, curl and wrk as clients."""

import hashlib
import json
import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.client import pattern
from tests.support.fastmesh import Fastmesh
from tests.support.server import Nginx, plain_environment

BIG = pattern(5_000_000)
SITE = """
server {
    listen LISTEN;
    root ROOT;
    location /small { return 200 "hello from nginx\\n"; }
    location /upload { client_body_buffer_size 64m; proxy_pass http://LISTEN/sink; }
    location /sink { return 200 "taken $http_content_length $http_transfer_encoding\\n"; }
    location /moved { return 302 /small; }
}
"""


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with Nginx(SITE, {"big.bin": BIG, "page.html": b"<html>hello</html>"}) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def proxy(nginx: Nginx) -> Iterator[Fastmesh]:
    with Fastmesh(upstream=nginx.address) as proxy:
        yield proxy


def curl(*arguments: str) -> bytes:
    """curl's output; its failure is the test's."""
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", "20", *arguments],
        capture_output=True,
        timeout=30,
        check=False,
        env=plain_environment(),
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_curl_get(proxy: Fastmesh) -> None:
    assert curl(f"http://{proxy.address}/small") == b"hello from nginx\n"
    assert curl("--http1.0", f"http://{proxy.address}/small") == b"hello from nginx\n"
    assert b"200" in curl("-I", f"http://{proxy.address}/page.html").split(b"\r\n")[0]


def test_curl_downloads_a_big_file(proxy: Fastmesh) -> None:
    assert hashlib.sha256(curl(f"http://{proxy.address}/big.bin")).digest() == hashlib.sha256(BIG).digest()
    assert curl("-r", "1000-1999", f"http://{proxy.address}/big.bin") == BIG[1000:2000]


def test_curl_uploads(proxy: Fastmesh, tmp_path: pathlib.Path) -> None:
    """curl sends Expect: 100-continue for a large body, and chunks when it cannot know the length."""
    file = tmp_path / "upload"
    file.write_bytes(BIG)
    assert curl("-T", str(file), f"http://{proxy.address}/upload").startswith(b"taken 5000000")
    chunked = curl("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{file}", f"http://{proxy.address}/upload")
    assert chunked.startswith(b"taken 5000000")


def test_curl_reuses_its_connection(proxy: Fastmesh) -> None:
    before = proxy.counts().sum("fastmesh_connections_accepted_total")
    out = curl("-L", *(f"http://{proxy.address}/{name}" for name in ("small", "moved", "page.html", "small")))
    assert out.count(b"hello") == 4
    assert proxy.counts().sum("fastmesh_connections_accepted_total") == before + 1


def test_curl_as_a_client_of_a_proxy(proxy: Fastmesh) -> None:
    """curl -x sends absolute targets."""
    assert curl("-x", f"http://{proxy.address}", "http://whatever.test/small") == b"hello from nginx\n"


def test_wrk_counts_what_the_metrics_count(nginx: Nginx) -> None:
    with Fastmesh(upstream=nginx.address) as proxy:
        done = subprocess.run(
            ["wrk", "-t1", "-c20", "-d2s", "-s", "/dev/stdin", f"http://{proxy.address}/small"],
            input=_WRK_REPORT, capture_output=True, text=True, timeout=30, check=True,
            env=plain_environment(),
        )  # fmt: skip
        match = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
        assert match, done.stdout
        result = json.loads(match[1])
        assert result["errors"] == 0
        assert result["requests"] > 1000
        proxy.settle()
        metrics = proxy.counts()
        # wrk ends with one request under way on each connection, which it does not count.
        counted = metrics.sum("fastmesh_requests_total")
        assert result["requests"] <= counted <= result["requests"] + 20
        assert metrics.sum("fastmesh_responses_total", code="200") >= result["requests"]
        assert metrics.sum("fastmesh_proxy_errors_total") <= 20
        assert metrics.sum("fastmesh_connections_accepted_total") in (20, 21)  # wrk may try the address first
        assert metrics.sum("fastmesh_worker_connects_total") <= 40


_WRK_REPORT = """
done = function(summary, latency, requests)
    local e = summary.errors
    local errors = e.connect + e.read + e.write + e.status + e.timeout
    print(string.format('RESULT {"requests": %d, "errors": %d}', summary.requests, errors))
end
"""
