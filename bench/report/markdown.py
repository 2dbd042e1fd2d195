"""Results as Markdown: for each measure a table of medians, their spread, and ratios of the same round."""

import statistics
from collections.abc import Iterable
from typing import Any

# What a measure shows first and compares: the column whose ratio to the base peer is printed.
MAIN = {"cpu": "cpu_us", "idle": "rss_mb", "start": "ready_ms"}
TITLES = {
    "cpu": "CPU per request, 50 keep-alive connections, 100-byte body",
    "idle": "Resident memory, idle",
    "start": "Exec to first 200",
}
BASES = ("floor", "nginx", "haproxy", "envoy")
NOT_VALUES = {"measure", "peer", "round"}

Row = dict[str, Any]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(values: list[float]) -> str:
    """Median and, where there are several, the lowest and highest."""
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(statistics.median(values))} ({_number(min(values))}-{_number(max(values))})"


def ratio(rows: Iterable[Row], column: str, peer: str, base: str) -> float | None:
    """Median over rounds of peer / base within the round: what drifts on the machine drifts for both."""
    by_round: dict[int, dict[str, float]] = {}
    for row in rows:
        if column in row:
            by_round.setdefault(row["round"], {})[row["peer"]] = row[column]
    pairs = [values[peer] / values[base] for values in by_round.values() if peer in values and values.get(base)]
    return statistics.median(pairs) if pairs else None


def table(rows: list[Row], main: str) -> list[str]:
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in NOT_VALUES]
    bases = [base for base in BASES if base in peers]
    lines = ["| | " + " | ".join([*columns, *(f"{main} / {base}" for base in bases)]) + " |"]
    lines.append("|" + " --- |" * (len(columns) + len(bases) + 1))
    for peer in peers:
        cells = []
        for column in columns:
            values = [row[column] for row in rows if row["peer"] == peer and column in row]
            cells.append(_cell(values) if values else "-")
        for base in bases:
            found = ratio(rows, main, peer, base)
            cells.append(f"{found:.2f}" if found is not None else "-")
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return lines


def render(result: dict[str, Any]) -> str:
    card, arguments = result["card"], result["arguments"]
    lines = [
        f"{card['cpu']}, {card['cores']} cores, kernel {card['kernel']}, Python {card['python']}; commit "
        f"{card['commit'][:12]}{' with changes' if card['changed'] else ''}, {card['taken']}; "
        f"{arguments['rounds']} interleaved rounds of {arguments['seconds']:g} s. Medians (lowest-highest); "
        f"ratios are medians of the ratio within a round.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in card["peers"].items()) + ".",
    ]
    for measure in dict.fromkeys(row["measure"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["measure"] == measure]
        lines += ["", f"### {TITLES.get(measure, measure)}", "", *table(rows, MAIN.get(measure, ""))]
    return "\n".join(lines) + "\n"
