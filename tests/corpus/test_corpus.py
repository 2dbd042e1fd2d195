"""The corpus: every raw case against the real process, whole and in pieces, with one verdict."""

import tempfile
from collections.abc import Iterator

import pytest

from tests.support import net
from tests.support.corpus import Case, load
from tests.support.fastmesh import Fastmesh
from tests.support.verdict import Place, RequestTrial, ResponseTrial

REQUESTS = load("requests")
RESPONSES = load("responses")
WAYS = ("whole", "random", "bytewise")


class Bench:
    """Two proxies with their origins: over TCP, and over Unix sockets, where a piece is known to have been read."""

    def __init__(self) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="fm-corpus-")
        self.listeners = [net.listen(), net.listen(f"unix:{self._dir.name}/origin")]
        fronts = ["127.0.0.1:0", f"unix:{self._dir.name}/front"]
        self.proxies = [
            Fastmesh(listen=front, upstream=net.text(listener))
            for front, listener in zip(fronts, self.listeners, strict=True)
        ]

    def at(self, way: str, case: Case) -> tuple[Place, Fastmesh]:
        # Only TCP has a reset, which is how an HTTP/1.0 client learns that a body without length was cut.
        needs_tcp = case.more.get("then") == "reset" or ("cut" in case.want and "HTTP/1.0" in case.more.get("ask", ""))
        index = 0 if way == "whole" or needs_tcp else 1
        return Place(self.proxies[index].address, self.listeners[index]), self.proxies[index]

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.stop()
        for listener in self.listeners:
            listener.close()
        self._dir.cleanup()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def _name(value: object) -> str | None:
    return value.name if isinstance(value, Case) else None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REQUESTS, ids=_name)
def test_request(bench: Bench, case: Case, way: str) -> None:
    place, proxy = bench.at(way, case)
    RequestTrial(case, way, place).run()
    proxy.wait_pool_empty()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", RESPONSES, ids=_name)
def test_response(bench: Bench, case: Case, way: str) -> None:
    place, proxy = bench.at(way, case)
    ResponseTrial(case, way, place).run()
    proxy.wait_pool_empty()


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(REQUESTS) >= 250
    assert len(RESPONSES) >= 120
