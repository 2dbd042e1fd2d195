"""Endpoints from the configuration: numeric ones at once, names again and again, the last good answer kept."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from fastmesh.config.model import Address, Backend, Endpoint
from fastmesh.discovery import Target, Update, apply, static
from fastmesh.discovery.directory import Directory
from fastmesh.discovery.static import StaticSource, difference, resolve_system

DEADLINE_S = 10


def name(host: str, port: int = 80, weight: int = 1) -> Endpoint:
    return Endpoint(Address("name", host, port), weight)


def number(host: str, port: int = 80, weight: int = 1) -> Endpoint:
    return Endpoint(Address("inet", host, port), weight)


class Names:
    """A resolver whose answers a test sets; None: the look-up fails."""

    def __init__(self, **answers: list[str] | None) -> None:
        self.answers = answers
        self.asked = 0
        self._news = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        self._news.set()
        await self.gate.wait()
        answer = self.answers.get(host)
        if answer is None:
            raise OSError(-2, "Name or service not known")
        return [f"{address}:{port}" for address in answer]


    async def asks(self, count: int) -> None:
        """Waits until that many look-ups have begun."""
        while self.asked < count:
            self._news.clear()
            await self._news.wait()


class Log(list[tuple[str, str]]):
    def __call__(self, level: str, message: str, **fields: Any) -> None:
        self.append((level, message))


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await body()

    asyncio.run(main())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits take one turn of the loop; their lengths are noted."""
    waits: list[float] = []

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    seen = {"sleep": noted, "gather": asyncio.gather, "get_running_loop": asyncio.get_running_loop}
    monkeypatch.setattr(static, "asyncio", SimpleNamespace(**seen))
    return waits


def source(names: Names, *endpoints: Endpoint, interval_s: float = 30) -> tuple[StaticSource, Log]:
    log = Log()
    return StaticSource(Backend("b", endpoints), interval_s, log, names), log


async def take(updates: AsyncIterator[Update], count: int) -> list[Update]:
    return [await anext(updates) for _ in range(count)]


def test_numeric_endpoints_are_one_update_and_no_look_up() -> None:
    async def body() -> None:
        names = Names()
        unix = Endpoint(Address("unix", path="/run/a.sock"), 3)
        made, _ = source(names, number("10.0.0.1", weight=2), unix, Endpoint(Address("inet6", "::1", 81)))
        updates = [update async for update in made.updates()]
        targets = (Target("10.0.0.1:80", 2), Target("unix:/run/a.sock", 3), Target("[::1]:81", 1))
        assert updates == [Update(targets, reset=True)]
        assert names.asked == 0

    run(body)


def test_every_address_of_a_name_is_an_endpoint_with_its_weight() -> None:
    async def body() -> None:
        made, _ = source(Names(a=["10.0.0.1", "10.0.0.2"]), name("a", weight=3), number("10.0.0.2", weight=4))
        (first,) = await take(made.updates(), 1)
        assert apply(first, {"gone": 1}) == {"10.0.0.1:80": 3, "10.0.0.2:80": 7}

    run(body)


def test_only_changes_are_told_and_order_is_no_change() -> None:
    async def body() -> None:
        names = Names(a=["10.0.0.1", "10.0.0.2"])
        made, _ = source(names, name("a"))
        updates = made.updates()
        await take(updates, 1)
        names.answers["a"] = ["10.0.0.2", "10.0.0.1"]
        later = asyncio.ensure_future(anext(updates))
        await names.asks(4)
        assert not later.done()
        names.answers["a"] = ["10.0.0.2", "10.0.0.3"]
        assert await later == Update((Target("10.0.0.3:80", 1),), ("10.0.0.1:80",))

    run(body)


def test_the_last_good_answer_stays_when_a_look_up_fails(quick: list[float]) -> None:
    async def body() -> None:
        names = Names(a=["10.0.0.1"])
        made, log = source(names, name("a"))
        updates = made.updates()
        await take(updates, 1)
        names.answers["a"] = None
        later = asyncio.ensure_future(anext(updates))
        await names.asks(8)
        assert not later.done()
        assert log.count(("warning", "name not resolved")) == made.failures >= 6
        names.answers["a"] = ["10.0.0.9"]
        assert (await later).remove == ("10.0.0.1:80",)
        expected = [30, 1, 2, 4, 8, 16, 30]
        assert quick[:7] == [pytest.approx(wait, rel=0.1) for wait in expected]

    run(body)


def test_an_unknown_name_is_asked_again_even_when_names_are_resolved_only_at_start() -> None:
    async def body() -> None:
        names = Names(b=["10.0.0.2"])
        made, _ = source(names, name("a"), name("b"), interval_s=0)
        updates = made.updates()
        (first,) = await take(updates, 1)
        assert [target.address for target in first.add] == ["10.0.0.2:80"]
        later = asyncio.ensure_future(anext(updates))
        await names.asks(6)
        names.answers["a"] = ["10.0.0.1"]
        assert await later == Update((Target("10.0.0.1:80", 1),))
        with pytest.raises(StopAsyncIteration):
            await anext(updates)

    run(body)


def test_a_name_without_addresses_counts_as_failed() -> None:
    async def body() -> None:
        made, _ = source(Names(a=[]), name("a"))
        assert (await take(made.updates(), 1))[0] == Update((), reset=True)
        assert made.failures == 1

    run(body)


def test_difference_and_apply_are_inverse() -> None:
    before, after = {"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 1}
    assert apply(difference(before, after), before) == after


def test_the_system_resolver_knows_localhost() -> None:
    async def body() -> None:
        assert "127.0.0.1:80" in await resolve_system("localhost", 80)
        with pytest.raises(socket.gaierror):
            await resolve_system("does-not-exist.invalid", 80)

    run(body)


class Rig:
    """A directory and how often it said that something changed."""

    def __init__(self, names: Names) -> None:
        self.changes = 0
        self.changed = asyncio.Event()
        self.directory = Directory(self._changed, Log(), names)

    def _changed(self) -> None:
        self.changes += 1
        self.changed.set()


def test_a_directory_waits_for_first_answers_but_not_for_ever() -> None:
    async def body() -> None:
        names = Names(slow=["10.0.0.1"])
        names.gate.clear()
        rig = Rig(names)
        backends = [Backend("fast", (number("10.0.0.2"),)), Backend("slow", (name("slow"),))]
        rig.directory.commit(await rig.directory.prepare(backends, 30, 0.05))
        assert rig.directory.targets == {"fast": {"10.0.0.2:80": 1}, "slow": {}}
        assert rig.changes == 0
        names.gate.set()
        await rig.changed.wait()
        assert rig.directory.targets["slow"] == {"10.0.0.1:80": 1}
        rig.directory.close()
        assert rig.directory.targets == {}

    run(body)


def test_changes_of_committed_backends_are_announced() -> None:
    async def body() -> None:
        names = Names(a=["10.0.0.1"])
        rig = Rig(names)
        rig.directory.commit(await rig.directory.prepare([Backend("b", (name("a"),))], 30, 1))
        names.answers["a"] = ["10.0.0.2"]
        await rig.changed.wait()
        assert rig.directory.targets == {"b": {"10.0.0.2:80": 1}}
        names.answers["a"] = None
        await names.asks(names.asked + 3)
        assert rig.directory.failures["b"] > 0
        rig.directory.close()

    run(body)


def test_backends_that_stay_the_same_are_not_asked_again() -> None:
    async def body() -> None:
        names = Names(a=["10.0.0.1"], c=["10.0.0.3"])
        rig = Rig(names)
        kept = Backend("b", (name("a"),))
        first = await rig.directory.prepare([kept], 0, 1)
        rig.directory.commit(first)
        second = await rig.directory.prepare([kept, Backend("c", (name("c"),))], 0, 1)
        assert second["b"] is first["b"]
        assert names.asked == 2
        rig.directory.abandon(second)
        assert rig.directory.targets == {"b": {"10.0.0.1:80": 1}}
        changed = await rig.directory.prepare([Backend("b", (name("a", weight=2),))], 0, 1)
        assert changed["b"] is not first["b"]
        rig.directory.commit(changed)
        assert rig.directory.targets == {"b": {"10.0.0.1:80": 2}}
        rig.directory.close()

    run(body)
