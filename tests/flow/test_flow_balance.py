"""Spreading requests over endpoints: the four balancers, weights, endpoints that go and come back."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.client import Client, request
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh
from tests.support.net import free_port
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.wait import DEADLINE_S, until

BALANCERS = ("p2c_ewma", "least_request", "round_robin", "random")


@contextmanager
def echoes(count: int) -> Iterator[list[EchoOrigin]]:
    with ExitStack() as stack:
        yield [stack.enter_context(EchoOrigin(name=str(i))) for i in range(count)]


def upstream(origins: list[EchoOrigin], *weights: int) -> str:
    given = weights or (1,) * len(origins)
    return ",".join(f"{origin.address};weight={weight}" for origin, weight in zip(origins, given, strict=True))


def spread(proxy: Fastmesh, count: int) -> Counter[str]:
    """Who answered `count` requests on one connection."""
    with Client(proxy.address) as client:
        return Counter(str(client.get("/").get("origin"), "ascii") for _ in range(count))  # type: ignore[arg-type]


@pytest.mark.parametrize("balancer", BALANCERS)
def test_every_endpoint_gets_its_part(balancer: str) -> None:
    with echoes(3) as origins, Fastmesh(upstream=upstream(origins), balancer=balancer, ramp="off") as proxy:
        counts = spread(proxy, 300)
    assert set(counts) == {"0", "1", "2"}
    if balancer == "round_robin":
        assert max(counts.values()) - min(counts.values()) <= 1
    elif balancer == "random":
        assert min(counts.values()) > 60  # 100 expected, five standard deviations are 41


def test_a_subset_is_all_that_is_used() -> None:
    with (
        echoes(6) as origins,
        Fastmesh(upstream=upstream(origins), upstream_subset=2, balancer="round_robin", ramp="off") as proxy,
    ):
        counts = spread(proxy, 20)
        shown = {endpoint["address"] for endpoint in json.loads(bytes(proxy.admin_get("/endpoints").body))}
    assert list(counts.values()) == [10, 10]
    assert {str(i) for i, origin in enumerate(origins) if origin.address in shown} == set(counts)


def test_round_robin_keeps_weights_exactly() -> None:
    with (
        echoes(3) as origins,
        Fastmesh(upstream=upstream(origins, 5, 3, 2), balancer="round_robin", ramp="off") as proxy,
    ):
        assert spread(proxy, 100) == {"0": 50, "1": 30, "2": 20}


def test_random_keeps_weights_on_average() -> None:
    with echoes(2) as origins, Fastmesh(upstream=upstream(origins, 4, 1), balancer="random", ramp="off") as proxy:
        counts = spread(proxy, 2000)
    assert 1510 < counts["0"] < 1690  # 1600 expected, five standard deviations are 89


@pytest.mark.parametrize("balancer", ["least_request", "p2c_ewma"])
def test_a_busy_endpoint_is_left_alone(balancer: str) -> None:
    """While one of two endpoints holds a request, every further request goes to the other."""
    gate = threading.Event()

    def script(connection: Connection) -> None:
        while True:
            if connection.request().target == "/hold":
                gate.wait(DEADLINE_S)
            connection.send(OK)

    with (
        Origin(script) as one,
        Origin(script) as two,
        Fastmesh(upstream=f"{one.address},{two.address}", balancer=balancer, ramp="off") as proxy,
        Client(proxy.address) as holder,
        Client(proxy.address) as client,
    ):
        holder.send(request("GET", "/hold"))
        until(lambda: one.requests() or two.requests(), "the request to arrive")
        busy, free = (one, two) if one.requests() else (two, one)
        for _ in range(20):
            client.get("/")
        assert len(busy.requests()) == 1
        assert len(free.requests()) == 20
        gate.set()
        holder.read()


def test_ewma_prefers_the_fast_endpoint() -> None:
    """One endpoint takes 30 ms for each answer: after it was measured the other gets nearly everything."""
    pause = threading.Event()  # never set: its wait is the slow endpoint's working time

    def slow(connection: Connection) -> None:
        while True:
            connection.request()
            pause.wait(0.03)
            connection.send(b"HTTP/1.1 200 OK\r\nOrigin: slow\r\nContent-Length: 0\r\n\r\n")

    with (
        Origin(slow) as lame,
        EchoOrigin(name="fast") as quick,
        Fastmesh(upstream=f"{lame.address},{quick.address}", ramp="off") as proxy,
    ):
        counts = spread(proxy, 200)
    assert counts["fast"] >= 190, counts


@pytest.mark.parametrize("balancer", BALANCERS)
def test_endpoints_that_are_down_are_passed_over(balancer: str) -> None:
    dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with echoes(1) as origins:
        addresses = ",".join([dead[0], origins[0].address, dead[1]])
        with Fastmesh(upstream=addresses, balancer=balancer, ramp="off", backoff_min="1m") as proxy:
            assert spread(proxy, 100) == {"0": 100}
            metrics = proxy.counts()
            assert metrics.sum("fastmesh_worker_connect_failures_total") == 2
            assert metrics.sum("fastmesh_upstream_endpoints", state="out") == 2
            assert metrics.sum("fastmesh_upstream_endpoints", state="ready") == 1
            assert metrics.sum("fastmesh_retries_total") == 2


def test_all_down_says_so_with_cause_and_count() -> None:
    dead = ",".join(f"127.0.0.1:{free_port()}" for _ in range(3))
    with Fastmesh(upstream=dead, backoff_min="1m") as proxy, Client(proxy.address) as client:
        answers = [client.get("/") for _ in range(5)]  # the connection goes on
        assert {answer.status for answer in answers} <= {502, 503}
        last = answers[-1]
        assert last.status == 503
        error = (last.get("fastmesh-error") or b"").decode()
        assert "no healthy endpoint" in error
        assert "3 of 3" in error
        assert "refused" in error
        assert error in last.body.decode()
        assert not last.closes
        metrics = proxy.counts()
        assert metrics.sum("fastmesh_worker_connect_failures_total") == 3  # left out, not tried by every request
        assert metrics.sum("fastmesh_proxy_errors_total", cause="no_endpoint") >= 4


def test_an_endpoint_that_returns_is_found_by_a_probe() -> None:
    with Origin(serve()) as origin:
        origin.close_listener()
        with Fastmesh(upstream=origin.address, backoff_min="20ms", backoff_max="40ms") as proxy:
            with Client(proxy.address) as client:
                assert client.get("/").status == 503
                origin.reopen()
                until(lambda: client.get("/").status == 200, "the endpoint to be found again")
            metrics = proxy.counts()
            assert metrics.sum("fastmesh_upstream_endpoints", state="ready") == 1
            proxy.wait_log(lambda line: "endpoint" in line and origin.address in line)


def test_endpoints_page_tells_the_same() -> None:
    dead = f"127.0.0.1:{free_port()}"
    with echoes(1) as origins:
        addresses = f"{origins[0].address},{dead}"
        with Fastmesh(upstream=addresses, balancer="round_robin", backoff_min="1m", metrics_endpoints="on") as proxy:
            spread(proxy, 10)
            page = json.loads(bytes(proxy.admin_get("/endpoints").body))
            listed = page if isinstance(page, list) else page["endpoints"]
            by_address = {entry["address"]: entry for entry in listed}
            assert by_address[dead]["state"] == "out"
            assert by_address[dead]["failures"] >= 1
            assert by_address[origins[0].address]["state"] == "ready"
            assert by_address[origins[0].address]["requests"] == 10
            metrics = proxy.counts()
            assert metrics.sum("fastmesh_endpoint_requests_total", endpoint=origins[0].address) == 10
            assert metrics.sum("fastmesh_endpoint_up", endpoint=dead) == 0


def test_a_returned_endpoint_ramps_up() -> None:
    """A fresh endpoint beside an old one gets less than its share at first (slow start)."""
    with echoes(1) as old, Origin(serve(OK)) as late:
        late.close_listener()
        addresses = f"{old[0].address},{late.address}"
        with Fastmesh(
            upstream=addresses, balancer="round_robin", ramp="1h", backoff_min="1ms", backoff_max="2ms"
        ) as proxy:
            assert answered_by_old(proxy, 20) == 20
            late.reopen()
            until(lambda: answered_by_old(proxy, 10) < 10, "the endpoint to be found again")
            share = answered_by_old(proxy, 300) / 300
            assert share > 0.7, share  # without the ramp it would be a half


def answered_by_old(proxy: Fastmesh, count: int) -> int:
    """How many of `count` requests the echo origin answered; the other one does not name itself."""
    with Client(proxy.address) as client:
        return sum(client.get("/").get("origin") is not None for _ in range(count))
