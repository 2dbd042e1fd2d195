"""What is measured: name -> a function that yields rows."""

from collections.abc import Callable, Iterator

from bench.macro.measures.balance import balance
from bench.macro.measures.common import Bench, Row
from bench.macro.measures.cpu import bodies, close, cpu
from bench.macro.measures.footprint import active, connections, idle, startup
from bench.macro.measures.instructions import instructions
from bench.macro.measures.latency import latency, spin
from bench.macro.measures.scale import endpoints, routes, workers
from bench.macro.measures.veth import veth

MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
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
    "routes": routes,
    "workers": workers,
    "active": active,
    "balance": balance,
}

__all__ = ["MEASURES", "Bench", "Row"]
