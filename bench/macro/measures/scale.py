"""Whether a request costs the same among many endpoints, many routes and with more workers."""

from collections.abc import Iterator

from bench.macro.measures.common import Bench, Load, Row, load_rows, stage

ENDPOINTS = (1, 10, 100, 1000, 10_000)
ROUTES = (1, 100, 10_000)
WORKERS = (1, 2)


def addresses(upstream: str, count: int) -> tuple[str, ...]:
    """So many different loopback addresses of the one upstream."""
    port = upstream.rpartition(":")[2]
    return tuple(f"127.{1 + i // 62500}.{i // 250 % 250}.{1 + i % 250}:{port}" for i in range(count))


def endpoints(bench: Bench) -> Iterator[Row]:
    for count in ENDPOINTS:
        with stage(bench.without("direct", "floor")) as here:
            chosen = addresses(here.upstream, count)
            running = [here.up(name, endpoints=chosen) for name in here.bench.peers]
            yield from load_rows(bench, running, "endpoints", [Load({"endpoints": count})])


def routes(bench: Bench) -> Iterator[Row]:
    """The request takes the last of the routes."""
    for count in ROUTES:
        with stage(bench.without("direct", "floor")) as here:
            running = [here.up(name, routes=count) for name in here.bench.peers]
            path = f"/route/{count - 1}/" if count > 1 else "/"
            yield from load_rows(bench, running, "routes", [Load({"routes": count}, path=path)])


def workers(bench: Bench) -> Iterator[Row]:
    """On the one processor all the same: what sharing the work costs, not what more processors give."""
    for count in WORKERS:
        with stage(bench.without("direct", "floor")) as here:
            running = [here.up(name, workers=count) for name in here.bench.peers]
            yield from load_rows(bench, running, "workers", [Load({"workers": count})])
