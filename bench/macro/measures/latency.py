"""Latency by an open loop at a constant rate, from the time a request was due."""

import sys
from collections.abc import Iterator

from bench.macro import client
from bench.macro.measures.common import Bench, Row, Running, all_running, stage
from bench.macro.processes import Process

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


SPINNER = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"


def spin(bench: Bench) -> Iterator[Row]:
    """fastmesh at 2,000 a second while a Python thread computes without pause: inside its process, beside it, or none.

    The thread runs with the kernel's idle policy: it gets only processor time nobody else wants. What it costs all the
    same, by keeping the processor busy, it costs from beside too; what it costs only from inside is the interpreter's
    lock.
    """
    for round_number in range(bench.rounds):
        for where in ("none", "beside", "inside"):
            with stage(bench.only("fastmesh")) as here:
                for name in here.bench.peers:
                    peer = here.up(name, spin=where == "inside")
                    if where == "beside":
                        command = [sys.executable, "-c", SPINNER]
                        here.started.append(Process(command, core=bench.cores.proxy, log=here.work / "spinner"))
                    row = _row(bench, "spin", peer, round_number, client.Schedule(2000, bench.seconds))
                    yield row | {"spinning": where}
