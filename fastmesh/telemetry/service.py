"""Telemetry as the rest of the process sees it: one object that reads the workers and writes metrics and logs."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import fastmesh
from fastmesh.config.model import Config, LogLevel
from fastmesh.telemetry import process
from fastmesh.telemetry.accesslog import AccessLog, compile_template, open_file
from fastmesh.telemetry.exposition import Family, label_text
from fastmesh.telemetry.log import ProcessLog, RateLimit
from fastmesh.telemetry.metrics import Collector, CoreNames, Labels, Owner, Renderer, merge_endpoints

if TYPE_CHECKING:
    from fastmesh._core.bridge import Event, Worker

SLICE_S = 0.001  # rendering lets other work of the loop run after this long
EVENT_BURST = 10  # core events of a kind logged per window; the others are counted
EVENT_WINDOW_S = 10.0
FLUSH_S = 2.0  # how long the access log may take to write its rest at the end

_EVENTS: dict[str, tuple[LogLevel, str]] = {
    "endpoint_out": ("warning", "endpoint left out"),
    "endpoint_ready": ("info", "endpoint is back"),
    "accept_paused": ("warning", "accepting paused"),
    "listener_failed": ("error", "listener failed"),
    "loop": ("warning", "connection refused, it was meant for fastmesh itself"),
    "drained": ("debug", "worker drained"),
}


class ProcessState(NamedTuple):
    """What the process as a whole adds to the metrics."""

    ready: bool
    draining: bool
    version: int  # of the published snapshot
    retired: int  # old snapshots a worker still reads
    reloads: int
    reload_failures: int
    loaded_s: float  # when the configuration in force was read, seconds since 1970
    stuck: int  # workers that stand still
    resolve_failures: Mapping[str, int]  # by backend


class Telemetry:
    """Process log, access log and metrics. Methods are called from the loop's thread only."""

    def __init__(self, config: Config, log: ProcessLog) -> None:
        """Raises MemoryError."""
        from fastmesh._core import bridge

        self.log = log
        self._core = CoreNames(bridge.COUNTERS, bridge.GAUGES, bridge.FAULTS, bridge.HISTOGRAM_BOUNDS_NS)
        self._profile = bridge.PROFILE
        self._fields = bridge.LOG_FIELDS
        # The ring's memory is reserved, not touched, so it is there for a reload that switches the log on.
        self._format = config.access_log.format if config.access_log.is_on else "json"
        template = compile_template(self._format, self._fields)
        self.ring = bridge.LogRing(config.workers.count, config.access_log.ring_bytes, template)
        self._access_log = AccessLog(self.ring, log)
        self._renderer = Renderer(self._core, config.metrics.histogram, config.metrics.endpoints)
        self._config = config
        self._limit = RateLimit(EVENT_BURST, EVENT_WINDOW_S)
        self._collector = Collector(())
        self._scrape_s = 0.0

    def start(self) -> None:
        """Opens the access log and starts the thread that writes it. Raises OSError."""
        if self._config.access_log.is_on:
            self._access_log.open(self._config.access_log.path)

    def attach(self, workers: "Sequence[Worker]", labels: Callable[[], Labels]) -> None:
        """These are the workers to read; `labels` answers what their numbers are called now."""
        self._collector = Collector(workers)
        self._labels = labels

    def check_file(self, config: Config) -> None:
        """Raises OSError when the access log's file of this configuration cannot be written."""
        if config.access_log.is_on:
            os.close(open_file(config.access_log.path))

    def apply(self, config: Config) -> None:
        """Takes over what a reload may change. Raises OSError when the access log's new file cannot be opened."""
        before, self._config = self._config, config
        access = config.access_log
        if access.is_on:
            if access.format != self._format:
                self.ring.set_template(compile_template(access.format, self._fields))
                self._format = access.format
            if access.path != before.access_log.path or not before.access_log.is_on:
                self._access_log.open(access.path)
        elif before.access_log.is_on:
            self._access_log.leave()
        self._renderer = Renderer(self._core, config.metrics.histogram, config.metrics.endpoints)
        if config.log != before.log:  # a level set by hand stays until the configuration says another
            self.log.level, self.log.json = config.log.level, config.log.json

    def before_publish(self, listeners: Sequence[int], meters: Sequence[int]) -> None:
        """The numbers are about to change hands: `listeners` and `meters` get other owners."""
        self._collector.endpoints(self._labels())
        self._collector.rename(listeners, meters)

    async def metrics(self, state: ProcessState) -> list[bytes]:
        """The Prometheus text, rendered in slices that let the loop answer others in between."""
        begun_s = resumed_s = time.monotonic()
        sample = self._collector.sample(self._labels())
        text: list[bytes] = []
        for piece in self._renderer.pieces(sample, self._own(state)):
            text.append(piece.encode())
            if time.monotonic() - resumed_s > SLICE_S:
                await asyncio.sleep(0)
                resumed_s = time.monotonic()
        self._scrape_s = time.monotonic() - begun_s
        return text

    def endpoints(self) -> list[dict[str, Any]]:
        """What /endpoints shows; endpoints that no worker has met yet are not in it."""
        return [
            {
                "backend": view.owner.backend,
                "address": view.owner.address,
                "state": view.state,
                "ewma_ms": round(view.ewma_ns / 1e6, 3),
                "in_flight": view.in_flight,
                "requests": view.counts.requests,
                "failures": view.counts.failures,
                "connects": view.counts.connects,
                "reuses": view.counts.reuses,
                "connections": view.connections,
                "idle": view.idle,
            }
            for view in merge_endpoints(self._collector.endpoints(self._labels()))
        ]

    def out(self) -> set[tuple[str, str]]:
        """Backend and address of endpoints that a worker leaves out."""
        sightings = self._collector.endpoints(self._labels())
        return {(seen.owner.backend, seen.owner.address) for seen in sightings if seen.meter.state != 0}

    def event(self, worker: int, event: "Event") -> None:
        """Logs what the core reports, at most so many of a kind in a while."""
        held = self._limit.take(event.kind)
        if held < 0:
            return
        level, message = _EVENTS.get(event.kind, ("info", event.kind.replace("_", " ")))
        fields: dict[str, object] = {"worker": worker} | self._subject(event)
        if event.error:
            fields["error"] = os.strerror(event.error)
        if held:
            fields["not_shown"] = held
        self.log(level, message, **fields)

    def _subject(self, event: "Event") -> dict[str, object]:
        """What an event is about: its slot is an endpoint's or a listener's."""
        labels = self._labels()
        owner = labels.slots.get(event.slot)
        if event.kind.startswith("endpoint") and owner is not None:
            return {"backend": owner.backend, "address": owner.address}
        if event.kind in ("accept_paused", "listener_failed"):
            return {"listener": labels.listeners.get(event.slot, "")}
        if event.kind == "loop":
            return {"listener": labels.listeners.get(event.slot, ""), "port": event.value}
        return {}

    def under_way(self) -> dict[str, int]:
        """Open client connections and exchanges, as the workers last said."""
        rows = [dict(zip(self._core.gauges, worker.gauges(), strict=True)) for worker in self._collector.workers]
        shown = {"connections": "downstream_connections", "exchanges": "exchanges"}
        return {key: sum(row[gauge] for row in rows) for key, gauge in shown.items()}

    def rotate(self) -> None:
        """The access log's file was moved away: opens its path again."""
        self._access_log.reopen()

    def look(self) -> None:
        """To be called about once a second."""
        self._access_log.look()

    def close(self) -> None:
        """Writes what the access log still holds. Called when no worker runs any more."""
        self._access_log.close(FLUSH_S)

    def _own(self, state: ProcessState) -> Iterator[Family]:
        info = {"version": fastmesh.__version__, "profile": self._profile, "python": sys.version.split()[0]}
        single: tuple[tuple[str, str, int | float], ...] = (
            ("ready", "1 while the process should get traffic.", int(state.ready)),
            ("draining", "1 while the process drains.", int(state.draining)),
            ("snapshot_version", "Version of the published snapshot.", state.version),
            ("snapshots_retired", "Old snapshots that a worker still reads.", state.retired),
            ("config_loaded_timestamp_seconds", "When the configuration in force was read.", state.loaded_s),
            ("workers_stuck", "Workers whose loop stands still.", state.stuck),
            ("scrape_seconds", "How long the last scrape took to render, others' turns included.", self._scrape_s),
        )
        yield Family("fastmesh_build_info", "gauge", "What was built; always 1.", ((label_text(info), 1),))
        for name, text, value in single:
            yield Family(f"fastmesh_{name}", "gauge", text, (("", value),))
        reloads = (('result="ok"', state.reloads), ('result="failed"', state.reload_failures))
        yield Family("fastmesh_config_reloads_total", "counter", "Reloads of the configuration.", reloads)
        failures = ((label_text({"backend": name}), count) for name, count in state.resolve_failures.items())
        yield Family("fastmesh_resolve_failures_total", "counter", "Name look-ups that failed.", failures)
        counters: tuple[tuple[str, str, int], ...] = (
            ("access_log_lines_total", "Lines taken by the access log.", self.ring.lines()),
            ("access_log_dropped_total", "Lines dropped because a ring was full.", self.ring.dropped()),
            ("access_log_failures_total", "Times the access log's file failed.", self._access_log.failures),
            ("log_dropped_total", "Lines of the process log that could not be written.", self.log.dropped),
        )
        for name, text, count in counters:
            yield Family(f"fastmesh_{name}", "counter", text, (("", count),))
        yield from process.families()


__all__ = ["Labels", "Owner", "ProcessLog", "ProcessState", "Telemetry"]
