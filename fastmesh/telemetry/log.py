"""The process log: one line per event on standard error, `key=value` text or JSON.

A line is one write(2), so lines of several processes on one pipe do not mix. Each line has `time` (UTC, milliseconds),
`level` and `msg`; further keys are the event's own. The level can be changed while the process runs.
"""

import json
import os
import time
from collections.abc import Callable
from typing import get_args

from fastmesh.config.model import LogLevel

LEVELS: tuple[str, ...] = get_args(LogLevel)
# Characters that make a value need quotes in `key=value` text; everything else stays readable and greppable.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/,;+@%*[]()<>&!?~|$#'")


def _timestamp(now_s: float) -> str:
    whole = int(now_s)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((now_s - whole) * 1000):03d}Z"


def _text_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if text and _PLAIN.issuperset(text):
        return text
    quoted = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in quoted)


def _escaped(char: str) -> str:
    """A character that a terminal or a line splitter might act on, as JSON writes it (UTF-16 code units)."""
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _json_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).encode("utf-8", "replace").decode()


class ProcessLog:
    """Calling it writes a line: `log("warning", "config refused", file=path)`.

    `fd` is borrowed. A line that cannot be written (closed pipe, full non-blocking pipe) is dropped and counted in
    `dropped`: the log never ends or stops the process.
    """

    def __init__(self, level: LogLevel = "info", json: bool = False, fd: int = 2) -> None:
        self.json = json
        self.dropped = 0
        self._fd = fd
        self.level: LogLevel = level

    @property
    def level(self) -> LogLevel:
        """Lines below this level are not written."""
        return self._level

    @level.setter
    def level(self, level: LogLevel) -> None:
        if level not in LEVELS:
            raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
        self._level = level
        self._rank = LEVELS.index(level)

    def __call__(self, level: LogLevel, message: str, **fields: object) -> None:
        """Writes the line when `level` is at or above the log's own level."""
        if LEVELS.index(level) >= self._rank:
            self.always(level, message, **fields)

    def always(self, level: LogLevel, message: str, **fields: object) -> None:
        """Writes the line whatever the level: for the start line, which scripts read."""
        pairs: dict[str, object] = {"time": _timestamp(time.time()), "level": level, "msg": message, **fields}
        if self.json:
            line = json.dumps(
                {key: _json_value(value) for key, value in pairs.items()}, ensure_ascii=False, separators=(",", ":")
            ).encode()
        else:
            line = " ".join(f"{key}={_text_value(value)}" for key, value in pairs.items()).encode()
        try:
            os.write(self._fd, line + b"\n")
        except OSError:
            self.dropped += 1


class RateLimit:
    """Lets `burst` events of a kind through per `window_s` seconds and counts the others.

    `clock` answers seconds that never go back.
    """

    def __init__(self, burst: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._window_s = window_s
        self._clock = clock
        self._kinds: dict[str, tuple[float, int, int]] = {}  # kind: (window start, passed, held back)

    def take(self, kind: str) -> int:
        """-1: hold this event back. Otherwise it passes, and the answer says how many were held back before it."""
        now = self._clock()
        start, passed, held = self._kinds.get(kind, (now, 0, 0))
        if now - start >= self._window_s:
            self._kinds[kind] = (now, 1, 0)
            return held
        if passed < self._burst:
            self._kinds[kind] = (start, passed + 1, 0)
            return held
        self._kinds[kind] = (start, passed, held + 1)
        return -1
