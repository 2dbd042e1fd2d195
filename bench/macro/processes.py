"""Processes under measurement: started on chosen processors, accounted by the kernel, ended by their own ids."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.macro import http2, tcp
from bench.macro.peer import HTTP1, HTTP2, TCP

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Cores:
    """Where things run: the proxy alone on one processor, the load and the upstream on another."""

    proxy: int
    load: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Raises RuntimeError with fewer than two processors: sharing one makes every figure meaningless."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise RuntimeError("two processors are needed: one for the proxy, one for load and upstream")
        return cls(allowed[0], allowed[1])


@dataclass(frozen=True)
class Cpu:
    """Processor time in seconds. `total_s` is exact to the nanosecond; the split is by the kernel's tick."""

    user_s: float
    system_s: float
    total_s: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        user, system = self.user_s - other.user_s, self.system_s - other.system_s
        total = self.total_s - other.total_s
        ticked = user + system
        share = user / ticked if ticked > 0 else 0.0
        return Cpu(total * share, total * (1 - share), total)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        with contextlib.ExitStack() as stack:
            first = free_port()
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return first


def _stat_fields(path: Path) -> list[str]:
    """The fields of a stat file after the parenthesised name; index 0 is field 3 (state)."""
    return path.read_text().rpartition(")")[2].split()


class Process:
    """A command and all of its children, in a session of their own."""

    def __init__(self, command: Sequence[str], *, core: int, log: Path, environment: dict[str, str] | None = None,
                 cwd: Path | None = None) -> None:
        self.command = list(command)
        self.log = log
        with log.open("wb") as out:
            self.begun_s = time.perf_counter()
            self.popen = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=cwd,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.popen.pid

    def pids(self) -> list[int]:
        """Every live process of the session."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    fields = _stat_fields(entry / "stat")
                    if int(fields[3]) == self.pid and fields[0] != "Z":
                        found.append(int(entry.name))
        return found

    def cpu(self) -> Cpu:
        """So far, over all processes and threads that are alive."""
        user = system = total = 0.0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = _stat_fields(Path(f"/proc/{pid}/stat"))
                user += int(fields[11]) / TICKS_PER_SECOND
                system += int(fields[12]) / TICKS_PER_SECOND
                for task in Path(f"/proc/{pid}/task").iterdir():
                    total += int((task / "schedstat").read_text().split()[0]) / 1e9
        return Cpu(user, system, total)

    def memory(self) -> dict[str, int]:
        """Resident bytes: `rss` as ps shows it, `pss` with shared pages divided, `anonymous` its own."""
        sums = {"rss": 0, "pss": 0, "anonymous": 0}
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, value = line.split(":")
                if name.lower() in sums:
                    sums[name.lower()] += int(value.split()[0]) * 1024
        return sums

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def wait_ready(self, port: int, path: str = "/", within_s: float = 30, host: str = "127.0.0.1",
                   protocol: str = HTTP1) -> float:
        """Seconds from exec to the first 200 on the port, or the first answer that is no HTTP.

        Raises RuntimeError when it ends or takes too long.
        """
        answered = {HTTP1: answers_200, HTTP2: http2.answers_200, TCP: tcp.answers}[protocol]
        deadline = self.begun_s + within_s
        while time.perf_counter() < deadline:
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.command[0]} ended with {self.popen.returncode}:\n{self.said()}")
            if answered(port, path, host):
                return time.perf_counter() - self.begun_s
            time.sleep(0.0005)
        raise RuntimeError(f"{self.command[0]} did not answer in {within_s:.0f} s:\n{self.said()}")

    def stop(self) -> None:
        """Asks, waits, insists; returns when the session's processes are gone.

        Some end before their workers do, and a worker under callgrind has its profile still to write.
        """
        deadline = time.monotonic() + STOP_SECONDS
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(STOP_SECONDS)
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()


def answers_200(port: int, path: str = "/", host: str = "127.0.0.1") -> bool:
    """One request on a new connection; whether the answer begins with a 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n".encode()
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2) as s:
        s.sendall(request)
        return s.recv(64).startswith(b"HTTP/1.1 200")
    return False


@contextlib.contextmanager
def stopping(processes: list[Process]) -> Iterator[list[Process]]:
    """Ends whatever was put into the list, last started first."""
    try:
        yield processes
    finally:
        for process in reversed(processes):
            process.stop()
