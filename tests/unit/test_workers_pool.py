"""The pool of worker threads over workers in memory: commands, heartbeats, events, ends."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from fastmesh import workers
from fastmesh.config.model import Address, Config, Workers
from fastmesh.workers import Pool, bind, worker_specs
from tests.unit import fake_bridge
from tests.unit.fake_bridge import Event, Worker

DEADLINE_S = 10


@pytest.fixture(autouse=True)
def bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with fake_bridge.installed(monkeypatch) as module:
        yield module


class Harness:
    """A pool with two workers in a running loop."""

    def __init__(self, config: Config | None = None) -> None:
        self.logged: list[tuple[str, str, dict[str, Any]]] = []
        self.events: list[tuple[int, Event]] = []
        self.changed = asyncio.Event()
        config = config or Config(workers=Workers(count=2, heartbeat_timeout_ns=5 * 10**9))
        publisher: Any = fake_bridge.Publisher(2)
        self.pool = Pool(config, publisher, None, self._log, self._event, self.changed.set)
        self.workers: list[Worker] = Worker.live

    def _log(self, level: str, message: str, **fields: Any) -> None:
        self.logged.append((level, message, fields))

    def _event(self, index: int, event: Any) -> None:
        self.events.append((index, event))
        self.changed.set()

    async def until(self, probe: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not probe():
                await self.changed.wait()
                self.changed.clear()


def run(body: Callable[[Harness], Any]) -> None:
    async def main() -> None:
        harness = Harness()
        harness.pool.start()
        assert await harness.pool.started(DEADLINE_S)
        try:
            await body(harness)
        finally:
            harness.pool.stop()
            assert harness.pool.join(DEADLINE_S)
            harness.pool.close()

    asyncio.run(main())


def test_drain_ends_every_thread_and_says_so_in_the_loop() -> None:
    async def body(h: Harness) -> None:
        assert h.pool.running == 2
        h.pool.drain()
        await h.until(lambda: h.pool.running == 0)
        assert not h.pool.failed

    run(body)


def test_listeners_are_handed_to_every_worker() -> None:
    async def body(h: Harness) -> None:
        bound = bind(Address("inet", "127.0.0.1", 0), 2, 16)
        h.pool.add_listener(bound, 4)
        assert bound.fds == []
        assert [list(worker.listeners) for worker in h.workers] == [[4], [4]]
        h.pool.remove_listener(bound, 4)
        assert [worker.listeners for worker in h.workers] == [{}, {}]

    run(body)


def test_a_worker_that_fails_is_known_with_its_errno() -> None:
    async def body(h: Harness) -> None:
        h.workers[1].end(24)
        await h.until(lambda: h.pool.running == 1)
        assert h.pool.failed == {1: 24}

    run(body)


def test_events_of_the_core_reach_the_loop() -> None:
    async def body(h: Harness) -> None:
        h.workers[1].report(Event("endpoint_out", 3, 111))
        await h.until(lambda: bool(h.events))
        ((index, event),) = h.events
        assert (index, event.kind, event.slot, event.error) == (1, "endpoint_out", 3, 111)

    run(body)


class Clock:
    """Stands in for the module's time."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_a_worker_that_stands_still_is_reported_once_and_again_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()

    async def body(h: Harness) -> None:
        monkeypatch.setattr(workers, "time", clock)
        h.pool.look()
        h.workers[0].frozen = True
        for _ in range(3):
            clock.now += 4
            h.pool.look()
        assert h.pool.stuck == [0]
        h.workers[0].full = True  # not even its mailbox takes anything: nothing here may fail for that
        h.pool.wake()
        clock.now += 4
        h.pool.look()
        h.workers[0].full = h.workers[0].frozen = False
        h.workers[0].turns += 1
        clock.now += 4
        h.pool.look()
        assert h.pool.stuck == []
        assert [(level, fields["worker"]) for level, _, fields in h.logged] == [("error", 0), ("warning", 0)]
        monkeypatch.undo()

    run(body)


def test_an_idle_worker_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    async def body(h: Harness) -> None:
        monkeypatch.setattr(workers, "time", clock)
        for _ in range(20):
            clock.now += 1
            h.pool.look()
        assert h.pool.stuck == []
        monkeypatch.undo()

    run(body)


def test_signals_are_blocked_in_worker_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: dict[str, set[Any]] = {}
    original = Worker.run

    def noting(self: Worker) -> int:
        masks[threading.current_thread().name] = set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return original(self)

    monkeypatch.setattr(Worker, "run", noting)

    async def body(h: Harness) -> None:
        assert masks.keys() == {"fastmesh-0", "fastmesh-1"}
        assert all(mask >= {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1} for mask in masks.values())

    run(body)


def test_a_worker_whose_run_raises_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(str(args.exc_value)))

    def fails(self: Worker) -> int:
        raise ValueError("nothing is published")

    async def main() -> None:
        harness = Harness()
        monkeypatch.setattr(Worker, "run", fails)
        harness.pool.start()
        assert not await harness.pool.started(DEADLINE_S)
        await harness.until(lambda: harness.pool.running == 0)
        assert harness.pool.join(DEADLINE_S)
        harness.pool.close()

    asyncio.run(main())
    assert raised == ["nothing is published"] * 2


def test_sizes_and_pins_come_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {7, 2})
    specs = worker_specs(Config(workers=Workers(count=3, pin=True, buffers=100, meter_blocks=9)))
    assert [(spec.number, spec.cpu, spec.buffers, spec.meter_blocks) for spec in specs] == [
        (0, 2, 100, 9), (1, 7, 100, 9), (2, 2, 100, 9),
    ]  # fmt: skip
    assert (specs[0].connections, specs[0].exchanges) == (40000, 20000)
    assert worker_specs(Config())[0].cpu == -1
