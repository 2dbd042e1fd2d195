"""What the balancers are put through. Every endpoint's time is drawn anew for each request; loads are open loops."""

import math
import random
from collections.abc import Callable, Iterator

from bench.sim.world import MS, SECOND, Answer, Scenario, Service

Arrivals = Callable[[random.Random], Iterator[int]]
Draw = Callable[[random.Random], float]


def steady(rate: float, seconds: float) -> Arrivals:
    """Evenly spaced."""
    gap = SECOND / rate
    return lambda _: (int(i * gap) for i in range(int(rate * seconds)))


def poisson(rate: float, seconds: float) -> Arrivals:
    def arrive(numbers: random.Random) -> Iterator[int]:
        now = numbers.expovariate(rate)
        while now < seconds:
            yield int(now * SECOND)
            now += numbers.expovariate(rate)

    return arrive


def bursts(rate: float, on_s: float, off_s: float, seconds: float) -> Arrivals:
    """Poisson at `rate` while on, nothing while off."""

    def arrive(numbers: random.Random) -> Iterator[int]:
        for since in poisson(rate, seconds * on_s / (on_s + off_s))(numbers):
            yield since + int(since // (on_s * SECOND)) * int(off_s * SECOND)

    return arrive


def normal(mean_ms: float, deviation_ms: float) -> Draw:
    return lambda numbers: max(0.0, numbers.gauss(mean_ms, deviation_ms))


def log_normal(median_ms: float, sigma: float, tail: float = 0.0) -> Draw:
    """`tail` of the requests take ten times as long."""

    def draw(numbers: random.Random) -> float:
        took = median_ms * math.exp(numbers.gauss(0.0, sigma))
        return took * 10 if tail and numbers.random() < tail else took

    return draw


def alike(draw: Draw) -> Service:
    return lambda _endpoint, _now, _sent, numbers: Answer(int(draw(numbers) * MS))


def odd_one(draw: Draw, odd: Draw, from_s: float, until_s: float, ok: bool = True) -> Service:
    """Endpoint 0 draws from `odd` between the times."""

    def serve(endpoint: int, now: int, _sent: int, numbers: random.Random) -> Answer:
        if endpoint == 0 and from_s * SECOND <= now < until_s * SECOND:
            return Answer(int(odd(numbers) * MS), ok)
        return Answer(int(draw(numbers) * MS))

    return serve


def cold(draw: Draw, first: int, times: float) -> Service:
    """The first so many requests of each endpoint take so many times as long."""
    return lambda _endpoint, _now, sent, numbers: Answer(int(draw(numbers) * MS * (times if sent < first else 1)))


def together(draw: Draw, times: float, from_s: float, until_s: float) -> Service:
    def serve(_endpoint: int, now: int, _sent: int, numbers: random.Random) -> Answer:
        return Answer(int(draw(numbers) * MS * (times if from_s * SECOND <= now < until_s * SECOND else 1)))

    return serve


def pauses(draw: Draw, every_s: float, for_s: float) -> Service:
    """Endpoint 0 stands still for a while, again and again: what it has then is answered when it goes on."""

    def serve(endpoint: int, now: int, _sent: int, numbers: random.Random) -> Answer:
        took = int(draw(numbers) * MS)
        into = (now + took) % int(every_s * SECOND)
        stands = endpoint == 0 and into < for_s * SECOND
        return Answer(took + (int(for_s * SECOND) - into if stands else 0))

    return serve


def _odd(
    name: str, what: str, service: Service, arrivals: Arrivals, count: int, between_s: tuple[float, float],
    deadline_ms: int = 1000, servers: int = 0,
) -> Scenario:
    odd_from, odd_until = (int(at * SECOND) for at in between_s)
    return Scenario(
        name, what, service, arrivals, [1] * count, deadline_ms * MS, servers, 0, odd_from, odd_until,
    )


BEYOND = normal(167, 5)
SLOW = normal(2000, 0)
HALF = (10, 30)


def _slow_ones() -> list[Scenario]:
    even, tail = log_normal(50, 0.3), log_normal(50, 0.3, 0.01)
    return [
        _odd("beyond", "11 endpoints at N(167, 5) ms, one at 2 s from 10 to 30 of 40 s, 1,000 rps",
             odd_one(BEYOND, SLOW, *HALF), steady(1000, 40), 11, HALF),
        _odd("returns", "beyond, followed until 90 s",
             odd_one(BEYOND, SLOW, *HALF), steady(1000, 90), 11, HALF),
        _odd("beyond 20 rps", "the same at 20 rps for 400 s, slow from 100 to 300",
             odd_one(BEYOND, SLOW, 100, 300), steady(20, 400), 11, (100, 300)),
        _odd("beyond 3", "three endpoints, 300 rps",
             odd_one(BEYOND, SLOW, *HALF), steady(300, 40), 3, HALF),
        _odd("beyond 2", "two endpoints, 200 rps",
             odd_one(BEYOND, SLOW, *HALF), steady(200, 40), 2, HALF),
        _odd("beyond 100", "100 endpoints, 4,000 rps, slow from 5 to 10 of 15 s",
             odd_one(BEYOND, SLOW, 5, 10), steady(4000, 15), 100, (5, 10)),
        _odd("slow, tails", "11, log-normal 50 ms, 1% x 10; one 20 times as slow from 10 to 30 of 40 s; within 700 ms",
             odd_one(tail, lambda numbers: 20 * tail(numbers), *HALF), poisson(1000, 40), 11, HALF, 700),
        _odd("half as slow again", "11, log-normal 50 ms; one 1.5 times as long from 5 to 25 of 30 s; within 150 ms",
             odd_one(even, log_normal(75, 0.3), 5, 25), poisson(1000, 30), 11, (5, 25), 150),
        _odd("half speed, full", "11 of 8 servers at 50 ms, 1,400 rps; one at 100 ms from 5 to 25 of 30 s; in 200 ms",
             odd_one(log_normal(50, 0.2), log_normal(100, 0.2), 5, 25), poisson(1400, 30), 11, (5, 25), 200, 8),
        _odd("fails fast", "11 at 50 ms, 1,000 rps; one answers 503 after 2 ms from 5 to 25 of 30 s",
             odd_one(even, normal(2, 0.2), 5, 25, ok=False), poisson(1000, 30), 11, (5, 25)),
        _odd("pauses", "11 at 50 ms, 1,000 rps; one stands still for 1 s of every 5; within 500 ms",
             pauses(even, 5, 1), poisson(1000, 30), 11, (0, 30), 500),
        _odd("hangs", "11 at 50 ms, 1,000 rps; what one was sent from 5 to 15 of 30 s takes 30 s",
             odd_one(even, normal(30_000, 0), 5, 15), poisson(1000, 30), 11, (5, 15)),
    ]


def _equals() -> list[Scenario]:
    eleven = [1] * 11
    mixed, even, tail = log_normal(20, 0.5), log_normal(50, 0.3), log_normal(20, 0.3, 0.01)
    return [
        Scenario("noise", "11, log-normal 20 ms (sigma 0.5), 1,000 rps; within 80 ms",
                 alike(mixed), poisson(1000, 20), eleven, 80 * MS),
        Scenario("tails", "11, log-normal 20 ms, 1% x 10, 1,000 rps; within 100 ms",
                 alike(tail), poisson(1000, 20), eleven, 100 * MS),
        Scenario("tails 20 rps", "the same at 20 rps", alike(tail), poisson(20, 400), eleven, 100 * MS),
        Scenario("tails, full", "11 of 8 servers at 50 ms, 1% x 10, 1,300 rps; within 250 ms",
                 alike(log_normal(50, 0.3, 0.01)), poisson(1300, 20), eleven, 250 * MS, 8),
        Scenario("bursts", "11 of 8 servers at 20 ms; 4,000 rps for 100 ms, then 400 ms nothing; within 60 ms",
                 alike(log_normal(20, 0.3)), bursts(4000, 0.1, 0.4, 40), eleven, 60 * MS, 8),
        Scenario("cold", "11 at 20 ms, 1,000 rps; the first 20 of each take 200 ms; within 100 ms",
                 cold(log_normal(20, 0.3), 20, 10), poisson(1000, 10), eleven, 100 * MS),
        Scenario("all slow", "11 of 64 servers at 50 ms; all take 5 times as long from 5 to 10 of 20 s; within 400 ms",
                 together(even, 5, 5, 10), poisson(1000, 20), eleven, 400 * MS, 64),
        Scenario("long polls", "11 at 20 ms, 1% take 5 s, 500 rps; within 80 ms",
                 alike(lambda n: 5000.0 if n.random() < 0.01 else mixed(n)), poisson(500, 30), eleven, 80 * MS),
        Scenario("weights", "1, 1, 2, 2, 4 at 50 ms of 64 servers, 1,000 rps; within 150 ms",
                 alike(even), poisson(1000, 20), [1, 1, 2, 2, 4], 150 * MS, 64),
        Scenario("few", "3 of 8 servers at 50 ms, 380 rps; within 150 ms",
                 alike(even), poisson(380, 20), [1] * 3, 150 * MS, 8),
        Scenario("high concurrency", "11 at N(1000, 50) ms, 4,000 rps; within 1.2 s",
                 alike(normal(1000, 50)), poisson(4000, 10), eleven, 1200 * MS),
    ]


SCENARIOS = {scenario.name: scenario for scenario in _slow_ones() + _equals()}
