"""Servers that run while cases are tried: started, awaited, ended by their own pid."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from tools.source import ROOT

START_S = 20.0
END_S = 10.0
DIRECT = "direct"
BRIDGED = "bridged"
_LISTENS = re.compile(r"\blisten=(\d+\.\d+\.\d+\.\d+:\d+)")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """A program in the foreground whose output goes to a file; ready when `ready` says so of that output.
    `told` is its standard input."""

    def __init__(
        self, command: Sequence[str], ready: Callable[[str], bool], environment: Mapping[str, str] | None = None,
        told: str = "",
    ) -> None:  # fmt: skip
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._in = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._in.write(told)
        self._in.seek(0)
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=self._in, stdout=self._out, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        try:
            self._await(ready)
        except BaseException:
            self.stop()
            raise

    def output(self) -> str:
        """What it has printed so far; the descriptor is shared with it, so the place in the file is left alone."""
        return os.pread(self._out.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    def _await(self, ready: Callable[[str], bool]) -> None:
        pause = threading.Event()
        end = time.monotonic() + START_S
        while not ready(self.output()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.process.args!r} does not start:\n{self.output()}")
            pause.wait(0.01)

    def stop(self) -> int:
        """SIGTERM, SIGKILL when that is not heard; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                os.kill(self.process.pid, signal.SIGKILL)
        return self.process.wait(END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._out.close()
        self._in.close()


def answers(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def front(upstream: str, through: str) -> Iterator[str]:
    """The address at which a client reaches `upstream`: its own for DIRECT, otherwise that of a fastmesh before it that
    speaks `through` to it (FASTMESH_UPSTREAM_PROTOCOL). BRIDGED: gRPC, also with clients that speak gRPC-Web."""
    if through == DIRECT:
        yield upstream
        return
    environment = {
        "FASTMESH_LISTEN": "127.0.0.1:0",
        "FASTMESH_ADMIN": "off",
        "FASTMESH_UPSTREAM": upstream,
        "FASTMESH_UPSTREAM_PROTOCOL": "http2" if through == BRIDGED else through,
        "FASTMESH_GRPC_WEB": "on" if through == BRIDGED else "off",
        "FASTMESH_DRAIN_TIMEOUT": "1s",
    }
    with Server(
        [sys.executable, "-m", "fastmesh", "run"], lambda text: _LISTENS.search(text) is not None, environment
    ) as server:
        found = _LISTENS.search(server.output())
        assert found is not None
        yield found[1]
        if server.process.poll() is not None:
            raise RuntimeError(f"fastmesh ended by itself:\n{server.output()}")


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])
