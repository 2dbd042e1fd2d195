"""Results as Markdown: for each measure a table of medians, their spread, and ratios of the same round."""

import statistics
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]

TITLES = {
    "cpu": "CPU per request, 50 keep-alive connections, 100-byte body",
    "idle": "Resident memory, idle",
    "start": "Exec to first 200",
    "instructions": "User instructions per request (callgrind, difference of two run lengths)",
    "close": "A new client connection for every request",
    "bodies": "CPU per request by body size and direction",
    "veth": "CPU per body between two network namespaces, by MTU of the veth pair",
    "latency": "Latency from the intended send time, open loop",
    "spin": "Latency with a spinning Python thread in the process",
    "connections": "Memory of an idle keep-alive connection",
    "endpoints": "CPU per request against the number of endpoints",
    "subset": "CPU per request with a subset of the endpoints",
    "routes": "CPU per request against the number of routes",
    "workers": "CPU per request against the number of workers, on one processor",
    "active": "Memory of a connection whose request waits for its upstream",
    "h2": "CPU per request over HTTP/2 on both sides, connections x streams, 100-byte body",
    "h2-bridge": "CPU per request between HTTP/1 and HTTP/2, 50 connections, 100-byte body",
    "grpc": "CPU per unary gRPC call, connections x streams, 100-byte messages",
    "h2-bulk": "CPU of a body of 1 GiB in one HTTP/2 stream, by direction",
    "h2-instructions": "User instructions per request over HTTP/2, connections x streams",
    "tcp": "CPU per exchange of 100 bytes each way, 50 relayed connections",
    "tcp-connect": "CPU per relayed connection that carries 100 bytes each way",
    "tcp-bulk": "CPU of relayed bytes, 4 connections, by direction",
    "tcp-first": "Time to the first byte of a server that speaks first",
    "tcp-idle": "Memory of an idle relayed connection",
    "balance": "Answers within 1 s at 1,000 a second, 11 endpoints, one of them slow for half of the run",
}
# The column that is compared between peers.
MAIN = {
    "idle": "rss_mb",
    "start": "ready_ms",
    "instructions": "user_instructions",
    "h2-instructions": "user_instructions",
    "h2-bulk": "gb_per_cpu_s",
    "latency": "p99_us",
    "spin": "p99_us",
    "connections": "idle_bytes",
    "active": "active_bytes",
    "tcp-bulk": "cpu_ms_per_gb",
    "tcp-first": "p50_us",
    "tcp-idle": "idle_bytes",
    "balance": "success_percent",
}
VARIED = (
    "mtu", "size", "direction", "streams", "translation", "rate", "spinning", "endpoints", "subset", "routes",
    "workers", "balancer",
)  # fmt: skip
HIDDEN = {"measure", "peer", "round", "requests", "histogram_us", *VARIED}
# Where a peer is compared with itself, at the first of what was varied, too.
GROWING = ("endpoints", "subset", "routes")
BASES = ("floor", "nginx", "haproxy", "nghttpx", "envoy")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(values: list[float]) -> str:
    """Median and, where there are several, the lowest and highest."""
    if not values:
        return "-"
    median = _number(statistics.median(values))
    if len(values) == 1 or min(values) == max(values):
        return median
    return f"{median} ({_number(min(values))}-{_number(max(values))})"


def ratio(rows: Iterable[Row], column: str, peer: str, base: str) -> float | None:
    """Median over rounds of peer / base within the round: what drifts on the machine drifts for both."""
    by_round: dict[int, dict[str, float]] = {}
    for row in rows:
        if column in row:
            by_round.setdefault(row["round"], {})[row["peer"]] = row[column]
    pairs = [values[peer] / values[base] for values in by_round.values() if peer in values and values.get(base)]
    return statistics.median(pairs) if pairs else None


def _variant(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple((name, row[name]) for name in VARIED if name in row)


def growth(rows: Iterable[Row], column: str, variant: object, first: object) -> float | None:
    """Median over rounds of one variant / another within the round, of one peer's rows."""
    named = {variant: "this", first: "first"}
    return ratio([row | {"peer": named.get(_variant(row), "")} for row in rows], column, "this", "first")


def table(rows: list[Row], main: str) -> list[str]:
    """One line for every peer and variant, variants together so that peers are compared side by side."""
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in HIDDEN]
    bases = [base for base in BASES if any(row["peer"] == base for row in rows)]
    varied = [name for name in VARIED if any(name in row for row in rows)]
    first = _variant(rows[0]) if rows[0]["measure"] in GROWING else ()
    head = [*varied, "", *columns, *(f"{main} / {base}" for base in bases), *([f"{main} / first"] if first else [])]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for variant in dict.fromkeys(map(_variant, rows)):
        alike = [row for row in rows if _variant(row) == variant]
        for peer in dict.fromkeys(row["peer"] for row in alike):
            cells = [f"{value}" for _, value in variant] + [peer]
            cells += [_cell([r[name] for r in alike if r["peer"] == peer and name in r]) for name in columns]
            ratios = [ratio(alike, main, peer, base) for base in bases]
            if first:
                ratios.append(growth((row for row in rows if row["peer"] == peer), main, variant, first))
            cells += ["-" if found is None else f"{found:.2f}" for found in ratios]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def head(result: dict[str, Any]) -> list[str]:
    card, arguments = result["card"], result["arguments"]
    return [
        f"{card['cpu']}, {card['cores']} cores, kernel {card['kernel']}, Python {card['python']}; commit "
        f"{card['commit'][:12]}{' with changes' if card['changed'] else ''}, {card['taken']}; "
        f"{arguments['rounds']} interleaved rounds of {arguments['seconds']} s. Medians (lowest-highest); "
        "ratios are medians of the ratio within a round.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in card["peers"].items()) + ".",
    ]


def render(result: dict[str, Any]) -> str:
    lines = head(result)
    for measure in dict.fromkeys(row["measure"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["measure"] == measure]
        lines += ["", f"### {TITLES.get(measure, measure)}", "", *table(rows, MAIN.get(measure, "cpu_us"))]
    return "\n".join(lines) + "\n"
