"""Nanoseconds per life of a buffer: buf_take, n bytes appended and consumed, buf_give; each round is ROUNDS of them."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.base_buffer import PoolsProbe

ROUNDS = 100_000


@pytest.mark.parametrize("n", [0, 100, 1000])
def test_take_append_consume_give(benchmark: BenchmarkFixture, n: int) -> None:
    pools = PoolsProbe(100, 1, 1)
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(pools.churn, n, ROUNDS) == ROUNDS * n
