"""Nanoseconds per histogram_bucket; each round is ROUNDS of them."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.base_histogram import spin

ROUNDS = 100_000


@pytest.mark.parametrize("step_ns", [3, 1_000_003])
def test_bucket(benchmark: BenchmarkFixture, step_ns: int) -> None:
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(spin, 0, step_ns, ROUNDS) >= 0
