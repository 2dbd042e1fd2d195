"""Kinds of values that routes are made of: hosts, paths, methods, header conditions, names."""

import re
from typing import Any

from fastmesh.config.addresses import host_canonical, name_canonical
from fastmesh.config.model import GRPC_STATUSES, HeaderMatch
from fastmesh.config.problems import nearest, shown
from fastmesh.config.values import NAME, TOKEN, Key, Kind, is_token

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
ITEMS_MAX = 256  # of one list or table of a route
PATH_BYTES_MAX = 4096

_PATH = r"/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"  # RFC 3986 3.3: slashes and pchar
_VALUE = r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?"  # RFC 9110 5.5 without obs-text; fields arrive trimmed

_PROTOCOL = r"[\x21-\x7e]{1,255}"

_GRPC_NUMBERS = {name: number for number, name in enumerate(GRPC_STATUSES) if number}  # of failures
_GRPC_EACH = f"a failure's number (1 to {len(GRPC_STATUSES) - 1}) or name ({', '.join(_GRPC_NUMBERS)})"


class ListKind(Kind):
    """A list of texts. A subclass reads one."""

    type = "list"

    def item(self, key: Key, text: str) -> str:
        """The value one text stands for; ValueError: the rule."""
        raise NotImplementedError

    def take(self, key: Key, raw: object) -> tuple[str, ...]:
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw) or len(raw) > ITEMS_MAX:
            raise ValueError(self.rule(key))
        items = tuple(self.item(key, text) for text in raw)
        if len(set(items)) != len(items):
            raise ValueError("must name nothing twice")
        return items

    def plain(self, key: Key, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "maxItems": ITEMS_MAX}


class Names(ListKind):
    """Names of listeners."""

    type = "list of names"

    def item(self, key: Key, text: str) -> str:
        return NAME.parse(key, text)

    def rule(self, key: Key) -> str:
        return f"must be a list of at most {ITEMS_MAX} names"


class Hosts(ListKind):
    """Hosts without port: a name, a numeric address, or `*.suffix`."""

    type = "list of hosts"

    def item(self, key: Key, text: str) -> str:
        is_suffix = text.startswith("*.")
        canonical = name_canonical(text[2:]) if is_suffix else host_canonical(text)
        if not canonical:
            raise ValueError(f'{text!r} must be a host without port, such as "a.example", "*.example" or "[::1]"')
        return f"*.{canonical}" if is_suffix else canonical

    def rule(self, key: Key) -> str:
        return f'must be a list of at most {ITEMS_MAX} hosts without port, such as "a.example" or "*.example"'


class ServerNames(Hosts):
    """Server names of TLS (RFC 6066 3), which are no numeric addresses."""

    type = "list of server names"

    def item(self, key: Key, text: str) -> str:
        canonical = name_canonical(text.removeprefix("*."))
        if not canonical:
            raise ValueError(f'{text!r} must be a server name, such as "a.example" or "*.example"')
        return f"*.{canonical}" if text.startswith("*.") else canonical

    def rule(self, key: Key) -> str:
        return f'must be a list of at most {ITEMS_MAX} server names, such as "a.example" or "*.example"'


class Alpn(ListKind):
    """Names of application protocols (RFC 7301 3.1), compared octet by octet."""

    type = "list of protocols"

    def item(self, key: Key, text: str) -> str:
        if not re.fullmatch(_PROTOCOL, text):
            raise ValueError(f'{text!r} must be a protocol of visible ASCII, such as "h2" or "http/1.1"')
        return text

    def rule(self, key: Key) -> str:
        return f'must be a list of at most {ITEMS_MAX} protocols, such as "h2" or "http/1.1"'

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "pattern": f"^{_PROTOCOL}$"}, "maxItems": ITEMS_MAX}


class Methods(ListKind):
    """Request methods; they are case-sensitive (RFC 9110 9.1)."""

    type = "list of methods"

    def item(self, key: Key, text: str) -> str:
        if text not in METHODS:
            raise ValueError(f"{text!r} {self.rule(key)}")
        return text

    def rule(self, key: Key) -> str:
        return f"must be a list of methods out of {', '.join(METHODS)}"

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "array", "items": {"enum": list(METHODS)}, "maxItems": ITEMS_MAX}


class GrpcStatuses(Kind):
    """gRPC statuses that are failures, each by name or number, by comma or in a list; a value has them in order."""

    type = "list of gRPC statuses"

    def parse(self, key: Key, text: str) -> tuple[str, ...]:
        return () if text.strip().lower() == "off" else self._ordered(text.split(","))

    def take(self, key: Key, raw: object) -> tuple[str, ...]:
        if isinstance(raw, str):
            return self.parse(key, raw)
        if not isinstance(raw, list) or len(raw) > ITEMS_MAX:
            raise ValueError(self.rule(key))
        return self._ordered(raw)

    def _ordered(self, items: list[Any]) -> tuple[str, ...]:
        numbers = {self._number(item) for item in items}
        return tuple(GRPC_STATUSES[number] for number in sorted(numbers))

    def _number(self, item: object) -> int:
        number = -1
        if isinstance(item, int) and not isinstance(item, bool):
            number = item
        elif isinstance(item, str):
            word = item.strip().lower().replace("-", "_")
            number = int(word) if re.fullmatch(r"[0-9]{1,2}", word, re.ASCII) else _GRPC_NUMBERS.get(word, -1)
        if not 1 <= number < len(GRPC_STATUSES):
            close = nearest(item.lower(), _GRPC_NUMBERS) if isinstance(item, str) else ""
            raise ValueError(f"{shown(item)} must be {_GRPC_EACH}{close}")
        return number

    def format(self, key: Key, value: tuple[str, ...]) -> str:
        return ",".join(value) or "off"

    def plain(self, key: Key, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def rule(self, key: Key) -> str:
        return f"must be gRPC statuses by comma or in a list, or off; each must be {_GRPC_EACH}"

    def schema(self, key: Key) -> dict[str, Any]:
        item = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1, "maximum": len(GRPC_STATUSES) - 1}]}
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": item, "maxItems": ITEMS_MAX}]}


class UrlPath(Kind):
    """A path as it stands in a request target, percent-encoded, without query."""

    type = "path"

    def parse(self, key: Key, text: str) -> str:
        if len(text) > PATH_BYTES_MAX or not re.fullmatch(_PATH, text):
            raise ValueError(self.rule(key))
        return text

    def rule(self, key: Key) -> str:
        return f'must be a path that begins with "/", percent-encoded, no query, at most {PATH_BYTES_MAX} bytes'

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_PATH}$", "maxLength": PATH_BYTES_MAX}


class UrlPrefix(UrlPath):
    """A path prefix. It ends at a segment bound anyway, so a "/" at its end says nothing and is left out."""

    def parse(self, key: Key, text: str) -> str:
        return super().parse(key, text).rstrip("/") or "/"


class Headers(Kind):
    """A table: field name -> text (has exactly this value), true (is there) or false (is not there)."""

    type = "table"

    def take(self, key: Key, raw: object) -> tuple[HeaderMatch, ...]:
        if not isinstance(raw, dict) or len(raw) > ITEMS_MAX:
            raise ValueError(self.rule(key))
        matches = tuple(self._match(key, name, value) for name, value in raw.items())
        if len({match.name for match in matches}) != len(matches):
            raise ValueError("must name each header once; names differ by more than case")
        return matches

    def _match(self, key: Key, name: object, value: object) -> HeaderMatch:
        if not isinstance(name, str) or not is_token(name):
            raise ValueError(f"{name!r} must be a token to be a header name (RFC 9110 5.1)")
        if isinstance(value, bool):
            return HeaderMatch(name.lower(), "present" if value else "absent")
        if not isinstance(value, str) or not re.fullmatch(_VALUE, value) or len(value) > PATH_BYTES_MAX:
            raise ValueError(f"{name!r} must be a text of visible ASCII without blanks around it, true or false")
        return HeaderMatch(name.lower(), "exact", value)

    def plain(self, key: Key, value: tuple[HeaderMatch, ...]) -> dict[str, str | bool]:
        return {match.name: match.value if match.kind == "exact" else match.kind == "present" for match in value}

    def rule(self, key: Key) -> str:
        return f"must be a table of at most {ITEMS_MAX} header names, each with a text, true (there) or false (absent)"

    def schema(self, key: Key) -> dict[str, Any]:
        value = {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^{_VALUE}$"}]}
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{TOKEN}$"},
            "additionalProperties": value,
            "maxProperties": ITEMS_MAX,
        }
