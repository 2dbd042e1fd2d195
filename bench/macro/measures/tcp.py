"""Connections that are relayed as they are: processor time, time to a server's first byte, memory."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from bench.macro import tcp_ends
from bench.macro.measures.common import Bench, Row, Running, load_rows, one_load, stage
from bench.macro.peer import OVER_TCP
from bench.macro.tcp import ECHO, MESSAGE_BYTES

BULK_CONNECTIONS = 4
GREETINGS = 500  # of a second that a load is to take
IDLE_CONNECTIONS = 2000


@dataclass(frozen=True)
class Exchanges:
    """Messages and their answers, or whole pieces, as fast as they go."""

    mode: str
    varied: Row
    connections: int

    def run(self, bench: Bench, peer: Running, seconds: int) -> Row:
        done = tcp_ends.run(self.mode, peer.port, bench.cores.load, self.connections, seconds)
        row: Row = {"requests": done.exchanges, "per_second": done.exchanges / done.seconds}
        if done.bytes:
            return row | {"bytes": done.bytes, "gb_per_second": done.bytes / 1e9 / done.seconds}
        return row | {"p50_ms": done.p50_us / 1e3, "p99_ms": done.p99_us / 1e3}


@dataclass(frozen=True)
class Greetings:
    """One connection after the other, each until the server's first byte."""

    varied: Row

    def run(self, bench: Bench, peer: Running, seconds: int) -> Row:
        done = tcp_ends.run("first", peer.port, bench.cores.load, GREETINGS * seconds)
        return {"requests": done.exchanges, "p50_us": done.p50_us, "p99_us": done.p99_us}


def tcp(bench: Bench) -> Iterator[Row]:
    """100 bytes and 100 back on connections that stay."""
    with stage(bench, OVER_TCP) as here:
        yield from load_rows(bench, here.up_all(), "tcp", [Exchanges("rpc", {}, bench.connections)])


def connect(bench: Bench) -> Iterator[Row]:
    """A new connection for each 100 bytes and 100 back."""
    with stage(bench, OVER_TCP) as here:
        yield from load_rows(bench, here.up_all(), "tcp-connect", [Exchanges("connect", {}, bench.connections)])


def bulk(bench: Bench) -> Iterator[Row]:
    """Pieces of 64 MiB, down from the server and up to it."""
    loads = [Exchanges(mode, {"direction": mode}, BULK_CONNECTIONS) for mode in ("down", "up")]
    with stage(bench, OVER_TCP) as here:
        for row in load_rows(bench, here.up_all(), "tcp-bulk", loads):
            gb = row.pop("bytes") / 1e9 / row["requests"]
            costs = {name: row.pop(name) for name in ("cpu_us", "user_us", "system_us") if name in row}
            yield row | {f"{name[:-3]}_ms_per_gb": cost / 1e3 / gb for name, cost in costs.items()}


def first(bench: Bench) -> Iterator[Row]:
    """Time from connect to the first byte of a server that speaks first, and what of it the peer adds to direct."""
    load = Greetings({})
    with stage(bench, OVER_TCP, greets=True) as here:
        running = here.up_all()
        for peer in running:
            one_load(bench, peer, load, 1)
        for round_number in range(bench.rounds):
            rows = {peer.name: one_load(bench, peer, load, bench.seconds) for peer in running}
            for name, row in rows.items():
                if "direct" in rows:
                    row |= {f"added_{at}": row[at] - rows["direct"][at] for at in ("p50_us", "p99_us")}
                yield {"measure": "tcp-first", "peer": name, "round": round_number} | row


def _exchange(peer: Running) -> socket.socket:
    """A connection that has carried a message each way."""
    made = socket.create_connection((peer.host, peer.port), timeout=10)
    made.sendall(ECHO)
    answer = b""
    while len(answer) < MESSAGE_BYTES:
        data = made.recv(MESSAGE_BYTES)
        if not data:
            made.close()
            raise RuntimeError(f"{peer.name} ended a connection")
        answer += data
    return made


def idle(bench: Bench) -> Iterator[Row]:
    """Memory of a relayed connection that is silent, the one to the upstream included."""
    for round_number in range(bench.rounds):
        with stage(bench.without("direct", "floor"), OVER_TCP) as here:
            for peer in here.up_all():
                assert peer.process is not None
                with contextlib.ExitStack() as stack:
                    for _ in range(200):  # what grows once is not charged to the connections
                        stack.enter_context(_exchange(peer))
                    before = peer.process.memory()["anonymous"]
                    for _ in range(IDLE_CONNECTIONS):
                        stack.enter_context(_exchange(peer))
                    grown = peer.process.memory()["anonymous"] - before
                row: Row = {"measure": "tcp-idle", "peer": peer.name, "round": round_number}
                yield row | {"connections": IDLE_CONNECTIONS, "idle_bytes": grown / IDLE_CONNECTIONS}
