"""How every figure looks: one colour for each peer, labels at the thing itself, no frame."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws to files; a machine that measures has no screen

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

OURS = "fastmesh"
COLOURS = {
    OURS: "#d81e5b", "floor": "#8a94a3", "direct": "#b9c0ca", "nginx": "#1f9d72", "haproxy": "#2f6fb5",
    "envoy": "#8257b8", "nghttpx": "#14818f", "linkerd": "#d9902f",
}  # fmt: skip
SPARE = "#5b6470"
INK, FAINT, GRID = "#1f2630", "#6b7480", "#e6e9ee"
# Text stays text (small files, found by a search) and the same results give the same bytes.
LOOK: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "fastmesh", "font.size": 10.5, "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"], "text.color": INK, "axes.edgecolor": GRID, "axes.labelcolor": FAINT,
    "xtick.color": FAINT, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.spines.left": False, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.8,
    "xtick.major.size": 0, "ytick.major.size": 0, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 10, "lines.solid_capstyle": "round",
}  # fmt: skip


def colour(peer: str) -> str:
    return COLOURS.get(peer, SPARE)


def lighter(tint: str, share: float = 0.55) -> tuple[float, float, float]:
    """Toward white by `share`."""
    red, green, blue = (part + (1 - part) * share for part in to_rgb(tint))
    return red, green, blue


def weight(peer: str) -> str:
    return "bold" if peer == OURS else "normal"


def number(value: float) -> str:
    """Three digits, or all of a number's above a thousand."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def microseconds(value: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} µs"


def figure(title: str, rows: int, columns: int, height: float, width: float = 8.4) -> tuple[Figure, list[Axes]]:
    drawn, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    drawn.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    drawn.get_layout_engine().set(w_pad=0.14, h_pad=0.1, hspace=0.04)
    return drawn, list(axes.flat)


def ticks(axis: Any, places: Sequence[float], text: Callable[[float], str]) -> None:
    """Marks exactly these places of an axis."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The places nearest to those wanted that are at least `gap` apart, in the same order."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[list[int]] = []
    centres: list[float] = []
    for i in order:
        groups.append([i])
        centres.append(wanted[i])
        while len(groups) > 1 and centres[-1] - centres[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            merged = groups[-2] + groups[-1]
            groups[-2:], centres[-2:] = [merged], [sum(wanted[j] for j in merged) / len(merged)]
    places = [0.0] * len(wanted)
    for group, centre in zip(groups, centres, strict=True):
        for at, i in enumerate(group):
            places[i] = centre + gap * (at - (len(group) - 1) / 2)
    return places


def end_labels(axes: Axes, ends: dict[str, float], gap: float = 0.075, note: dict[str, str] | None = None) -> None:
    """Names of lines beside where they end (values of the y axis), moved apart where they would overlap."""
    to_share = axes.transData + axes.transAxes.inverted()
    x = axes.get_xlim()[1]
    wanted = [float(to_share.transform((x, value))[1]) for value in ends.values()]
    for (peer, _), place in zip(ends.items(), spread(wanted, gap), strict=True):
        text = f"{peer} {note[peer]}" if note else peer
        axes.text(
            1.02, place, text, transform=axes.transAxes, color=colour(peer), va="center", fontsize=9.5,
            fontweight=weight(peer),
        )  # fmt: skip


def save(drawn: Figure, directory: Path, name: str, caption: str) -> list[Path]:
    """Both as SVG and as PNG."""
    drawn.supxlabel(caption, x=0.012, ha="left", fontsize=7.5, color=FAINT)
    paths = [directory / f"{name}.svg", directory / f"{name}.png"]
    drawn.savefig(paths[0], metadata={"Date": None})
    drawn.savefig(paths[1], dpi=144)
    pyplot.close(drawn)
    return paths
