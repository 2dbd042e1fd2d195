"""Nanoseconds per balancer_pick and per exchange (pick, begin, end); each round is ROUNDS of them."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.routing_balancer import BalancerProbe

ROUNDS = 20_000
KINDS = {"p2c_ewma": 0, "least_request": 1, "round_robin": 2, "random": 3}
COUNTS = [1, 10, 100, 10_000]
START_NS = 10**12
STEP_NS = 1000


def measured(kind: str, count: int, weighted: bool) -> BalancerProbe:
    balancer = BalancerProbe(count, 0x1234_5678_9ABC_DEF1)
    members = [(slot, 1, 1 + slot % 5 if weighted else 1) for slot in range(count)]
    balancer.publish([(KINDS[kind], members, {})], START_NS)
    for slot in range(count):
        balancer.set_value_ns(slot, 1e6 + slot, START_NS)
    return balancer


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_pick(benchmark: BenchmarkFixture, kind: str, count: int) -> None:
    balancer = measured(kind, count, weighted=True)
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(balancer.spin, 0, START_NS, STEP_NS, ROUNDS) == ROUNDS


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_exchange(benchmark: BenchmarkFixture, kind: str, count: int) -> None:
    balancer = measured(kind, count, weighted=False)
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(balancer.exchange, 0, START_NS, STEP_NS, 10**6, ROUNDS) == ROUNDS


@pytest.mark.parametrize("kind", KINDS)
def test_pick_while_half_is_out(benchmark: BenchmarkFixture, kind: str) -> None:
    balancer = measured(kind, 1000, weighted=True)
    for slot in range(0, 1000, 2):
        balancer.connect_failed(0, slot, 1, START_NS)
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(balancer.spin, 0, START_NS, 0, ROUNDS) == ROUNDS
