"""Which endpoints of a large backend this process uses, when `upstream_subset` says how many.

Each process ranks a backend's addresses by a hash of the address and of a number of its own (rendezvous hashing) and
takes the first ones. So an address that comes or goes changes its own place and no other, and the choices of many
processes spread evenly. Weights count among the chosen, as they do without a subset; to be chosen they do not.

Endpoints that are out stay chosen, so that they are tried again, and the next in rank join for each of them. When more
than half of the first are out, something larger is wrong than a few servers, and all are used.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Set

from fastmesh.config.model import Backend

OUT_S = 1.5  # from the first to the last time it was seen out: a single refused connect calls for nobody else
BACK_S = 60.0  # not seen out for this long, it is back; meanwhile who joined for it stays

Key = tuple[str, str]  # backend, address

_WORD = (1 << 64) - 1


def score(address: str, salt: int) -> int:
    """An address's rank for the process with this salt; the lowest is the first."""
    word = (hash(address) + salt) & _WORD
    # The finalizer of splitmix64: each bit of the sum changes each of these with even odds.
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def choose(targets: Mapping[str, int], size: int, salt: int, is_out: Callable[[str], bool]) -> dict[str, int]:
    """The chosen of `targets` (weight by address, order kept): so many that are not out, and those out before them."""
    ranked = sorted(targets, key=lambda address: (score(address, salt), address))
    if 2 * sum(map(is_out, ranked[:size])) > size:
        return dict(targets)
    chosen = set()
    left = size
    for address in ranked:
        if left == 0:
            break
        chosen.add(address)
        left -= not is_out(address)
    return {address: weight for address, weight in targets.items() if address in chosen}


class Subsets:
    """The choice of this process for all backends, and which of the chosen count as out."""

    def __init__(self) -> None:
        self._salt = int.from_bytes(os.urandom(8), "big")
        self._backends: frozenset[str] = frozenset()  # that have more endpoints than they use
        self._seen: dict[Key, tuple[float, float]] = {}  # out: when first, when last
        self._out: frozenset[Key] = frozenset()

    @property
    def is_choosing(self) -> bool:
        """Whether any backend has more endpoints than it uses."""
        return bool(self._backends)

    def choose(
        self, backends: Iterable[Backend], targets: Mapping[str, Mapping[str, int]], *, widen: bool = True
    ) -> dict[str, Mapping[str, int]]:
        """What to publish of `targets` (weight by address, by backend). Without `widen` nobody joins for who is out."""
        chosen = dict(targets)
        large = set()
        for backend in backends:
            known, size = targets.get(backend.name, {}), backend.upstream.subset
            if 0 < size < len(known):
                large.add(backend.name)
                out = {address for name, address in self._out if widen and name == backend.name}
                chosen[backend.name] = choose(known, size, self._salt, out.__contains__)
        self._backends = frozenset(large)
        return chosen

    def look(self, out: Set[Key], now_s: float) -> bool:
        """Takes note of who is out at this moment, to be called about once a second; whether the choice changes."""
        seen = {key: (first, last) for key, (first, last) in self._seen.items() if now_s - last < BACK_S}
        for key in out:
            if key[0] in self._backends:
                seen[key] = (seen[key][0] if key in seen else now_s, now_s)
        before, self._seen = self._out, seen
        self._out = frozenset(key for key, (first, last) in seen.items() if last - first >= OUT_S)
        return self._out != before
