"""Cases with bytes changed at random: no verdict is known, but whatever comes out must be well-formed and bounded.

The strict readers on both sides raise on anything a strict sender would not generate; a request that reaches the
origin is either whole or its connection ends.
"""

import random
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.corpus import Case, load, pieces
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import Request
from tests.support.stage import Answer, Stage
from tests.support.verdict import HEAD_OK, NEXT, OK, Place

ROUNDS = 12
PER_ROUND = 25
SPICE = (b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"chunked", b"Content-Length: 5\r\n",
         b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"\x80", b"\x7f")  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with net.listen() as listener, Fastmesh(upstream=net.text(listener), header_timeout="5s") as proxy:
        yield Place(proxy.address, listener)


def mutated(source: random.Random, raw: bytes) -> bytes:
    """One to three changes: a byte replaced, removed, doubled, or something significant put in."""
    data = bytearray(raw)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(4)
        if kind == 0 and at < len(data):
            data[at] = source.randrange(256)
        elif kind == 1:
            del data[at : at + source.randint(1, 3)]
        elif kind == 2:
            data[at:at] = data[at : at + 1]
        else:
            data[at:at] = source.choice(SPICE)
    return bytes(data)


def short(kind: str) -> list[Case]:
    return [case for case in load(kind) if 0 < len(case.raw) < 2000]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_mutated_requests(place: Place, seed: int) -> None:
    source = random.Random(seed)

    def answer(request: Request) -> Answer:
        if request.method == "CONNECT":
            return Answer([b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"])  # no tunnels here
        return Answer([HEAD_OK if request.method == "HEAD" else OK])

    for case in source.choices(short("requests"), k=PER_ROUND):
        stage = Stage(place.front, place.listener, answer)
        try:
            client = stage.client(pieces(mutated(source, case.raw), "random", f"{seed}"), "half-close")
            client.stream.spare = 99  # refusals, and answers of the proxy's own
            stage.run(lambda client=client: bool(client.ended), case.name)  # type: ignore[misc]
            stage.run(stage.no_half_request, f"{case.name}: the end of half a request")
        finally:
            stage.close()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_mutated_responses(place: Place, seed: int) -> None:
    source = random.Random(1000 + seed)
    for case in source.choices(short("responses"), k=PER_ROUND):
        data = mutated(source, case.raw)

        def answer(request: Request, data: bytes = data) -> Answer:
            return Answer([OK]) if request.target == "/next" else Answer(pieces(data, "random", f"{seed}"), "close")

        stage = Stage(place.front, place.listener, answer)
        try:
            client = stage.client([b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"])
            client.stream.spare = 1
            stage.run(lambda client=client: bool(client.finals or client.ended), case.name)  # type: ignore[misc]
            after = stage.client([NEXT])
            stage.run(lambda after=after: bool(after.finals or after.ended), case.name)  # type: ignore[misc]
            assert [bytes(final.body) for final in after.finals] == [b"ok"], f"{case.name}: {data!r}"
        finally:
            stage.close()
