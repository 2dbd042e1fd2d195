"""Endpoints written in the configuration. Numeric addresses and Unix sockets are known at once; host names are
resolved now and again and again, because the records behind a name change while the process runs.

Every address a name has is an endpoint of its own, with the weight of the name: a server that listens on one
family only is still reached, because an endpoint that refuses is left out and the next one tried at once. A name that
cannot be resolved keeps its last good answer.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from fastmesh.config.model import Address, Backend
from fastmesh.discovery import Target, Update

# After a failed look-up names are asked again this soon, doubling up to the resolve interval.
RETRY_MIN_S = 1.0
RETRY_MAX_S = 30.0  # when the interval is longer, or names are resolved only at start
JITTER = 0.1  # of a wait, either way: processes started together do not ask together

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]


def _jittered(wait_s: float) -> float:
    """The kernel's random bytes do: importing `random` costs an idle process 0.2 MB."""
    part = int.from_bytes(os.urandom(4)) / 2**32
    return wait_s * (1 + JITTER * (2 * part - 1))


async def resolve_system(host: str, port: int) -> list[str]:
    """Numeric address texts of a name by getaddrinfo(3), which runs on a thread of the loop. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = (Address("inet6" if family == socket.AF_INET6 else "inet", *peer[:2]).text for family, *_, peer in found)
    return list(dict.fromkeys(texts))


class StaticSource:
    """The endpoints of one backend of the configuration.

    `interval_s` is how often names are resolved again, 0: never. `failures` counts look-ups that failed.
    """

    def __init__(
        self, backend: Backend, interval_s: float, log: Callable[..., None], resolve: Resolve = resolve_system
    ) -> None:
        self.backend = backend
        self.failures = 0
        self._interval_s = interval_s
        self._log = log
        self._resolve = resolve
        self._answers: dict[Address, list[str]] = {}  # last good one of each name
        self._names = [endpoint.address for endpoint in backend.endpoints if not endpoint.address.is_numeric]

    @property
    def has_names(self) -> bool:
        """Whether anything must be resolved."""
        return bool(self._names)

    async def updates(self) -> AsyncIterator[Update]:
        """First the whole set (empty of names that could not be resolved yet), then what changes. Ends after the first
        when nothing can change."""
        failed = await self._look_up()
        known = self._targets()
        yield Update(add=_listed(known), reset=True)
        retry_s = RETRY_MIN_S
        while failed or (self._names and self._interval_s > 0):
            wait_s = self._interval_s
            if failed:
                wait_s = min(retry_s, wait_s) if wait_s > 0 else retry_s
            await asyncio.sleep(_jittered(wait_s))
            retry_s = min(2 * retry_s, RETRY_MAX_S) if failed else RETRY_MIN_S
            failed = await self._look_up()
            targets = self._targets()
            change = difference(known, targets)
            if change.add or change.remove:
                known = targets
                yield change

    async def _look_up(self) -> bool:
        """Resolves every name at once; True when one of them failed."""
        found = await asyncio.gather(*(self._ask(name) for name in self._names))
        return not all(found)

    async def _ask(self, name: Address) -> bool:
        try:
            answer = list(await self._resolve(name.host, name.port))
        except OSError as error:
            return self._failed(name, error.strerror or str(error))
        if not answer:
            return self._failed(name, "the name has no address")
        if self._answers.get(name) != answer:
            self._log("debug", "resolved", name=name.text, addresses=",".join(answer))
        self._answers[name] = answer
        return True

    def _failed(self, name: Address, why: str) -> bool:
        self.failures += 1
        kept = len(self._answers.get(name, ()))
        self._log("warning", "name not resolved", backend=self.backend.name, name=name.text, error=why, kept=kept)
        return False

    def _targets(self) -> dict[str, int]:
        """Weights of equal addresses, reached by several names, add up."""
        targets: dict[str, int] = {}
        for endpoint in self.backend.endpoints:
            address = endpoint.address
            for text in [address.text] if address.is_numeric else self._answers.get(address, []):
                targets[text] = targets.get(text, 0) + endpoint.weight
        return targets


def _listed(targets: dict[str, int]) -> tuple[Target, ...]:
    return tuple(Target(address, weight) for address, weight in targets.items())


def difference(before: dict[str, int], after: dict[str, int]) -> Update:
    """The update that leads from one set to the other."""
    add = tuple(Target(address, weight) for address, weight in after.items() if before.get(address) != weight)
    return Update(add, tuple(address for address in before if address not in after))
