"""Eleven endpoints that take their time: the experiment of Linkerd's article "Beyond Round Robin".

    python -m bench.load.origin FIRST_PORT SLOW_FROM_S SLOW_UNTIL_S

Listens on eleven ports from FIRST_PORT. Each answers after N(167 ms, 5 ms), always by the same seed; between the two
times after the first request the first of them takes 2 s instead.
"""

import asyncio
import functools
import random
import sys
from typing import cast

import uvloop

ENDPOINTS = 11
MEAN_S, DEVIATION_S, SLOW_S = 0.167, 0.005, 2.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100


class Slowness:
    """How long an endpoint takes now; the clock starts with the first request of all."""

    def __init__(self, slow_from_s: float, slow_until_s: float) -> None:
        self.slow_from_s, self.slow_until_s = slow_from_s, slow_until_s
        self.begun_s = 0.0
        self.random = random.Random(11)

    def delay_s(self, endpoint: int, now_s: float) -> float:
        self.begun_s = self.begun_s or now_s
        if endpoint == 0 and self.slow_from_s <= now_s - self.begun_s < self.slow_until_s:
            return SLOW_S
        return max(0.0, self.random.gauss(MEAN_S, DEVIATION_S))


class Endpoint(asyncio.Protocol):
    """Reads requests without a body, one after the other on a connection."""

    def __init__(self, number: int, slowness: Slowness) -> None:
        self.number, self.slowness = number, slowness
        self.loop = asyncio.get_running_loop()
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            self.received = self.received.partition(b"\r\n\r\n")[2]
            self.loop.call_later(self.slowness.delay_s(self.number, self.loop.time()), self.answer)

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


async def serve(first_port: int, slowness: Slowness) -> None:
    loop = asyncio.get_running_loop()
    for number in range(ENDPOINTS):
        endpoint = functools.partial(Endpoint, number, slowness)
        await loop.create_server(endpoint, "127.0.0.1", first_port + number, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Slowness(float(sys.argv[2]), float(sys.argv[3]))))
