"""Bodies go through unchanged, both ways, in every framing; messages without a body end where they should."""

import hashlib
import http.client
from collections.abc import Iterator

import pytest

from tests.support.client import Client, digest, pattern, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import chunked

# Around the sizes of the proxy's buffers (4 KiB inline, 16 KiB, 256 KiB) and well past them.
SIZES = (0, 1, 100, 4095, 4096, 4097, 16383, 16384, 16385, 65536, 262143, 262144, 262145, 1_000_000, 10_000_000)


@pytest.fixture(scope="module")
def origin() -> Iterator[EchoOrigin]:
    with EchoOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(origin: EchoOrigin) -> Iterator[Fastmesh]:
    with Fastmesh(upstream=origin.address) as proxy:
        yield proxy


@pytest.mark.parametrize("how", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", SIZES)
def test_response_body(proxy: Fastmesh, size: int, how: str) -> None:
    with Client(proxy.address) as client:
        answer = client.get(f"/bytes?n={size}&as={how}")
        assert answer.complete
        assert len(answer.body) == size
        assert digest(answer.body) == digest(pattern(size))


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
def test_request_body(proxy: Fastmesh, size: int, how: str) -> None:
    body = pattern(size)
    with Client(proxy.address) as client:
        if how == "length":
            answer = client.ask(request("POST", "/sum", body=body), "POST")
        else:
            pieces = [body[i : i + 50_000] for i in range(0, size, 50_000)]
            client.send(request("POST", "/sum", "Transfer-Encoding: chunked"))
            answer = client.ask(chunked(*pieces), "POST")
        assert bytes(answer.body).decode() == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("out", ["length", "chunked", "close"])
@pytest.mark.parametrize("inward", ["length", "chunked"])
def test_both_ways_on_one_connection(proxy: Fastmesh, inward: str, out: str) -> None:
    with Client(proxy.address) as client:
        for size in (3, 70_000, 0, 300_000):
            body = pattern(size)
            if inward == "length":
                data = request("POST", f"/echo?as={out}", body=body)
            else:
                data = request("POST", f"/echo?as={out}", "Transfer-Encoding: chunked") + chunked(body)
            answer = client.ask(data, "POST")
            assert digest(answer.body) == digest(body)
            if answer.closes or answer.framing == "close":
                break


def test_trailers_both_ways(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        head = request("POST", "/echo?as=chunked", "Transfer-Encoding: chunked", "Trailer: Sum, Note", "TE: trailers",
                       "Connection: TE")  # fmt: skip
        answer = client.ask(head + chunked(b"hello", trailers=b"Sum: 17\r\nNote: a, b\r\n"), "POST")
        assert (answer.get("got-sum"), answer.get("got-note")) == (b"17", b"a, b")
        assert answer.trailers == [(b"Length", b"5")]


def test_head_says_what_get_would(proxy: Fastmesh) -> None:
    with Client(proxy.address) as client:
        for target in ("/bytes?n=1234", "/bytes?n=1234&as=chunked"):
            answer = client.ask(request("HEAD", target), "HEAD")
            assert answer.status == 200
            assert not answer.body
        assert client.ask(request("HEAD", "/bytes?n=77"), "HEAD").get("content-length") == b"77"
        assert len(client.get("/bytes?n=5").body) == 5  # nothing was left between


@pytest.mark.parametrize("code", ["204", "304"])
def test_no_content(proxy: Fastmesh, code: str) -> None:
    with Client(proxy.address) as client:
        assert client.get(f"/status?code={code}").status == int(code)
        assert client.ask(request("POST", f"/status?code={code}", body=b"xyz"), "POST").status == int(code)
        assert bytes(client.ask(request("POST", "/echo", body=b"after"), "POST").body) == b"after"


def test_http10_client_of_every_framing(proxy: Fastmesh) -> None:
    """Chunks are undone for a client that does not know them, and it is told where the body ends (RFC 9112 6.3)."""
    for how in ("length", "chunked", "close"):
        for size in (0, 5, 300_000):
            with Client(proxy.address) as client:
                answer = client.ask(f"GET /bytes?n={size}&as={how} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
                assert answer.get("transfer-encoding") is None
                assert not answer.trailers
                assert digest(answer.body) == digest(pattern(size))
                assert client.expect_end() == "FIN"


def test_http10_keep_alive(proxy: Fastmesh) -> None:
    ask = b"GET /bytes?n=9 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    with Client(proxy.address) as client:
        for _ in range(5):
            answer = client.ask(ask)
            assert answer.tokens("connection") == ["keep-alive"]
            assert len(answer.body) == 9


def test_a_library_client(proxy: Fastmesh) -> None:
    """http.client knows nothing of the tests: it must be content with what it gets."""
    host, _, port = proxy.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    for how in ("length", "chunked"):
        connection.request("POST", f"/echo?as={how}", body=iter([b"ab", b"", b"cd" * 50_000]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read() == b"ab" + b"cd" * 50_000
    connection.close()
