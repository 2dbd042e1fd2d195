"""Nanoseconds per timer operation; each round is ROUNDS of them."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.base_wheel import WheelProbe

ROUNDS = 20_000
TICK_NS = 1 << 20
START_NS = 10**12


@pytest.mark.parametrize("timers", [1, 1000, 100_000])
def test_move_later(benchmark: BenchmarkFixture, timers: int) -> None:
    """What a keep-alive connection does per exchange: its deadline moves on, and the loop asks what is due."""
    wheel = WheelProbe(timers, TICK_NS, START_NS)
    benchmark.extra_info["per_round"] = ROUNDS
    benchmark(wheel.churn, START_NS, 0, 15 * 10**9, ROUNDS)


@pytest.mark.parametrize("timers", [1, 1000, 100_000])
def test_cancel_set_and_wait(benchmark: BenchmarkFixture, timers: int) -> None:
    wheel = WheelProbe(timers, TICK_NS, START_NS)
    benchmark.extra_info["per_round"] = ROUNDS
    benchmark(wheel.rearm, START_NS, 0, 15 * 10**9, ROUNDS)


def test_set_and_fire(benchmark: BenchmarkFixture) -> None:
    """Every step fires the timer that was set in the one before."""

    def run() -> object:
        return WheelProbe(16, TICK_NS, START_NS).churn(START_NS, 2 * TICK_NS, TICK_NS, ROUNDS)

    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(run) >= ROUNDS - 1
