"""One worker of the core alone, in a thread of the test: sizes and timeouts of the test's choice, and an account of
everything it took and gave back."""

import contextlib
import dataclasses
import itertools
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from fastmesh._core import bridge
from fastmesh._core.spec import (
    BackendSpec,
    EndpointSpec,
    ListenerSpec,
    LogTemplateSpec,
    PolicySpec,
    RouteSpec,
    SnapshotSpec,
    WorkerSpec,
)
from tests.support import net
from tests.support.wait import DEADLINE_S, until

MS = 1_000_000
SECOND = 1000 * MS
BALANCERS = {"p2c_ewma": 0, "least_request": 1, "round_robin": 2, "random": 3}
READY, OUT = 0, 1  # of an endpoint's state
# Gauges that say how things are, not how much is in use.
_FACTS = ("snapshot_version", "turn_ns", "turn_max_ns")
# What an idle worker still has: pooled upstream connections.
_POOLED = ("upstream_connections", "upstream_idle", "conn_slab", "h2_sessions")
_PAIRS = {
    "conns_taken": "conns_given",
    "exchanges_taken": "exchanges_given",
    "relays_taken": "relays_given",
    "small_taken": "small_given",
    "large_taken": "large_given",
    "fds_opened": "fds_closed",
}
_POLICY: dict[str, Any] = {
    "head_bytes": 65536,
    "line_bytes": 16384,
    "field_line_bytes": 65536,
    "fields": 128,
    "header_timeout_ns": 15 * SECOND,
    "idle_timeout_ns": 75 * SECOND,
    "stream_timeout_ns": 300 * SECOND,
    "linger_timeout_ns": 2 * SECOND,
    "max_connections": 10000,
    "keepalive_requests": 0,
    "via": b"fastmesh",
    "via_response": False,
    "forwarded": 0,
    "forwarded_replace": False,
    "access_log": False,
}
_BACKEND: dict[str, Any] = {
    "name": b"default",
    "balancer": 0,
    "connect_timeout_ns": SECOND,
    "ewma_default_ns": 30 * MS,
    "ewma_decay_ns": 10 * SECOND,
    "ramp_ns": 0,
    "backoff_min_ns": 100 * MS,
    "backoff_max_ns": 60 * SECOND,
    "idle_timeout_ns": 60 * SECOND,
    "max_connections": 0,
    "max_idle": 128,
    "max_pending": 1024,
}
_SIZES: dict[str, Any] = {
    "number": 0,
    "connections": 2048,
    "exchanges": 1024,
    "buffers": 1024,
    "large_buffers": 64,
    "endpoint_slots": 256,
    "meter_blocks": 64,
    "log_ring_bytes": 0,
    "cpu": -1,
}


@dataclass(frozen=True)
class Plan:
    """Upstreams, and what differs from the defaults above; every value can be written as JSON."""

    upstreams: list[str]
    policy: dict[str, int] = field(default_factory=dict)
    backend: dict[str, int] = field(default_factory=dict)
    # request_timeout_ns, per_try_timeout_ns, retry_connect, grpc_web, retry_grpc
    route: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    host: str = ""  # the only host that has a route; empty: any
    listener: dict[str, int] = field(default_factory=dict)

    def but(self, **changes: Any) -> "Plan":
        return dataclasses.replace(self, **changes)

    def worker_spec(self) -> WorkerSpec:
        return WorkerSpec(**{**_SIZES, **self.sizes})

    def snapshot(self, version: int, slots: dict[str, int]) -> SnapshotSpec:
        """`slots` is the slot of every address of this snapshot; who comes back gets another one."""
        endpoints = tuple(EndpointSpec(slots[address], 1, 1, address) for address in self.upstreams)
        route = RouteSpec(
            host_kind=1 if self.host else 0,
            host=self.host.encode(),
            path_kind=0,
            path=b"",
            methods=(),
            headers=(),
            listener_mask=0,
            backend=0,
            meter=1,
            request_timeout_ns=self.route.get("request_timeout_ns", 0),
            per_try_timeout_ns=self.route.get("per_try_timeout_ns", 0),
            retry_connect=self.route.get("retry_connect", 2),
            name=b"default",
            grpc_web=bool(self.route.get("grpc_web", 0)),
            retry_grpc=self.route.get("retry_grpc", 0),
        )
        backend = BackendSpec(**{**_BACKEND, **self.backend, "endpoints": endpoints})
        policy = PolicySpec(**{**_POLICY, **self.policy})
        listener = ListenerSpec(b"main", **self.listener)
        tcp = (route._replace(host_kind=0, host=b"", name=b"tcp"),) if self.listener else ()
        return SnapshotSpec(version, policy, (route,), (backend,), (listener,), tcp)


@dataclass(frozen=True)
class Report:
    """What a worker says of itself at one moment."""

    counters: dict[str, int]
    gauges: dict[str, int]
    endpoints: list[dict[str, float]]  # of the published snapshot, by slot
    codes: dict[int, int]  # status -> responses
    faults: dict[str, int]  # cause -> proxy-made errors, only those seen
    grpc: dict[int, int]  # grpc-status -> gRPC responses, only those seen; 17: another or none


class Watched:
    """A worker that can be asked how it is, wherever it runs."""

    address = ""

    def report(self) -> Report:
        raise NotImplementedError

    def gauge(self, name: str) -> int:
        return self.report().gauges[name]

    def counter(self, name: str) -> int:
        return self.report().counters[name]

    def until_gauge(self, name: str, least: int) -> None:
        until(lambda: self.gauge(name) >= least, f"{name} to be {least}")

    def expect_faults(self, **faults: int) -> None:
        """These proxy-made errors and no others; a client may have its answer before they are counted."""
        with contextlib.suppress(TimeoutError):
            until(lambda: self.report().faults == faults, "the faults to be counted")
        assert self.report().faults == faults

    def settle(self) -> None:
        """Once its clients are gone nothing is in use but pooled connections, and no endpoint is being waited for."""
        try:
            until(lambda: not self._in_use(), "the worker to be at rest")
        except TimeoutError as error:
            raise AssertionError(f"still in use: {self._in_use()}") from error

    def _in_use(self) -> dict[str, float]:
        report = self.report()
        used: dict[str, float] = {
            name: value for name, value in report.gauges.items() if value and name not in _FACTS + _POOLED
        }
        used.update((f"in_flight of {e['slot']}", e["in_flight"]) for e in report.endpoints if e["in_flight"])
        pooled = report.gauges["upstream_connections"]
        if pooled != report.gauges["upstream_idle"]:
            used["upstream_connections"] = pooled
        return used


class LiveWorker(Watched):
    """Runs from construction on. Leaving the context waits for rest, drains, joins, and settles the account."""

    def __init__(self, plan: Plan, *, log: bridge.LogRing | None = None) -> None:
        self._slots: dict[str, int] = {}
        self._free_slots = itertools.count()
        self._version = 0
        self._publisher = bridge.Publisher(1)
        self._publish(plan)
        self.core = bridge.Worker(plan.worker_spec(), self._publisher, log)
        listener = net.listen()
        listener.setblocking(False)
        self.address = net.text(listener)
        self.core.add_listener(listener.detach(), 0)
        self._result: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._result = self.core.run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            # The test has failed already; its clients may still be there.
            self.core.stop()
            self._thread.join(DEADLINE_S)
            return
        self.settle()
        self.drain()
        self.join()
        self.check_account()

    def publish(self, plan: Plan) -> None:
        """Another snapshot, adopted at once."""
        self._publish(plan)
        self.core.wake()

    def _publish(self, plan: Plan) -> None:
        self.plan = plan
        self._version += 1
        self._slots = {u: self._slots[u] if u in self._slots else next(self._free_slots) for u in plan.upstreams}
        self._publisher.publish(plan.snapshot(self._version, self._slots))

    def drain(self) -> None:
        self.core.drain()

    def join(self) -> None:
        """The worker's thread ends, and without an error."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), f"the worker does not end: {self._in_use()}"
        assert self._result == 0, f"the worker ended with errno {self._result}"

    def check_account(self) -> None:
        """Of an ended worker: all that was taken was given back, all that was opened is closed."""
        balance = self.core.balance()
        assert [balance[taken] for taken in _PAIRS] == [balance[given] for given in _PAIRS.values()], balance
        left = {name: value for name, value in self.report().gauges.items() if value and name not in _FACTS}
        assert not left, f"an ended worker still has {left}"

    def report(self) -> Report:
        codes: dict[int, int] = {}
        faults: dict[str, int] = {}
        grpc: dict[int, int] = {}
        for block in self.core.blocks():
            for code, n in block.codes.items():
                codes[code] = codes.get(code, 0) + n
            for name, n in zip(bridge.FAULTS, block.faults, strict=True):
                if n:
                    faults[name] = faults.get(name, 0) + n
            for status, n in enumerate(block.grpc):
                if n:
                    grpc[status] = grpc.get(status, 0) + n
        return Report(
            counters=dict(zip(bridge.COUNTERS, self.core.counters(), strict=True)),
            gauges=dict(zip(bridge.GAUGES, self.core.gauges(), strict=True)),
            endpoints=[
                {
                    "slot": e.slot,
                    "failures": e.failures,
                    "connects": e.connects,
                    "connect_failures": e.connect_failures,
                    "in_flight": e.in_flight,
                    "ewma_ns": e.ewma_ns,
                    "state": e.state,
                }
                for e in self.core.endpoints()
                if e.slot in self._slots.values()
            ],
            codes=codes,
            faults=faults,
            grpc=grpc,
        )


def log_ring() -> bridge.LogRing:
    """A ring for one worker; each line holds the status and the target of a request."""
    fields = bridge.LOG_FIELDS
    return bridge.LogRing(1, 1 << 16, LogTemplateSpec(((fields["status"], b""), (0, b" "), (fields["target"], b"")), 0))
