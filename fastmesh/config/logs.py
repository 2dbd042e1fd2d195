"""Kinds of values for logs: the access log's format and the process log's words."""

import re
from collections.abc import Iterator
from typing import Any

from fastmesh.config.model import LOG_LEVELS, Log
from fastmesh.config.problems import nearest
from fastmesh.config.values import Key, Kind, is_token

# What a template can name; the core's LogField. `header` takes the name of a request field: {header:x-request-id}.
LOG_FIELDS = (
    "client_addr", "client_port", "time_local", "time_iso", "status", "request_bytes", "response_bytes", "body_bytes",
    "duration_ms", "duration_us", "upstream_addr", "upstream_ms", "listener", "route", "fault", "retries",
    "grpc_status", "method", "target", "version", "host", "user_agent", "referer", "header",
)  # fmt: skip
HEADER_FIELD = "header"
FORMATS = ("off", "json", "combined")
TEMPLATE_BYTES_MAX = 4096
PARTS_MAX = 127  # LOG_PARTS_MAX of the core, less one for the end of the line

_TEXT = re.compile(r"[^\x00-\x1f\x7f]*")  # a control byte, above all a line feed, would make one line two
_PIECE = re.compile(
    r"(?P<text>(?:[^{}]|\{\{|\}\})+)|\{(?P<name>[^{}:]*)(?P<colon>:?)(?P<argument>[^{}]*)\}|(?P<lone>[{}])"
)


class LogFormat(Kind):
    """off, json, combined or a template."""

    type = "off | json | combined | template"

    def parse(self, key: Key, text: str) -> str:
        if text in FORMATS:
            return text
        pieces = list(_PIECE.finditer(text))
        if len(text.encode()) > TEMPLATE_BYTES_MAX or not _TEXT.fullmatch(text) or len(pieces) > PARTS_MAX:
            raise ValueError(self.rule(key))
        rules = [rule for piece in pieces for rule in _piece_rules(piece)]
        if rules:
            raise ValueError("; ".join(rules))
        if not any(piece["name"] for piece in pieces):
            raise ValueError(self.rule(key) + nearest(text, FORMATS))
        return text

    def rule(self, key: Key) -> str:
        return (
            "must be off, json, combined or a template with at least one {field}, "
            f"at most {TEMPLATE_BYTES_MAX} bytes and {PARTS_MAX} parts, no control characters"
        )

    def schema(self, key: Key) -> dict[str, Any]:
        return {"type": "string", "maxLength": TEMPLATE_BYTES_MAX}


def _piece_rules(piece: "re.Match[str]") -> Iterator[str]:
    """What is wrong with one piece of a template."""
    name, lone = piece["name"], piece["lone"]
    if lone:
        yield f"must have a partner for the {lone!r} at character {piece.start()}; a brace itself is written twice"
    elif piece["text"] is None and name not in LOG_FIELDS:
        yield f"must not name {{{name}}}: fields are {', '.join(LOG_FIELDS)}{nearest(name, LOG_FIELDS)}"
    elif name == HEADER_FIELD and not is_token(piece["argument"]):
        yield "must name a request header: {header:x-request-id}"
    elif name not in (None, HEADER_FIELD) and piece["colon"]:
        yield f"must not give {{{name}}} an argument; only {{header:NAME}} takes one"


class LogWords(Kind):
    """level[,json]"""

    type = "level[,json]"

    def parse(self, key: Key, text: str) -> Log:
        words = [word.strip().lower() for word in text.split(",")]
        level = next((known for known in LOG_LEVELS if known == words[0]), None)
        if level is None or words[1:] not in ([], ["json"], ["text"]):
            raise ValueError(self.rule(key) + nearest(words[0], LOG_LEVELS))
        return Log(level, "json" in words)

    def format(self, key: Key, value: Log) -> str:
        return f"{value.level},json" if value.json else value.level

    def rule(self, key: Key) -> str:
        return f"must be one of {', '.join(LOG_LEVELS)}, followed by ,json for JSON lines"
