"""Figures of results files, as SVG and PNG: python -m bench.report.figures bench/results/NAME.json [OTHER.json...]

Of several files, each measure is taken from the last one that holds it.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import style
from bench.report.markdown import TITLES, ratio

Row = dict[str, Any]
PERCENTILES = (50, 90, 99, 99.9, 99.99, 99.999)
MARKS = {1 / (1 - p / 100): f"p{p:g}" for p in PERCENTILES}
STEP = 1.03  # points nearer than that would only make the file larger
HIGHER_IS_BETTER = "success_percent"


def _of(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _values(rows: Iterable[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if column in row]


def _distinct(rows: Iterable[Row], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows if column in row))


@dataclass(frozen=True)
class Bar:
    name: str
    peer: str
    value: float  # median
    low: float
    high: float
    user: float | None = None  # the part of `value` that is user time
    ratio: float | None = None  # to fastmesh's


def _bar(rows: list[Row], column: str, name: str, peer: str, among: Iterable[Row] = ()) -> Bar | None:
    if not (values := _values(rows, column)):
        return None
    beside = ratio(among, column, peer, style.OURS) if peer != style.OURS else None
    user = None
    if column == "cpu_us":
        user = statistics.median(_values(rows, "user_us"))
    return Bar(name, peer, statistics.median(values), min(values), max(values), user, beside)


def _bars_of(rows: list[Row], column: str) -> list[Bar]:
    found = (_bar(_of(rows, peer=peer), column, peer, peer, rows) for peer in _distinct(rows, "peer"))
    return sorted((bar for bar in found if bar), key=lambda bar: bar.value)


def draw_bars(axes: Axes, bars: list[Bar], text: Callable[[float], str]) -> None:
    """Horizontal, the best at the top; dark is user time where it is known; a thin line from lowest to highest."""
    widest = max(bar.high for bar in bars) or 1.0
    for y, bar in enumerate(bars):
        tint = style.colour(bar.peer)
        axes.barh(y, bar.value, height=0.62, color=tint if bar.user is None else style.lighter(tint))
        said = text(bar.value)
        if bar.user is not None:
            axes.barh(y, bar.user, height=0.62, color=tint)
            said += f", user {text(bar.user)}"
        if bar.ratio is not None:
            said += f"   {bar.ratio:.2f}×" if bar.ratio < 10 else f"   {bar.ratio:,.0f}×"
        if bar.high > bar.low:
            axes.plot([bar.low, bar.high], [y, y], color=style.INK, linewidth=0.9, alpha=0.6)
        axes.text(bar.high + widest * 0.015, y, said, va="center", fontsize=9, fontweight=style.weight(bar.peer))
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_fontweight(style.weight(bar.peer))
    axes.set_ylim(len(bars) - 0.45, -0.55)
    axes.set_xlim(0, widest * 1.5)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def bar_figure(
    rows: list[Row], column: str, title: str, text: Callable[[float], str], by: tuple[str, ...] = ()
) -> Figure:
    """A panel of bars for every combination of what was varied."""
    panels = list(dict.fromkeys(tuple((name, row[name]) for name in by if name in row) for row in rows))
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    shown = [(panel, _bars_of(_of(rows, **dict(panel)), column)) for panel in panels]
    height = 0.9 + lines * (0.34 * max(len(bars) for _, bars in shown) + (0.5 if by else 0.1))
    drawn, axes = style.figure(title, lines, columns, height, 8.4 if columns == 1 else 11)
    for at, (panel, bars) in zip(axes, shown, strict=False):
        draw_bars(at, bars, text)
        at.set_title(", ".join(_panel_name(name, value) for name, value in panel))
    for at in axes[len(shown) :]:
        at.set_visible(False)
    return drawn


def _panel_name(name: str, value: Any) -> str:
    said = f"{value:,}" if isinstance(value, int) else str(value)
    name = name[:-1] if value == 1 else name
    return {"size": said, "direction": said, "translation": said, "mtu": f"MTU {value}"}.get(name, f"{said} {name}")


def balance(rows: list[Row]) -> Figure:
    """What did not come within a second: the difference between 99.5 and 99.95 is tenfold, and is to look it."""
    misses = [{**row, "missed": 100 - row[HIGHER_IS_BETTER]} for row in rows]
    bars = []
    for peer in _distinct(misses, "peer"):
        for balancer in _distinct(_of(misses, peer=peer), "balancer"):
            alike = _of(misses, peer=peer, balancer=balancer)
            if bar := _bar(alike, "missed", f"{peer}  {balancer.lower()}".replace("_", " "), peer):
                bars.append(bar)
    bars.sort(key=lambda bar: bar.value)
    drawn, axes = style.figure("Not answered within 1 s, of 1,000 a second", 1, 1, 0.9 + 0.34 * len(bars))
    draw_bars(axes[0], bars, lambda value: f"{value:.3g}%")
    return drawn


def scaling(rows: list[Row], column: str, title: str) -> Figure:
    """Left the cost, right what it is beside the cost at the first count: a flat line is the goal."""
    drawn, (cost, ratio) = style.figure(title, 1, 2, 4.1, 11)
    counts = sorted(_distinct(rows, column))
    ends: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for peer in _distinct(rows, "peer"):
        points = [(n, _values(_of(rows, peer=peer, **{column: n}), "cpu_us")) for n in counts]
        xs = [n for n, found in points if found]
        ys = [statistics.median(found) for _, found in points if found]
        if not ys:
            continue
        ours = peer == style.OURS
        look: dict[str, Any] = {"color": style.colour(peer), "marker": "o", "markersize": 4.5}
        look |= {"linewidth": 2.6, "zorder": 3} if ours else {"linewidth": 1.6, "zorder": 2}
        cost.plot(xs, ys, **look)
        ratio.plot(xs, [y / ys[0] for y in ys], **look)
        ends[peer], ratios[peer] = ys[-1], ys[-1] / ys[0]
    for axes, name in ((cost, "CPU per request, µs"), (ratio, f"times the cost at {counts[0]:,}")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(name)
        axes.set_xlabel(column)
        axes.grid(axis="y")
        style.ticks(axes.xaxis, counts, lambda n: f"{n:,.0f}")
    _log_ticks(cost, limit_y(cost), style.number)
    ratio.set_ylim(min(0.8, *ratios.values()) * 0.95, max(2.0, *ratios.values()) * 1.15)
    _log_ticks(ratio, ratio.get_ylim(), lambda value: f"{value:.3g}×")
    style.end_labels(cost, ends, note={peer: style.number(value) for peer, value in ends.items()})
    style.end_labels(ratio, ratios, note={peer: f"{value:.3g}×" for peer, value in ratios.items()})
    return drawn


def limit_y(axes: Axes) -> tuple[float, float]:
    """Room around what was drawn on a logarithmic axis."""
    low, high = (float(end) for end in axes.dataLim.intervaly)
    axes.set_ylim(low / 1.25, high * 1.25)
    return low / 1.25, high * 1.25


def _log_ticks(axes: Axes, limits: tuple[float, float], text: Callable[[float], str]) -> None:
    """1, 2 and 5 of each decade, or 1 alone where that would be many."""
    low, high = limits
    steps = (1, 2, 5) if high / low < 300 else (1,)
    places = [step * 10.0**power for power in range(-3, 9) for step in steps]
    style.ticks(axes.yaxis, [place for place in places if low <= place <= high], text)


def curve(rows: list[Row]) -> list[tuple[float, float]]:
    """(1 / (1 - p), microseconds): from the histograms of all rounds; from the percentiles where there are none."""
    counts: dict[float, int] = {}
    for row in rows:
        for bound, count in row.get("histogram_us", ()):
            counts[bound] = counts.get(bound, 0) + count
    if not counts:
        named = [(p, _values(rows, f"p{p:g}_us")) for p in PERCENTILES]
        return [(1 / (1 - p / 100), statistics.median(found)) for p, found in named if found]
    total = left = sum(counts.values())
    points: list[tuple[float, float]] = []
    for bound in sorted(counts):
        left -= counts[bound]
        x = total / (left + 0.5)  # half a request: the slowest of all has a place too
        if not points or not left or x > points[-1][0] * STEP:
            points.append((x, bound))
    return points


def latency(rows: list[Row], column: str, title: str) -> Figure:
    """A panel for each rate: percentiles over 1 / (1 - p), so that every nine of the tail has the same room."""
    panels = _distinct(rows, column)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    drawn, axes = style.figure(title, lines, columns, 0.7 + 3.3 * lines, 11 if columns == 2 else 7)
    for at, value in zip(axes, panels, strict=False):
        alike = _of(rows, **{column: value})
        curves = {peer: curve(_of(alike, peer=peer)) for peer in _distinct(alike, "peer")}
        farthest = max(points[-1][0] for points in curves.values())
        for peer, points in curves.items():
            ours = peer == style.OURS
            at.plot(*zip(*points, strict=True), color=style.colour(peer), linewidth=2.6 if ours else 1.6,
                    zorder=3 if ours else 2)  # fmt: skip
        at.set_xscale("log")
        at.set_yscale("log")
        at.set_xlim(1.6, farthest)
        at.grid(axis="y")
        at.set_title(_panel_name({"rate": "requests a second"}.get(column, column), value))
        limit_y(at)
        style.ticks(at.xaxis, [x for x in MARKS if x <= farthest * 1.01], MARKS.__getitem__)
        _log_ticks(at, at.get_ylim(), style.microseconds)
        style.end_labels(at, {peer: points[-1][1] for peer, points in curves.items()})
    for at in axes[len(panels) :]:
        at.set_visible(False)
    return drawn


def spin(rows: list[Row]) -> Figure:
    """p99 of fastmesh with the thread inside, beside and without."""
    bars = [_bar(_of(rows, spinning=where), "p99_us", where, style.OURS) for where in ("none", "beside", "inside")]
    drawn, axes = style.figure("p99 at 2,000 a second while a Python thread spins", 1, 1, 2.2)
    draw_bars(axes[0], [bar for bar in bars if bar], style.microseconds)
    return drawn


DRAWN: dict[str, Callable[[list[Row], str], Figure]] = {
    "cpu": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds),
    "close": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds),
    "bodies": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("size", "direction")),
    "veth": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("mtu", "size", "direction")),
    "workers": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("workers",)),
    "h2": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("streams",)),
    "h2-bridge": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("translation",)),
    "grpc": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("streams",)),
    "h2-bulk": lambda rows, title: bar_figure(rows, "cpu_us", title, style.microseconds, ("direction",)),
    "h2-instructions": lambda rows, title: bar_figure(rows, "user_instructions", title, style.number, ("streams",)),
    "instructions": lambda rows, title: bar_figure(rows, "user_instructions", title, style.number),
    "idle": lambda rows, title: bar_figure(rows, "rss_mb", title, lambda mb: f"{mb:.1f} MB"),
    "start": lambda rows, title: bar_figure(rows, "ready_ms", title, lambda ms: f"{ms:.0f} ms", ("routes",)),
    "connections": lambda rows, title: bar_figure(rows, "idle_bytes", title, lambda n: f"{n / 1024:.2f} KB"),
    "active": lambda rows, title: bar_figure(rows, "active_bytes", title, lambda n: f"{n / 1024:.2f} KB"),
    "endpoints": lambda rows, title: scaling(rows, "endpoints", title),
    "routes": lambda rows, title: scaling(rows, "routes", title),
    "latency": lambda rows, title: latency(rows, "rate", title),
    "spin": lambda rows, _: spin(rows),
    "balance": lambda rows, _: balance(rows),
}


KEY = "Bars: median; thin line: lowest to highest; ×: beside fastmesh."
KEY_CPU = "Dark: user time, light: system time; thin line: lowest to highest; ×: beside fastmesh."
KEYS = {
    **dict.fromkeys(("cpu", "close", "bodies", "veth", "workers", "h2", "h2-bridge", "grpc", "h2-bulk"), KEY_CPU),
    **dict.fromkeys(("endpoints", "routes"), "Medians."),
    "latency": "Every request of every round, from the time it was due.",
}


def caption(result: dict[str, Any], measure: str) -> str:
    card, arguments = result["card"], result["arguments"]
    taken = f"{card['cpu']}, {card['cores']} cores, {card['taken'][:10]}, commit {card['commit'][:10]}"
    return f"{taken}; {arguments['rounds']} rounds of {arguments['seconds']} s. {KEYS.get(measure, KEY)}"


def write(result: dict[str, Any], directory: Path) -> list[Path]:
    """A figure for each measure that the result holds; returns the files written."""
    directory.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    with pyplot.rc_context(style.LOOK):
        for measure in _distinct(result["rows"], "measure"):
            if draw := DRAWN.get(measure):
                drawn = draw(_of(result["rows"], measure=measure), TITLES.get(measure, measure))
                paths += style.save(drawn, directory, measure, caption(result, measure))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.report.figures", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="directory; default: the first file's name without .json")
    arguments = parser.parse_args()
    directory = arguments.out or arguments.files[0].with_suffix("")
    latest: dict[str, dict[str, Any]] = {}
    for path in arguments.files:
        result = json.loads(path.read_text())
        latest |= dict.fromkeys(_distinct(result["rows"], "measure"), result)
    for measure, result in latest.items():
        for path in write({**result, "rows": _of(result["rows"], measure=measure)}, directory):
            print(path)


if __name__ == "__main__":
    main()
