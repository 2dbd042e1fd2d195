"""Prometheus text into numbers."""

import re

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[tuple[str, Labels], float] = {}
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = _SAMPLE.fullmatch(line)
            if match is None:
                raise ValueError(f"no Prometheus sample: {line!r}")
            key = (match[1], frozenset(_LABEL.findall(match[2] or "")))
            if key in self.samples:
                raise ValueError(f"sample twice in one scrape: {line!r}")
            self.samples[key] = float(match[3])

    def sum(self, name: str, **labels: str) -> float:
        """Sum of all samples of a name that have these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(value for (key, has), value in self.samples.items() if key == name and wanted <= has)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.samples)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums of a name by the values of one label."""
        sums: dict[str, float] = {}
        for (key, labels), value in self.samples.items():
            if key == name:
                which = dict(labels).get(label, "")
                sums[which] = sums.get(which, 0) + value
        return sums
