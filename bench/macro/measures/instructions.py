"""User instructions per request, counted by callgrind as a difference of two run lengths: repeatable to the digit."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from bench.macro import client, h2load, nghttpd
from bench.macro.measures.common import Bench, Row, Running, stage
from bench.macro.measures.http2 import shape
from bench.macro.peer import HTTP2, OVER_HTTP1, OVER_HTTP2, Protocols

SHORT, LONG = 1000, 3000
CONNECTIONS = 10
STREAMS = (1, 10)  # of each connection, over HTTP/2

_COST = re.compile(r"^[+\-*\d]\S* (\d+)")
_FUNCTION = re.compile(r"^fn=\((\d+)\)(?: (.*))?")


def by_function(lines: Iterable[str]) -> Counter[str]:
    """Instructions in each function itself, from a profile in callgrind's format."""
    names: dict[str, str] = {}
    costs: Counter[str] = Counter()
    current = ""
    skip = False
    for line in lines:
        if match := _FUNCTION.match(line):
            number, name = match.groups()
            current = names.setdefault(number, name or "")
        elif line.startswith("calls="):
            skip = True  # the next line is the callee's cost
        elif line.startswith("cfn=") and ") " in line:
            number, name = line[5:].rstrip("\n").split(") ", 1)
            names.setdefault(number, name)
        elif match := _COST.match(line):
            if not skip:
                costs[current] += int(match[1])
            skip = False
    return costs


def _send(bench: Bench, peer: Running, requests: int, protocols: Protocols, streams: int) -> None:
    if protocols[0] == HTTP2:
        h2load.run(
            peer.port, core=bench.cores.load, connections=CONNECTIONS, streams=streams, size=nghttpd.SIZE,
            requests=requests,
        )  # fmt: skip
    else:
        client.exactly(peer.port, bench.cores.load, requests, CONNECTIONS)


def count(bench: Bench, name: str, requests: int, protocols: Protocols, streams: int) -> Counter[str]:
    """By function, of all of a peer's processes over a whole life with so many requests."""
    with stage(bench, protocols) as here:
        out = here.work / "callgrind"
        out.mkdir()
        out.chmod(0o777)  # for the worker of nginx, which is another user
        wrap = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}/callgrind.out.%p")
        peer = here.up(name, wrap=wrap, ready_within_s=240)
        _send(bench, peer, requests, protocols, streams)
        here.down(peer)
        total: Counter[str] = Counter()
        for path in out.iterdir():
            with path.open() as lines:
                total += by_function(lines)
        return total


def per_request(bench: Bench, name: str, protocols: Protocols = OVER_HTTP1, streams: int = 1) -> dict[str, float]:
    """Instructions per request by function; what start-up and the end cost cancels out."""
    longer, shorter = (count(bench, name, requests, protocols, streams) for requests in (LONG, SHORT))
    return {function: (longer[function] - shorter[function]) / (LONG - SHORT) for function in longer}


def instructions(bench: Bench) -> Iterator[Row]:
    for name in bench.without("direct").peers:
        total = sum(per_request(bench, name).values())
        yield {"measure": "instructions", "peer": name, "round": 0, "user_instructions": total}


def h2_instructions(bench: Bench) -> Iterator[Row]:
    """Of a request over HTTP/2 on both sides: alone on its connection, and among others that share reads and writes."""
    for streams in STREAMS:
        for name in bench.speaking(OVER_HTTP2).without("direct").peers:
            total = sum(per_request(bench, name, OVER_HTTP2, streams).values())
            row: Row = {"measure": "h2-instructions", "peer": name, "round": 0, **shape(CONNECTIONS, streams)}
            yield row | {"user_instructions": total}
