"""Kinds of values made of addresses: listeners, the admin port, endpoints.

An address is `host:port`, `[IPv6]:port` or `unix:/path`. Hosts may be names where the core is not handed the text as it
is; no name is resolved here.
"""

import re
from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

from fastmesh.config.model import DEFAULT_NAME, Address, Endpoint, Listener
from fastmesh.config.values import Key, Kind

UNIX_PATH_BYTES = 107  # sockaddr_un.sun_path without its NUL (unix(7))
WEIGHT_MAX = 1000
LISTENERS_MAX = 32  # bits of a route's listener mask in the core

_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?!-)(?!(?:.*\.)?[0-9]+\Z){_LABEL}(?:\.{_LABEL})*")  # last label: not a number
_UNIX_PATH = re.compile(r"/[^\x00-\x1f\x7f,;]*[^\x00-\x20\x7f,;]")  # no blank at its end, where lists are trimmed
_FORMS = "host:port, [IPv6]:port or unix:/path"


def address_parse(text: str, least_port: int = 1) -> Address:
    """The address a text stands for. ValueError: the rule that it breaks."""
    if text.startswith("unix:"):
        path = text[5:]
        if not _UNIX_PATH.fullmatch(path) or len(path.encode()) > UNIX_PATH_BYTES:
            raise ValueError(
                f"must be unix: and an absolute path of at most {UNIX_PATH_BYTES} bytes without ',', ';' and control "
                "characters"
            )
        return Address("unix", path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or not least_port <= int(port) <= 65535:
        raise ValueError(f"must be {_FORMS}, the port from {least_port} to 65535")
    if host.startswith("[") and host.endswith("]"):
        canonical = _numeric(AF_INET6, host[1:-1])
        if not canonical:
            raise ValueError(f"must be {_FORMS}; {host!r} is no IPv6 address")
        return Address("inet6", canonical, int(port))
    canonical = _numeric(AF_INET, host)
    if canonical:
        return Address("inet", canonical, int(port))
    if ":" in host:
        raise ValueError(f"must be {_FORMS}; an IPv6 address is written in brackets")
    if not _HOST.fullmatch(host):
        raise ValueError(f"must be {_FORMS}; {host!r} is neither an IPv4 address nor a host name")
    return Address("name", host.lower(), int(port))


def host_canonical(host: str) -> str:
    """A host as requests name it, in the form that is compared (lower case, IPv6 in brackets); "" when it is none."""
    if host.startswith("[") and host.endswith("]"):
        inner = _numeric(AF_INET6, host[1:-1])
        return f"[{inner}]" if inner else ""
    return _numeric(AF_INET, host) or name_canonical(host)


def name_canonical(host: str) -> str:
    """A host name in lower case; "" when it is none, which a numeric address is not either."""
    return host.lower() if _HOST.fullmatch(host) else ""


def _numeric(family: int, host: str) -> str:
    """The one way to write a numeric address; "" when it is none. Two texts of one address must compare equal."""
    try:
        return inet_ntop(family, inet_pton(family, host))
    except (OSError, ValueError):
        return ""


def endpoint_parse(text: str) -> Endpoint:
    """`address` or `address;weight=N`. ValueError: the rule that it breaks."""
    address, semicolon, option = text.partition(";")
    weight = 1
    if semicolon:
        match = re.fullmatch(r"\s*weight\s*=\s*([0-9]{1,6})\s*", option, re.ASCII)
        if match is None or not 1 <= int(match[1]) <= WEIGHT_MAX:
            raise ValueError(f"after ';' must come weight=N, N a whole number from 1 to {WEIGHT_MAX}")
        weight = int(match[1])
    return Endpoint(address_parse(address.strip()), weight)


def _listed(what: str, texts: Iterable[str]) -> list[str]:
    items = [text.strip() for text in texts]
    if not items or not all(items):
        raise ValueError(f"must be {what}, separated by commas, none of them empty")
    return items


def _each(texts: list[str], parse: Any) -> list[Any]:
    """Parses every item; what is wrong with one names it when there are several."""
    parsed, rules = [], []
    for text in texts:
        try:
            parsed.append(parse(text))
        except ValueError as error:
            rules.append(f"{text!r} {error}" if len(texts) > 1 else str(error))
    if rules:
        raise ValueError("; ".join(rules))
    return parsed


class AddressKind(Kind):
    """One address."""

    type = "address"

    def __init__(self, least_port: int = 1) -> None:
        self.least_port = least_port

    def parse(self, key: Key, text: str) -> Address | None:
        return address_parse(text.strip(), self.least_port)

    def format(self, key: Key, value: Address) -> str:
        return value.text

    def rule(self, key: Key) -> str:
        return f"must be {_FORMS}"


class AdminAddress(AddressKind):
    """One address, or off."""

    type = "address | off"

    def parse(self, key: Key, text: str) -> Address | None:
        return None if text.strip().lower() == "off" else super().parse(key, text)

    def format(self, key: Key, value: Address | None) -> str:
        return "off" if value is None else value.text

    def rule(self, key: Key) -> str:
        return f'must be {_FORMS}, or "off"'


class Listen(Kind):
    """Addresses by comma, or a list of them in a file. The first listener is called "default", others by number."""

    type = "addresses"

    def parse(self, key: Key, text: str) -> tuple[Listener, ...]:
        return self._named(text.split(","))

    def take(self, key: Key, raw: object) -> tuple[Listener, ...]:
        if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
            return self._named(raw)
        value: tuple[Listener, ...] = super().take(key, raw)
        return value

    def _named(self, texts: Iterable[str]) -> tuple[Listener, ...]:
        addresses = _each(_listed("addresses", texts), lambda text: address_parse(text, 0))
        if len(addresses) > LISTENERS_MAX:
            raise ValueError(f"must be at most {LISTENERS_MAX} addresses")
        names = (DEFAULT_NAME if i == 1 else f"{DEFAULT_NAME}-{i}" for i in range(1, len(addresses) + 1))
        return tuple(map(Listener, names, addresses))

    def format(self, key: Key, value: tuple[Listener, ...]) -> str:
        return ",".join(listener.address.text for listener in value)

    def rule(self, key: Key) -> str:
        return f"must be addresses ({_FORMS}), separated by commas"

    def schema(self, key: Key) -> dict[str, Any]:
        items = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": LISTENERS_MAX}
        return {"anyOf": [{"type": "string"}, items]}


class Endpoints(Kind):
    """Endpoints by comma, or a list in a file whose items are texts or tables of address and weight."""

    type = "endpoints"

    def parse(self, key: Key, text: str) -> tuple[Endpoint, ...]:
        return self._distinct(_each(_listed("endpoints", text.split(",")), endpoint_parse))

    def take(self, key: Key, raw: object) -> tuple[Endpoint, ...]:
        if not isinstance(raw, list):
            value: tuple[Endpoint, ...] = super().take(key, raw)
            return value
        return self._distinct(_each(_listed("endpoints", [self._text(key, item) for item in raw]), endpoint_parse))

    def _text(self, key: Key, item: object) -> str:
        if isinstance(item, str):
            return item
        if isinstance(item, dict) and item.keys() <= {"address", "weight"} and isinstance(item.get("address"), str):
            weight = item.get("weight", 1)
            if isinstance(weight, int) and not isinstance(weight, bool) and ";" not in item["address"]:
                return f"{item['address']};weight={weight}"
        raise ValueError(self.rule(key))

    def _distinct(self, endpoints: list[Endpoint]) -> tuple[Endpoint, ...]:
        seen = set()
        for endpoint in endpoints:
            if endpoint.address in seen:
                raise ValueError(f"must name each address once; {endpoint.address.text} is there twice")
            seen.add(endpoint.address)
        return tuple(endpoints)

    def format(self, key: Key, value: tuple[Endpoint, ...]) -> str:
        return ",".join(endpoint.text for endpoint in value)

    def plain(self, key: Key, value: tuple[Endpoint, ...]) -> list[dict[str, Any]]:
        return [{"address": endpoint.address.text, "weight": endpoint.weight} for endpoint in value]

    def rule(self, key: Key) -> str:
        return (
            f"must be endpoints, each {_FORMS} and maybe ;weight=N (1 to {WEIGHT_MAX}), separated by commas; "
            "in a file also a list of these or of tables with address and weight"
        )

    def schema(self, key: Key) -> dict[str, Any]:
        weight = {"type": "integer", "minimum": 1, "maximum": WEIGHT_MAX}
        table = {
            "type": "object",
            "properties": {"address": {"type": "string"}, "weight": weight},
            "required": ["address"],
            "additionalProperties": False,
        }
        items = {"type": "array", "items": {"anyOf": [{"type": "string"}, table]}, "minItems": 1}
        return {"anyOf": [{"type": "string"}, items]}
