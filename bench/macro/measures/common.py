"""What every measure needs: peers up before one upstream, and interleaved rounds over them."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.macro import upstream, wrk
from bench.macro.peer import Peer, Setup
from bench.macro.processes import Cores, Process, free_port, stopping

# Flat: what was varied and what came out, units in the names.
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    peers: dict[str, Peer]
    rounds: int
    seconds: int  # of one load
    cores: Cores
    connections: int = 50

    def without(self, *names: str) -> "Bench":
        return replace(self, peers={name: peer for name, peer in self.peers.items() if name not in names})

    def only(self, *names: str) -> "Bench":
        return replace(self, peers={name: peer for name, peer in self.peers.items() if name in names})


@dataclass
class Running:
    """A started peer; `process` is None for direct."""

    name: str
    port: int
    ready_s: float = 0.0
    process: Process | None = None
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Load:
    """One closed-loop load of wrk; `varied` names it in the rows."""

    varied: Row = field(default_factory=dict)
    path: str = "/"
    headers: tuple[str, ...] = ()
    script: Path | None = None
    connections: int = 0  # 0: the bench's


def start(name: str, peer: Peer, setup: Setup, core: int, started: list[Process], wrap: tuple[str, ...] = (),
          ready_within_s: float = 30) -> Running:
    """Ready when it returns. Raises RuntimeError with what the peer said when it does not come up."""
    launch = peer.launch(setup)
    if launch is None:
        return Running(name, int(setup.endpoints[0].rpartition(":")[2]))
    process = Process(
        [*wrap, *launch.command], core=core, log=setup.work / "log", environment=launch.environment, cwd=setup.work
    )
    started.append(process)
    ready_s = process.wait_ready(setup.listen, within_s=ready_within_s, host=setup.host)
    return Running(name, setup.listen, ready_s, process, setup.host)


def setup_for(work: Path, name: str, endpoints: tuple[str, ...], /, **changes: Any) -> Setup:
    own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work))
    own.chmod(0o755)  # nginx drops to another user
    return replace(Setup(free_port(), endpoints, own), **changes)


@dataclass
class Stage:
    """A running upstream, a directory, and everything started so far."""

    upstream: str  # host:port
    work: Path
    started: list[Process]
    bench: Bench

    def up(self, name: str, *, wrap: tuple[str, ...] = (), ready_within_s: float = 30, **changes: Any) -> Running:
        """Starts a peer of the bench, `changes` made to its setup; it ends with the stage."""
        setup = setup_for(self.work, name, (self.upstream,), **changes)
        core = self.bench.cores.proxy
        return start(name, self.bench.peers[name], setup, core, self.started, wrap, ready_within_s)

    def down(self, peer: Running) -> None:
        if peer.process:
            peer.process.stop()


@contextlib.contextmanager
def stage(bench: Bench) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="fastmesh-bench-") as directory, stopping([]) as started:
        work, port = Path(directory), free_port()
        work.chmod(0o755)
        started.append(upstream.start(work / "upstream", port, bench.cores.load))
        yield Stage(f"127.0.0.1:{port}", work, started, bench)


@contextlib.contextmanager
def all_running(bench: Bench) -> Iterator[list[Running]]:
    """Every peer, up and idle, before one upstream."""
    with stage(bench) as here:
        yield [here.up(name) for name in bench.peers]


def one_load(bench: Bench, peer: Running, load: Load, seconds: int) -> Row:
    """What one load came to, with the processor time the proxy took for it."""
    before = peer.process.cpu() if peer.process else None
    done = wrk.run(
        peer.port, core=bench.cores.load, seconds=seconds, connections=load.connections or bench.connections,
        path=load.path, script=load.script, host=peer.host, headers=load.headers,
    )  # fmt: skip
    row: Row = {"requests": done.requests, "per_second": done.per_second}
    row |= {"p50_ms": done.p50_ms, "p99_ms": done.p99_ms}
    if peer.process and before:
        spent = peer.process.cpu() - before
        row["cpu_us"] = spent.total_s / done.requests * 1e6
        row["user_us"] = spent.user_s / done.requests * 1e6
        row["system_us"] = spent.system_s / done.requests * 1e6
    return row


def load_rows(bench: Bench, running: list[Running], what: str, loads: list[Load]) -> Iterator[Row]:
    """Interleaved rounds: every load over every peer, then again. A first, short one warms and does not count."""
    for load in loads:
        for peer in running:
            one_load(bench, peer, load, 1)
    for round_number in range(bench.rounds):
        for load in loads:
            for peer in running:
                named = {"measure": what, "peer": peer.name, "round": round_number, **load.varied}
                yield named | one_load(bench, peer, load, bench.seconds)
