"""FASTMESH_TRANSPARENT: one word for the listeners that `fastmesh redirect` brings connections to."""

from collections.abc import Iterable
from typing import Any

from fastmesh.config.model import Address, Listener, ListenerRole, Reception
from fastmesh.config.values import OFF as OFF_WORDS
from fastmesh.config.values import ON as ON_WORDS
from fastmesh.config.values import Key, Kind

OFF, REDIRECT, TPROXY = "off", "redirect", "tproxy"
INBOUND_PORT, OUTBOUND_PORT = 4143, 4140  # as Linkerd's, and those of `fastmesh redirect`


class InterceptionMode(Kind):
    """off, redirect (or on) or tproxy."""

    type = "off | redirect | tproxy"

    def parse(self, key: Key, text: str) -> str:
        word = text.strip().lower()
        if word in OFF_WORDS:
            return OFF
        if word in ON_WORDS:
            return REDIRECT
        if word not in (REDIRECT, TPROXY):
            raise ValueError(self.rule(key))
        return word

    def take(self, key: Key, raw: object) -> str:
        if isinstance(raw, bool):
            return REDIRECT if raw else OFF
        word: str = super().take(key, raw)
        return word

    def rule(self, key: Key) -> str:
        return "must be off, redirect (or on) or tproxy"

    def schema(self, key: Key) -> dict[str, Any]:
        return {"enum": [True, False, OFF, REDIRECT, TPROXY, *ON_WORDS, *OFF_WORDS[1:]]}


def mode_of(listeners: Iterable[Listener]) -> str:
    """What the listeners amount to."""
    roles = {listener.role for listener in listeners}
    return TPROXY if TPROXY in roles else REDIRECT if roles - {OFF} else OFF


def transparent_listeners(mode: str, reception: Reception) -> tuple[Listener, ...]:
    """Those that the rules' defaults lead to, for IPv6 too where this machine has it."""
    if mode == OFF:
        return ()
    role: ListenerRole = "tproxy" if mode == TPROXY else "inbound"
    v6 = has_ipv6()
    everywhere = Address("inet6", "::", INBOUND_PORT) if v6 else Address("inet", "0.0.0.0", INBOUND_PORT)
    made = [
        Listener("inbound", everywhere, reception, role),
        Listener("outbound", Address("inet", "127.0.0.1", OUTBOUND_PORT), reception, "outbound"),
    ]
    if v6:
        made.append(Listener("outbound-v6", Address("inet6", "::1", OUTBOUND_PORT), reception, "outbound"))
    return tuple(made)


def has_ipv6() -> bool:
    """Whether ::1 is an address of this machine."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            return any(line.startswith("0" * 31 + "1 ") for line in file)
    except OSError:
        return False
