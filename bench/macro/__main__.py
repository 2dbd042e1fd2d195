"""python -m bench.macro run | report: takes measures and writes them to bench/results, or shows what was taken."""

import argparse
import json
import sys
from pathlib import Path

from bench.macro import peer as peers
from bench.macro import results
from bench.macro.card import ROOT, card
from bench.macro.measures import MEASURES, Bench, Row
from bench.macro.measures.instructions import per_request
from bench.macro.peer import OVER_HTTP1, OVER_HTTP2
from bench.macro.processes import Cores
from bench.report import markdown

RESULTS = ROOT / "bench" / "results"


def chosen_peers(names: str) -> dict[str, peers.Peer]:
    """Raises SystemExit naming what is not known or not installed."""
    known = peers.load()
    wanted = names.split(",") if names else list(known)
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"no peer {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = {name: known[name] for name in wanted}
    for name, peer in chosen.items():
        try:
            peer.version()
        except OSError as error:
            sys.exit(f"{name}: {error}")
    return chosen


def run(arguments: argparse.Namespace) -> None:
    what = arguments.what.split(",") if arguments.what else list(MEASURES)
    if unknown := [name for name in what if name not in MEASURES]:
        sys.exit(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    chosen = chosen_peers(arguments.peers)
    bench = Bench(chosen, arguments.rounds, arguments.seconds, Cores.of_this_machine())
    taken_on = card(chosen)
    rows: list[Row] = []
    for name in what:
        for row in MEASURES[name](bench):
            rows.append(row)
            values = {k: v for k, v in row.items() if not isinstance(v, list)}
            shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
            print(shown, file=sys.stderr, flush=True)
    result = {
        "card": taken_on,
        "arguments": {"what": what, "rounds": bench.rounds, "seconds": bench.seconds, "connections": bench.connections},
        "rows": rows,
    }
    path = RESULTS / f"{arguments.name}.json"
    results.write(path, result)
    print(markdown.render(result))
    print(f"written to {path.relative_to(ROOT)}")


def profile(arguments: argparse.Namespace) -> None:
    """Instructions per request, by function."""
    bench = Bench(chosen_peers(arguments.peer), 1, 1, Cores.of_this_machine())
    costs = per_request(bench, arguments.peer, OVER_HTTP2 if arguments.http2 else OVER_HTTP1, arguments.streams)
    total = sum(costs.values())
    print(f"{total:9.1f}  all")
    for function, cost in sorted(costs.items(), key=lambda item: -item[1]):
        if cost >= total / 1000:
            print(f"{cost:9.1f}  {function}")


def report(arguments: argparse.Namespace) -> None:
    for path in arguments.files:
        result = json.loads(path.read_text())
        print(markdown.render(result))
        if arguments.plots:
            from bench.report import figures  # only here: taking measures does not need matplotlib

            for drawn in figures.write(result, path.with_suffix("")):
                print(f"written to {drawn}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.macro", description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="take measures")
    running.add_argument("--what", default="", help=f"by comma, default all: {', '.join(MEASURES)}")
    running.add_argument("--peers", default="", help="by comma, default all")
    running.add_argument("--rounds", type=int, default=5)
    running.add_argument("--seconds", type=int, default=3, help="of one load")
    running.add_argument("--name", default="latest", help="of the file in bench/results")
    running.set_defaults(call=run)
    profiling = commands.add_parser("profile", help="where a peer's instructions go, by function")
    profiling.add_argument("peer")
    profiling.add_argument("--http2", action="store_true", help="over HTTP/2 on both sides")
    profiling.add_argument("--streams", type=int, default=1, help="of each of its connections")
    profiling.set_defaults(call=profile)
    reporting = commands.add_parser("report", help="Markdown of results files")
    reporting.add_argument("files", nargs="+", type=Path)
    reporting.add_argument("--plots", action="store_true", help="figures too, in a directory beside each file")
    reporting.set_defaults(call=report)
    arguments = parser.parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    main()
