"""Origins that cannot be reached, restart, or flap while requests keep coming."""

import threading
from collections import Counter

import pytest

from tests.support.client import Client, Ended, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.net import black_hole
from tests.support.origin import Origin, serve
from tests.support.server import Nginx
from tests.support.wait import DEADLINE_S, until


def test_connect_timeout() -> None:
    with (
        black_hole() as address,
        Fastmesh(upstream=address, connect_timeout="200ms", retry_connect=0, backoff_min="1m") as proxy,
        Client(proxy.address) as client,
    ):
        first = client.get("/")
        assert first.status == 504
        assert first.get("fastmesh-error")
        assert not first.closes
        assert client.get("/").status == 503  # it is left out now
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_proxy_errors_total", cause="connect_timeout") == 1
        assert metrics.sum("fastmesh_upstream_endpoints", state="out") == 1


def test_connect_timeout_tries_another_endpoint() -> None:
    with black_hole() as address, Origin(serve()) as origin:
        upstream = f"{address},{origin.address}"
        with (
            Fastmesh(
                upstream=upstream, connect_timeout="100ms", balancer="round_robin", ramp="off", backoff_min="1m"
            ) as proxy,
            Client(proxy.address) as client,
        ):
            assert [client.get("/").status for _ in range(10)] == [200] * 10
            assert proxy.counts().sum("fastmesh_worker_connect_failures_total") == 1


def test_a_client_that_leaves_during_connect() -> None:
    with black_hole() as address, Fastmesh(upstream=address, connect_timeout="5s") as proxy:
        with Client(proxy.address) as client:
            client.send(request("GET", "/"))
            proxy.wait_metric("fastmesh_upstream_open_connections", 1)
            client.reset()
        proxy.wait_metric("fastmesh_exchanges_in_flight", 0)
        proxy.wait_pool_empty()


def test_missing_unix_socket() -> None:
    with Fastmesh(upstream="unix:/nonexistent/socket", backoff_min="1m") as proxy, Client(proxy.address) as client:
        assert client.get("/").status in (502, 503)
        assert client.get("/").status == 503


class Load:
    """Threads that send GET after GET on kept connections until stopped, counting outcomes."""

    def __init__(self, address: str, threads: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._address = address
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in self._threads), "a request never came back"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with Client(self._address) as client:
                    while not self._stop.is_set():
                        self._count(str(client.get("/small").status))
            except Ended as ended:
                self._count(f"ended by {ended.how}")
            except Exception as error:
                self._count(repr(error))

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1

    def wait_more(self, count: int, outcome: str = "200") -> None:
        """Until `count` more requests have ended like this."""
        goal = self.outcomes[outcome] + count
        until(lambda: self.outcomes[outcome] >= goal, f"{count} more {outcome}")


def test_nginx_restarts_under_load() -> None:
    site = 'server { listen LISTEN; location / { return 200 "ok\\n"; } }'
    with Nginx(site) as nginx, Fastmesh(upstream=nginx.address, backoff_min="5ms", backoff_max="20ms") as proxy:
        with Load(proxy.address, 4) as load:
            for _ in range(3):
                load.wait_more(200)
                nginx.stop()
                load.wait_more(1, "503")
                nginx.start()
            load.wait_more(200)
        assert set(load.outcomes) <= {"200", "502", "503"}, load.outcomes


def test_one_of_two_endpoints_restarts_unnoticed() -> None:
    """A closed listener and ended idle connections of one endpoint: GETs go to the other, none fails."""
    with (
        EchoOrigin() as steady,
        Origin(serve()) as flapping,
        Fastmesh(
            upstream=f"{steady.address},{flapping.address}",
            backoff_min="5ms",
            backoff_max="10ms",
            balancer="random",
            ramp="off",
        ) as proxy,
        Client(proxy.address) as client,
    ):
        for _ in range(10):
            assert [client.get("/small").status for _ in range(10)] == [200] * 10
            flapping.close_listener()
            flapping.drop_connections()
            assert [client.get("/small").status for _ in range(10)] == [200] * 10
            flapping.reopen()


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_dropped_under_load(workers: int) -> None:
    """The origin keeps ending connections whenever it likes; every request gets some answer, most a good one."""
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, workers=workers, backoff_min="1ms") as proxy:
        with Load(proxy.address, 4) as load:
            for _ in range(30):
                load.wait_more(20)
                origin.drop_connections_now()
        assert set(load.outcomes) <= {"200", "502", "503"}, load.outcomes
        assert load.outcomes["200"] > 10 * (load.outcomes["502"] + load.outcomes["503"])
