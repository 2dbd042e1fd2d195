"""An access log that cannot be written: requests go on, lines are dropped and counted."""

import json
import os
import pathlib

from tests.support.client import Client, request
from tests.support.fastmesh import Fastmesh
from tests.support.origin import Origin, serve
from tests.support.wait import until


def test_a_reader_that_does_not_read_delays_nobody(tmp_path: pathlib.Path) -> None:
    """The log goes into a pipe that is full: the ring fills, lines are dropped, every request is answered."""
    fifo = tmp_path / "access.fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    count = 2000  # of about 400 bytes: 800 KB into 64 KB of ring and 64 KB of pipe
    settings = {"access_log": "json", "access_log_path": str(fifo), "access_log_ring": "64KiB"}
    config = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    try:
        with Origin(serve()) as origin, Fastmesh(config=config, upstream=origin.address) as proxy:
            with Client(proxy.address) as client:
                client.send(b"".join(request("GET", f"/{i}") for i in range(count)))
                assert {client.read().status for _ in range(count)} == {200}
            until(lambda: sum(lines(proxy)) == count, "every line to be taken or dropped")
            taken, dropped = lines(proxy)
            assert dropped > 0
            drain_pipe(reader, proxy, taken)
    finally:
        os.close(reader)


def lines(proxy: Fastmesh) -> tuple[int, int]:
    """Lines taken and dropped so far."""
    metrics = proxy.metrics()
    taken, dropped = (metrics.sum(f"fastmesh_access_log_{what}_total") for what in ("lines", "dropped"))
    return int(taken), int(dropped)


def drain_pipe(reader: int, proxy: Fastmesh, wanted: int) -> None:
    """Every line that was not dropped comes out whole, in order."""
    gathered = bytearray()

    def all_there() -> bool:
        try:
            gathered.extend(os.read(reader, 1 << 16))
        except BlockingIOError:
            pass
        return gathered.count(b"\n") >= wanted

    until(all_there, f"{wanted} lines")
    targets = [int(json.loads(line)["target"][1:]) for line in gathered.splitlines()]
    assert targets == sorted(targets)
    assert len(targets) == wanted
    proxy.assert_alive()


def test_a_full_disk_delays_nobody() -> None:
    with (
        Origin(serve()) as origin,
        Fastmesh(upstream=origin.address, access_log="json", access_log_path="/dev/full") as proxy,
        Client(proxy.address) as client,
    ):
        assert {client.get(f"/{i}").status for i in range(300)} == {200}
        proxy.wait_metric("fastmesh_access_log_failures_total", 1)
        proxy.wait_log(lambda line: "access log" in line and "space" in line.lower())


def test_an_endless_target_is_cut_in_the_log_only(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "access.log"
    target = "/" + "t" * 15_000
    with Origin(serve()) as origin:
        with Fastmesh(upstream=origin.address, access_log="json", access_log_path=str(path)) as proxy:
            with Client(proxy.address) as client:
                assert client.get(target, "User-Agent: " + "u" * 20_000).status == 200
            until(lambda: path.exists() and path.read_bytes().endswith(b"\n"), "the line")
            line = json.loads(path.read_text())
            assert target.startswith(line["target"])
            assert len(line["target"]) >= 4096
            assert line["status"] == 200
        assert origin.requests()[0].target == target
