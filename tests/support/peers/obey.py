"""A Python peer's side of `tests.support.peer`: each line {id, op, ...} is answered by {id, value} or {id, error}."""

import asyncio
import json
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Operation = Callable[..., Awaitable[Any]]


def say(number: int, **rest: object) -> None:
    sys.stdout.write(json.dumps({"id": number, **rest}) + "\n")
    sys.stdout.flush()


async def obey(operations: Mapping[str, Operation]) -> None:
    """Until the end of the input. Commands run at the same time and are answered as they are done."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    async def one(id: int, op: str, **rest: Any) -> None:
        try:
            say(id, value=await operations[op](**rest))
        except Exception:
            say(id, error=traceback.format_exc())

    threading.Thread(target=read, daemon=True).start()
    tasks = set()
    while line := await lines.get():
        task = asyncio.ensure_future(one(**json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in list(tasks):
        task.cancel()


class Events:
    """What has happened to whom, and waiting for it."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()

    def note(self, what: str, path: str) -> None:
        self._seen.add((what, path))
        self._changed.set()
        self._changed = asyncio.Event()

    async def happened(self, what: str, path: str) -> bool:
        while (what, path) not in self._seen:
            await self._changed.wait()
        return True
