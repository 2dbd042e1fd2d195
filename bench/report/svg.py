"""Just enough SVG for a chart: scales, axes with round numbers, lines, bars, a legend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 44, 52
COLOURS = {
    "fastmesh": "#d1495b", "floor": "#8d99ae", "direct": "#c9ccd5", "nginx": "#2a9d8f", "haproxy": "#457b9d",
    "envoy": "#b5838d",
}  # fmt: skip
OTHERS = ("#e9c46a", "#6d597a", "#90be6d", "#577590")

Scale = Callable[[float], float]


def colour(name: str, index: int) -> str:
    return COLOURS.get(name, OTHERS[index % len(OTHERS)])


def linear(low: float, high: float, begin: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: begin + (value - low) / span * (end - begin)


def logarithmic(low: float, high: float, begin: float, end: float) -> Scale:
    """`low` and `high` must be above 0; what is below `low` is drawn at `low`."""
    scale = linear(math.log10(low), math.log10(high), begin, end)
    return lambda value: scale(math.log10(max(value, low)))


def round_steps(high: float, count: int = 5) -> list[float]:
    """0 to at least `high` in steps of 1, 2 or 5 times a power of ten."""
    if high <= 0:
        return [0.0, 1.0]
    rough = high / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * i for i in range(math.ceil(high / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    return [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def label(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:g}"


@dataclass
class Chart:
    title: str
    x_title: str
    y_title: str
    parts: list[str] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)  # for the legend: text, colour

    def text(self, x: float, y: float, text: str, anchor: str = "middle", size: int = 12, extra: str = "") -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{extra}>{escape(text)}</text>'
        )

    def grid(self, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]]) -> None:
        """Positions and their labels, as pixels."""
        for y, name in ys:
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e3e5ea"/>')
            self.text(LEFT - 8, y + 4, name, "end")
        for x, name in xs:
            self.text(x, HEIGHT - BOTTOM + 18, name)

    def line(self, name: str, points: Sequence[tuple[float, float]], tint: str, dots: bool = False) -> None:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f'<path d="M{path}" fill="none" stroke="{tint}" stroke-width="2.2" stroke-linejoin="round"/>')
        if dots:
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{tint}"/>' for x, y in points]
        self.names.append((name, tint))

    def bar(self, x: float, top: float, width: float, bottom: float, tint: str, opacity: float = 1.0) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}" fill="{tint}"'
            f' fill-opacity="{opacity:g}"/>'
        )

    def svg(self) -> str:
        for i, (name, tint) in enumerate(self.names):
            y = TOP + 10 + 20 * i
            self.bar(WIDTH - RIGHT + 18, y - 9, 14, y + 1, tint)
            self.text(WIDTH - RIGHT + 38, y, name, "start")
        self.text(LEFT, 24, self.title, "start", 15, ' font-weight="600"')
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.x_title)
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.text(16, middle, self.y_title, extra=f' transform="rotate(-90 16 {middle:.0f})"')
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui,sans-serif"'
            f' fill="#22252b">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
        )
