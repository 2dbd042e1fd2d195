"""What is measured. A measure yields rows: flat dicts of what was varied and what came out, units in the names."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.macro import upstream, wrk
from bench.macro.peer import Peer, Setup
from bench.macro.processes import Cores, Process, free_port, stopping

Row = dict[str, str | int | float]


@dataclass(frozen=True)
class Bench:
    peers: dict[str, Peer]
    rounds: int
    seconds: int  # of one load
    cores: Cores
    connections: int = 50

    def peers_without(self, *names: str) -> dict[str, Peer]:
        return {name: peer for name, peer in self.peers.items() if name not in names}


@dataclass
class Running:
    """A started peer; `process` is None for direct."""

    name: str
    port: int
    ready_s: float
    process: Process | None = field(default=None)


def start(name: str, peer: Peer, setup: Setup, core: int, started: list[Process]) -> Running:
    """Ready when it returns. Raises RuntimeError with what the peer said when it does not come up."""
    launch = peer.launch(setup)
    if launch is None:
        return Running(name, int(setup.endpoints[0].rpartition(":")[2]), 0.0)
    process = Process(
        launch.command, core=core, log=setup.work / "log", environment=launch.environment, cwd=setup.work
    )
    started.append(process)
    return Running(name, setup.listen, process.wait_ready(setup.listen), process)


def setup_for(work: Path, name: str, endpoints: tuple[str, ...]) -> Setup:
    own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work))
    own.chmod(0o755)
    return Setup(free_port(), endpoints, own)


@contextlib.contextmanager
def all_running(bench: Bench, change: Callable[[Setup], Setup] = lambda setup: setup) -> Iterator[list[Running]]:
    """Every peer, up and idle, before one upstream."""
    with tempfile.TemporaryDirectory(prefix="fastmesh-bench-") as directory, stopping([]) as started:
        work, port = Path(directory), free_port()
        work.chmod(0o755)  # nginx drops to another user
        started.append(upstream.start(work / "upstream", port, bench.cores.load))
        address = f"127.0.0.1:{port}"
        yield [
            start(name, peer, change(setup_for(work, name, (address,))), bench.cores.proxy, started)
            for name, peer in bench.peers.items()
        ]


def load_rows(bench: Bench, running: list[Running], what: str, *, path: str = "/", script: Path | None = None,
              connections: int = 0, headers: tuple[str, ...] = ()) -> Iterator[Row]:
    """Interleaved rounds of one load over all peers, with the processor time the proxy took for it."""
    for round_number in range(-1, bench.rounds):
        for peer in running:
            before = peer.process.cpu() if peer.process else None
            seconds = bench.seconds if round_number >= 0 else 1
            load = wrk.run(
                peer.port, core=bench.cores.load, seconds=seconds, connections=connections or bench.connections,
                path=path, script=script, headers=headers,
            )  # fmt: skip
            if round_number < 0:
                continue  # warms caches and pools
            row: Row = {"measure": what, "peer": peer.name, "round": round_number, "requests": load.requests}
            row |= {"per_second": load.per_second, "p50_ms": load.p50_ms, "p99_ms": load.p99_ms}
            if peer.process and before:
                spent = peer.process.cpu() - before
                row["cpu_us"] = spent.total_s / load.requests * 1e6
                row["user_us"] = spent.user_s / load.requests * 1e6
                row["system_us"] = spent.system_s / load.requests * 1e6
            yield row


def cpu(bench: Bench) -> Iterator[Row]:
    """Processor time per request: keep-alive connections, 100-byte body."""
    with all_running(bench) as running:
        yield from load_rows(bench, running, "cpu")


def idle(bench: Bench) -> Iterator[Row]:
    """Resident memory after the first answered request, before any load."""
    for round_number in range(bench.rounds):
        with all_running(replace(bench, peers=bench.peers_without("direct"))) as running:
            for peer in running:
                if peer.process:
                    memory = {f"{kind}_mb": count / 1e6 for kind, count in peer.process.memory().items()}
                    yield {"measure": "idle", "peer": peer.name, "round": round_number, **memory}


def startup(bench: Bench) -> Iterator[Row]:
    """Milliseconds from exec to the first 200."""
    for round_number in range(bench.rounds):
        for name, peer in bench.peers_without("direct").items():
            with all_running(replace(bench, peers={name: peer})) as running:
                yield {"measure": "start", "peer": name, "round": round_number, "ready_ms": running[0].ready_s * 1e3}


MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {"cpu": cpu, "idle": idle, "start": startup}
