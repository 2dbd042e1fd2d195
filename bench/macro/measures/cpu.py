"""Processor time per request in a closed loop."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.macro.measures.common import Bench, Load, Row, all_running, load_rows
from bench.macro.upstream import SIZES

UPLOAD = 'wrk.method = "POST"\nwrk.body = string.rep("x", {size})\n'


def cpu(bench: Bench) -> Iterator[Row]:
    """Keep-alive connections, 100-byte body."""
    with all_running(bench) as running:
        yield from load_rows(bench, running, "cpu", [Load()])


def close(bench: Bench) -> Iterator[Row]:
    """A new client connection for every request; the upstream's stay."""
    with all_running(bench) as running:
        yield from load_rows(bench, running, "close", [Load(headers=("Connection: close",))])


def bodies(bench: Bench) -> Iterator[Row]:
    """1 KB, 64 KB and 10 MB, down in the response and up in the request."""
    with tempfile.TemporaryDirectory(prefix="fastmesh-bench-") as directory:
        loads = []
        for path, size in list(SIZES.items())[1:]:
            script = Path(directory) / f"{path[1:]}.lua"
            script.write_text(UPLOAD.format(size=size))
            connections = 4 if size > 1_000_000 else 0
            varied = {"size": path[1:], "direction": "down"}
            loads.append(Load(varied, path=path, connections=connections))
            loads.append(Load({**varied, "direction": "up"}, path="/upload", script=script, connections=connections))
        with all_running(bench) as running:
            yield from load_rows(bench, running, "bodies", loads)
