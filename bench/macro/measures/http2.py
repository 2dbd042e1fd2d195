"""Processor time over HTTP/2, cleartext by prior knowledge, and over each translation between it and HTTP/1."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.macro import h2load, nghttpd
from bench.macro.measures.common import Bench, Load, Row, Running, Work, load_rows, stage
from bench.macro.peer import HTTP1, HTTP2, OVER_HTTP2, Protocols

SHAPES = ((10, 10), (1, 100), (50, 1))  # connections, streams of each
TRANSLATIONS: dict[str, Protocols] = {"h1 > h2": (HTTP1, HTTP2), "h2 > h1": (HTTP2, HTTP1)}
GRPC = ("content-type: application/grpc", "te: trailers")


@dataclass(frozen=True)
class Http2Load:
    """h2load's."""

    varied: Row
    connections: int = 1
    streams: int = 1
    path: str = "/"
    size: int = nghttpd.SIZE
    headers: tuple[str, ...] = ()
    data: Path | None = None
    counted: bool = False  # a request for each second that a load is to take, instead of as many as go: long bodies

    def run(self, bench: Bench, peer: Running, seconds: int) -> Row:
        done = h2load.run(
            peer.port, core=bench.cores.load, connections=self.connections, streams=self.streams, size=self.size,
            seconds=seconds, requests=seconds if self.counted else 0, path=self.path, host=peer.host,
            headers=self.headers, data=self.data,
        )  # fmt: skip
        return {"requests": done.requests, "per_second": done.per_second, "mean_ms": done.mean_ms}


def shape(connections: int, streams: int) -> Row:
    return {"streams": f"{connections} x {streams}"}


def h2(bench: Bench) -> Iterator[Row]:
    """100-byte body, HTTP/2 on both sides, over few and many connections."""
    loads = [Http2Load(shape(connections, streams), connections, streams) for connections, streams in SHAPES]
    with stage(bench, OVER_HTTP2) as here:
        yield from load_rows(bench, here.up_all(), "h2", loads)


def bridge(bench: Bench) -> Iterator[Row]:
    """100-byte body, HTTP/2 on one side and HTTP/1 on the other, at as many connections as over HTTP/1 alone."""
    for name, protocols in TRANSLATIONS.items():
        varied: Row = {"translation": name}
        load: Work = Http2Load(varied, bench.connections) if protocols[0] == HTTP2 else Load(varied)
        with stage(bench, protocols) as here:
            yield from load_rows(bench, here.up_all(), "h2-bridge", [load])


def _check_call(peer: Running, message: Path) -> None:
    """h2load does not look at trailers. Raises RuntimeError when a call through the peer does not end well."""
    command = ["curl", "-sS", "--max-time", "10", "--http2-prior-knowledge", "-D", "-", "-o", "/dev/null"]
    for header in GRPC:
        command += ["-H", header]
    command += ["--data-binary", f"@{message}", f"http://{peer.host}:{peer.port}{nghttpd.CALL}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.rstrip().endswith("grpc-status: 0"):
        raise RuntimeError(f"{peer.name}: a call without `grpc-status: 0` at its end:\n{done.stdout}{done.stderr}")


def grpc(bench: Bench) -> Iterator[Row]:
    """Unary calls, a message of 100 bytes each way."""
    with stage(bench, OVER_HTTP2, grpc=True) as here:
        message = here.work / "upstream" / "files" / nghttpd.CALL[1:]
        loads = [
            Http2Load(
                shape(connections, streams), connections, streams, path=nghttpd.CALL, size=len(nghttpd.MESSAGE),
                headers=GRPC, data=message,
            )
            for connections, streams in SHAPES
        ]  # fmt: skip
        running = here.up_all()
        for peer in running:
            _check_call(peer, message)
        yield from load_rows(bench, running, "grpc", loads)


def bulk(bench: Bench) -> Iterator[Row]:
    """A body of 1 GiB in one stream, down in the response and up in the request."""
    with stage(bench, OVER_HTTP2) as here:
        sent = here.work / "upstream" / "files" / nghttpd.BULK[1:]
        loads = [
            Http2Load({"direction": "down"}, path=nghttpd.BULK, size=nghttpd.BULK_BYTES, counted=True),
            Http2Load({"direction": "up"}, data=sent, counted=True),
        ]
        for row in load_rows(bench, here.up_all(), "h2-bulk", loads):
            if "cpu_us" in row:
                row["gb_per_cpu_s"] = nghttpd.BULK_BYTES / 1e9 / (row["cpu_us"] / 1e6)
            yield row
