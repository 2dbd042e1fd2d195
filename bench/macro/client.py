"""bench/load/client: a client that keeps its schedule, or sends exactly so many requests."""

import json
import subprocess
from dataclasses import dataclass

from bench.macro.native import program


@dataclass(frozen=True)
class Schedule:
    per_second: float
    seconds: float
    warmup_s: float = 1.0
    connections: int = 50
    max_connections: int = 2000
    late_ms: int = 1000


@dataclass(frozen=True)
class Latency:
    """Microseconds from the time a request was due; `lost` and `failed` were due and got no answer."""

    recorded: int
    failed: int
    lost: int
    late: int  # answered after late_ms
    mean_us: float
    max_us: float
    histogram_us: list[tuple[float, int]]  # upper bound of a bucket, how many

    def percentile_us(self, percent: float) -> float:
        """Upper bound of the bucket that holds it (1.6% wide)."""
        left = self.recorded * percent / 100
        for bound, count in self.histogram_us:
            left -= count
            if left <= 0:
                return min(bound, self.max_us)
        return self.max_us


def _run(core: int, timeout_s: float, arguments: list[object]) -> Latency:
    command = ["taskset", "-c", str(core), str(program("load/client.c")), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=timeout_s)
    said = json.loads(done.stdout)
    del said["answered"], said["connections"]
    said["histogram_us"] = [(bound, count) for bound, count in said["histogram_us"]]
    return Latency(**said)


def at_rate(port: int, core: int, schedule: Schedule, path: str = "/") -> Latency:
    s = schedule
    timeout_s = s.warmup_s + s.seconds + 30
    arguments = [port, path, s.connections, s.max_connections, s.per_second, s.warmup_s, s.seconds, s.late_ms]
    return _run(core, timeout_s, ["rate", *arguments])


def exactly(port: int, core: int, requests: int, connections: int, path: str = "/", timeout_s: float = 300) -> None:
    """Raises RuntimeError when a request failed."""
    result = _run(core, timeout_s, ["count", port, path, connections, requests])
    if result.failed:
        raise RuntimeError(f"{result.failed} of {requests} requests failed")
