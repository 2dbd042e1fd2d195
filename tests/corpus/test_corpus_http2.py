"""The corpus of hostile HTTP/2: every script against the real process, toward it as a server and as a client."""

from collections.abc import Iterator
from typing import cast

import pytest

from tests.support.fastmesh import Fastmesh
from tests.support.http2 import RawOrigin
from tests.support.http2_corpus import Case, load, trials
from tests.support.http2_origins import Origins
from tests.support.http2_trial import ClientTrial, Hostility, OriginTrial

CLIENTS = trials("clients")
ORIGINS = trials("origins")
# `strict` gives up early, on glitches and on time.
PROXIES: dict[str, dict[str, object]] = {
    "plain": {},
    "strict": {
        "http2_glitches": 100, "header_timeout": "300ms", "idle_timeout": "400ms", "stream_timeout": "500ms",
        "request_timeout": "2s",
    },
}  # fmt: skip


class Bench:
    """The proxies in front of one origin."""

    def __init__(self, protocol: str) -> None:
        self.origins = Origins(protocol)
        self.proxies = {
            name: Fastmesh(upstream=self.origins.address, upstream_protocol=protocol, **settings)
            for name, settings in PROXIES.items()
        }

    def proxy(self, case: Case) -> Fastmesh:
        return self.proxies[case.more.get("proxy", "plain")]

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.stop()
        self.origins.close()


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    bench.close()


def _upstream(way: str) -> str:
    return way.removesuffix("-pieces")


@pytest.mark.parametrize(
    ("bench", "case", "way"),
    [pytest.param(_upstream(way), case, way, id=f"{case.name}-{way}") for case, way in CLIENTS],
    indirect=["bench"],
    scope="module",  # one bench for all cases of a protocol
)
def test_client(bench: Bench, case: Case, way: str) -> None:
    ClientTrial(case, way, bench.proxy(case), bench.origins).run()


@pytest.mark.parametrize(
    ("bench", "case", "way"),
    [pytest.param("http2", case, way, id=f"{case.name}-{way}") for case, way in ORIGINS],
    indirect=["bench"],
    scope="module",
)
def test_origin(bench: Bench, case: Case, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = cast(RawOrigin, bench.origins.origin)
    hostility = Hostility(case, origin)
    monkeypatch.setattr(origin, "script", hostility)
    OriginTrial(case, way, bench.proxy(case), hostility).run()
    origin.drop_connections()
    bench.proxy(case).wait_pool_empty()


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(load("clients")) >= 200
    assert len(load("origins")) >= 100
