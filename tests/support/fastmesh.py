"""The fastmesh process under test: started, awaited, asked, checked for leaks, ended by its own pid."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import ClassVar

from tests.support.client import Client, Ended, request
from tests.support.http1 import Response
from tests.support.metrics import Metrics
from tests.support.sanitizer import SANITIZED
from tests.support.wait import DEADLINE_S, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_S = 20.0  # a sanitizer build on a busy machine is slow to load
# Gauges that are zero when nothing is under way; the labels are summed.
REST = (
    "fastmesh_open_connections", "fastmesh_exchanges_in_flight", "fastmesh_exchanges_pending", "fastmesh_open_tunnels",
    "fastmesh_buffers_small_in_use", "fastmesh_buffers_large_in_use",
)  # fmt: skip
_ADDRESS = re.compile(r"unix:/[^\s,\"']+|\[[0-9a-f:]+\]:\d+|\d+\.\d+\.\d+\.\d+:\d+")


class Fastmesh:
    """`fastmesh run` with these variables (names without their FASTMESH_ prefix, lower case, as in a file).

    Listens on a free port of 127.0.0.1 unless `listen` says otherwise. `nofile` bounds its descriptors;
    `before` are words before the command, of a program that ends by becoming it.
    """

    live: ClassVar[list["Fastmesh"]] = []  # started and not yet ended; checked after every test

    def __init__(
        self, *, config: str = "", suffix: str = ".toml", nofile: int = 0, extra_env: Mapping[str, str] | None = None,
        before: tuple[str, ...] = (), **settings: object,
    ) -> None:  # fmt: skip
        self._dir = tempfile.TemporaryDirectory(prefix="fm-run-")
        self.dir = pathlib.Path(self._dir.name)
        values = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **settings}
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTMESH_")} | {
            f"FASTMESH_{key.upper()}": str(value) for key, value in values.items() if value is not None
        }
        self.environment.update(extra_env or {})
        if config:
            self.config = self.dir / f"fastmesh{suffix}"
            self.config.write_text(config)
            self.environment["FASTMESH_CONFIG"] = str(self.config)
        self._before = before
        self.stdout = self.dir / "stdout"
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False  # by the test, on purpose
        self._scraper: Client | None = None
        self._start(nofile)

    def _start(self, nofile: int) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        with self.stdout.open("wb") as out:
            self.process = subprocess.Popen(
                [*self._before, sys.executable, "-m", "fastmesh", "run"], cwd=ROOT, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, preexec_fn=limit if nofile else None,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self._await_start()
        except BaseException:
            self.kill()
            raise

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended_log = True
            self._changed.notify_all()

    _ended_log = False

    def _await_start(self) -> None:
        """The start line names every address in use."""
        line = self.wait_log(lambda line: "listen" in line and "admin" in line, seconds=START_S)
        addresses: list[str] = _ADDRESS.findall(line)
        before, _, behind = line.partition("admin")
        self.addresses = _ADDRESS.findall(before.partition("listen")[2])
        self.address = self.addresses[0]
        found = _ADDRESS.findall(behind)
        self.admin = found[0] if found else ""
        if not addresses:
            raise RuntimeError(f"the start line names no address: {line}")
        if self.admin:
            until(lambda: self.admin_get("/ready").status == 200, "/ready")
            metrics = self.metrics()
            self._base_objects = int(metrics.sum("fastmesh_slab_objects_in_use"))
            self._base_snapshot = metrics.sum("fastmesh_snapshot_version")
        self._base_fds = self._steady_fds()
        self.live.append(self)

    def wait_log(self, wanted: Callable[[str], bool], *, after: int = 0, seconds: float = DEADLINE_S) -> str:
        """The first line of the process log (from the `after`-th on) that is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended_log or any(map(wanted, self.lines[after:])), seconds)
            for line in self.lines[after:]:
                if wanted(line):
                    return line
            raise TimeoutError(f"no such line in the process log:\n{self.log_text()}")

    def log_text(self) -> str:
        return "\n".join(self.lines)

    # --- admin

    def admin_get(self, path: str) -> Response:
        with Client(self.admin) as client:
            return client.ask(request("GET", path, "Connection: close", host="localhost"))

    def admin_post(self, path: str, body: bytes = b"") -> Response:
        with Client(self.admin) as client:
            return client.ask(request("POST", path, "Connection: close", host="localhost", body=body), "POST")

    def metrics(self) -> Metrics:
        """A scrape, on a connection that stays: what it costs the process is there before and after every test."""
        for _ in range(2):
            if self._scraper is None:
                self._scraper = Client(self.admin)
            try:
                return Metrics(self._scraper.get("/metrics", host="localhost").body.decode())
            except (Ended, ConnectionError):  # the admin port closes idle connections
                self._scraper.close()
                self._scraper = None
        raise AssertionError(f"/metrics does not answer\n{self.log_text()}")

    def counts(self) -> Metrics:
        """A scrape in which every request that came is answered or in flight, and nothing moved since the one before.

        An answer reaches the client a moment before it is counted; tests that count exactly ask for this.
        """
        seen: list[Metrics] = [self.metrics()]

        def steady() -> Metrics | None:
            before, now = seen[-1], self.metrics()
            seen.append(now)
            totals = ("fastmesh_requests_total", "fastmesh_responses_total")
            asked, answered = map(now.sum, totals)
            # What belongs to an answer is read piece by piece: the answer itself must have been there the time before.
            same = [asked, answered] == [before.sum(name) for name in totals]
            return now if same and asked == answered + now.sum("fastmesh_exchanges_in_flight") else None

        found = until(steady, "as many answers as requests")
        assert found is not None
        return found

    # --- the process

    def fds(self) -> list[str]:
        """What its descriptors point to."""
        found = []
        for name in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{self.process.pid}/fd/{name}"))
            except OSError:
                continue  # closed meanwhile
        return found

    def _steady_fds(self) -> int:
        """Descriptor count at rest: the same twice in a row (the admin connection that asked last is gone)."""
        counts: list[int] = []

        def steady() -> int:
            counts.append(len(self.fds()))
            return counts[-1] if len(counts) > 3 and len(set(counts[-3:])) == 1 else 0

        return until(steady, "a steady number of descriptors")

    def rss_bytes(self) -> int:
        """Resident memory; 0 under a sanitizer, whose quarantine says nothing about the proxy."""
        if SANITIZED:
            return 0
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = DEADLINE_S) -> int:
        """Its exit status, when the test made it end."""
        self._ended = True
        if self in self.live:
            self.live.remove(self)
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def assert_alive(self) -> None:
        if self._ended:
            return
        status = self.process.poll()
        if status is not None:
            self._ended = True
            raise AssertionError(f"fastmesh ended by itself with {status}:\n{self.log_text()}")

    # --- leaks

    def _unrest(self) -> dict[str, float]:
        """Gauges that are not at rest. Pooled upstream connections are at rest when every one of them is idle."""
        metrics = self.metrics()
        busy = {name: metrics.sum(name) for name in REST if metrics.sum(name)}
        self.pooled = int(metrics.sum("fastmesh_upstream_open_connections"))
        idle = int(metrics.sum("fastmesh_upstream_idle_connections"))
        if self.pooled != idle:
            busy["upstream connections that are not idle"] = self.pooled - idle
        objects = int(metrics.sum("fastmesh_slab_objects_in_use")) - self.pooled
        reloaded = metrics.sum("fastmesh_snapshot_version") != self._base_snapshot  # it may have changed listeners
        if objects != self._base_objects and not reloaded:
            busy["connection objects"] = objects - self._base_objects
        return busy

    def settle(self) -> None:
        """Waits until every connection, exchange and buffer was given back; the failure names what was not."""
        self.assert_alive()
        if self._ended or not self.admin:
            return
        left: dict[str, float] = {}

        def at_rest() -> bool:
            left.clear()
            left.update(self._unrest())
            return not left

        try:
            until(at_rest, "rest")
        except TimeoutError:
            raise AssertionError(f"not given back: {left}\n{self.log_text()[-2000:]}") from None
        extra: list[int] = []

        def closed() -> bool:
            extra[:] = [len(self.fds()) - self._base_fds - self.pooled]
            return extra[0] <= 0 or bool(self._unrest())

        try:
            until(closed, "descriptors")
        except TimeoutError:
            raise AssertionError(f"{extra[0]} descriptors leaked: {sorted(self.fds())}") from None

    def wait_metric(self, name: str, value: float) -> None:
        """Until the sum of a metric's samples is at least `value`; for 0, until it is nothing."""
        until(
            lambda: (self.metrics().sum(name) >= value) if value else not self.metrics().sum(name),
            f"{name} = {value:g}",
        )

    def wait_pool_empty(self) -> None:
        """Until no upstream connection is open: the origin has closed its ends."""
        self.wait_metric("fastmesh_upstream_open_connections", 0)

    # --- end

    def kill(self) -> None:
        self._ended = True
        if self in self.live:
            self.live.remove(self)
        if self._scraper is not None:
            self._scraper.close()
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        self._dir.cleanup()

    def stop(self) -> None:
        """SIGTERM, and it has to end by itself with 0 when it was still running."""
        try:
            self.assert_alive()
            if not self._ended:
                self.signal(signal.SIGTERM)
                status = self.wait()
                assert status == 0, f"exit status {status} after SIGTERM:\n{self.log_text()}"
        finally:
            self.kill()

    def __enter__(self) -> "Fastmesh":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            sys.stderr.write(f"--- fastmesh log\n{self.log_text()[-4000:]}\n")
            self.kill()
        else:
            self.settle()
            self.stop()
