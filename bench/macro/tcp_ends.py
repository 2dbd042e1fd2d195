"""bench/load/tcp as both ends of connections that are not HTTP."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.macro.native import program
from bench.macro.peer import TCP
from bench.macro.processes import Process


@dataclass(frozen=True)
class Done:
    """Times are of an exchange: a message and its answer, a piece, or the wait for a greeting."""

    exchanges: int
    bytes: int  # of pieces
    seconds: float
    p50_us: float
    p99_us: float


def start(work: Path, port: int, core: int, greets: bool = False) -> Process:
    """A server, ready when it returns. It obeys messages; with `greets` it sends one first."""
    work.mkdir(parents=True)
    command = [str(program("load/tcp.c")), "serve", str(port), *(["greeting"] if greets else [])]
    process = Process(command, core=core, log=work / "log")
    process.wait_ready(port, protocol=TCP)
    return process


def run(mode: str, port: int, core: int, *arguments: object, timeout_s: float = 120) -> Done:
    """Raises RuntimeError when an exchange failed or there was none: such a run measures something else."""
    command = ["taskset", "-c", str(core), str(program("load/tcp.c")), mode, str(port), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise RuntimeError(f"on port {port}: {done.stderr}")
    said = json.loads(done.stdout)
    if said.pop("failed") or not said["exchanges"]:
        raise RuntimeError(f"failed exchanges on port {port}: {done.stdout}")
    return Done(**said)
