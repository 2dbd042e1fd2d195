"""Bodies through a pair of virtual Ethernet interfaces: client and upstream in one network namespace, proxy in another.

Loopback hands packets of 64 KB over without a wire's limits; a pod's veth cuts them to its MTU and wakes the other side
for each batch, so how much is read and written at once shows here as it does in a cluster.
"""

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.macro.measures.common import Bench, Load, Row, load_rows, stage

MTUS = (1500, 65535)
LOADS = [
    Load({"size": "64k", "direction": "down"}, path="/64k"),
    Load({"size": "10m", "direction": "down"}, path="/10m", connections=4),
]
# RFC 2544 C.2.2 keeps 198.18.0.0/15 for benchmarks; nothing outside the two namespaces sees them.
OUTSIDE, INSIDE = "198.18.0.1", "198.18.0.2"
CLONE_NEWNET = 0x40000000  # sched.h


def _ip(*arguments: str) -> None:
    """Raises OSError with what ip said."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextlib.contextmanager
def _namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a veth pair; both are gone afterwards. Raises OSError where that is refused."""
    outside, inside = (f"fastmesh-bench-{os.getpid()}-{side}" for side in ("out", "in"))
    with contextlib.ExitStack() as stack:
        for name in (outside, inside):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", "bench0", "netns", outside, "type", "veth", "peer", "name", "bench0", "netns", inside)
        for name, address in ((outside, OUTSIDE), (inside, INSIDE)):
            _ip("-n", name, "addr", "add", f"{address}/30", "dev", "bench0")
            _ip("-n", name, "link", "set", "bench0", "up")
        yield outside, inside


def _enter(namespace: int) -> None:
    """Takes this thread, and what it starts from now on, into the network namespace of a descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def _within(name: str) -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{name}").open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _refused() -> str:
    """Why this machine does not let namespaces be made; empty when it does."""
    if os.geteuid():
        return "network namespaces need root"
    try:
        with _namespaces():
            return ""
    except OSError as error:
        return str(error)


def veth(bench: Bench) -> Iterator[Row]:
    """Processor time per body of 64 KB and 10 MB; no rows, and a line that says why, where it cannot be measured."""
    if why := _refused():
        print(f"veth: left out: {why}", file=sys.stderr)
        return
    bench = bench.without("direct")
    for mtu in MTUS:
        with _namespaces() as (outside, inside):
            for name in (outside, inside):
                _ip("-n", name, "link", "set", "bench0", "mtu", str(mtu))
            wrap = ("ip", "netns", "exec", inside)
            with _within(outside), stage(bench) as here:
                endpoint = f"{OUTSIDE}:{here.upstream.rpartition(':')[2]}"
                running = [here.up(name, wrap=wrap, host=INSIDE, endpoints=(endpoint,)) for name in bench.peers]
                for row in load_rows(bench, running, "veth", LOADS):
                    yield {"mtu": mtu, **row}
