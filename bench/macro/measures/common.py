"""What every measure needs: peers up before one upstream, and interleaved rounds over them."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from bench.macro import nghttpd, tcp_ends, upstream, wrk
from bench.macro.peer import HTTP2, OVER_HTTP1, TCP, Peer, Protocols, Setup
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

    def speaking(self, protocols: Protocols) -> "Bench":
        """The peers that can have such a client and such an upstream."""
        return replace(self, peers={name: peer for name, peer in self.peers.items() if protocols in peer.PROTOCOLS})


@dataclass
class Running:
    """A started peer; `process` is None for direct."""

    name: str
    port: int
    ready_s: float = 0.0
    process: Process | None = None
    host: str = "127.0.0.1"


class Work(Protocol):
    """One load in a closed loop."""

    @property
    def varied(self) -> Row:
        """Names it in the rows."""

    def run(self, bench: Bench, peer: Running, seconds: int) -> Row:
        """What the client saw, `requests` among it. Raises RuntimeError when an answer failed."""


@dataclass(frozen=True)
class Load:
    """wrk's, over HTTP/1."""

    varied: Row = field(default_factory=dict)
    path: str = "/"
    headers: tuple[str, ...] = ()
    script: Path | None = None
    connections: int = 0  # 0: the bench's

    def run(self, bench: Bench, peer: Running, seconds: int) -> Row:
        done = wrk.run(
            peer.port, core=bench.cores.load, seconds=seconds, connections=self.connections or bench.connections,
            path=self.path, script=self.script, host=peer.host, headers=self.headers,
        )  # fmt: skip
        row: Row = {"requests": done.requests, "per_second": done.per_second}
        return row | {"p50_ms": done.p50_ms, "p99_ms": done.p99_ms}


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
    ready_s = process.wait_ready(
        setup.listen, within_s=ready_within_s, host=setup.host, protocol=setup.protocols[0]
    )
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
    bench: Bench  # its peers are those that can take part
    protocols: Protocols

    def up(self, name: str, *, wrap: tuple[str, ...] = (), ready_within_s: float = 30, **changes: Any) -> Running:
        """Starts a peer of the bench, `changes` made to its setup; it ends with the stage."""
        setup = setup_for(self.work, name, (self.upstream,), **{"protocols": self.protocols, **changes})
        core = self.bench.cores.proxy
        return start(name, self.bench.peers[name], setup, core, self.started, wrap, ready_within_s)

    def up_all(self) -> list[Running]:
        return [self.up(name) for name in self.bench.peers]

    def down(self, peer: Running) -> None:
        if peer.process:
            peer.process.stop()


@contextlib.contextmanager
def stage(
    bench: Bench, protocols: Protocols = OVER_HTTP1, *, grpc: bool = False, greets: bool = False
) -> Iterator[Stage]:
    """An upstream of the second protocol; with `grpc` it answers calls, with `greets` it speaks first."""
    with tempfile.TemporaryDirectory(prefix="fastmesh-bench-") as directory, stopping([]) as started:
        work, port = Path(directory), free_port()
        work.chmod(0o755)
        if protocols[1] == HTTP2:
            started.append(nghttpd.start(work / "upstream", port, bench.cores.load, grpc))
        elif protocols[1] == TCP:
            started.append(tcp_ends.start(work / "upstream", port, bench.cores.load, greets))
        else:
            started.append(upstream.start(work / "upstream", port, bench.cores.load))
        yield Stage(f"127.0.0.1:{port}", work, started, bench.speaking(protocols), protocols)


@contextlib.contextmanager
def all_running(bench: Bench) -> Iterator[list[Running]]:
    """Every peer, up and idle, before one upstream."""
    with stage(bench) as here:
        yield here.up_all()


def one_load(bench: Bench, peer: Running, load: Work, seconds: int) -> Row:
    """What one load came to, with the processor time the proxy took for it."""
    before = peer.process.cpu() if peer.process else None
    row = load.run(bench, peer, seconds)
    if peer.process and before:
        spent = peer.process.cpu() - before
        for column, spent_s in (("cpu_us", spent.total_s), ("user_us", spent.user_s), ("system_us", spent.system_s)):
            row[column] = spent_s / row["requests"] * 1e6
    return row


def load_rows(bench: Bench, running: list[Running], what: str, loads: Sequence[Work]) -> Iterator[Row]:
    """Interleaved rounds: every load over every peer, then again. A first, short one warms and does not count."""
    for load in loads:
        for peer in running:
            one_load(bench, peer, load, 1)
    for round_number in range(bench.rounds):
        for load in loads:
            for peer in running:
                named = {"measure": what, "peer": peer.name, "round": round_number, **load.varied}
                yield named | one_load(bench, peer, load, bench.seconds)
