"""Latency by an open loop at a constant rate, from the time a request was due."""

from collections.abc import Iterator

from bench.macro import client
from bench.macro.measures.common import Bench, Row, Running, all_running, stage

RATES = (20, 200, 2000, 10_000)


def _row(bench: Bench, what: str, peer: Running, round_number: int, schedule: client.Schedule) -> Row:
    took = client.at_rate(peer.port, bench.cores.load, schedule)
    row: Row = {"measure": what, "peer": peer.name, "round": round_number, "rate": int(schedule.per_second)}
    for percent in (50, 99, 99.9):
        row[f"p{percent:g}_us"] = took.percentile_us(percent)
    return row | {
        "max_us": took.max_us, "failed": took.failed + took.lost, "histogram_us": took.histogram_us,
    }  # fmt: skip


def latency(bench: Bench) -> Iterator[Row]:
    with all_running(bench) as running:
        for round_number in range(bench.rounds):
            for rate in RATES:
                for peer in running:
                    yield _row(bench, "latency", peer, round_number, client.Schedule(rate, bench.seconds))


def spin(bench: Bench) -> Iterator[Row]:
    """fastmesh at 2,000 a second with and without a Python thread that computes without pause in its process.

    The thread runs with the kernel's idle policy: it gets only processor time nobody else wants, so what it may cost is
    not the processor but the interpreter's lock.
    """
    with stage(bench.only("fastmesh")) as here:
        running = [here.up(name, spin=spins) for name in here.bench.peers for spins in (False, True)]
        for round_number in range(bench.rounds):
            for peer, spins in zip(running, (False, True), strict=False):
                row = _row(bench, "spin", peer, round_number, client.Schedule(2000, bench.seconds))
                yield row | {"spinning": spins}
