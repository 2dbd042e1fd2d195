"""Which endpoints every backend has now: follows one source per backend and tells when something changed."""

import asyncio
from collections.abc import Callable, Iterable

from fastmesh.config.model import Backend
from fastmesh.discovery import apply
from fastmesh.discovery.static import Resolve, StaticSource, resolve_system


class Watch:
    """One backend's source and what it has said so far."""

    def __init__(self, source: StaticSource, interval_s: float, changed: Callable[[], None]) -> None:
        self.source = source
        self.interval_s = interval_s
        self.targets: dict[str, int] = {}  # weight by numeric address
        self.first = asyncio.Event()  # the source has answered once
        self.is_announcing = False  # somebody counts on what was there, and hears of changes
        self._changed = changed
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        async for update in self.source.updates():
            self.targets = apply(update, self.targets)
            self.first.set()
            if self.is_announcing:
                self._changed()

    def stop(self) -> None:
        """Asks the source no more."""
        self._task.cancel()


class Directory:
    """The endpoints of all backends. A new set of backends is prepared first and then taken over or given up, so that
    a configuration that is refused disturbs nothing.

    `changed` is called in the loop after an endpoint came or went.
    """

    def __init__(
        self, changed: Callable[[], None], log: Callable[..., None], resolve: Resolve = resolve_system
    ) -> None:
        self._changed = changed
        self._log = log
        self._resolve = resolve
        self._watches: dict[str, Watch] = {}

    @property
    def targets(self) -> dict[str, dict[str, int]]:
        """Weight by numeric address, by backend."""
        return targets_of(self._watches)

    @property
    def failures(self) -> dict[str, int]:
        """Look-ups that failed, by backend that has names."""
        return {name: watch.source.failures for name, watch in self._watches.items() if watch.source.has_names}

    async def prepare(self, backends: Iterable[Backend], interval_s: float, timeout_s: float) -> dict[str, Watch]:
        """Watches for these backends; those whose endpoints are the same go on. Waits for the first answer of the
        others, at most `timeout_s`: a slow name must not keep the rest from being served."""
        prepared: dict[str, Watch] = {}
        for backend in backends:
            watch = self._watches.get(backend.name)
            if watch is None or watch.source.backend.endpoints != backend.endpoints or watch.interval_s != interval_s:
                source = StaticSource(backend, interval_s, self._log, self._resolve)
                watch = Watch(source, interval_s, self._changed)
            prepared[backend.name] = watch
        waits = [asyncio.ensure_future(w.first.wait()) for w in prepared.values() if not w.first.is_set()]
        try:
            if waits:
                await asyncio.wait(waits, timeout=timeout_s)
        except asyncio.CancelledError:
            self.abandon(prepared)
            raise
        finally:
            for wait in waits:
                wait.cancel()
        for watch in prepared.values():
            watch.is_announcing = True
        return prepared

    def commit(self, prepared: dict[str, Watch]) -> None:
        """These are the watches now; others stop."""
        before, self._watches = self._watches, prepared
        _stop_missing(before, prepared)

    def abandon(self, prepared: dict[str, Watch]) -> None:
        """What was prepared is not wanted after all."""
        _stop_missing(prepared, self._watches)

    def close(self) -> None:
        """Stops every watch."""
        self.commit({})


def targets_of(watches: dict[str, Watch]) -> dict[str, dict[str, int]]:
    """Weight by numeric address, by backend."""
    return {name: watch.targets for name, watch in watches.items()}


def _stop_missing(watches: dict[str, Watch], kept: dict[str, Watch]) -> None:
    wanted = set(kept.values())
    for watch in watches.values():
        if watch not in wanted:
            watch.stop()
