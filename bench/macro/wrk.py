"""wrk as closed-loop client: as many requests as a number of connections can carry in a time."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def _milliseconds(text: str, percentile: str) -> float:
    match = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"no {percentile}% in what wrk said:\n{text}")
    return float(match[1]) * _UNITS_MS[match[2]]


def run(port: int, *, core: int, seconds: int, connections: int, path: str = "/", script: Path | None = None,
        host: str = "127.0.0.1", headers: tuple[str, ...] = ()) -> Load:
    """Raises RuntimeError when any answer was not 2xx or any connection failed: such a run measures something else."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    if script is not None:
        command += ["-s", str(script)]
    command.append(f"http://{host}:{port}{path}")
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"failed answers on port {port}:\n{text}")
    counted = re.search(r"(\d+) requests in ([\d.]+)(s|m)", text)
    if counted is None:
        raise RuntimeError(f"wrk counted nothing:\n{text}")
    seconds_run = float(counted[2]) * (60 if counted[3] == "m" else 1)
    return Load(int(counted[1]), seconds_run, _milliseconds(text, "50"), _milliseconds(text, "99"))
