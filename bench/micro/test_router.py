"""Nanoseconds per router_match: pytest bench/micro/test_router.py --benchmark-enable (each round is ROUNDS matches)."""

import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.routing_router import RouterProbe

ROUNDS = 20_000
ANY, EXACT, SUFFIX_OR_PREFIX = 0, 1, 2


def service_routes(count: int) -> list[tuple[object, ...]]:
    """A mesh's table: a host and a path prefix each."""
    return [
        (EXACT, b"svc-%d.prod.example.com" % i, SUFFIX_OR_PREFIX, b"/api/v%d" % (i % 3), 0, [], 0, i)
        for i in range(count)
    ]


def path_routes(count: int) -> list[tuple[object, ...]]:
    """A gateway's table: one host, many prefixes."""
    return [(ANY, b"", SUFFIX_OR_PREFIX, b"/team-%d/v1" % i, 0, [], 0, i) for i in range(count)]


def service_query(i: int) -> tuple[bytes, bytes]:
    return b"svc-%d.prod.example.com" % i, b"/api/v%d/items/42" % (i % 3)


def path_query(i: int) -> tuple[bytes, bytes]:
    return b"www.example.com", b"/team-%d/v1/items/42" % i


def measure(benchmark: BenchmarkFixture, router: RouterProbe, queries: list[tuple[bytes, bytes]], found: bool) -> None:
    benchmark.extra_info["per_round"] = ROUNDS
    router.ask(queries)
    assert benchmark(router.spin, ROUNDS) == (ROUNDS if found else 0)


COUNTS = [1, 100, 10_000]


@pytest.mark.parametrize("count", COUNTS)
def test_host_and_prefix(benchmark: BenchmarkFixture, count: int) -> None:
    measure(benchmark, RouterProbe(service_routes(count)), [service_query(0)], True)


@pytest.mark.parametrize("count", COUNTS)
def test_every_route_in_turn(benchmark: BenchmarkFixture, count: int) -> None:
    """What caches make of it: each match reads another route's memory."""
    queries = [service_query(i * 7919 % count) for i in range(count)]
    measure(benchmark, RouterProbe(service_routes(count)), queries, True)


@pytest.mark.parametrize("count", COUNTS)
def test_many_prefixes_of_one_host(benchmark: BenchmarkFixture, count: int) -> None:
    measure(benchmark, RouterProbe(path_routes(count)), [path_query(0)], True)


@pytest.mark.parametrize("count", COUNTS)
def test_no_route(benchmark: BenchmarkFixture, count: int) -> None:
    measure(benchmark, RouterProbe(service_routes(count)), [(b"unknown.example.com", b"/")], False)


def test_only_route_takes_everything(benchmark: BenchmarkFixture) -> None:
    measure(benchmark, RouterProbe([(ANY, b"", ANY, b"", 0, [], 0, 0)]), [service_query(0)], True)


def test_wildcard_host(benchmark: BenchmarkFixture) -> None:
    route: tuple[object, ...] = (SUFFIX_OR_PREFIX, b".example.com", SUFFIX_OR_PREFIX, b"/api", 0, [], 0, 0)
    measure(benchmark, RouterProbe([route]), [service_query(0)], True)


def fastest(runs: list[Callable[[], object]]) -> list[float]:
    """Seconds of the best of interleaved runs, so that the machine's moods hit all alike."""
    best = [float("inf")] * len(runs)
    for _ in range(40):
        for at, run in enumerate(runs):
            begin = time.perf_counter()
            run()
            best[at] = min(best[at], time.perf_counter() - begin)
    return best


def test_ten_thousand_routes_cost_what_one_costs() -> None:
    one, many = RouterProbe(service_routes(1)), RouterProbe(service_routes(10_000))
    for router in (one, many):
        router.ask([service_query(0)])
    alone, among = fastest([lambda: one.spin(ROUNDS), lambda: many.spin(ROUNDS)])
    assert among <= 1.1 * alone
