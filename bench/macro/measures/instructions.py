"""User instructions per request, counted by callgrind as a difference of two run lengths: repeatable to the digit."""

import re
from collections.abc import Iterator
from pathlib import Path

from bench.macro import client
from bench.macro.measures.common import Bench, Row, stage

SHORT, LONG = 1000, 3000
CONNECTIONS = 10
VALGRIND = ("valgrind", "--tool=callgrind")


def collected(directory: Path) -> int:
    """Instructions of all processes that left a profile in the directory."""
    total = 0
    for path in directory.glob("callgrind.out.*"):
        match = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
        total += int(match[1]) if match else 0
    return total


def profile(bench: Bench, name: str, requests: int, keep: Path | None = None) -> int:
    """Runs a peer under callgrind for so many requests; the profiles stay in `keep`."""
    with stage(bench) as here:
        out = keep or here.work / "callgrind"
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o777)  # for the worker of nginx, which is another user
        wrap = (*VALGRIND, f"--callgrind-out-file={out}/callgrind.out.%p")
        peer = here.up(name, wrap=wrap, ready_within_s=240)
        client.exactly(peer.port, bench.cores.load, requests, CONNECTIONS)
        here.down(peer)
        return collected(out)


def instructions(bench: Bench) -> Iterator[Row]:
    for name in bench.without("direct").peers:
        difference = profile(bench, name, LONG) - profile(bench, name, SHORT)
        per_request = difference / (LONG - SHORT)
        yield {"measure": "instructions", "peer": name, "round": 0, "user_instructions": per_request}
