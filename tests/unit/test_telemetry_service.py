"""Telemetry over workers in memory: scrapes in slices, events, reloads."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmesh._core.spec import WorkerSpec
from fastmesh.config.model import AccessLog, Config, Log, Metrics
from fastmesh.telemetry.log import ProcessLog
from fastmesh.telemetry.service import Labels, Owner, ProcessState, Telemetry
from tests.support.metrics import Metrics as Scrape
from tests.unit import fake_bridge
from tests.unit.fake_bridge import Block, EndpointMeter, Event, Worker

STATE = ProcessState(True, False, 4, 1, 2, 3, 1.5, 0, {"b": 6})


class Rig:
    """Telemetry with one worker; the process log goes to a pipe."""

    def __init__(self, config: Config) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self.log = ProcessLog(config.log.level, fd=self._write)
        self.telemetry = Telemetry(config, self.log)
        spec = WorkerSpec(0, 1, 1, 1, 1, 1, 1, 65536, -1)
        publisher: Any = fake_bridge.Publisher(1)
        self.worker = Worker(spec, publisher)
        workers: Any = [self.worker]
        labels = Labels({0: "web"}, {i: (f"r{i}", "b", "") for i in range(300)}, {0: Owner(1, "b", "10.0.0.1:1")})
        self.telemetry.attach(workers, lambda: labels)

    def lines(self) -> list[str]:
        try:
            return os.read(self._read, 1 << 20).decode().splitlines()
        except BlockingIOError:
            return []

    def scrape(self) -> Scrape:
        return Scrape(b"".join(asyncio.run(self.telemetry.metrics(STATE))).decode())

    def close(self) -> None:
        self.telemetry.close()
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Rig] = []
    with fake_bridge.installed(monkeypatch):

        def call(**parts: Any) -> Rig:
            made.append(Rig(Config(**parts)))
            return made[-1]

        yield call
        for rig in made:
            rig.close()


def test_the_process_is_in_the_scrape(make: Any) -> None:
    scrape = make().scrape()
    assert scrape.sum("fastmesh_ready") == 1
    assert scrape.sum("fastmesh_snapshot_version") == 4
    assert scrape.by("fastmesh_config_reloads_total", "result") == {"ok": 2, "failed": 3}
    assert scrape.sum("fastmesh_resolve_failures_total", backend="b") == 6
    assert scrape.sum("fastmesh_access_log_dropped_total") == 3
    assert scrape.sum("fastmesh_build_info", profile="fake") == 1
    assert scrape.sum("process_open_fds") == pytest.approx(len(os.listdir("/proc/self/fd")), abs=3)
    assert scrape.sum("process_resident_memory_bytes") > 1 << 20
    assert scrape.sum("process_cpu_seconds_total") > 0


def test_start_time_is_the_kernels(make: Any) -> None:
    age_s = float(Path("/proc/uptime").read_text().split()[0]) - (
        int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    )
    assert asyncio.run(_now_s()) - make().scrape().sum("process_start_time_seconds") == pytest.approx(age_s, abs=3)


async def _now_s() -> float:
    import time

    return time.time()


def test_a_scrape_of_many_series_lets_others_run(make: Any) -> None:
    rig = make()
    rig.worker.blocks_now = [Block(0, i, requests=1, codes={200: 1}) for i in range(300)]

    async def main() -> tuple[int, int]:
        scrape = asyncio.ensure_future(rig.telemetry.metrics(STATE))
        turns = 0
        while not scrape.done():
            await asyncio.sleep(0)
            turns += 1
        return turns, sum(len(piece) for piece in scrape.result())

    turns, size = asyncio.run(main())
    assert size > 1_000_000
    assert turns > 10


def test_endpoints_page(make: Any) -> None:
    rig = make()
    rig.worker.endpoints_now = [EndpointMeter(0, 1, requests=5, failures=1, in_flight=2, ewma_ns=2_345_678, state=2)]
    (endpoint,) = rig.telemetry.endpoints()
    assert endpoint["address"] == "10.0.0.1:1"
    assert (endpoint["ewma_ms"], endpoint["state"], endpoint["in_flight"]) == (2.346, "probing", 2)


def test_core_events_are_logged_by_name_and_held_back_in_a_flood(make: Any) -> None:
    rig = make()
    for _ in range(100):
        rig.telemetry.event(0, Event("endpoint_out", 0, 111))
    rig.telemetry.event(0, Event("something_new", 7))
    rig.telemetry.event(0, Event("accept_paused", 0, 24))
    lines = rig.lines()
    assert len(lines) == 12
    assert 'level=warning msg="endpoint left out" worker=0 backend=b address=10.0.0.1:1 error="Connection' in lines[0]
    assert 'msg="something new" worker=0' in lines[-2]
    assert 'msg="accepting paused" worker=0 listener=web error="Too many open files"' in lines[-1]


def test_a_reload_changes_formats_files_and_levels(make: Any, tmp_path: Path) -> None:
    rig = make()
    path = tmp_path / "access.log"
    rig.telemetry.apply(Config(access_log=AccessLog("{method}", str(path)), log=Log("error"), metrics=Metrics(True)))
    assert rig.telemetry.ring.template.parts == ((fake_bridge.LOG_FIELDS["method"], b""),)
    assert path.exists()
    assert rig.log.level == "error"


def test_a_level_set_by_hand_survives_a_reload_that_does_not_speak_of_it(make: Any) -> None:
    rig = make()
    rig.log.level = "debug"
    rig.telemetry.apply(Config(metrics=Metrics(True)))
    assert rig.log.level == "debug"


def test_an_access_log_that_cannot_be_written_is_found_before_it_is_used(make: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        make().telemetry.check_file(Config(access_log=AccessLog("json", str(tmp_path / "no" / "log"))))


def test_what_is_under_way_is_summed_for_the_log(make: Any) -> None:
    assert make().telemetry.under_way() == {"connections": 2, "exchanges": 1}
