"""Whether a request costs the same among many endpoints, many routes and with more workers.

All configurations of a peer are up at once and take turns within each round, as peers do elsewhere: they are what is
compared, so a slow minute must meet them alike.
"""

from collections.abc import Iterable, Iterator

from bench.macro.measures.common import Bench, Load, Row, Running, load_rows, one_load, stage

ENDPOINTS = (1, 10, 100, 1000, 10_000)
SUBSET = 100
ROUTES = (1, 100, 10_000)
WORKERS = (1, 2)


def addresses(upstream: str, count: int) -> tuple[str, ...]:
    """So many different loopback addresses of the one upstream."""
    port = upstream.rpartition(":")[2]
    return tuple(f"127.{1 + i // 62500}.{i // 250 % 250}.{1 + i % 250}:{port}" for i in range(count))


def rows(bench: Bench, what: str, pairs: Iterable[tuple[Running, Load]]) -> Iterator[Row]:
    """Rounds over peers that each have a load of their own. A short one before each turn does not count: while others
    have theirs, connections to endpoints rest for long enough to be closed."""
    pairs = list(pairs)
    for round_number in range(bench.rounds):
        for peer, load in pairs:
            one_load(bench, peer, load, 1)
            named = {"measure": what, "peer": peer.name, "round": round_number, **load.varied}
            yield named | one_load(bench, peer, load, bench.seconds)


def endpoints(bench: Bench) -> Iterator[Row]:
    with stage(bench.without("direct", "floor")) as here:
        chosen = {count: addresses(here.upstream, count) for count in ENDPOINTS}
        yield from rows(bench, "endpoints", [
            (here.up(name, endpoints=chosen[count]), Load({"endpoints": count}))
            for count in ENDPOINTS for name in here.bench.peers
        ])  # fmt: skip


def subset(bench: Bench) -> Iterator[Row]:
    """One endpoint beside a part of many, for peers that can use a part."""
    able = [name for name, peer in bench.peers.items() if hasattr(peer, "SUBSET")]
    with stage(bench.only(*able)) as here:
        chosen = {count: addresses(here.upstream, count) for count in (1, max(ENDPOINTS))}
        yield from rows(bench, "subset", [
            (here.up(name, endpoints=chosen[count], subset=used), Load({"endpoints": count, "subset": used or count}))
            for count, used in ((1, 0), (max(ENDPOINTS), 0), (max(ENDPOINTS), SUBSET)) for name in here.bench.peers
        ])  # fmt: skip


def routes(bench: Bench) -> Iterator[Row]:
    """The request takes the last of the routes."""
    with stage(bench.without("direct", "floor")) as here:
        yield from rows(bench, "routes", [
            (here.up(name, routes=count), Load({"routes": count}, path=f"/route/{count - 1}/" if count > 1 else "/"))
            for count in ROUTES for name in here.bench.peers
        ])  # fmt: skip


def workers(bench: Bench) -> Iterator[Row]:
    """On the one processor all the same: what sharing the work costs, not what more processors give."""
    for count in WORKERS:
        with stage(bench.without("direct", "floor")) as here:
            running = [here.up(name, workers=count) for name in here.bench.peers]
            yield from load_rows(bench, running, "workers", [Load({"workers": count})])
