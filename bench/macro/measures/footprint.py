"""Memory and the time to get ready."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator

from bench.macro import upstream
from bench.macro.measures.common import Bench, Row, Running, all_running, stage

IDLE_CONNECTIONS = 2000
ACTIVE_CONNECTIONS = 1000
ROUTES = (1, 100, 1000)
REQUEST = b"GET %s HTTP/1.1\r\nHost: bench.test\r\n\r\n"


def idle(bench: Bench) -> Iterator[Row]:
    """Resident memory after the first answered request, before any load."""
    for round_number in range(bench.rounds):
        with all_running(bench.without("direct")) as running:
            for peer in running:
                if peer.process:
                    memory = {f"{kind}_mb": count / 1e6 for kind, count in peer.process.memory().items()}
                    yield {"measure": "idle", "peer": peer.name, "round": round_number, **memory}


def startup(bench: Bench) -> Iterator[Row]:
    """Milliseconds from exec to the first 200, by number of routes; the machine does nothing else meanwhile."""
    for round_number in range(bench.rounds):
        with stage(bench) as here:
            for count in ROUTES:
                for name in bench.without("direct", *(("floor",) if count > 1 else ())).peers:
                    peer = here.up(name, routes=count)
                    here.down(peer)
                    row: Row = {"measure": "start", "peer": name, "round": round_number, "routes": count}
                    yield row | {"ready_ms": peer.ready_s * 1e3}


def _answer_all(connections: list[socket.socket]) -> None:
    """Sends a request on each and reads each answer to its end. Raises RuntimeError when one fails."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.sendall(REQUEST % b"/")
            selector.register(connection, selectors.EVENT_READ, bytearray())
        deadline = time.monotonic() + 30
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                key.data.extend(data)
                if not data or not key.data.startswith(b"HTTP/1.1 200"[: len(key.data)]):
                    raise RuntimeError(f"an answer that is no 200: {bytes(key.data[:80])!r}")
                if key.data.endswith(b"x" * 100):
                    selector.unregister(key.fileobj)
        if selector.get_map():
            raise RuntimeError(f"{len(selector.get_map())} connections without an answer")


def _memory_per_connection(peer: Running) -> Row:
    """Bytes the proxy's own memory grows by for each connection that had a request and now is idle."""
    assert peer.process is not None
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []

        def more(count: int) -> int:
            fresh = [stack.enter_context(socket.create_connection(("127.0.0.1", peer.port))) for _ in range(count)]
            for at in range(0, count, 100):  # few at once, so that all share a small pool of upstream connections
                _answer_all(fresh[at : at + 100])
            opened.extend(fresh)
            assert peer.process is not None
            return peer.process.memory()["anonymous"]

        before = more(200)  # what grows once is not charged to the connections
        after = more(IDLE_CONNECTIONS)
        return {"connections": IDLE_CONNECTIONS, "idle_bytes": (after - before) / IDLE_CONNECTIONS}


def connections(bench: Bench) -> Iterator[Row]:
    """Memory of an idle keep-alive connection that has carried a request."""
    for round_number in range(bench.rounds):
        with all_running(bench.without("direct", "floor")) as running:
            for peer in running:
                row: Row = {"measure": "connections", "peer": peer.name, "round": round_number}
                yield row | _memory_per_connection(peer)


def active(bench: Bench) -> Iterator[Row]:
    """Memory of a connection whose request waits for its upstream, the upstream connection included."""
    for round_number in range(bench.rounds):
        with all_running(bench.without("direct", "floor")) as running:
            for peer in running:
                assert peer.process is not None
                with contextlib.ExitStack() as stack:
                    opened = [
                        stack.enter_context(socket.create_connection(("127.0.0.1", peer.port)))
                        for _ in range(ACTIVE_CONNECTIONS)
                    ]
                    before = peer.process.memory()["anonymous"]
                    for connection in opened:
                        connection.sendall(REQUEST % b"/slow")
                    time.sleep(upstream.SLOW_S / 2)
                    grown = peer.process.memory()["anonymous"] - before
                row: Row = {"measure": "active", "peer": peer.name, "round": round_number}
                yield row | {"connections": ACTIVE_CONNECTIONS, "active_bytes": grown / ACTIVE_CONNECTIONS}
