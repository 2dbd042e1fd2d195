"""Where connections come from and go to: several listeners and workers, IPv6, Unix sockets, names."""

import os
import pathlib
import stat

import pytest

from tests.support.client import Client, digest, pattern
from tests.support.echo import EchoOrigin
from tests.support.fastmesh import Fastmesh


@pytest.mark.parametrize("front", ["127.0.0.1:0", "[::1]:0", "unix"])
@pytest.mark.parametrize("back", ["127.0.0.1:0", "[::1]:0", "unix"])
def test_every_pair_of_families(tmp_path: pathlib.Path, front: str, back: str) -> None:
    front = f"unix:{tmp_path}/front" if front == "unix" else front
    back = f"unix:{tmp_path}/back" if back == "unix" else back
    with (
        EchoOrigin(back) as origin,
        Fastmesh(listen=front, upstream=origin.address) as proxy,
        Client(proxy.address) as client,
    ):
        answer = client.get("/bytes?n=1000000&as=chunked")
        assert digest(answer.body) == digest(pattern(1_000_000))
        assert bytes(client.get("/status?code=299").start) == b"HTTP/1.1 299 Answer"


def test_several_listeners(tmp_path: pathlib.Path) -> None:
    listen = f"127.0.0.1:0,[::1]:0,unix:{tmp_path}/a,127.0.0.1:0"
    with EchoOrigin() as origin, Fastmesh(listen=listen, upstream=origin.address) as proxy:
        assert len(set(proxy.addresses)) == 4
        for count, address in enumerate(proxy.addresses, 1):
            with Client(address) as client:
                for _ in range(count):
                    client.get("/")
        by_listener = proxy.counts().by("fastmesh_requests_total", "listener")
        assert sorted(by_listener.values()) == [1, 2, 3, 4]


def test_the_socket_file_goes_with_the_process(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "front"
    with EchoOrigin() as origin, Fastmesh(listen=f"unix:{path}", upstream=origin.address):
        assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert not path.exists()


@pytest.mark.parametrize("front", ["tcp", "unix"])
def test_several_workers_share_the_load(tmp_path: pathlib.Path, front: str) -> None:
    listen = "127.0.0.1:0" if front == "tcp" else f"unix:{tmp_path}/front"
    with EchoOrigin() as origin, Fastmesh(listen=listen, upstream=origin.address, workers=3) as proxy:
        clients = [Client(proxy.address) for _ in range(60)]
        try:
            for _ in range(3):
                assert [client.get("/").status for client in clients] == [200] * 60
            metrics = proxy.counts()
            by_worker = metrics.by("fastmesh_open_connections", "worker")
            assert sum(by_worker.values()) == 60
            if front == "tcp":  # the kernel spreads by hash; a Unix socket wakes whoever waits first
                assert len([count for count in by_worker.values() if count]) == 3
            assert metrics.sum("fastmesh_requests_total") == 180
        finally:
            for client in clients:
                client.close()


def test_a_name_is_resolved() -> None:
    with EchoOrigin() as origin:
        port = origin.address.rpartition(":")[2]
        with Fastmesh(upstream=f"localhost:{port}") as proxy, Client(proxy.address) as client:
            assert client.get("/").status == 200


def test_workers_are_pinned() -> None:
    with EchoOrigin() as origin, Fastmesh(upstream=origin.address, workers=2, pin_cpus="on") as proxy:
        with Client(proxy.address) as client:
            assert client.get("/").status == 200
        pinned = set()
        for task in os.listdir(f"/proc/{proxy.process.pid}/task"):
            allowed = os.sched_getaffinity(int(task))
            if len(allowed) == 1:
                pinned |= allowed
        assert len(pinned) == min(2, len(os.sched_getaffinity(0)))
