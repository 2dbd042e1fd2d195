"""python -m bench.micro: every micro bench, its figures per operation to bench/results/micro.json and as a table.

Times are the best round's: what the code costs when the machine lets it be. The compiled probes of the tests must be
built (make probes).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.macro.card import ROOT, card

HERE = ROOT / "bench" / "micro"
# The one comparison with a target: a strictly checked browser head, beside httptools called from Python.
HEAD, HEAD_HTTPTOOLS = "wire.parse_c[browser]", "wire.parse_httptools[browser]"


def measured(seconds: float, only: str) -> dict[str, Any]:
    """What pytest-benchmark says of a run with so many seconds for each bench. Exits as pytest does when one fails."""
    with tempfile.TemporaryDirectory(prefix="fastmesh-micro-") as directory:
        out = Path(directory) / "out.json"
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE), "-k", only, "--benchmark-enable",
            "--benchmark-quiet", "--benchmark-min-rounds=3", "--benchmark-warmup=off",
            f"--benchmark-max-time={seconds:g}", f"--benchmark-json={out}",
        ]  # fmt: skip
        if code := subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode:
            sys.exit(code)
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def trimmed(bench: dict[str, Any]) -> dict[str, Any]:
    """Name, nanoseconds per operation and, where it works on bytes, bytes per nanosecond."""
    extra = bench["extra_info"]
    module = bench["fullname"].partition("::")[0].rpartition("/")[2]
    name = f"{module.removeprefix('test_').removesuffix('.py')}.{bench['name'].removeprefix('test_')}"
    ns = extra.get("ns") or bench["stats"]["min"] * 1e9 / extra.get("per_round", 1)
    row = {"name": name, "ns": round(ns, 3 if ns < 100 else 1)}
    if size := extra.get("bytes"):
        row["bytes_per_ns"] = round(size / ns, 3)
    elif "bytes_per_ns" in extra:
        row["bytes_per_ns"] = extra["bytes_per_ns"]
    return row


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| | ns | bytes/ns |", "| --- | ---: | ---: |"]
    lines += [f"| {row['name']} | {row['ns']:,} | {row.get('bytes_per_ns', '')} |" for row in rows]
    by_name = {row["name"]: row for row in rows}
    if HEAD in by_name and HEAD_HTTPTOOLS in by_name:
        ratio = by_name[HEAD_HTTPTOOLS]["ns"] / by_name[HEAD]["ns"]
        lines += ["", f"A browser's head: httptools takes {ratio:.1f} times as long as fastmesh."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("--name", default="micro", help="of the file in bench/results")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each bench, at least three rounds")
    parser.add_argument("--only", default="", help="part of a name, as pytest's -k takes it")
    arguments = parser.parse_args()
    rows = [trimmed(bench) for bench in measured(arguments.seconds, arguments.only)["benchmarks"]]
    path = ROOT / "bench" / "results" / f"{arguments.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"card": card({}), "seconds": arguments.seconds, "rows": rows}, indent=1) + "\n")
    print(table(rows))
    print(f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
