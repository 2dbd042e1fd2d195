"""Everything at once for a short while: every answer belongs to its request, whoever else misbehaves beside it."""

import asyncio
import random

import pytest

from tests.support.client import digest, pattern, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import ResponseStream, chunked

CLIENTS = 40
REQUESTS_EACH = 25


class Talker:
    """One client that sends marked bodies in every framing and checks that just these come back."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self._where = (host, port)
        self._source = random.Random(seed)
        self._seed = seed
        self.checked = 0

    async def run(self) -> None:
        done = 0
        while done < REQUESTS_EACH:
            reader, writer = await asyncio.open_connection(*self._where)
            try:
                done += await self._connection(reader, writer, min(REQUESTS_EACH - done, self._source.randint(1, 20)))
            finally:
                if self._source.random() < 0.3:
                    writer.transport.abort()
                writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> int:
        stream = ResponseStream()
        for i in range(count):
            mark = f"client {self._seed} request {i} ".encode()
            body = mark + pattern(self._source.choice([0, 10, 5000, 20_000, 300_000]))
            data, how = self._message(body)
            stream.expect("POST")
            if self._source.random() < 0.05:  # leaves in the middle
                writer.write(data[: self._source.randrange(1, len(data))])
                return i + 1
            writer.write(data)
            await self._check(reader, stream, body)
            if how == "close":
                return i + 1
        return count

    def _message(self, body: bytes) -> tuple[bytes, str]:
        how = self._source.choice(["length", "chunked", "chunked", "close"])
        target = f"/echo?as={how}"
        if self._source.random() < 0.5:
            return request("POST", target, body=body), how
        cut = self._source.randrange(len(body))
        return request("POST", target, "Transfer-Encoding: chunked") + chunked(body[:cut], body[cut:]), how

    async def _check(self, reader: asyncio.StreamReader, stream: ResponseStream, body: bytes) -> None:
        while True:
            data = await asyncio.wait_for(reader.read(1 << 18), 20)
            answers = stream.feed(data)
            if answers:
                assert answers[0].status == 200, answers[0].head
                assert digest(answers[0].body) == digest(body), "another request's answer"
                self.checked += 1
                return
            assert data, "the connection ended before the answer"


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_belong_to_their_requests(workers: int) -> None:
    with (
        EchoOrigin(name="a") as one,
        EchoOrigin(name="b") as two,
        Fastmesh(upstream=f"{one.address},{two.address}", workers=workers, upstream_idle_timeout="50ms") as proxy,
    ):
        host, _, port = proxy.address.rpartition(":")
        talkers = [Talker(host, int(port), seed) for seed in range(CLIENTS)]

        async def main() -> None:
            await asyncio.gather(*(talker.run() for talker in talkers))

        asyncio.run(main())
        assert sum(talker.checked for talker in talkers) > CLIENTS * REQUESTS_EACH * 0.8
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_responses_total", code="502") == 0
        assert metrics.sum("fastmesh_responses_total", code="503") == 0
