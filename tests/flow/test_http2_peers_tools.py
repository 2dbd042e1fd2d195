"""curl, nghttp, h2load and httpx as clients, nghttpd and nginx as upstreams, over HTTP/1 and HTTP/2."""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.support.client import digest, pattern
from tests.support.peer import before
from tests.support.server import Nghttpd, Nginx, plain_environment

BIG = pattern(10_000_000)
FILES = {"small": b"hello\n", "empty": b"", "big": BIG}
SITE = """
server {
    listen LISTEN HOW backlog=4096;
    root ROOT;
    absolute_redirect off;
    large_client_header_buffers 8 64k;
    location /moved { return 302 /small; }
    location /none { return 204; }
}
"""
UPSTREAMS = ["nginx-http1", "nginx-http2", "nghttpd"]
DIRECT = os.environ.get("PEERS_DIRECT") == "1"


@dataclasses.dataclass
class Way:
    address: str
    upstream: str
    version: str  # of HTTP, that the upstream speaks

    def url(self, path: str) -> str:
        return f"http://{self.address}/{path}"


@pytest.fixture(scope="module", params=UPSTREAMS)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    name, _, version = request.param.partition("-")
    how = "http2" if version == "http2" else ""
    server = Nghttpd(FILES, "--echo-upload") if name == "nghttpd" else Nginx(SITE.replace("HOW", how), FILES)
    with server, before(server.address, version or "http2") as address:
        yield Way(address, name, version or "http2")


def run(*command: str, told: bytes = b"") -> bytes:
    """A program's output; its failure is the test's."""
    done = subprocess.run(command, input=told, capture_output=True, timeout=40, check=False, env=plain_environment())
    assert done.returncode == 0, (done.stderr + done.stdout)[-2000:].decode("utf-8", "replace")
    return done.stdout


VERSIONS = pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])


def curl(version: str, *arguments: str) -> bytes:
    return run("curl", "-sS", "--fail", "--max-time", "30", version, *arguments)


@pytest.fixture(autouse=True)
def _only_what_can_meet(request: pytest.FixtureRequest) -> None:
    """Without fastmesh, client and server must speak the same."""
    if DIRECT and "way" in request.fixturenames:
        client = request.node.callspec.params.get("version", "http2")
        if ("1" in client.replace("http2", "")) != (request.getfixturevalue("way").version == "http1"):
            pytest.skip("client and server speak different versions")


@VERSIONS
def test_curl_downloads(way: Way, version: str) -> None:
    assert curl(version, way.url("small")) == b"hello\n"
    assert curl(version, way.url("empty")) == b""
    assert digest(curl(version, way.url("big"))) == digest(BIG)
    head = curl(version, "-I", way.url("big")).decode().lower()
    assert " 200" in head.splitlines()[0]
    assert "content-length: 10000000" in head


@VERSIONS
def test_curl_uploads(way: Way, version: str, tmp_path: pathlib.Path) -> None:
    """nghttpd sends back what it gets: of known length, of unknown, and what waits for a 100."""
    if way.upstream != "nghttpd":
        pytest.skip("nginx takes no uploads")
    file = tmp_path / "upload"
    file.write_bytes(BIG)
    posted = ["--data-binary", f"@{file}"]
    for how in (posted, ["-X", "POST", "-T", "-"], [*posted, "-H", "Expect: 100-continue"]):
        out = run("curl", "-sS", "--max-time", "30", version, *how, way.url("small"), told=BIG)
        assert digest(out) == digest(BIG)


@VERSIONS
def test_curl_ranges_and_redirects(way: Way, version: str) -> None:
    if way.upstream == "nghttpd":
        pytest.skip("nghttpd knows neither")
    assert curl(version, "-r", "1000-1999", way.url("big")) == BIG[1000:2000]
    assert curl(version, way.url("none")) == b""
    if version == "--http1.1":  # curl 7.88 cannot use a cleartext HTTP/2 connection twice
        assert curl(version, "-L", way.url("moved")) == b"hello\n"


def test_curl_asks_for_many(way: Way) -> None:
    if DIRECT and way.version == "http2":
        pytest.skip("client and server speak different versions")
    out = curl("--http1.1", "--parallel", "--parallel-max", "20", *([way.url("small")] * 60))
    assert out == b"hello\n" * 60


@pytest.mark.parametrize(
    "options",
    [[], ["-w", "10", "-W", "10"], ["-c", "0", "--encoder-header-table-size=0"], ["-b", "255"], ["--no-dep"],
     ["--continuation"], ["--trailer", "sum: 17"]],
    ids=lambda options: " ".join(options) or "plain",
)  # fmt: skip
def test_nghttp(way: Way, options: list[str], tmp_path: pathlib.Path) -> None:
    """Narrow windows, no dynamic table, padding, priorities and none, CONTINUATION, trailers."""
    out = run("nghttp", "-m", "10", "-t", "20", *options, "-H", f"x-fill: {'f' * 3000}", way.url("small"))
    assert out == b"hello\n" * 10
    assert digest(run("nghttp", "-t", "20", *options, way.url("big"))) == digest(BIG)
    if way.upstream == "nghttpd":
        file = tmp_path / "upload"
        file.write_bytes(BIG[:300_000])
        posted = run("nghttp", "-t", "20", *options, "-H", ":method: POST", "-d", str(file), way.url("small"))
        assert digest(posted) == digest(BIG[:300_000])


@pytest.mark.parametrize(
    "options", [["--h1"], ["-m", "1"], ["-m", "10"], ["-m", "100", "-w", "12", "-W", "14"]], ids=" ".join
)
def test_h2load(way: Way, options: list[str]) -> None:
    if DIRECT and ("--h1" in options) != (way.version == "http1"):
        pytest.skip("client and server speak different versions")
    out = run("h2load", "-n", "2000", "-c", "8", *options, way.url("small")).decode()
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert "status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx" in out


@pytest.mark.parametrize("version", ["http1", "http2"])
def test_httpx(way: Way, version: str) -> None:
    with httpx.Client(http1=version == "http1", http2=version == "http2", timeout=20, trust_env=False) as client:
        answer = client.get(way.url("small"), headers=[("cookie", "a=1"), ("x-long", "l" * 6000)])
        assert (answer.status_code, answer.content) == (200, b"hello\n")
        assert answer.http_version == {"http1": "HTTP/1.1", "http2": "HTTP/2"}[version]
        assert client.head(way.url("big")).headers["content-length"] == "10000000"
        assert client.get(way.url("absent")).status_code == 404
        sum_ = hashlib.sha256()
        with client.stream("GET", way.url("big")) as stream:
            for part in stream.iter_bytes():
                sum_.update(part)
        assert sum_.hexdigest() == digest(BIG)
        if way.upstream == "nghttpd":
            parts = (BIG[at : at + 70_000] for at in range(0, 1_000_000, 70_000))
            posted = client.post(way.url("small"), content=parts)
            assert digest(posted.content) == digest(BIG[:1_050_000])


HARSH = [["-m", "2"], ["-w", "0", "-W", "0"], ["-c", "0", "--encoder-header-table-size=0"], ["-b", "255"],
         ["--no-content-length", "--trailer", "sum: 17"], ["--early-response"]]  # fmt: skip


@pytest.mark.parametrize("options", HARSH, ids=" ".join)
def test_nghttpd_of_every_kind(options: list[str]) -> None:
    """Few streams, hardly a window, no dynamic table, padding, trailers, an answer before the request is whole."""
    with Nghttpd(FILES, *options) as server, before(server.address, "http2") as address:
        out = run("nghttp", "-m", "30", "-t", "20", f"http://{address}/small")
        assert out == b"hello\n" * 30
        assert digest(run("nghttp", "-t", "20", f"http://{address}/big")) == digest(BIG)
        if not DIRECT:
            for version in ("--http1.1", "--http2-prior-knowledge"):
                assert digest(curl(version, f"http://{address}/big")) == digest(BIG)
