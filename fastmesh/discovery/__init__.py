"""Where endpoints come from. Every source is an async iterator of Update."""

from typing import NamedTuple


class Target(NamedTuple):
    """One endpoint the core can connect to."""

    address: str  # numeric: "127.0.0.1:80", "[::1]:80" or "unix:/path"
    weight: int  # >= 1


class Update(NamedTuple):
    """A change of one backend's endpoints. `add` replaces the weight of an address that is already there."""

    add: tuple[Target, ...] = ()
    remove: tuple[str, ...] = ()  # addresses
    reset: bool = False  # forget everything before: `add` is the whole set


def apply(update: Update, targets: dict[str, int]) -> dict[str, int]:
    """The set of endpoints (weight by address, order kept) after an update."""
    after = {} if update.reset else dict(targets)
    for address in update.remove:
        after.pop(address, None)
    after.update(update.add)
    return after
