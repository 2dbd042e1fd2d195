"""Fails where anything below the bridge could touch the GIL, Python objects or exceptions.

Three looks: at the source (signatures, banned words), at what Cython says (performance hints), and at the generated C
(no call into the interpreter inside a core function).
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.source import PYTHON, ROOT, Finding, Line, core_files, layer_of, logical_lines, module_of, report

OUT = ROOT / "build" / "check"

BANNED = {
    r"\braise\b": "raise",
    r"\bassert\b": "assert",
    r"\btry\s*:": "try",
    r"\bwith\s+gil\b": "with gil",
    r"\[\s*(?:::?1?|:\s*,[\s:,1]*)\s*\](?=\s*\w)": "a memoryview type",
    r"\bcdef\s+(?:public\s+)?class\b": "a cdef class",
    r"\bfused\b": "a fused type",
    r"\bcpdef\b": "cpdef",
    r"^(?:async\s+)?def\b": "def",
    r"^class\b": "class",
    r"^import\b|^from\b.*\bimport\b": "a Python import",
    r"\bexcept\b": "except",
    r"\blambda\b": "lambda",
    r"\byield\b": "yield",
    r"^print\b": "print",
    r"\bcdef\s+object\b|<\s*object\s*>|[(,]\s*object\s+\w": "a Python object",
}
IN_C = ("__Pyx_ErrOccurredWithGIL(", "PyGILState_Ensure", "__Pyx_WriteUnraisable", "PyErr_", "PyObject")

_DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*cython[ \t]*:", re.MULTILINE)
_POINTER = re.compile(r"\w[\s*]*\(\s*\*+\s*\w*\s*\)\s*\(")  # void (*name)(
_NAMED = re.compile(r"\w\s*\((?!\s*\*)")  # name(
_C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
_C_FUNCTION = re.compile(r"^(?!typedef|struct|union|enum)\w[^\n;{}=]*?\b(__pyx_f_\w+)\(.*?\)\s*\{$", re.MULTILINE)


def _closing(text: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return len(text)


def _signatures(text: str, in_extern: bool) -> list[str]:
    """What follows each parameter list a logical line declares: a function's own, and those of function pointers."""
    head = text.split("=", 1)[0]
    opening = [m.end() - 1 for m in _POINTER.finditer(head)]
    if in_extern or re.match(r"(?:cdef|ctypedef)\b", text):
        opening += [m.end() - 1 for m in [_NAMED.search(head)] if m]
    tails = [head[_closing(head, at) + 1 :] for at in sorted(set(opening))]
    return [re.split(r"[,):]", tail, maxsplit=1)[0].strip() for tail in tails]


def _lawful(tail: str, given: set[str]) -> bool:
    said = {word for word in ("noexcept", "nogil") if re.search(rf"\b{word}\b", tail)}
    return said | given == {"noexcept", "nogil"}


def unsafe_signatures(lines: list[Line], path: str) -> list[Finding]:
    found: list[Finding] = []
    extern_indent: int | None = None
    given: set[str] = set()
    for line in lines:
        if extern_indent is not None and line.indent <= extern_indent:
            extern_indent, given = None, set()
        if re.match(r"cdef\s+extern\b", line.text):
            extern_indent = line.indent
            given = {word for word in ("noexcept", "nogil") if re.search(rf"\b{word}\b", line.text)}
            continue
        if not all(_lawful(tail, given) for tail in _signatures(line.text, extern_indent is not None)):
            found.append(Finding(path, line.number, f"a signature that does not end in noexcept nogil: {line.text}"))
    return found


def banned_words(lines: list[Line], path: str) -> list[Finding]:
    return [
        Finding(path, line.number, f"{what} below the bridge: {line.text}")
        for line in lines
        for pattern, what in BANNED.items()
        if re.search(pattern, line.text)
    ]


def check_source(source: str, path: str, below_bridge: bool) -> list[Finding]:
    found = [
        Finding(path, source.count("\n", 0, m.start()) + 1, "directives live in setup.py, not in a # cython: header")
        for m in _DIRECTIVE.finditer(source)
    ]
    if below_bridge:
        lines = list(logical_lines(source))
        found += banned_words(lines, path) + unsafe_signatures(lines, path)
    return found


def core_functions(c: str) -> Iterator[tuple[str, int, str]]:
    """Name, first line and body of every C function that was a cdef function."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n")

    text = _C_COMMENT.sub(blank, c)
    for match in _C_FUNCTION.finditer(text):
        end = text.find("\n}", match.end())
        yield match[1], text.count("\n", 0, match.start()) + 1, text[match.start() : end]


def check_c(c: str, path: str) -> list[Finding]:
    found = []
    for name, start, body in core_functions(c):
        for offset, line in enumerate(body.split("\n")):
            found += [Finding(path, start + offset, f"{word} in {name}") for word in IN_C if word in line]
    return found


def check_messages(messages: str) -> list[Finding]:
    hints = re.finditer(r"^performance hint: ([^\n:]+):(\d+):\d+: ([^\n]*)", messages, re.MULTILINE)
    return [Finding(match[1], int(match[2]), f"performance hint: {match[3]}") for match in hints]


def translate(out: Path) -> str:
    """Translates the core afresh below `out`; returns what Cython said. Ends the program when Cython refuses."""
    environment = {**os.environ, "FASTMESH_C": str(out.relative_to(ROOT))}
    environment.pop("FASTMESH_ONLY", None)
    environment.pop("FASTMESH_PROBES", None)
    done = subprocess.run(
        [sys.executable, "setup.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout + done.stderr


def main() -> int:
    found = check_messages(translate(OUT))
    for path in core_files():
        shown = str(path.relative_to(ROOT))
        below = layer_of(module_of(path)) not in PYTHON
        found += check_source(path.read_text(), shown, below)
        translated = (OUT / shown).with_suffix(".c")
        if path.suffix == ".pyx" and below:
            found += check_c(translated.read_text(), str(translated.relative_to(ROOT)))
    return report("check_nogil", found)


if __name__ == "__main__":
    sys.exit(main())
