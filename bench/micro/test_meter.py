"""Nanoseconds per counter, and per exchange that is recorded; each round is ROUNDS of them."""

from pytest_benchmark.fixture import BenchmarkFixture

from tests.probe.base_meter import count, record

ROUNDS = 100_000


def test_count(benchmark: BenchmarkFixture) -> None:
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(count, ROUNDS) == ROUNDS


def test_record(benchmark: BenchmarkFixture) -> None:
    benchmark.extra_info["per_round"] = ROUNDS
    assert benchmark(record, ROUNDS) == ROUNDS
