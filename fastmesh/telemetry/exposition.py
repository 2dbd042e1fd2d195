"""Writer of the Prometheus text exposition format 0.0.4.

A family is rendered in pieces of a few lines, so that a caller can let other work run between them. Values are
written as Python prints them, which is the shortest text that reads back as the same number.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Literal, NamedTuple

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

Kind = Literal["counter", "gauge", "histogram", "summary"]


def label_text(labels: Mapping[str, str]) -> str:
    """`listener="a",route="b"`, values escaped; empty without labels."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())


def number_text(value: int | float) -> str:
    """A sample's value: integers whole, infinities as the format spells them."""
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


class Distribution(NamedTuple):
    """One label set of a histogram or summary: counts per bucket, in the order of the bounds."""

    counts: list[int]  # as many as the core has buckets
    sum_s: float


class Family(NamedTuple):
    """One metric: its name without suffix, and its samples by label text."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[tuple[str, int | float]]


class Buckets:
    """Chosen bounds of a latency histogram, with the text of each `le` made once.

    `bounds_ns` are the core's exclusive upper bounds, the last 0 for +Inf. Of these only bounds from `low_ns` to
    `high_ns` are shown, and with `coarse` only powers of two: what lies between two shown bounds is added up.
    """

    def __init__(self, bounds_ns: tuple[int, ...], low_ns: int, high_ns: int, coarse: bool = False) -> None:
        self._ends: list[int] = []  # one past the last core bucket that counts up to this bound
        self._les: list[str] = []
        for index, bound in enumerate(bounds_ns):
            if bound and low_ns <= bound <= high_ns and not (coarse and bound & (bound - 1)):
                self._ends.append(index + 1)
                self._les.append(f'le="{bound / 1e9!r}"}} ')

    def __len__(self) -> int:
        return len(self._les) + 1  # +Inf

    def lines(self, name: str, labels: str, value: Distribution) -> str:
        """Every line of one label set. Counts are cumulative (the format's rule)."""
        head = f"{name}_bucket{{{labels}{',' if labels else ''}"
        running = list(accumulate(value.counts, initial=0))
        rows = [f"{head}{le}{running[end]}\n" for le, end in zip(self._les, self._ends, strict=True)]
        return "".join(rows) + f'{head}le="+Inf"}} {running[-1]}\n' + sum_and_count(name, labels, value, running[-1])


def sum_and_count(name: str, labels: str, value: Distribution, count: int) -> str:
    """The closing lines of a histogram's or summary's label set."""
    braces = f"{{{labels}}}" if labels else ""
    return f"{name}_sum{braces} {number_text(value.sum_s)}\n{name}_count{braces} {count}\n"


def header(name: str, kind: Kind, help_text: str) -> str:
    """The HELP and TYPE lines."""
    return f"# HELP {name} {help_text.translate(_HELP_ESCAPES)}\n# TYPE {name} {kind}\n"


def render_family(family: Family, lines_per_piece: int = 200) -> Iterator[str]:
    """A counter or gauge family, in pieces; nothing at all when it has no samples."""
    piece: list[str] = []
    started = False
    for labels, value in family.samples:
        if not started:
            piece.append(header(family.name, family.kind, family.help))
            started = True
        name = f"{family.name}{{{labels}}}" if labels else family.name
        piece.append(f"{name} {number_text(value)}\n")
        if len(piece) >= lines_per_piece:
            yield "".join(piece)
            piece = []
    if piece:
        yield "".join(piece)


def render_distributions(
    name: str, help_text: str, samples: Iterable[tuple[str, Distribution]], buckets: Buckets | None
) -> Iterator[str]:
    """A histogram family, one piece per label set; without buckets a summary of sum and count."""
    started = False
    for labels, value in samples:
        if not started:
            yield header(name, "summary" if buckets is None else "histogram", help_text)
            started = True
        if buckets is None:
            yield sum_and_count(name, labels, value, sum(value.counts))
        else:
            yield buckets.lines(name, labels, value)
