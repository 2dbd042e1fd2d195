"""The access log: formats compiled for the core, and the thread that flushes lines to a file or standard output.

A template is literal text with `{field}` and `{field:argument}`; `{{` and `}}` are braces. Names of fields are the
core's (`LOG_FIELDS`). Workers write lines into rings; one daemon thread gathers them into big writes.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from fastmesh._core.spec import LogTemplateSpec

if TYPE_CHECKING:
    from fastmesh._core.bridge import LogRing

LITERAL = 0  # instead of a field's number
ESCAPE_COMBINED = 0
ESCAPE_JSON = 1
_PIECE = re.compile(r"(?P<text>(?:[^{}]|\{\{|\}\})+)|\{(?P<name>[^{}:]+):?(?P<argument>[^{}]*)\}")

# The combined format of Apache httpd ("%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"") and nginx.
COMBINED = (
    "{client_addr} - - [{time_local}]"
    ' "{method} {target} {version}" {status} {body_bytes} "{referer}" "{user_agent}"'
)

# Keys of the JSON format in the order of a line. Numbers are written bare, everything else as a string.
JSON_FIELDS = (
    "time_iso", "client_addr", "client_port", "listener", "method", "host", "target", "version", "status",
    "request_bytes", "response_bytes", "duration_ms", "route", "upstream_addr", "upstream_ms", "retries", "fault",
    "user_agent", "referer",
)  # fmt: skip
JSON_NUMBERS = frozenset(
    ("client_port", "status", "request_bytes", "response_bytes", "body_bytes", "duration_ms", "upstream_ms", "retries")
)


def compile_template(text: str, fields: Mapping[str, int]) -> LogTemplateSpec:
    """`json`, `combined` or a template that the configuration has accepted, for the core, which ends the line.

    `fields`: the core's numbers by name. KeyError when one is missing.
    """
    if text == "json":
        return LogTemplateSpec(tuple(_parts(_json_template(), fields)), ESCAPE_JSON)
    return LogTemplateSpec(tuple(_parts(COMBINED if text == "combined" else text, fields)), ESCAPE_COMBINED)


def _json_template() -> str:
    pairs = (
        f'"{name}":{{{name}}}' if name in JSON_NUMBERS else f'"{name}":"{{{name}}}"' for name in JSON_FIELDS
    )
    return "{{" + ",".join(pairs) + "}}"


def _parts(template: str, fields: Mapping[str, int]) -> Iterator[tuple[int, bytes]]:
    for piece in _PIECE.finditer(template):
        if piece["text"] is not None:
            yield LITERAL, piece["text"].replace("{{", "{").replace("}}", "}").encode()
        else:
            yield fields[piece["name"]], piece["argument"].lower().encode()


def open_file(path: str) -> int:
    """A new descriptor to append to; "-" is standard output. Raises OSError."""
    if path == "-":
        return os.dup(1)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _open_nothing() -> int:
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


class AccessLog:
    """Where the lines go. Owns one file descriptor whose number never changes: another file is put under it.

    `log` is the process log. Methods are called from the loop's thread only.
    """

    def __init__(self, ring: "LogRing", log: Callable[..., None]) -> None:
        self._ring = ring
        self._log = log
        self._path = ""  # empty: nothing is written
        self._fd = _open_nothing()
        self._thread: threading.Thread | None = None
        self._ended = 0  # errno that ended the flusher
        self._told = 0  # errno that the process log has been told of
        self._leaving = 0  # looks until the file is given up
        self.failures = 0

    def open(self, path: str) -> None:
        """Writes to `path` ("-": standard output) from now on; starts the flusher when needed. Raises OSError."""
        self._put_under(open_file(path))
        self._path = path
        self._leaving = self._told = 0
        self._start()

    def reopen(self) -> None:
        """Opens the path again, for rotation; on failure the old file stays and the log says so."""
        if not self._path:
            return
        try:
            self.open(self._path)
        except OSError as error:
            self.failures += 1
            self._log("error", "access log not reopened", path=self._path, error=error.strerror)

    def leave(self) -> None:
        """No more lines are made: gives the file up once those in the rings are written."""
        self._path = ""
        self._leaving = 2

    def look(self) -> None:
        """Called about once a second: starts the flusher again after an error ended it (full disk, closed pipe; lines
        are dropped meanwhile), and gives up a file that is not written any more."""
        if self._leaving:
            self._leaving -= 1
            if not self._leaving:
                self._put_under(_open_nothing())
        if self._thread is not None and not self._thread.is_alive() and self._ended:
            self.failures += 1
            if self._ended != self._told:
                self._log("error", "access log interrupted", path=self._path, error=os.strerror(self._ended))
            self._told = self._ended
            self._start()

    def close(self, timeout_s: float) -> None:
        """Flushes what the rings hold, ends the thread and closes the file."""
        if self._thread is not None:
            self._ring.stop()
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return  # it may still write: its file stays open until the process ends
            self._thread = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _put_under(self, fd: int) -> None:
        """Makes the descriptor the flusher writes to mean another file; takes `fd`."""
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._ended = 0
        self._thread = threading.Thread(target=self._run, name="fastmesh-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._ended = self._ring.run(self._fd)
