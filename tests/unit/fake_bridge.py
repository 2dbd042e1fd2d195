"""The bridge in memory: what bridge.pyi promises, without a core. Workers are threads that only take commands."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

import pytest

from fastmesh._core.spec import LogTemplateSpec, SnapshotSpec, WorkerSpec
from fastmesh.config.logs import LOG_FIELDS as NAMES

COUNTERS = ("accepted", "connects", "novelties")
GAUGES = ("downstream_connections", "exchanges", "turn_ns")
FAULTS = ("none", "no_route", "connect")
LOG_FIELDS = {name: number for number, name in enumerate(NAMES, 1)}
# 1024 ns units, 16 linear buckets per power of two, as the core counts; the last one has no bound.
_BOUNDS = [n << 10 for n in range(1, 17)] + [n << (10 + row) for row in range(28) for n in range(17, 33)]
HISTOGRAM_BOUNDS_NS = (*_BOUNDS[:-1], 0)
PROFILE = "fake"


class Block:
    """Counters of one label set, zero unless given."""

    def __init__(self, listener: int, meter: int, **values: Any) -> None:
        self.listener, self.meter = listener, meter
        self.requests = self.request_bytes = self.response_bytes = self.retries = self.duration_sum_ns = 0
        self.codes: dict[int, int] = {}
        self.durations = [0] * len(HISTOGRAM_BOUNDS_NS)
        self.faults = [0] * len(FAULTS)
        self.grpc = [0] * 18
        self.connections = self.connection_bytes_in = self.connection_bytes_out = self.connection_ns = 0
        vars(self).update(values)


class EndpointMeter:
    """One endpoint, zero unless given."""

    def __init__(self, slot: int, slot_gen: int = 1, **values: Any) -> None:
        self.slot, self.slot_gen = slot, slot_gen
        self.requests = self.failures = self.connects = self.reuses = self.connect_failures = 0
        self.in_flight = self.state = self.connections = self.idle = 0
        self.ewma_ns = 0.0
        vars(self).update(values)


class Event:
    def __init__(self, kind: str, slot: int = 0, error: int = 0, value: int = 0) -> None:
        self.kind, self.slot, self.error, self.value = kind, slot, error, value


class Publisher:
    """Keeps every spec. `left` is how many old snapshots workers still read; `refusal` is what publish raises."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.specs: list[SnapshotSpec] = []
        self.left = 0
        self.refusal = ""

    def publish(self, spec: SnapshotSpec) -> int:
        if self.refusal:
            raise ValueError(self.refusal)
        self.specs.append(spec)
        return spec.version

    def version(self) -> int:
        return self.specs[-1].version if self.specs else 0

    def retired(self) -> int:
        return self.left


class LogRing:
    def __init__(self, workers: int, ring_bytes: int, template: LogTemplateSpec) -> None:
        self.template = template
        self.failures: list[int] = []  # errnos that end the next runs
        self._stop = threading.Event()

    def set_template(self, template: LogTemplateSpec) -> None:
        self.template = template

    def run(self, fd: int) -> int:
        if self.failures:
            return self.failures.pop(0)
        self._stop.wait()
        os.write(fd, b"rest\n")
        return 0

    def stop(self) -> None:
        self._stop.set()

    def dropped(self) -> int:
        return 3

    def lines(self) -> int:
        return 7


class Worker:
    """Turns once per command. `frozen`: takes commands and does not turn; `full`: does not even take them."""

    live: ClassVar[list["Worker"]] = []

    def __init__(self, spec: WorkerSpec, publisher: Publisher, log: LogRing | None = None) -> None:
        self.spec, self.publisher, self.log = spec, publisher, log
        self.listeners: dict[int, int] = {}  # index: fd
        self.blocks_now: list[Block] = []
        self.endpoints_now: list[EndpointMeter] = []
        self.frozen = self.full = False
        self.result = 0
        self.hold_drain = False  # something is under way: drain does not end
        self.turns = 0
        self._is_running = False
        self.commands: list[str] = []
        self._events: list[Event] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._end = threading.Event()
        Worker.live.append(self)

    def run(self) -> int:
        self._is_running = not self._end.is_set()
        self.turns += self._is_running
        self._end.wait()
        for fd in self.listeners.values():
            os.close(fd)
        self.listeners.clear()
        return self.result

    def end(self, result: int) -> None:
        """Ends by itself, as after a failure."""
        self.result = result
        self._end.set()

    def _take(self, command: str) -> None:
        if self.full:
            raise BlockingIOError("mailbox full")
        self.commands.append(command)
        self.turns += self._is_running and not self.frozen

    def add_listener(self, fd: int, listener: int) -> None:
        self._take("add")
        self.listeners[listener] = fd

    def remove_listener(self, listener: int) -> None:
        self._take("remove")
        os.close(self.listeners.pop(listener))

    def drain(self) -> None:
        self._take("drain")
        if not self.hold_drain:
            self._end.set()

    def stop(self) -> None:
        self._take("stop")
        self._end.set()

    def wake(self) -> None:
        self._take("wake")

    def heartbeat(self) -> tuple[int, int]:
        return self.turns, time.monotonic_ns()

    def counters(self) -> tuple[int, ...]:
        return (5, 4, 3)

    def gauges(self) -> tuple[int, ...]:
        return (2, 1, 1500)

    def blocks(self) -> list[Block]:
        return self.blocks_now

    def endpoints(self) -> list[EndpointMeter]:
        return self.endpoints_now

    def report(self, event: Event) -> None:
        self._events.append(event)
        os.eventfd_write(self._fd, 1)

    def events(self) -> list[Event]:
        taken, self._events = self._events, []
        return taken

    def event_fd(self) -> int:
        return self._fd

    def close(self) -> None:
        self._end.set()
        os.close(self._fd)


@contextmanager
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Puts this module in the bridge's place."""
    import sys

    import fastmesh._core

    this = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "fastmesh._core.bridge", this)
    monkeypatch.setattr(fastmesh._core, "bridge", this, raising=False)
    Worker.live = []
    yield this
    for worker in Worker.live:
        worker.close()


def trim() -> None:
    """Memory is the real one's matter."""
