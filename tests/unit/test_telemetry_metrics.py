"""Meters to Prometheus text: sums over workers, stable names, and numbers that outlive their owners."""

import re
from collections.abc import Iterable
from typing import Any

import pytest

from fastmesh._core import bridge
from fastmesh.telemetry import tables
from fastmesh.telemetry.exposition import Buckets, Distribution, Family, label_text, number_text, render_family
from fastmesh.telemetry.metrics import (
    HIGH_NS,
    LOW_NS,
    Collector,
    CoreNames,
    Labels,
    Owner,
    Renderer,
    merge_endpoints,
)
from tests.support.metrics import Metrics
from tests.unit import fake_bridge
from tests.unit.fake_bridge import HISTOGRAM_BOUNDS_NS, Block, EndpointMeter

CORE = CoreNames(fake_bridge.COUNTERS, fake_bridge.GAUGES, fake_bridge.FAULTS, HISTOGRAM_BOUNDS_NS)
LABELS = Labels({0: "web", 1: "api"}, {1: ("r", "b", ""), 2: ("q", "c", "*.x")}, {0: Owner(1, "b", "10.0.0.1:1")})


class Meters:
    """What a Collector reads of a worker."""

    def __init__(self, *blocks: Block, endpoints: Iterable[EndpointMeter] = ()) -> None:
        self._blocks, self._endpoints = list(blocks), list(endpoints)

    def blocks(self) -> list[Block]:
        return self._blocks

    def endpoints(self) -> list[EndpointMeter]:
        return self._endpoints

    def counters(self) -> tuple[int, ...]:
        return (5, 4, 3)

    def gauges(self) -> tuple[int, ...]:
        return (2, 1, 1500)


def collector(*workers: Meters) -> Collector:
    given: Any = workers
    return Collector(given)


def scrape(from_: Collector, labels: Labels = LABELS, detail: Any = "full", per_endpoint: bool = False) -> Metrics:
    renderer = Renderer(CORE, detail, per_endpoint)
    return Metrics("".join(renderer.pieces(from_.sample(labels), ())))


def durations(*values_ns: int) -> list[int]:
    counts = [0] * len(HISTOGRAM_BOUNDS_NS)
    for value in values_ns:
        index = next(i for i, bound in enumerate(HISTOGRAM_BOUNDS_NS) if bound == 0 or value < bound)
        counts[index] += 1
    return counts


def quantile(metrics: Metrics, name: str, q: float) -> float:
    """As PromQL's histogram_quantile: linear within the bucket."""
    pairs = sorted((float(le), count) for le, count in metrics.by(f"{name}_bucket", "le").items())
    rank, low, before = q * pairs[-1][1], 0.0, 0.0
    for bound, count in pairs:
        if count >= rank:
            return low + (bound - low) * (rank - before) / (count - before)
        low, before = bound, count
    raise AssertionError("no bucket holds the rank")


def test_counters_of_all_workers_are_added_up_by_label() -> None:
    first = Block(0, 1, requests=3, codes={200: 2, 503: 1}, faults=[0, 0, 1], request_bytes=30, retries=1)
    second = Block(0, 1, requests=4, codes={200: 4}, response_bytes=400, duration_sum_ns=2_000_000_000)
    other = Block(1, 2, requests=1, codes={204: 1})
    metrics = scrape(collector(Meters(first, other), Meters(second)))
    web = {"listener": "web", "route": "r", "backend": "b"}
    assert metrics.sum("fastmesh_requests_total", **web) == 7
    assert metrics.sum("fastmesh_requests_total") == 8
    assert metrics.sum("fastmesh_responses_total", **web, code="200", **{"class": "2xx"}) == 6
    assert metrics.sum("fastmesh_responses_total", **web, **{"class": "5xx"}) == 1
    assert metrics.sum("fastmesh_proxy_errors_total", **web, cause="connect") == 1
    assert metrics.sum("fastmesh_request_bytes_total", **web) == 30
    assert metrics.sum("fastmesh_response_bytes_total", **web) == 400
    assert metrics.sum("fastmesh_retries_total", **web) == 1
    assert metrics.sum("fastmesh_request_duration_seconds_sum", **web) == 2.0


def test_grpc_responses_are_counted_by_status() -> None:
    first, second = Block(0, 1, requests=3), Block(0, 1, requests=2)
    first.grpc[0], first.grpc[14], second.grpc[0], second.grpc[17] = 2, 1, 1, 1
    metrics = scrape(collector(Meters(first), Meters(second)))
    assert metrics.by("fastmesh_grpc_responses_total", "grpc_status") == {"0": 3, "14": 1, "other": 1}
    assert metrics.sum("fastmesh_grpc_responses_total", listener="web", route="r", backend="b") == 5


def test_every_number_of_the_core_has_a_name_of_its_own() -> None:
    assert list(tables.COUNTERS) == list(bridge.COUNTERS)
    assert list(tables.GAUGES) == list(bridge.GAUGES)
    names = [meaning.name for table in (tables.COUNTERS, tables.GAUGES) for meaning in table.values()]
    assert len(set(names)) == len(names)


def test_requests_without_a_route_have_empty_labels() -> None:
    metrics = scrape(collector(Meters(Block(0, -1, requests=2, codes={404: 2}))))
    assert metrics.sum("fastmesh_requests_total", listener="web", route="", backend="") == 2


def test_worker_numbers_have_units_and_unknown_ones_are_shown_too() -> None:
    metrics = scrape(collector(Meters(), Meters()))
    assert metrics.sum("fastmesh_connections_accepted_total", worker="1") == 5
    assert metrics.sum("fastmesh_novelties_total") == 6
    assert metrics.sum("fastmesh_loop_turn_seconds", worker="0") == pytest.approx(1.5e-6)
    assert metrics.sum("fastmesh_open_connections") == 4


@pytest.mark.parametrize("value_ns", [40_000, 123_456, 1_000_000, 7_777_777, 250_000_000, 3_000_000_000])
def test_quantiles_are_within_five_percent(value_ns: int) -> None:
    block = Block(0, 1, requests=1000, durations=durations(*[value_ns] * 1000), duration_sum_ns=value_ns * 1000)
    metrics = scrape(collector(Meters(block)))
    assert quantile(metrics, "fastmesh_request_duration_seconds", 0.5) == pytest.approx(value_ns / 1e9, rel=0.05)


@pytest.mark.parametrize(("detail", "most"), [("full", 400), ("coarse", 25)])
def test_every_duration_is_in_exactly_one_bucket_of_either_detail(detail: str, most: int) -> None:
    values = [500, 40_000, 40_001, 1 << 20, 90_000_000, HIGH_NS - 1, HIGH_NS, 10**12, 1 << 50]
    metrics = scrape(collector(Meters(Block(0, 1, requests=9, durations=durations(*values)))), detail=detail)
    buckets = metrics.by("fastmesh_request_duration_seconds_bucket", "le")
    assert len(buckets) <= most
    assert metrics.sum("fastmesh_request_duration_seconds_count") == len(values)
    for le, count in buckets.items():
        assert count == sum(value < float(le) * 1e9 for value in values), le
    bounds = sorted(float(le) for le in buckets)
    assert bounds[0] == LOW_NS / 1e9
    assert bounds[-2:] == [HIGH_NS / 1e9, float("inf")]


def test_histogram_off_leaves_sum_and_count() -> None:
    block = Block(0, 1, requests=2, durations=durations(1000, 10**9), duration_sum_ns=10**9)
    metrics = scrape(collector(Meters(block)), detail="off")
    assert not metrics.has("fastmesh_request_duration_seconds_bucket")
    assert metrics.sum("fastmesh_request_duration_seconds_count") == 2
    assert "# TYPE fastmesh_request_duration_seconds summary" in metrics.text


def test_a_reused_meter_id_starts_at_zero_for_its_new_owner() -> None:
    block = Block(0, 1, requests=10, codes={200: 10}, durations=durations(*[10**6] * 10), duration_sum_ns=10**7)
    block.grpc[5] = 3
    meters = collector(Meters(block))
    meters.rename([], [1])
    renamed = LABELS._replace(meters={1: ("new", "b", "")})
    assert scrape(meters, renamed).sum("fastmesh_requests_total") == 0
    block.requests, block.codes, block.grpc = 13, {200: 12, 404: 1}, [0] * 5 + [4] + [0] * 12
    metrics = scrape(meters, renamed)
    assert metrics.sum("fastmesh_requests_total", route="new") == 3
    assert metrics.by("fastmesh_responses_total", "code") == {"200": 2, "404": 1}
    assert metrics.by("fastmesh_grpc_responses_total", "grpc_status") == {"5": 1}
    assert metrics.sum("fastmesh_request_duration_seconds_count") == 0


def test_a_backends_totals_outlive_its_endpoints() -> None:
    meter = EndpointMeter(0, 1, requests=10, connects=2, reuses=8)
    worker = Meters(endpoints=[meter])
    meters = collector(worker)
    assert scrape(meters).sum("fastmesh_upstream_requests_total", backend="b") == 10
    meter.requests, meter.failures = 15, 1
    meters.endpoints(LABELS)  # before the publish in which it leaves
    worker._endpoints[0] = EndpointMeter(0, 2, requests=19, failures=1)  # the slot's meter goes on counting
    changed = LABELS._replace(slots={0: Owner(2, "c", "10.0.0.9:1")})
    metrics = scrape(meters, changed)
    assert metrics.by("fastmesh_upstream_requests_total", "backend") == {"b": 15, "c": 4}
    assert metrics.sum("fastmesh_upstream_failures_total", backend="b") == 1
    again = scrape(meters, changed, per_endpoint=True)
    assert again.by("fastmesh_upstream_requests_total", "backend") == {"b": 15, "c": 4}
    assert again.by("fastmesh_endpoint_requests_total", "endpoint") == {"10.0.0.9:1": 4}


def test_a_slot_whose_owner_is_not_published_yet_is_left_out() -> None:
    meters = collector(Meters(endpoints=[EndpointMeter(0, 9, requests=1), EndpointMeter(5, 1, requests=1)]))
    assert not scrape(meters).has("fastmesh_upstream_requests_total")


def test_endpoint_labels_have_a_switch() -> None:
    meters = collector(Meters(endpoints=[EndpointMeter(0, 1, requests=6, ewma_ns=3e6, in_flight=2)]))
    assert not scrape(meters).has("fastmesh_endpoint_requests_total")
    metrics = scrape(meters, per_endpoint=True)
    labels = {"backend": "b", "endpoint": "10.0.0.1:1"}
    assert metrics.sum("fastmesh_endpoint_requests_total", **labels) == 6
    assert metrics.sum("fastmesh_endpoint_ewma_seconds", **labels) == pytest.approx(0.003)
    assert metrics.sum("fastmesh_endpoint_in_flight", **labels) == 2
    assert metrics.sum("fastmesh_endpoint_up", **labels) == 1


def test_endpoints_are_seen_by_all_workers_together() -> None:
    workers = [
        Meters(endpoints=[EndpointMeter(0, 1, requests=30, in_flight=2, ewma_ns=1e6, state=0)]),
        Meters(endpoints=[EndpointMeter(0, 1, requests=10, in_flight=1, ewma_ns=5e6, state=1, failures=4)]),
        Meters(endpoints=[EndpointMeter(0, 1, ewma_ns=30e6)]),
    ]
    seen = collector(*workers).endpoints(LABELS)
    (view,) = merge_endpoints(seen)
    assert (view.counts.requests, view.counts.failures, view.in_flight) == (40, 4, 3)
    assert view.ewma_ns == pytest.approx(2e6), "weighted by requests; the assumed time of an idle worker is not heard"
    assert view.state == "mixed"
    (fresh,) = merge_endpoints(seen[2:])
    assert (fresh.ewma_ns, fresh.state) == (30e6, "ready")


def test_exposition_follows_the_text_format() -> None:
    """Every family has HELP and TYPE before its samples, once, and its samples stand together."""
    blocks = [Block(0, m, requests=1, codes={200: 1}, faults=[0, 1, 1]) for m in (1, 2)]
    meters = collector(Meters(*blocks, endpoints=[EndpointMeter(0)]))
    text = "".join(Renderer(CORE, "coarse", True).pieces(meters.sample(LABELS), ()))
    family, seen = "", set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in seen
            seen.add(family)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            assert line.split()[3] in ("counter", "gauge", "histogram", "summary")
        else:
            name = re.match(r"[a-z_]+", line)
            assert name is not None
            assert re.sub(r"_(bucket|sum|count)$", "", name[0]) == family or name[0] == family
    assert all(name.endswith("_total") for name in re.findall(r"# TYPE (\S+) counter", text))
    assert not any(name.endswith("_total") for name in re.findall(r"# TYPE (\S+) (?:gauge|histogram)", text))


def test_label_values_are_escaped() -> None:
    text = label_text({"route": 'a"b\\c\nd'})
    assert text == 'route="a\\"b\\\\c\\nd"'
    assert Metrics(f"x{{{text}}} 1").sum("x") == 1


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (0.1, "0.1"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (10**20, str(10**20))]
)
def test_numbers_are_exact(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_big_family_comes_in_small_pieces() -> None:
    family = Family("x", "gauge", "X.", ((f'a="{i}"', i) for i in range(1000)))
    pieces = list(render_family(family))
    assert len(pieces) > 3
    assert max(piece.count("\n") for piece in pieces) <= 201
    assert len(Metrics("".join(pieces)).samples) == 1000
    assert list(render_family(Family("x", "gauge", "X.", ()))) == []


def test_buckets_without_labels_have_no_stray_comma() -> None:
    lines = Buckets((1024, 2048, 0), 0, 4096).lines("h", "", Distribution([1, 2, 3], 0.5)).splitlines()
    assert lines[:2] == ['h_bucket{le="1.024e-06"} 1', 'h_bucket{le="2.048e-06"} 3']
    assert lines[2:] == ['h_bucket{le="+Inf"} 6', "h_sum 0.5", "h_count 6"]
