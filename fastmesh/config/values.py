"""Kinds of scalar values: how each is read from text and from a file, written back, described and put in a schema.

A kind's methods raise ValueError with the rule ("must be ...") and know nothing of where a value came from.
Law: `parse(key, format(key, v)) == v` and `take(key, plain(key, v)) == v` for every lawful v.
"""

import re
from dataclasses import dataclass
from typing import Any

from fastmesh.config.problems import nearest

NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
ON = ("on", "true", "yes", "1")
OFF = ("off", "false", "no", "0")

_DURATION = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?(ns|us|ms|s|m|h)?", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})(?:([kmg])(?:ib)?|b)?", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2
_TOKEN = re.compile(TOKEN)
_PSEUDONYM = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Kind:
    """A type of value. `type` and `unit` are what tables show."""

    type: str = ""
    unit: str = "-"

    def parse(self, key: "Key", text: str) -> Any:
        """The value a text stands for; ValueError says the rule."""
        raise NotImplementedError

    def take(self, key: "Key", raw: object) -> Any:
        """The value a file gave; ValueError says the rule."""
        if not isinstance(raw, str):
            raise ValueError(self.rule(key))
        return self.parse(key, raw)

    def format(self, key: "Key", value: Any) -> str:
        """The text that parse() reads back."""
        return str(value)

    def plain(self, key: "Key", value: Any) -> Any:
        """What a file would say: text, number, boolean, list or table."""
        return self.format(key, value)

    def rule(self, key: "Key") -> str:
        """What is lawful, as a clause that begins with "must"."""
        raise NotImplementedError

    def range(self, key: "Key") -> str:
        """The bounds for a table; "" where there are none."""
        return ""

    def schema(self, key: "Key") -> dict[str, Any]:
        """JSON schema that accepts all that take() accepts."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a file or item: its name, kind, bounds and meaning."""

    name: str
    kind: Kind
    doc: str  # one sentence
    minimum: int = 0  # in the kind's own unit: ns, bytes or a number
    maximum: int = 0
    zero_off: bool = False  # 0 switches off, and "off" is a way to write it
    choices: tuple[str, ...] = ()
    required: bool = False  # in its item
    secret: bool = False

    def parse(self, text: str) -> Any:
        """From environment text. ValueError: the rule."""
        return self.kind.parse(self, text)

    def take(self, raw: object) -> Any:
        """From a file. ValueError: the rule."""
        return self.kind.take(self, raw)

    def format(self, value: Any) -> str:
        """As environment text."""
        return self.kind.format(self, value)

    def plain(self, value: Any) -> Any:
        """As a file says it."""
        return self.kind.plain(self, value)

    @property
    def rule(self) -> str:
        return self.kind.rule(self)

    @property
    def type_text(self) -> str:
        """The type for a table: the words of a choice, else the kind's name."""
        return " | ".join(self.choices) if self.choices else self.kind.type

    def schema(self) -> dict[str, Any]:
        """JSON schema of the value, with its description."""
        return {"description": self.doc, **self.kind.schema(self)}


class Number(Kind):
    """What Integer, Size and Duration share: bounds, and "off" for 0 where 0 switches off."""

    noun: str = ""
    notes: str = ""

    def read(self, text: str) -> int | None:
        """The number a text stands for; None when it is none."""
        raise NotImplementedError

    def write(self, value: int) -> str:
        """The shortest exact text."""
        raise NotImplementedError

    def bounded(self, key: Key, value: int | None) -> int:
        if value is None or not (key.minimum <= value <= key.maximum or (value == 0 and key.zero_off)):
            raise ValueError(self.rule(key))
        return value

    def parse(self, key: Key, text: str) -> int:
        word = text.strip()
        return 0 if key.zero_off and word.lower() == "off" else self.bounded(key, self.read(word))

    def format(self, key: Key, value: int) -> str:
        return "off" if key.zero_off and value == 0 else self.write(value)

    def rule(self, key: Key) -> str:
        off = ', or "off"' if key.zero_off else ""
        return f"must be {self.noun} from {self.write(key.minimum)} to {self.write(key.maximum)}{self.notes}{off}"

    def range(self, key: Key) -> str:
        return f"{self.write(key.minimum)} to {self.write(key.maximum)}"

    def words(self, key: Key, pattern: str) -> dict[str, Any]:
        """Schema of the text form."""
        return {"type": "string", "pattern": f"^\\s*({pattern}{'|[oO][fF][fF]' if key.zero_off else ''})\\s*$"}


class Integer(Number):
    type = "integer"
    noun = "a whole number"

    def __init__(self, unit: str = "-") -> None:
        self.unit = unit

    def read(self, text: str) -> int | None:
        return int(text) if _INTEGER.fullmatch(text) else None

    def write(self, value: int) -> str:
        return str(value)

    def take(self, key: Key, raw: object) -> int:
        if isinstance(raw, int) and not isinstance(raw, bool):
            return self.bounded(key, raw)
        if key.zero_off and raw == "off":
            return 0
        raise ValueError(self.rule(key))

    def plain(self, key: Key, value: int) -> int | str:
        return "off" if key.zero_off and value == 0 else value

    def schema(self, key: Key) -> dict[str, Any]:
        number = {"type": "integer", "minimum": 0 if key.zero_off else key.minimum, "maximum": key.maximum}
        return {"anyOf": [number, {"const": "off"}]} if key.zero_off else number


class Size(Number):
    type = "size"
    unit = "bytes"
    noun = "a size"
    notes = " (64KiB, 16k or bytes)"

    def __init__(self, power_of_two: bool = False) -> None:
        self.power_of_two = power_of_two

    def read(self, text: str) -> int | None:
        match = _SIZE.fullmatch(text)
        return int(match[1]) * SIZES[(match[2] or "").lower()] if match else None

    def write(self, value: int) -> str:
        for suffix, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value >= factor and value % factor == 0:
                return f"{value // factor}{suffix}"
        return str(value)

    def bounded(self, key: Key, value: int | None) -> int:
        if self.power_of_two and value is not None and value & (value - 1):
            raise ValueError(self.rule(key))
        return super().bounded(key, value)

    def take(self, key: Key, raw: object) -> int:
        if isinstance(raw, int) and not isinstance(raw, bool):
            return self.bounded(key, raw)
        value: int = super().take(key, raw)
        return value

    def rule(self, key: Key) -> str:
        return super().rule(key) + (", a power of two" if self.power_of_two else "")

    def schema(self, key: Key) -> dict[str, Any]:
        number = {"type": "integer", "minimum": key.minimum, "maximum": key.maximum}
        return {"anyOf": [number, self.words(key, "[0-9]{1,15}([kKmMgG]([iI][bB])?|[bB])?")]}


class Duration(Number):
    type = "duration"
    unit = "seconds"
    noun = "a duration"
    notes = " (250ms, 15s, 2m, 1h or seconds)"

    def read(self, text: str) -> int | None:
        match = _DURATION.fullmatch(text)
        if match is None:
            return None
        factor = NS[match[3] or "s"]
        fraction = match[2] or ""
        return int(match[1]) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)

    def write(self, value: int) -> str:
        for unit in ("h", "m", "s", "ms", "us"):
            if value >= NS[unit] and value % NS[unit] == 0:
                return f"{value // NS[unit]}{unit}"
        return f"{value}ns" if value else "0s"

    def take(self, key: Key, raw: object) -> int:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            in_range = 0 <= raw <= key.maximum / NS["s"]  # also False for nan
            return self.bounded(key, round(raw * NS["s"]) if in_range else None)
        value: int = super().take(key, raw)
        return value

    def schema(self, key: Key) -> dict[str, Any]:
        least = 0 if key.zero_off else key.minimum / NS["s"]
        number = {"type": "number", "minimum": least, "maximum": key.maximum / NS["s"]}
        return {"anyOf": [number, self.words(key, "[0-9]{1,15}(\\.[0-9]{1,9})?(ns|us|ms|s|m|h)?")]}


class Switch(Kind):
    type = "switch"

    def parse(self, key: Key, text: str) -> bool:
        word = text.strip().lower()
        if word not in ON + OFF:
            raise ValueError("must be on or off (or true, false, yes, no, 1, 0)")
        return word in ON

    def take(self, key: Key, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        if raw in ("on", "off"):
            return raw == "on"
        raise ValueError(self.rule(key))

    def format(self, key: Key, value: bool) -> str:
        return "on" if value else "off"

    def plain(self, key: Key, value: bool) -> bool:
        return value

    def rule(self, key: Key) -> str:
        return "must be true or false (or on, off)"

    def schema(self, key: Key) -> dict[str, Any]:
        return {"enum": [True, False, "on", "off"]}


class Choice(Kind):
    type = "word"

    def parse(self, key: Key, text: str) -> str:
        word = text.strip().lower()
        if word not in key.choices:
            raise ValueError(self.rule(key) + nearest(word, key.choices))
        return word

    def take(self, key: Key, raw: object) -> str:
        if not isinstance(raw, str):
            raise ValueError(self.rule(key))
        if raw not in key.choices:
            raise ValueError(self.rule(key) + nearest(raw, key.choices))
        return raw

    def rule(self, key: Key) -> str:
        return f"must be one of {', '.join(key.choices)}"

    def schema(self, key: Key) -> dict[str, Any]:
        return {"enum": list(key.choices)}


class Pattern(Kind):
    """Text of one form, given by a regular expression."""

    def __init__(self, type_: str, pattern: "re.Pattern[str]", rule: str) -> None:
        self.type = type_
        self.pattern = pattern
        self.text = rule

    def parse(self, key: Key, text: str) -> str:
        if not self.pattern.fullmatch(text):
            raise ValueError(self.text)
        return text

    def rule(self, key: Key) -> str:
        return self.text

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({self.pattern.pattern})$"}


class Pseudonym(Pattern):
    """A token, or nothing; "off" is a way to write nothing."""

    def __init__(self) -> None:
        super().__init__("token", _PSEUDONYM, 'must be a token of at most 64 characters (RFC 9110 5.6.2), or "off"')

    def parse(self, key: Key, text: str) -> str:
        return "" if text in ("", "off") else super().parse(key, text)

    def format(self, key: Key, value: str) -> str:
        return value or "off"

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({self.pattern.pattern})?$"}


NAME = Pattern("name", _NAME, "must be a name of letters, digits, '.', '_' and '-', at most 64 characters")
FILE_PATH = Pattern("path", re.compile(r"[^\x00-\x1f\x7f]{1,4095}"), "must be a path without control characters")


def is_token(text: str) -> bool:
    """Whether it is a token (RFC 9110 5.6.2), as methods and field names must be."""
    return _TOKEN.fullmatch(text) is not None
