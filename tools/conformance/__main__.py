"""python -m tools.conformance [SUITE...]: builds the suites, runs them direct and through fastmesh, prints a table.

The exit code is 0 when every case that passes direct also passes through fastmesh. A name selects the suites that begin
with it; --direct runs them without fastmesh only. A run of all suites in which nothing was lost is recorded in
bench/results/conformance.json.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.macro import card, results
from tools.conformance import calls, connect, interop, nethttp, programs
from tools.conformance.running import DIRECT
from tools.conformance.verdicts import Outcome, Verdicts, reasons, table
from tools.source import ROOT

RESULTS = ROOT / "bench" / "results" / "conformance.json"

Run = Callable[[], Verdicts]


@dataclass(frozen=True)
class Suite:
    name: str
    through: str  # what fastmesh speaks to the upstream
    direct: Run
    proxied: Run


def _suite(name: str, run: Callable[[str], Verdicts], through: str = "auto") -> Suite:
    return Suite(name, through, lambda: run(DIRECT), lambda: run(through))


def _nethttp(client: str, server: str) -> Suite:
    """Client and server of different versions cannot meet direct: the client's own version is what to compare with."""
    return Suite(
        f"net/http {client} > {server}", server,
        lambda: nethttp.run(client, client, DIRECT), lambda: nethttp.run(client, server, server),
    )  # fmt: skip


def _connect(name: str) -> Suite:
    run = functools.partial(connect.run, name)
    return _suite(f"connectconformance {name}", run, connect.SUITES[name].through)


def suites() -> list[Suite]:
    versions = ("http1", "http2")
    return [
        _suite("interop grpc-go", interop.run),
        _suite("interop grpc-go", interop.run, "http2"),
        *(_connect(name) for name in connect.SUITES),
        _suite("grpcurl and ghz", calls.run),
        *(_nethttp(client, server) for client in versions for server in versions),
    ]


def _try(suite: Suite, direct_only: bool) -> Outcome:
    begun = time.monotonic()
    direct = suite.direct()
    outcome = Outcome(suite.name, suite.through, direct, direct if direct_only else suite.proxied())
    print(f"{suite.name} ({suite.through}): {time.monotonic() - begun:.1f} s", flush=True)
    return outcome


def _record(outcomes: list[Outcome]) -> None:
    results.write(RESULTS, {
        "card": card.machine(), "programs": programs.versions(), "rows": [outcome.row() for outcome in outcomes],
    })  # fmt: skip


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools.conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", help="names, or how they begin; all when there is none")
    parser.add_argument("--direct", action="store_true", help="without fastmesh")
    asked = parser.parse_args(arguments)
    chosen = [suite for suite in suites() if not asked.suites or suite.name.startswith(tuple(asked.suites))]
    if not chosen:
        parser.error(f"no suite begins so; there are: {', '.join(suite.name for suite in suites())}")
    programs.build()
    outcomes = [_try(suite, asked.direct) for suite in chosen]
    for outcome in outcomes:
        if not outcome.ok():
            print(reasons(outcome))
    print(table(outcomes))
    if not all(outcome.ok() for outcome in outcomes):
        return 1
    if not asked.suites and not asked.direct:
        _record(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
