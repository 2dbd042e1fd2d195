"""Charts of a results file: cost per request, latency, cost against endpoints and routes."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.report import svg
from bench.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, colour

Row = dict[str, Any]

FLOOR_Y, ROOF_Y = HEIGHT - BOTTOM, TOP
FIRST_X, LAST_X = LEFT, WIDTH - RIGHT


def _median(rows: Iterable[Row], column: str) -> float:
    return float(statistics.median(row[column] for row in rows))


def _peers(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["peer"] for row in rows))


def _of(rows: list[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def cost(rows: list[Row], title: str) -> str:
    """Bars of CPU per request, user time at the foot and system time above it, cheapest first."""
    rows = [row for row in rows if "cpu_us" in row]
    peers = sorted(_peers(rows), key=lambda peer: _median(_of(rows, peer=peer), "cpu_us"))
    steps = svg.round_steps(max(_median(_of(rows, peer=peer), "cpu_us") for peer in peers))
    y = svg.linear(0, steps[-1], FLOOR_Y, ROOF_Y)
    slot = (LAST_X - FIRST_X) / len(peers)
    chart = Chart(title, "lighter: system time, darker: user time", "microseconds")
    names = [(FIRST_X + slot * (i + 0.5), peer) for i, peer in enumerate(peers)]
    chart.grid(names, [(y(step), svg.label(step)) for step in steps])
    for i, peer in enumerate(peers):
        alike, tint, x = _of(rows, peer=peer), colour(peer, i), FIRST_X + slot * (i + 0.2)
        total = _median(alike, "cpu_us")
        user = total * _median(alike, "user_us") / max(total, 1e-9)
        chart.bar(x, y(user), slot * 0.6, FLOOR_Y, tint)
        chart.bar(x, y(total), slot * 0.6, y(user), tint, 0.55)
        chart.text(x + slot * 0.3, y(total) - 6, f"{total:.1f}")
    return chart.svg()


def scaling(rows: list[Row], column: str, title: str) -> str:
    """CPU per request against a count, both axes logarithmic."""
    counts = sorted({row[column] for row in rows})
    costs = [row["cpu_us"] for row in rows]
    ys = svg.decades(min(costs), max(costs))
    x = svg.logarithmic(counts[0], counts[-1], FIRST_X + 12, LAST_X - 12)
    y = svg.logarithmic(ys[0], ys[-1], FLOOR_Y, ROOF_Y)
    chart = Chart(title, column, "microseconds per request")
    chart.grid([(x(count), svg.label(count)) for count in counts], [(y(value), svg.label(value)) for value in ys])
    for i, peer in enumerate(_peers(rows)):
        points = [(count, _of(rows, peer=peer, **{column: count})) for count in counts]
        drawn = [(x(count), y(_median(found, "cpu_us"))) for count, found in points if found]
        chart.line(peer, drawn, colour(peer, i), dots=True)
    return chart.svg()


def _tail(rows: list[Row]) -> list[tuple[float, float]]:
    """Share of requests that took longer, by microseconds, over the histograms of all rows."""
    counts: dict[float, int] = {}
    for row in rows:
        for bound, count in row["histogram_us"]:
            counts[bound] = counts.get(bound, 0) + count
    total = left = sum(counts.values())
    points = []
    for bound in sorted(counts):
        left -= counts[bound]
        points.append((bound, left / total))
    return points


def latency(rows: list[Row], rate: int) -> str:
    """How many requests took longer than x: the tail is where proxies differ."""
    alike = _of(rows, rate=rate)
    tails = {peer: [point for point in _tail(_of(alike, peer=peer)) if point[1] >= 1e-4] for peer in _peers(alike)}
    bounds = [bound for tail in tails.values() for bound, _ in tail]
    xs = svg.decades(min(bounds), max(bounds))
    x = svg.logarithmic(xs[0], xs[-1], FIRST_X, LAST_X)
    y = svg.logarithmic(1e-4, 1, FLOOR_Y, ROOF_Y)
    chart = Chart(f"Latency at {rate:,} requests a second, open loop", "microseconds", "share that took longer")
    shares = ((1.0, "100%"), (0.1, "10%"), (0.01, "1%"), (0.001, "0.1%"), (0.0001, "0.01%"))
    chart.grid([(x(value), svg.label(value)) for value in xs], [(y(share), name) for share, name in shares])
    for i, (peer, tail) in enumerate(tails.items()):
        chart.line(peer, [(x(bound), y(share)) for bound, share in tail], colour(peer, i))
    return chart.svg()


def charts(result: dict[str, Any]) -> dict[str, str]:
    """File name -> SVG, for what the results hold."""
    by_measure: dict[str, list[Row]] = {}
    for row in result["rows"]:
        by_measure.setdefault(row["measure"], []).append(row)
    drawn = {}
    if rows := by_measure.get("cpu"):
        drawn["cpu.svg"] = cost(rows, "CPU per request, 50 keep-alive connections, 100-byte body")
    if rows := by_measure.get("close"):
        drawn["close.svg"] = cost(rows, "CPU per request, a new connection for each")
    for column in ("endpoints", "routes"):
        if rows := by_measure.get(column):
            drawn[f"{column}.svg"] = scaling(rows, column, f"CPU per request against {column}")
    if rows := by_measure.get("latency"):
        for rate in sorted({row["rate"] for row in rows}):
            drawn[f"latency-{rate}.svg"] = latency(rows, rate)
    return drawn


def write(result: dict[str, Any], directory: Path) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, drawing in charts(result).items():
        (directory / name).write_text(drawing)
        paths.append(directory / name)
    return paths
