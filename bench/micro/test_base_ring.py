"""Nanoseconds per ring_write of one record, the emptying of a full ring included; each round is ROUNDS of them.

16 bytes is a command, 200 and 1000 are lines of the access log; the ring is of the log's default size.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.base_ring import RingProbe

ROUNDS = 100_000
SIZE = 1 << 20


@pytest.mark.parametrize("n", [16, 200, 1000])
def test_write(benchmark: BenchmarkFixture, n: int) -> None:
    ring = RingProbe(SIZE)
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(ring.spin, n, ROUNDS) > 0
