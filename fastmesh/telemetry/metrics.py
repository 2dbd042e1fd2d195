"""The meters of all workers as Prometheus families.

`Collector.sample` copies the meters (short, no I/O); `pieces` turns the copy into text piece by piece, so that a scrape
of many series never holds the loop. Counters of several workers are added up; only what describes a worker itself (its
loop, slabs and buffers) has the label `worker`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastmesh.config.model import HistogramDetail
from fastmesh.telemetry.exposition import Buckets, Distribution, Family, label_text, render_distributions, render_family
from fastmesh.telemetry.tables import COUNTERS, GAUGES, Meaning, meaning

if TYPE_CHECKING:
    from fastmesh._core.bridge import Block, EndpointMeter, Worker

# Shown bounds: nothing that crosses a socket ends below 32 us, and above 68.7 s the sum says enough.
LOW_NS = 1 << 15
HIGH_NS = 1 << 36
STATES = ("ready", "out", "probing")  # EndpointMeter.state
GRPC_STATUSES = (*map(str, range(17)), "other")  # Block.grpc


class CoreNames(NamedTuple):
    """What the bridge says about its own numbers."""

    counters: tuple[str, ...]
    gauges: tuple[str, ...]
    faults: tuple[str, ...]
    bounds_ns: tuple[int, ...]


class Owner(NamedTuple):
    """Who holds a slot."""

    slot_gen: int
    backend: str
    address: str


class Labels(NamedTuple):
    """What the core's numbers are called."""

    listeners: Mapping[int, str]  # by index
    meters: Mapping[int, tuple[str, str, str]]  # route, backend and server name ("": none) by meter id
    slots: Mapping[int, Owner]


class Totals:
    """Counters of one label set, added up over workers. Fields as in the bridge's Block."""

    __slots__ = (
        "codes",
        "connection_bytes_in",
        "connection_bytes_out",
        "connection_ns",
        "connections",
        "duration_sum_ns",
        "durations",
        "faults",
        "grpc",
        "request_bytes",
        "requests",
        "response_bytes",
        "retries",
    )  # fmt: skip

    def __init__(self, block: "Block") -> None:
        self.requests = block.requests
        self.request_bytes = block.request_bytes
        self.response_bytes = block.response_bytes
        self.retries = block.retries
        self.duration_sum_ns = block.duration_sum_ns
        self.codes = dict(block.codes)
        self.durations = block.durations  # replaced, never changed in place
        self.faults = block.faults
        self.grpc = block.grpc
        self.connections = block.connections
        self.connection_bytes_in = block.connection_bytes_in
        self.connection_bytes_out = block.connection_bytes_out
        self.connection_ns = block.connection_ns

    def add(self, other: "Block | Totals", sign: int = 1) -> None:
        """Adds a block, or takes it away with sign -1."""
        self.requests += sign * other.requests
        self.request_bytes += sign * other.request_bytes
        self.response_bytes += sign * other.response_bytes
        self.retries += sign * other.retries
        self.duration_sum_ns += sign * other.duration_sum_ns
        for code, count in other.codes.items():
            self.codes[code] = self.codes.get(code, 0) + sign * count
        self.durations = [a + sign * b for a, b in zip(self.durations, other.durations, strict=True)]
        self.faults = [a + sign * b for a, b in zip(self.faults, other.faults, strict=True)]
        self.grpc = [a + sign * b for a, b in zip(self.grpc, other.grpc, strict=True)]
        self.connections += sign * other.connections
        self.connection_bytes_in += sign * other.connection_bytes_in
        self.connection_bytes_out += sign * other.connection_bytes_out
        self.connection_ns += sign * other.connection_ns

    @property
    def is_used(self) -> bool:
        """Whether anything was counted."""
        return bool(self.requests or self.connections or any(self.faults))


class Counts(NamedTuple):
    """What an endpoint's meter counts; a backend's are the sums, endpoints that left included."""

    requests: int = 0
    failures: int = 0
    connects: int = 0
    reuses: int = 0
    connect_failures: int = 0

    @classmethod
    def of(cls, meter: "EndpointMeter") -> "Counts":
        return cls(meter.requests, meter.failures, meter.connects, meter.reuses, meter.connect_failures)

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*map(int.__add__, self, other))

    def minus(self, other: "Counts") -> "Counts":
        return Counts(*map(int.__sub__, self, other))


class Sighting(NamedTuple):
    """One endpoint as one worker knows it."""

    owner: Owner
    meter: "EndpointMeter"
    counts: Counts  # of this owner alone: the meter goes on counting when its slot gets another one


class Sample(NamedTuple):
    """A copy of all meters at one moment, by label text."""

    routes: dict[str, Totals]
    backends: dict[str, Counts]
    endpoints: list[Sighting]
    counters: list[tuple[int, ...]]  # by worker
    gauges: list[tuple[int, ...]]


class Collector:
    """Reads the workers' meters. Keeps what must outlive them: totals of endpoints that left, and what a reused number
    had counted for its former owner."""

    def __init__(self, workers: "Sequence[Worker]") -> None:
        self.workers = workers
        self._backends: dict[str, Counts] = {}
        self._seen: dict[tuple[int, int], Counts] = {}  # worker, slot: its meter when last read
        self._begun: dict[tuple[int, int], tuple[int, Counts]] = {}  # same: generation, and its meter when that began
        self._former: dict[tuple[int, int], Totals] = {}  # listener, meter

    def endpoints(self, labels: Labels) -> list[Sighting]:
        """Every endpoint in use, once per worker. Adds to the backends' totals what was counted since the last call,
        so it is called before a publish as well: nothing is lost with an endpoint that leaves."""
        found = []
        for index, worker in enumerate(self.workers):
            for meter in worker.endpoints():
                owner = labels.slots.get(meter.slot)
                if owner is None or owner.slot_gen != meter.slot_gen:
                    continue
                key = (index, meter.slot)
                now, before = Counts.of(meter), self._seen.get(key, Counts())
                if key not in self._begun or self._begun[key][0] != meter.slot_gen:
                    self._begun[key] = (meter.slot_gen, before)
                total = self._backends.get(owner.backend, Counts())
                self._backends[owner.backend] = total.plus(now.minus(before))
                self._seen[key] = now
                found.append(Sighting(owner, meter, now.minus(self._begun[key][1])))
        return found

    def rename(self, listeners: Iterable[int], meters: Iterable[int]) -> None:
        """These listener indexes and meter ids get another owner: what they counted so far is not the new one's."""
        old_listeners, old_meters = frozenset(listeners), frozenset(meters)
        if old_listeners or old_meters:
            for key, total in self._blocks().items():
                if key[0] in old_listeners or key[1] in old_meters:
                    self._former[key] = total

    def sample(self, labels: Labels) -> Sample:
        """A copy of everything."""
        routes: dict[str, Totals] = {}
        for key, total in self._blocks().items():
            former = self._former.get(key)
            if former is not None:
                total.add(former, -1)
            text = _route_labels(labels, *key)
            if text in routes:
                routes[text].add(total)
            elif total.is_used:
                routes[text] = total
        endpoints = self.endpoints(labels)
        return Sample(
            routes,
            dict(self._backends),
            endpoints,
            [worker.counters() for worker in self.workers],
            [worker.gauges() for worker in self.workers],
        )

    def _blocks(self) -> dict[tuple[int, int], Totals]:
        sums: dict[tuple[int, int], Totals] = {}
        for worker in self.workers:
            for block in worker.blocks():
                key = (block.listener, block.meter)
                if key in sums:
                    sums[key].add(block)
                else:
                    sums[key] = Totals(block)
        return sums


def _route_labels(labels: Labels, listener: int, meter: int) -> str:
    route, backend, sni = labels.meters.get(meter, ("", "", ""))
    named = {"listener": labels.listeners.get(listener, ""), "route": route, "backend": backend}
    return label_text(named | ({"sni": sni} if sni else {}))


class Renderer:
    """Turns samples into text. `detail` and `per_endpoint` are the two switches of metric volume."""

    def __init__(self, core: CoreNames, detail: HistogramDetail, per_endpoint: bool) -> None:
        self._core = core
        self._per_endpoint = per_endpoint
        coarse = detail == "coarse"
        self._buckets = None if detail == "off" else Buckets(core.bounds_ns, LOW_NS, HIGH_NS, coarse)

    def pieces(self, sample: Sample, own: Iterable[Family]) -> Iterator[str]:
        """The whole exposition in pieces of at most a few hundred lines; `own` are further families, put first."""
        for family in (*own, *_route_families(sample, self._core.faults), *_tcp_families(sample)):
            yield from render_family(family)
        yield from render_distributions(
            "fastmesh_request_duration_seconds",
            "Time from the whole request head to the end of the response.",
            ((text, Distribution(t.durations, t.duration_sum_ns / 1e9)) for text, t in _requested(sample)),
            self._buckets,
        )
        for family in _backend_families(sample):
            yield from render_family(family)
        if self._per_endpoint:
            for family in _endpoint_families(sample.endpoints):
                yield from render_family(family)
        for family in _worker_families(sample, self._core):
            yield from render_family(family)


def _requested(sample: Sample) -> list[tuple[str, Totals]]:
    """Label sets that saw a request."""
    return [(text, total) for text, total in sample.routes.items() if total.requests]


def _tcp_families(sample: Sample) -> Iterator[Family]:
    relayed = [(text, total) for text, total in sample.routes.items() if total.connections]
    yield Family(
        "fastmesh_tcp_connections_total", "counter", "Connections relayed as they are.",
        ((text, t.connections) for text, t in relayed),
    )  # fmt: skip
    yield Family(
        "fastmesh_tcp_received_bytes_total", "counter", "Bytes of relayed connections from clients.",
        ((text, t.connection_bytes_in) for text, t in relayed),
    )  # fmt: skip
    yield Family(
        "fastmesh_tcp_sent_bytes_total", "counter", "Bytes of relayed connections to clients.",
        ((text, t.connection_bytes_out) for text, t in relayed),
    )  # fmt: skip
    yield Family(
        "fastmesh_tcp_connection_seconds_total", "counter", "How long relayed connections that ended lasted, together.",
        ((text, t.connection_ns / 1e9) for text, t in relayed),
    )  # fmt: skip


def _route_families(sample: Sample, faults: tuple[str, ...]) -> Iterator[Family]:
    routes = _requested(sample)
    yield Family("fastmesh_requests_total", "counter", "Requests.", ((text, t.requests) for text, t in routes))
    yield Family(
        "fastmesh_responses_total", "counter", "Responses by status code, those made by the proxy included.",
        (
            (f'{text},code="{code}",class="{code // 100}xx"', count)
            for text, t in routes for code, count in sorted(t.codes.items()) if count
        ),
    )  # fmt: skip
    yield Family(
        "fastmesh_grpc_responses_total", "counter",
        "gRPC responses by grpc-status, those made by the proxy included; other: another status, or none.",
        (
            (f'{text},grpc_status="{status}"', count)
            for text, t in routes for status, count in zip(GRPC_STATUSES, t.grpc, strict=True) if count
        ),
    )  # fmt: skip
    yield Family(
        "fastmesh_proxy_errors_total", "counter", "Exchanges and connections that the proxy ended itself, by cause.",
        (
            (f'{text},cause="{cause}"', count)
            for text, t in sample.routes.items() for cause, count in zip(faults, t.faults, strict=True) if count
        ),
    )  # fmt: skip
    yield Family(
        "fastmesh_request_bytes_total", "counter", "Bytes received from clients for these requests, heads included.",
        ((text, t.request_bytes) for text, t in routes),
    )  # fmt: skip
    yield Family(
        "fastmesh_response_bytes_total", "counter", "Bytes sent to clients in answer, heads included.",
        ((text, t.response_bytes) for text, t in routes),
    )  # fmt: skip
    yield Family(
        "fastmesh_retries_total", "counter", "Requests sent once more.", ((text, t.retries) for text, t in routes)
    )


_COUNTS_HELP = (
    "Exchanges sent to it.",
    "Failed connects and exchanges that failed on its side.",
    "Connections begun to it.",
    "Exchanges sent to it on a pooled connection.",
    "Connections to it that could not be made.",
)


def _backend_families(sample: Sample) -> Iterator[Family]:
    named = [(label_text({"backend": backend}), counts) for backend, counts in sample.backends.items()]
    for index, (field, text) in enumerate(zip(Counts._fields, _COUNTS_HELP, strict=True)):
        samples = [(labels, counts[index]) for labels, counts in named]
        yield Family(f"fastmesh_upstream_{field}_total", "counter", f"By backend. {text}", samples)
    states: dict[str, int] = {}
    for seen in sample.endpoints:
        labels = label_text({"backend": seen.owner.backend, "state": STATES[seen.meter.state]})
        states[labels] = states.get(labels, 0) + 1
    yield Family("fastmesh_upstream_endpoints", "gauge", "Endpoints by state, as the workers see them.", states.items())


def _endpoint_families(endpoints: list[Sighting]) -> Iterator[Family]:
    merged = merge_endpoints(endpoints)
    named = [(label_text({"backend": e.owner.backend, "endpoint": e.owner.address}), e) for e in merged]
    for index, (field, text) in enumerate(zip(Counts._fields, _COUNTS_HELP, strict=True)):
        samples = [(labels, e.counts[index]) for labels, e in named]
        yield Family(f"fastmesh_endpoint_{field}_total", "counter", f"By endpoint. {text}", samples)
    gauges: tuple[tuple[str, str, list[int | float]], ...] = (
        ("in_flight", "Exchanges under way.", [e.in_flight for e in merged]),
        ("connections", "Open connections.", [e.connections for e in merged]),
        ("ewma_seconds", "Peak-sensitive moving average of the response time.", [e.ewma_ns / 1e9 for e in merged]),
        ("up", "1 when every worker may use it.", [int(e.states == {"ready"}) for e in merged]),
    )
    for name, text, values in gauges:
        pairs = zip((labels for labels, _ in named), values, strict=True)
        yield Family(f"fastmesh_endpoint_{name}", "gauge", text, pairs)


class EndpointView(NamedTuple):
    """One endpoint, seen by all workers together."""

    owner: Owner
    counts: Counts
    in_flight: int
    connections: int
    idle: int
    ewma_ns: float  # mean over workers, weighted by their requests
    states: set[str]

    @property
    def state(self) -> str:
        """The common state, or `mixed` when workers differ."""
        return next(iter(self.states)) if len(self.states) == 1 else "mixed"


def merge_endpoints(endpoints: Iterable[Sighting]) -> list[EndpointView]:
    """Adds up what the workers know of each endpoint."""
    groups: dict[Owner, list[Sighting]] = {}
    for seen in endpoints:
        groups.setdefault(seen.owner, []).append(seen)
    return [_view(owner, group) for owner, group in groups.items()]


def _view(owner: Owner, group: list[Sighting]) -> EndpointView:
    meters = [seen.meter for seen in group]
    counts = Counts(*map(sum, zip(*(seen.counts for seen in group), strict=True)))
    # A worker without a request only knows the assumed round-trip time; it speaks when none has had one.
    weights = [seen.counts.requests for seen in group] if counts.requests else [1] * len(group)
    ewma_ns = sum(meter.ewma_ns * weight for meter, weight in zip(meters, weights, strict=True)) / sum(weights)
    return EndpointView(
        owner,
        counts,
        sum(meter.in_flight for meter in meters),
        sum(meter.connections for meter in meters),
        sum(meter.idle for meter in meters),
        ewma_ns,
        {STATES[meter.state] for meter in meters},
    )


def _worker_families(sample: Sample, core: CoreNames) -> Iterator[Family]:
    columns: tuple[tuple[tuple[str, ...], dict[str, Meaning], list[tuple[int, ...]], bool], ...] = (
        (core.counters, COUNTERS, sample.counters, True),
        (core.gauges, GAUGES, sample.gauges, False),
    )
    for names, table, rows, counts in columns:
        for column, core_name in enumerate(names):
            name, text, scale = meaning(core_name, table, counts)
            samples = [
                (f'worker="{worker}"', row[column] if scale == 1 else row[column] * scale)
                for worker, row in enumerate(rows)
            ]
            yield Family(name, "counter" if counts else "gauge", text, samples)
