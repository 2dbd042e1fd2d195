"""python -m bench.sim run | report: puts balancers through every scenario in simulated time."""

import argparse
import json
import os
import platform
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.sim.measure import Row, measure
from bench.sim.policies import FORMULAS, KINDS
from bench.sim.scenarios import SCENARIOS

RESULTS = Path(__file__).resolve().parents[1] / "results"
COLUMNS = {
    "success_percent": "success %", "late": "late", "mean_ms": "mean ms", "p50_ms": "p50", "p99_ms": "p99",
    "p99.9_ms": "p99.9", "jain": "Jain", "odd_share_percent": "odd one's share %", "returned_s": "back after s",
}
DIGITS = {"success_percent": 3, "late": 1, "jain": 4, "odd_share_percent": 2}


def _cell(rows: list[Row], column: str) -> str:
    """The mean over the seeds."""
    values = [row.get(column) for row in rows]
    if column not in rows[0]:
        return ""
    if any(value is None for value in values):
        return "not"
    return f"{statistics.mean(float(value) for value in values if value is not None):.{DIGITS.get(column, 1)}f}"


def render(rows: list[Row]) -> str:
    lines = []
    for scenario in dict.fromkeys(str(row["scenario"]) for row in rows):
        here = [row for row in rows if row["scenario"] == scenario]
        columns = [column for column in COLUMNS if column in here[0]]
        lines += [f"### {scenario}", "", SCENARIOS[scenario].what, ""]
        lines.append("| | " + " | ".join(COLUMNS[column] for column in columns) + " |")
        lines.append("| --- " * (len(columns) + 1) + "|")
        for balancer in dict.fromkeys(str(row["balancer"]) for row in here):
            mine = [row for row in here if row["balancer"] == balancer]
            lines.append(f"| {balancer} | " + " | ".join(_cell(mine, column) for column in columns) + " |")
        lines.append("")
    return "\n".join(lines)


def _chosen(given: str, known: list[str]) -> list[str]:
    chosen = given.split(";") if given else known
    if unknown := [name for name in chosen if name not in known]:
        sys.exit(f"no {'; '.join(unknown)}; there are {'; '.join(known)}")
    return chosen


def run(arguments: argparse.Namespace) -> None:
    scenarios = _chosen(arguments.scenarios, list(SCENARIOS))
    balancers = _chosen(arguments.balancers, [*KINDS, *FORMULAS])
    runs = [(s, b, seed) for s in scenarios for b in balancers for seed in range(1, arguments.seeds + 1)]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        rows = list(workers.map(measure, *zip(*runs, strict=True), chunksize=4))
    card = {"python": platform.python_version(), "seeds": arguments.seeds}
    path = RESULTS / f"{arguments.name}.json"
    text = json.dumps({"card": card, "rows": rows})
    path.write_text(text.replace('{"scenario"', '\n{"scenario"') + "\n")
    print(render(rows))
    print(f"written to {path.relative_to(RESULTS.parents[1])}", file=sys.stderr)


def report(arguments: argparse.Namespace) -> None:
    print(render(json.loads(arguments.file.read_text())["rows"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sim", description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="run and write bench/results/NAME.json")
    running.add_argument("--scenarios", default="", help=f"by semicolon, default all: {'; '.join(SCENARIOS)}")
    running.add_argument("--balancers", default="", help=f"by semicolon, default all: {'; '.join([*KINDS, *FORMULAS])}")
    running.add_argument("--seeds", type=int, default=3)
    running.add_argument("--name", default="scratch-sim")
    running.set_defaults(do=run)
    reporting = commands.add_parser("report", help="show a results file as Markdown")
    reporting.add_argument("file", type=Path)
    reporting.set_defaults(do=report)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
