"""grpcio and grpclib as clients and as servers through fastmesh: every kind of call, every way it can end."""

import base64
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import digest, pattern
from tests.support.peer import Peer, Server, before, python_peer

PAIRS = ["grpcio-grpcio", "grpclib-grpcio", "grpcio-grpclib"]
OK, CANCELLED, DEADLINE_EXCEEDED, UNIMPLEMENTED, UNAVAILABLE = 0, 1, 4, 12, 14
_names = itertools.count()


@dataclasses.dataclass(frozen=True)
class Result:
    """What a client got of a call; messages as (size, digest), binary metadata in base64."""

    messages: list[tuple[int, str]]
    texts: list[str]
    code: int
    details: str | None
    initial: list[list[str]]
    trailing: list[list[str]]

    def patterns(self) -> list[int]:
        """Sizes of the messages, each of which must be the pattern."""
        assert self.code == OK, self.details
        assert all(found == digest(pattern(size)) for size, found in self.messages)
        return [size for size, _ in self.messages]


@dataclasses.dataclass
class Caller:
    client: Peer
    server: Server
    address: str
    kind: str

    def __call__(self, method: str, *messages: str, **rest: Any) -> Result:
        return self.result(self.begin(method, *messages, **rest))

    def begin(
        self, method: str, *messages: str, sizes: tuple[int, ...] = (), metadata: tuple[tuple[str, str], ...] = (),
        timeout: float | None = 15, gzip: bool = False, cancel: bool = False,
    ) -> int:  # fmt: skip
        return self.client.begin(
            "call", address=self.address, method=method, messages=messages, sizes=sizes, metadata=metadata,
            seconds=timeout, gzip=gzip, cancel=cancel,
        )  # fmt: skip

    def result(self, number: int) -> Result:
        return Result(**self.client.wait(number))


@pytest.fixture(scope="module", params=PAIRS)
def peers(request: pytest.FixtureRequest) -> Iterator[Caller]:
    client, _, server = request.param.partition("-")
    with (
        Server(*python_peer(f"{server}_server")) as upstream,
        before(upstream.address) as address,
        Peer(*python_peer(f"{client}_client")) as asker,
    ):
        yield Caller(asker, upstream, address, request.param)


@pytest.fixture
def call(peers: Caller) -> Iterator[Caller]:
    """Each test ends the client's connections, so that the proxy comes to rest."""
    yield peers
    peers.client.call("close")


def test_unary(call: Caller) -> None:
    for size in (0, 1, 100, 65_535, 65_536, 3_000_000):
        assert call("Unary", sizes=(size,)).patterns() == [size]


def test_client_streaming(call: Caller) -> None:
    sizes = (0, 1, 100_000, 7, 1_000_000)
    whole = b"".join(map(pattern, sizes))
    assert call("Collect", sizes=sizes).texts == [f"{len(whole)} {digest(whole)}"]


def test_server_streaming(call: Caller) -> None:
    assert call("Count", "300 5000").patterns() == [5000] * 300
    assert call("Count", "0 1").patterns() == []


def test_bidirectional_streaming(call: Caller) -> None:
    sizes = tuple(1000 * i for i in range(50))
    assert call("Chat", sizes=sizes).patterns() == list(sizes)


def test_messages_of_64_mib(call: Caller) -> None:
    if call.kind != "grpcio-grpcio":
        pytest.skip("grpclib takes ten seconds for it, without a proxy")
    size = 64 << 20
    assert call("Unary", sizes=(size,)).patterns() == [size]


def test_compressed_messages(call: Caller) -> None:
    if call.kind != "grpcio-grpcio":
        pytest.skip("grpclib does not compress")
    assert call("Chat", sizes=(100_000, 5, 100_000), gzip=True).patterns() == [100_000, 5, 100_000]


def test_metadata_of_any_bytes(call: Caller) -> None:
    binary = [base64.b64encode(bytes(data)).decode() for data in (range(256), b"", b"\x00", b"12345")]
    asked = (("x-ask", "plain text, with a comma"), *(("x-ask-bin", value) for value in binary))
    got = call("Unary", "x", metadata=asked)
    assert got.code == OK
    for name, found in (("x-head", got.initial), ("x-tail", got.trailing)):
        assert [value for key, value in found if key == name] == ["plain text, with a comma"]
        assert [value for key, value in found if key == f"{name}-bin"] == binary


@pytest.mark.parametrize("method", ["Fail", "FailLate"])
def test_status(call: Caller, method: str) -> None:
    """Every one, as trailers only and behind messages; its text of any characters, and bytes beside it."""
    for code in range(1, 17):
        got = call(method, f"{code} was, 100% \u00fc \u20ac\n\tso")
        assert got.code == code
        assert got.details == "was, 100% \u00fc \u20ac\n\tso"
        assert ["x-why-bin", base64.b64encode(b"\x00\xff\x80").decode()] in got.trailing
        if method == "FailLate":
            assert got.texts == ["one", "two"]


def test_a_method_that_is_not_there(call: Caller) -> None:
    assert call("Absent", "x").code == UNIMPLEMENTED


def test_cancelled_by_the_client(call: Caller) -> None:
    name = f"cancelled-{next(_names)}"
    got = call("Wait", name, cancel=True)
    assert (got.code, got.texts) == (CANCELLED, ["first"])
    assert call.server.call("happened", what="abandoned", path=name)


def test_a_deadline_reaches_the_server(call: Caller) -> None:
    left = float(call("Deadline", "x", timeout=9).texts[0])
    assert 5 < left < 9.1


def test_a_deadline_that_passes(call: Caller) -> None:
    name = f"late-{next(_names)}"
    got = call("Wait", name, timeout=0.3)
    assert got.code == DEADLINE_EXCEEDED
    assert call.server.call("happened", what="abandoned", path=name)


def test_many_calls_at_once(call: Caller) -> None:
    """While two wait, a hundred others come and go over the same connection."""
    names = [f"open-{next(_names)}" for _ in range(2)]
    waiting = [call.begin("Wait", name, timeout=0.7) for name in names]
    for name in names:
        assert call.server.call("happened", what="begun", path=name)
    sizes = [500 * i for i in range(100)]
    numbers = [call.begin("Unary", sizes=(size,)) for size in sizes]
    assert [call.result(number).patterns() for number in numbers] == [[size] for size in sizes]
    for number in waiting:
        assert call.result(number).code == DEADLINE_EXCEEDED
