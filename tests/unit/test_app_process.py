"""The process over workers in memory: what no real process can be made to do on demand."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvloop

from fastmesh.app import process
from fastmesh.app.process import App, StartError
from fastmesh.config.model import Address, Backend, Config, Endpoint, Listener, Process, Route, Upstream, Workers
from fastmesh.discovery import subset
from fastmesh.publish import PublishError
from fastmesh.telemetry.log import ProcessLog
from tests.unit import fake_bridge
from tests.unit.fake_bridge import Worker

DEADLINE_S = 10
LOOPBACK = Address("inet", "127.0.0.1", 0)


def config(**changes: Any) -> Config:
    base: dict[str, Any] = {
        "listeners": (Listener("web", LOOPBACK),),
        "admin": LOOPBACK,
        "backends": (Backend("b", (Endpoint(Address("name", "up.test", 80)),)),),
        "routes": (Route("r", "b"),),
        "workers": Workers(count=2, heartbeat_timeout_ns=50_000_000),
        "process": Process(drain_timeout_ns=2 * 10**9, resolve_interval_ns=10_000_000),
    }
    return Config(**{**base, **changes})


class Rig:
    """An App in the test's loop. `answers`: what up.test resolves to; None holds the look-up up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, made: Config) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self._text = ""
        self.answers: list[str] | None = ["10.0.0.1"]
        self.never = asyncio.Event()
        self.asked: list[str] = []
        monkeypatch.setattr(process, "Directory", partial(process.Directory, resolve=self._resolve))
        self.app = App(made, ProcessLog("debug", fd=write), lambda: made, time.time_ns())
        self.publisher: Any = self.app._publication.publisher
        self.workers: list[Worker] = Worker.live

    async def _resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if self.answers is None:
            await self.never.wait()
        return [f"{address}:{port}" for address in self.answers or ()]

    def log(self) -> str:
        try:
            self._text += os.read(self._read, 1 << 20).decode()
        except BlockingIOError:
            pass
        return self._text

    async def until(self, probe: Callable[[], Any]) -> None:
        """Waits for something that only the loop's own progress brings about."""
        turn = asyncio.Event()
        async with asyncio.timeout(DEADLINE_S):
            while not probe():
                asyncio.get_running_loop().call_later(0.002, turn.set)
                await turn.wait()
                turn.clear()

    async def get(self, page: str) -> tuple[int, str]:
        bound = self.app._admin_bound
        assert bound is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        writer.write(f"GET {page} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


Body = Callable[[Rig], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs an App to its end and a body beside it once it is ready (or at once); answers the exit code."""
    monkeypatch.setattr(process, "TICK_S", 0.01)
    with fake_bridge.installed(monkeypatch):

        def run(body: Body, made: Config | None = None, ready: bool = True, before: Any = None) -> int:
            async def main() -> int:
                rig = Rig(monkeypatch, made or config())
                if before is not None:
                    before(rig)
                whole = asyncio.ensure_future(rig.app.main())
                if ready:
                    await rig.until(lambda: whole.done() or "is ready" in rig.log())
                if not whole.done():
                    await body(rig)
                async with asyncio.timeout(DEADLINE_S):
                    return await whole

            return uvloop.run(main())

        yield run


def stop(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_a_worker_that_stands_still_makes_the_process_not_ready(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        assert await rig.get("/ready") == (200, "ready\n")
        rig.workers[1].frozen = True
        await rig.until(lambda: "worker stands still" in rig.log())
        assert await rig.get("/ready") == (503, "worker 1 stands still\n")
        assert "fastmesh_workers_stuck 1\n" in (await rig.get("/metrics"))[1]
        rig.workers[1].frozen = False
        await rig.until(lambda: "worker goes on" in rig.log())
        assert (await rig.get("/ready"))[0] == 200
        stop()

    assert play(body) == 0


def test_a_worker_that_fails_ends_the_process_with_1(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        rig.workers[0].end(24)
        await rig.until(lambda: "worker failed" in rig.log())
        assert "Too many open files" in rig.log()
        await rig.until(lambda: rig.workers[1].commands[-1] in ("drain", "stop"))

    assert play(body) == 1


def test_a_stuck_worker_does_not_hold_the_exit_beyond_the_timeout(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        rig.workers[0].hold_drain = True
        stop()
        await rig.until(lambda: "before everything was finished" in rig.log())
        assert "drain timeout" in rig.log()

    began = time.monotonic()
    assert play(body, config(process=Process(drain_timeout_ns=300_000_000))) == 0
    assert time.monotonic() - began < 3


def test_a_second_signal_stops_at_once(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        rig.workers[0].hold_drain = True
        stop()
        await rig.until(lambda: "msg=draining" in rig.log())
        stop(signal.SIGINT)
        await rig.until(lambda: "second signal" in rig.log())
        assert rig.workers[0].commands[-1] == "stop"

    assert play(body, config(process=Process(drain_timeout_ns=60 * 10**9))) == 0


def test_a_signal_while_names_are_looked_up_ends_the_start(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        await rig.until(lambda: rig.app._admin_bound is not None)
        assert await rig.get("/ready") == (503, "starting\n")
        assert (await rig.get("/live"))[0] == 200
        stop()

    def unknown(rig: Rig) -> None:
        rig.answers = None

    assert play(body, ready=False, before=unknown) == 0
    assert Worker.live[0].listeners == {}


def test_a_start_without_a_first_snapshot_is_refused(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        raise AssertionError("it must not become ready")

    def refuse(rig: Rig) -> None:
        rig.publisher.refusal = "impossible"

    with pytest.raises(PublishError, match="impossible"):
        play(body, before=refuse)


def test_a_worker_that_cannot_start_is_said(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        raise AssertionError("it must not become ready")

    def fail(rig: Rig) -> None:
        rig.workers[1].end(12)

    with pytest.raises(StartError, match="worker 1: Cannot allocate memory"):
        play(body, before=fail)


def test_a_changed_name_is_published_and_a_refusal_tried_again(play: Callable[..., int]) -> None:
    def addresses(rig: Rig) -> list[str]:
        return [endpoint.address for endpoint in rig.publisher.specs[-1].backends[0].endpoints]

    async def body(rig: Rig) -> None:
        assert addresses(rig) == ["10.0.0.1:80"]
        rig.answers = ["10.0.0.2", "10.0.0.1"]
        await rig.until(lambda: set(addresses(rig)) == {"10.0.0.1:80", "10.0.0.2:80"})
        assert all("wake" in worker.commands for worker in rig.workers)
        rig.publisher.refusal = "no room"
        rig.answers = ["10.0.0.3"]
        await rig.until(lambda: "endpoints not published" in rig.log())
        ticks = rig.workers[0].commands.count("wake")
        await rig.until(lambda: rig.workers[0].commands.count("wake") > ticks + 3)
        assert rig.log().count("endpoints not published") == 1, "told once, tried on every tick"
        rig.publisher.refusal = ""
        await rig.until(lambda: addresses(rig) == ["10.0.0.3:80"])
        stop()

    assert play(body) == 0


def subset_of_two(slots: int = 1000) -> Config:
    endpoints = tuple(Endpoint(Address("inet", f"10.0.0.{i}", 80)) for i in range(6))
    backends = (Backend("b", endpoints, Upstream(subset=2)),)
    return config(backends=backends, workers=Workers(count=2, endpoint_slots=slots))


def published(rig: Rig) -> dict[str, int]:
    """Slots by address."""
    return {endpoint.address: endpoint.slot for endpoint in rig.publisher.specs[-1].backends[0].endpoints}


def test_another_endpoint_joins_a_subset_for_one_that_stays_out(
    play: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subset, "OUT_S", 0.02)
    monkeypatch.setattr(subset, "BACK_S", 0.05)

    async def body(rig: Rig) -> None:
        first = published(rig)
        assert len(first) == 2
        meters = [fake_bridge.EndpointMeter(slot, state=state) for state, slot in enumerate(first.values())]
        rig.workers[1].endpoints_now = meters
        await rig.until(lambda: len(published(rig)) == 3)
        assert first.items() < published(rig).items()
        rig.workers[1].endpoints_now = []
        await rig.until(lambda: published(rig) == first)
        rig.workers[0].endpoints_now = [fake_bridge.EndpointMeter(slot, state=1) for slot in first.values()]
        await rig.until(lambda: len(published(rig)) == 6)
        stop()

    assert play(body, subset_of_two()) == 0


def test_a_subset_stays_when_there_is_no_room_for_others(
    play: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subset, "OUT_S", 0.02)

    async def body(rig: Rig) -> None:
        first = published(rig)
        rig.workers[0].endpoints_now = [fake_bridge.EndpointMeter(slot, state=1) for slot in first.values()]
        await rig.until(lambda: len(rig.publisher.specs) > 1)
        assert published(rig) == first
        stop()

    assert play(body, subset_of_two(slots=2)) == 0


def test_a_reload_with_a_refused_snapshot_keeps_old_listeners_only(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        old = list(rig.workers[0].listeners)
        rig.publisher.refusal = "impossible"
        rig.app._reread = lambda: config(listeners=(Listener("web", LOOPBACK), Listener("more", LOOPBACK)))
        stop(signal.SIGHUP)
        await rig.until(lambda: "the old one stays" in rig.log())
        assert list(rig.workers[0].listeners) == old
        rig.publisher.refusal = ""
        stop(signal.SIGHUP)
        await rig.until(lambda: "configuration reloaded" in rig.log())
        assert len(rig.workers[0].listeners) == 2
        stop()

    assert play(body) == 0


def test_a_reload_under_way_ends_with_the_drain(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        more = (Listener("web", LOOPBACK), Listener("more", LOOPBACK))
        endpoints = (Endpoint(Address("name", "slow.test", 80)),)
        rig.app._reread = lambda: config(listeners=more, backends=(Backend("b", endpoints),))
        rig.answers = None
        asked = len(rig.asked)
        stop(signal.SIGHUP)
        await rig.until(lambda: "slow.test" in rig.asked[asked:])
        rig.workers[0].hold_drain = True
        stop()
        await rig.until(lambda: "msg=draining" in rig.log())
        rig.answers = ["10.0.0.9"]
        rig.never.set()
        await rig.until(lambda: "stopped" in rig.log())
        assert rig.workers[0].commands.count("add") == 1
        assert "configuration reloaded" not in rig.log()

    assert play(body, config(process=Process(drain_timeout_ns=300_000_000))) == 0


def test_an_exception_nobody_caught_is_logged_and_the_process_goes_on(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        def broken() -> None:
            raise ZeroDivisionError("by nought")

        asyncio.get_running_loop().call_soon(broken)
        await rig.until(lambda: "by nought" in rig.log())
        assert "test_app_process.py" in rig.log()
        assert (await rig.get("/ready"))[0] == 200
        stop()

    assert play(body) == 0


def test_every_descriptor_is_given_back(play: Callable[..., int]) -> None:
    async def body(rig: Rig) -> None:
        await rig.get("/metrics")
        stop()

    def open_fds() -> int:
        return len(os.listdir("/proc/self/fd"))

    play(body)  # what the first run leaves cached is not counted
    before = open_fds()
    play(body)
    assert open_fds() - before == 2 + 2, "the rig's pipe and the eventfds of two workers in memory"
