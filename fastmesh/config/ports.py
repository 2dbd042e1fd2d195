"""Kinds of values made of ports and networks: ranges of ports, and what connections to some destinations speak."""

import re
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

from fastmesh.config.model import LISTENER_PROTOCOLS, Ports, ProtocolRule
from fastmesh.config.problems import nearest
from fastmesh.config.values import Key, Kind

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_WHERE = re.compile(
    r"(?:(?P<v4>[0-9.]+)(?P<bits4>/[0-9]{1,2})?|\[(?P<v6>[0-9A-Fa-f:.]+)(?P<bits6>/[0-9]{1,3})?\])"
    r"(?::(?P<ports>[0-9-]+))?",
    re.ASCII,
)


def merge_ports(ranges: Sequence[Ports]) -> tuple[Ports, ...]:
    """The same ports as sorted ranges that neither overlap nor touch."""
    merged: list[Ports] = []
    for ports in sorted(ranges):
        if merged and ports.first <= merged[-1].last + 1:
            merged[-1] = Ports(merged[-1].first, max(merged[-1].last, ports.last))
        else:
            merged.append(ports)
    return tuple(merged)


def ports_parse(word: str) -> Ports:
    """A port or a range of them. ValueError: it is neither."""
    match = _PORTS.fullmatch(word)
    ports = Ports(int(match[1]), int(match[2] or match[1])) if match else Ports(0, 0)
    if not 1 <= ports.first <= ports.last <= 65535:
        raise ValueError(f"{word!r} is neither a port nor a range of ports")
    return ports


def rule_parse(word: str) -> ProtocolRule:
    """`where=protocol`. ValueError: what is wrong with it."""
    where, equals, protocol = (part.strip() for part in word.partition("="))
    if not equals or protocol not in LISTENER_PROTOCOLS:
        hint = nearest(protocol, LISTENER_PROTOCOLS) if equals else ""
        raise ValueError(f"{word!r} does not end in = and one of {', '.join(LISTENER_PROTOCOLS)}{hint}")
    if _PORTS.fullmatch(where):
        return ProtocolRule("", 0, ports_parse(where), LISTENER_PROTOCOLS[LISTENER_PROTOCOLS.index(protocol)])
    match = _WHERE.fullmatch(where)
    if match is None:
        raise ValueError(f"{where!r} is neither ports nor an address")
    host, bits = _network(match["v4"] or match["v6"], AF_INET if match["v4"] else AF_INET6,
                          match["bits4"] or match["bits6"] or "")  # fmt: skip
    ports = ports_parse(match["ports"]) if match["ports"] else Ports(1, 65535)
    return ProtocolRule(host, bits, ports, LISTENER_PROTOCOLS[LISTENER_PROTOCOLS.index(protocol)])


def _network(host: str, family: int, prefix: str) -> tuple[str, int]:
    most = 32 if family == AF_INET else 128
    bits = int(prefix[1:]) if prefix else most
    try:
        packed = inet_pton(family, host)
    except OSError:
        raise ValueError(f"{host!r} is no address") from None
    if bits > most:
        raise ValueError(f"{prefix!r} is above /{most}")
    if int.from_bytes(packed) & ((1 << (most - bits)) - 1):
        raise ValueError(f"{host + prefix!r} has bits behind its prefix")
    return inet_ntop(family, packed), bits


class Listed(Kind):
    """Values by comma, in a file also a list; no text at all is an empty list, or the word `none` is."""

    def __init__(self, none: str = "") -> None:
        self.none = none

    def parse(self, key: Key, text: str) -> Any:
        words = [word.strip() for word in text.split(",")]
        if words in ([""], [self.none]):
            return ()
        try:
            return self.read(words)
        except ValueError as error:
            said = str(error)
            raise ValueError(said if said.startswith("must") else f"{self.rule(key)}; {said}") from None

    def take(self, key: Key, raw: object) -> Any:
        if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
            return self.parse(key, ",".join(raw))
        return super().take(key, raw)

    def read(self, words: list[str]) -> Any:
        """The value; ValueError says what is wrong with a word."""
        raise NotImplementedError

    def format(self, key: Key, value: Any) -> str:
        return ",".join(self.words(value)) or self.none

    def plain(self, key: Key, value: Any) -> Any:
        return self.words(value)

    def words(self, value: Any) -> list[str]:
        return [str(item) for item in value]

    def schema(self, key: Key) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class PortList(Listed):
    type = "ports"

    def read(self, words: list[str]) -> tuple[Ports, ...]:
        return merge_ports([ports_parse(word) for word in words])

    def take(self, key: Key, raw: object) -> Any:
        if isinstance(raw, int) and not isinstance(raw, bool):
            raw = [raw]
        if isinstance(raw, list) and all(isinstance(item, int | str) and not isinstance(item, bool) for item in raw):
            raw = [str(item) for item in raw]
        return super().take(key, raw)

    def words(self, value: tuple[Ports, ...]) -> list[str]:
        return [ports.text for ports in value]

    def rule(self, key: Key) -> str:
        return "must be ports from 1 to 65535 or ranges such as 4000-4010, separated by commas"

    def schema(self, key: Key) -> dict[str, Any]:
        one = [{"type": "string"}, {"type": "integer", "minimum": 1, "maximum": 65535}]
        return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]}


class ProtocolRules(Listed):
    type = "protocols"

    def read(self, words: list[str]) -> tuple[ProtocolRule, ...]:
        return tuple(rule_parse(word) for word in words)

    def words(self, value: tuple[ProtocolRule, ...]) -> list[str]:
        return [rule.text for rule in value]

    def rule(self, key: Key) -> str:
        return (
            "must be destinations with their protocols, separated by commas: 8443=tls, 9000-9010=opaque, "
            "10.0.0.0/8=http, 10.0.0.1:9000=detect, [fd00::/8]:25=opaque"
        )
