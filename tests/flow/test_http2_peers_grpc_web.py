"""gRPC-Web clients of both versions of HTTP, in bytes and in text, through fastmesh to a gRPC server (grpcio)."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support.client import digest, pattern
from tests.support.fastmesh import Fastmesh
from tests.support.grpc_web import BINARY, TEXT, WebClient
from tests.support.peer import Server, python_peer

WAYS = [(version, kind) for version in ("http1", "http2") for kind in (BINARY, TEXT)]
OK, DEADLINE_EXCEEDED, UNIMPLEMENTED = 0, 4, 12
_names = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*python_peer("grpcio_server")) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[Fastmesh]:
    with Fastmesh(upstream=server.address, grpc_web="on") as running:
        yield running


@pytest.fixture(params=WAYS, ids=["-".join(way).replace("application/", "") for way in WAYS])
def client(proxy: Fastmesh, request: pytest.FixtureRequest) -> Iterator[WebClient]:
    with WebClient(proxy.address, *request.param) as one:
        yield one


def test_unary(client: WebClient) -> None:
    """Several on one connection; metadata before and behind the message."""
    for size in (0, 1, 2, 3, 100, 70_000):
        got = client.call("/t.Test/Unary", pattern(size), fields=(("x-ask", "so"), ("x-ask-bin", "AP8=")))
        assert (got.status, got.code, got.messages) == (200, OK, [pattern(size)])
        assert got.fields["content-type"] == client.kind
        assert "content-length" not in got.fields
        assert (got.fields["x-head"], got.fields["x-head-bin"].rstrip("=")) == ("so", "AP8")
        assert (got.trailers["x-tail"], got.trailers["x-tail-bin"].rstrip("=")) == ("so", "AP8")


def test_server_streaming(client: WebClient) -> None:
    got = client.call("/t.Test/Count", b"300 5000")
    assert (got.code, got.messages) == (OK, [pattern(5000)] * 300)
    got = client.call("/t.Test/Count", b"0 1")
    assert (got.code, got.messages) == (OK, [])


def test_client_streaming(client: WebClient) -> None:
    parts = [pattern(size) for size in (0, 1, 100_000, 7)]
    whole = b"".join(parts)
    got = client.call("/t.Test/Collect", *parts)
    assert got.messages == [f"{len(whole)} {digest(whole)}".encode()]


def test_messages_of_4_mib(client: WebClient) -> None:
    """Both ways at once."""
    data = pattern(4 << 20)
    got = client.call("/t.Test/Unary", data)
    assert (got.code, len(got.messages)) == (OK, 1)
    assert digest(got.messages[0]) == digest(data)


@pytest.mark.parametrize("method", ["Fail", "FailLate"])
def test_status(client: WebClient, method: str) -> None:
    """As trailers only, and behind messages."""
    for code in (1, 5, 13, 16):
        got = client.call(f"/t.Test/{method}", f"{code} was so".encode())
        assert (got.status, got.code, got.details) == (200, code, "was so")
        assert got.messages == ([b"one", b"two"] if method == "FailLate" else [])
        where = got.trailers if method == "FailLate" else got.fields
        assert where["x-why-bin"].rstrip("=") == "AP+A"


def test_a_method_that_is_not_there(client: WebClient) -> None:
    assert client.call("/t.Test/Absent", b"x").code == UNIMPLEMENTED


def test_a_deadline_that_passes(client: WebClient, server: Server) -> None:
    """Behind the message that came in time."""
    name = f"late-{next(_names)}"
    got = client.call("/t.Test/Wait", name.encode(), timeout="300m")
    assert (got.status, got.code, got.messages) == (200, DEADLINE_EXCEEDED, [b"first"])
    assert server.call("happened", what="abandoned", path=name)


def test_a_client_that_goes_cancels_its_call(proxy: Fastmesh, server: Server) -> None:
    for version, kind in WAYS:
        name = f"gone-{next(_names)}"
        client = WebClient(proxy.address, version, kind)
        with client:
            client.begin("/t.Test/Wait", name.encode())
            assert server.call("happened", what="begun", path=name)
        assert server.call("happened", what="abandoned", path=name)


def test_calls_count_by_their_status(proxy: Fastmesh) -> None:
    before = proxy.counts()
    with WebClient(proxy.address, "http1", TEXT) as client:
        client.call("/t.Test/Unary", b"x")
        client.call("/t.Test/Fail", b"7 no")
    after = proxy.counts()
    for status, more in (("0", 1), ("7", 1), ("other", 0)):
        counted = [each.sum("fastmesh_grpc_responses_total", grpc_status=status) for each in (before, after)]
        assert counted[1] - counted[0] == more, status
