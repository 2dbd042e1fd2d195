"""What a peer of the comparison is: how to start it for a setup, and what it can speak."""

import importlib
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.macro import peers

HTTP1, HTTP2, TCP = "http/1.1", "h2", "tcp"
Protocols = tuple[str, str]  # of the client, of the upstream
OVER_HTTP1: Protocols = (HTTP1, HTTP1)
OVER_HTTP2: Protocols = (HTTP2, HTTP2)
OVER_TCP: Protocols = (TCP, TCP)  # relayed as it is


@dataclass(frozen=True)
class Setup:
    """What the proxy is to do: take connections on `host`:`listen`, send each request to one of `endpoints`."""

    listen: int  # port
    endpoints: tuple[str, ...]  # host:port
    work: Path  # a directory of its own, for configs and logs
    host: str = "127.0.0.1"
    protocols: Protocols = OVER_HTTP1  # one of the peer's PROTOCOLS; HTTP/2 is cleartext by prior knowledge
    routes: int = 1  # more: /route/I/ for I from 1 goes to the same endpoints, / too
    balancer: str = ""  # one of the peer's BALANCERS; empty: its first
    workers: int = 1
    subset: int = 0  # endpoints it uses of those there are; 0: all. For peers that have SUBSET
    spin: bool = False  # a thread of the proxy's scripting language computes without pause, where it has one


@dataclass(frozen=True)
class Launch:
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


class Peer(Protocol):
    """A module in bench/macro/peers."""

    NAME: str
    PROTOCOLS: tuple[Protocols, ...]
    BALANCERS: tuple[str, ...]

    def version(self) -> str:
        """As the program itself says; raises OSError when it is not installed."""

    def launch(self, setup: Setup) -> Launch | None:
        """Writes the config below setup.work; None: nothing stands between client and upstream."""


def load() -> dict[str, Peer]:
    """Every peer by name."""
    found: dict[str, Peer] = {}
    for module in pkgutil.iter_modules(peers.__path__):
        peer: Peer = importlib.import_module(f"{peers.__name__}.{module.name}")
        found[peer.NAME] = peer
    return found
