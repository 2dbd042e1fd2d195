"""Nanoseconds per life of an object: slab_take, found once by its handle, slab_give; each round is ROUNDS of them.

Taking clears the object, so the stride matters: 64 bytes, and about what a connection and an exchange take.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.base_slab import SlabProbe

ROUNDS = 100_000


@pytest.mark.parametrize("stride", [64, 256, 1024])
def test_take_get_give(benchmark: BenchmarkFixture, stride: int) -> None:
    slab = SlabProbe(stride, 1000)
    for _ in range(500):
        slab.take()
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(slab.churn, ROUNDS) == ROUNDS
