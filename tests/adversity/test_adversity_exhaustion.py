"""Running out of things: descriptors, connections, exchanges, buffers. Answered honestly, and over when it is over."""

from contextlib import ExitStack

import pytest

from tests.support.client import Client, Ended, request
from tests.support.fastmesh import Fastmesh
from tests.support.origin import OK, Connection, Origin, serve
from tests.support.wait import until


def holding(connection: Connection) -> None:
    """Answers /held never, everything else at once."""
    while True:
        if connection.request().target != "/held":
            connection.send(OK)


def test_out_of_descriptors_accepting_resumes() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, nofile=96) as proxy:
        with ExitStack() as stack:
            for _ in range(120):
                stack.enter_context(Client(proxy.address))
            proxy.wait_log(lambda line: "accept" in line)
        with Client(proxy.address) as client:
            until(lambda: client.get("/").status == 200, "an answer")
        proxy.settle()
        assert proxy.counts().sum("fastmesh_accept_failures_total") >= 1


def test_out_of_descriptors_for_upstream() -> None:
    """Clients take every descriptor, none is left to connect: an honest error, then service again."""
    with (
        Origin(serve()) as origin,
        Fastmesh(upstream=origin.address, nofile=96, backoff_min="1ms", backoff_max="2ms") as proxy,
    ):
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(proxy.address)) for _ in range(100)]
            proxy.wait_log(lambda line: "accept" in line)
            answer = clients[0].get("/")
            assert answer.status in (502, 503)
            assert answer.get("fastmesh-error")
        with Client(proxy.address) as client:
            until(lambda: client.get("/").status == 200, "service")


def test_too_many_connections_are_told_so() -> None:
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, max_connections=3) as proxy:
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(proxy.address)) for _ in range(3)]
            assert [client.get("/").status for client in clients] == [200] * 3
            with Client(proxy.address) as refused:
                refused.expect("GET")
                answer = refused.next_response()
                assert answer.status == 503
                assert b"connection limit" in (answer.get("fastmesh-error") or b"")
                refused.expect_end()
            assert [client.get("/").status for client in clients] == [200] * 3
            clients[0].close()
            until(lambda: proxy.metrics().sum("fastmesh_open_connections") == 2, "room")
            assert stack.enter_context(Client(proxy.address)).get("/").status == 200
        assert proxy.counts().sum("fastmesh_connections_refused_total") == 1


def test_too_few_exchanges() -> None:
    with Origin(holding) as origin, Fastmesh(upstream=origin.address, exchange_slots=2) as proxy:
        with ExitStack() as stack:
            held = [stack.enter_context(Client(proxy.address)) for _ in range(2)]
            for count, client in enumerate(held, 1):
                client.send(request("GET", "/held"))
                proxy.wait_metric("fastmesh_exchanges_in_flight", count)
            with Client(proxy.address) as client:
                answer = client.get("/")
                assert answer.status == 503
                assert answer.get("fastmesh-error")
            for client in held:
                client.reset()
        proxy.settle()
        with Client(proxy.address) as client:
            assert client.get("/").status == 200
        assert proxy.counts().sum("fastmesh_slab_exhausted_total") == 1


def test_too_few_connection_slots() -> None:
    """Five clients and the listener have every slot, none is left for the upstream: that is said, and passes."""
    with Origin(serve()) as origin:
        config = 'max_connections = 5\nconnection_slots = 6\nbackoff_min = "1ms"\nbackoff_max = "2ms"\n'
        with Fastmesh(config=config, upstream=origin.address) as proxy, ExitStack() as stack:
            clients = [stack.enter_context(Client(proxy.address)) for _ in range(5)]
            proxy.wait_metric("fastmesh_open_connections", 5)
            answer = clients[0].get("/")
            assert answer.status in (502, 503)
            assert answer.get("fastmesh-error")
            assert proxy.counts().sum("fastmesh_slab_exhausted_total") >= 1
            clients[4].close()
            until(lambda: clients[0].get("/").status == 200, "service")


@pytest.mark.parametrize("part", [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", request("POST", "/held", "Content-Length: 9")])
def test_too_few_buffers(part: bytes) -> None:
    """Each connection in the middle of a message holds a buffer. When they are gone the next is told, others go on."""
    with Origin(holding) as origin, Fastmesh(upstream=origin.address, buffers=16, large_buffers=4) as proxy:
        with ExitStack() as stack:
            held = [stack.enter_context(Client(proxy.address)) for _ in range(40)]
            for client in held:
                client.send(part + b"x")
            proxy.wait_metric("fastmesh_buffers_exhausted_total", 1)
            with Client(proxy.address) as client:
                try:
                    answer = client.get("/")
                    assert answer.status == 503
                    assert answer.get("fastmesh-error")
                except Ended:
                    pass
        proxy.settle()
        with Client(proxy.address) as client:
            assert client.get("/").status == 200


def test_header_bombs_do_not_starve_others() -> None:
    """100 connections with 60 KB of an unfinished head each, more than the large buffers there are."""
    bomb = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Bomb: " + b"b" * 60_000
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, large_buffers=8, header_timeout="5s") as proxy:
        with ExitStack() as stack:
            before = proxy.rss_bytes()
            for _ in range(100):
                client = stack.enter_context(Client(proxy.address))
                try:
                    client.send(bomb)
                except (BrokenPipeError, ConnectionResetError):
                    continue
            with Client(proxy.address) as client:
                assert client.get("/").status == 200
            metrics = proxy.counts()
            assert metrics.sum("fastmesh_buffers_large_in_use") <= 8
            assert proxy.rss_bytes() - before < 8 * 300_000 + 100 * 20_000
        assert not [r for r in origin.requests() if r.target != "/"]


def test_exhausted_large_buffers_slow_bodies_down_but_pass_them() -> None:
    """Large bodies on more connections than there are large buffers still arrive whole."""
    with Origin(serve()) as origin, Fastmesh(upstream=origin.address, large_buffers=4) as proxy:
        body = b"x" * 2_000_000
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(proxy.address)) for _ in range(6)]
            for client in clients:
                client.send(request("POST", "/", f"Content-Length: {len(body)}") + body[:500_000])
            for client in clients:
                client.send(body[500_000:])
            for client in clients:
                assert client.read("POST").status == 200
        assert [len(r.body) for r in origin.requests()] == [2_000_000] * 6
