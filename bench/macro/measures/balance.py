""""Beyond Round Robin" on the wire: eleven endpoints, one of them slow for half of the run."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.load.origin import ENDPOINTS
from bench.macro import client
from bench.macro.card import ROOT
from bench.macro.measures.common import Bench, Row, setup_for, start
from bench.macro.processes import Process, free_ports, stopping

SECONDS = 40
SCHEDULE = client.Schedule(
    per_second=1000, seconds=SECONDS, warmup_s=0, connections=200, max_connections=4000, late_ms=1000
)


def _success(bench: Bench, name: str, balancer: str) -> Row:
    first = free_ports(ENDPOINTS)
    with tempfile.TemporaryDirectory(prefix="fastmesh-bench-") as directory, stopping([]) as started:
        work = Path(directory)
        work.chmod(0o755)
        origin = [sys.executable, "-m", "bench.load.origin", first, SECONDS / 4, SECONDS * 3 / 4]
        started.append(Process([*map(str, origin)], core=bench.cores.load, log=work / "origin", cwd=ROOT))
        started[0].wait_ready(first)
        endpoints = tuple(f"127.0.0.1:{first + i}" for i in range(ENDPOINTS))
        setup = setup_for(work, name, endpoints, balancer=balancer)
        peer = start(name, bench.peers[name], setup, bench.cores.proxy, started)
        took = client.at_rate(peer.port, bench.cores.load, SCHEDULE)
    asked = took.recorded + took.failed + took.lost
    row: Row = {"success_percent": 100 * (took.recorded - took.late) / asked, "failed": took.failed + took.lost}
    return row | {f"p{percent:g}_us": took.percentile_us(percent) for percent in (50, 99, 99.9)}


def balance(bench: Bench) -> Iterator[Row]:
    """Answers within a second, at 1,000 a second in an open loop, for every balancer of every peer."""
    for round_number in range(bench.rounds):
        for name, peer in bench.without("direct", "floor").peers.items():
            for balancer in peer.BALANCERS:
                row: Row = {"measure": "balance", "peer": name, "round": round_number, "balancer": balancer}
                yield row | _success(bench, name, balancer)
