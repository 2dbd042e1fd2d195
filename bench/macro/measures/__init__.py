"""What is measured: name -> a function that yields rows."""

from collections.abc import Callable, Iterator

from bench.macro.measures import tcp
from bench.macro.measures.balance import balance
from bench.macro.measures.common import Bench, Row
from bench.macro.measures.cpu import bodies, close, cpu
from bench.macro.measures.footprint import active, connections, idle, startup
from bench.macro.measures.http2 import bridge, bulk, grpc, h2
from bench.macro.measures.instructions import h2_instructions, instructions
from bench.macro.measures.latency import latency, spin
from bench.macro.measures.scale import endpoints, routes, subset, workers
from bench.macro.measures.veth import veth
from bench.macro.peer import OVER_HTTP1

Measure = Callable[[Bench], Iterator[Row]]

_HTTP1: dict[str, Measure] = {
    "cpu": cpu,
    "idle": idle,
    "start": startup,
    "instructions": instructions,
    "close": close,
    "bodies": bodies,
    "veth": veth,
    "latency": latency,
    "spin": spin,
    "connections": connections,
    "endpoints": endpoints,
    "subset": subset,
    "routes": routes,
    "workers": workers,
    "active": active,
    "balance": balance,
}
_HTTP2: dict[str, Measure] = {
    "h2": h2,
    "h2-bridge": bridge,
    "grpc": grpc,
    "h2-bulk": bulk,
    "h2-instructions": h2_instructions,
}
_TCP: dict[str, Measure] = {
    "tcp": tcp.tcp,
    "tcp-connect": tcp.connect,
    "tcp-bulk": tcp.bulk,
    "tcp-first": tcp.first,
    "tcp-idle": tcp.idle,
}


def _of_http1(measure: Measure) -> Measure:
    return lambda bench: measure(bench.speaking(OVER_HTTP1))


# A peer that cannot speak what a measure needs is left out of it.
MEASURES = {name: _of_http1(measure) for name, measure in _HTTP1.items()} | _HTTP2 | _TCP

__all__ = ["MEASURES", "Bench", "Row"]
