"""Reading Cython source as far as the rules of the core need it: without comments and strings, by logical line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "fastmesh" / "_core"
LAYERS = ("ffi", "base", "wire", "routing", "io", "build", "bridge")  # from the bottom up
PYTHON = ("build", "bridge")  # those that handle Python objects: a module each, no package

_TEXT = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<string>[a-zA-Z]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Line:
    """A logical line: brackets and backslashes joined, its comments gone, every string replaced by ''."""

    number: int
    indent: int
    text: str


def bare(source: str) -> str:
    """The source with comments gone and strings emptied; line numbers stay."""

    def blank(match: re.Match[str]) -> str:
        kept = "" if match["comment"] else "''"
        return kept + "\n" * match[0].count("\n")

    return _TEXT.sub(blank, source)


def logical_lines(source: str) -> Iterator[Line]:
    pending: list[str] = []
    start = depth = 0
    for number, raw in enumerate(bare(source).split("\n"), 1):
        if not pending:
            start = number
        text = raw.rstrip()
        goes_on = text.endswith("\\")
        pending.append(text.removesuffix("\\"))
        depth += sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))
        if depth > 0 or goes_on:
            continue
        whole = " ".join([pending[0].rstrip(), *(part.strip() for part in pending[1:])])
        if whole.strip():
            yield Line(start, len(whole) - len(whole.lstrip()), whole.strip())
        pending, depth = [], 0


def core_files(core: Path = CORE) -> list[Path]:
    return sorted([*core.rglob("*.pyx"), *core.rglob("*.pxd")])


def layer_of(module: str) -> str | None:
    """The layer a dotted module below fastmesh._core belongs to; None for what is no part of the core."""
    parts = module.split(".")
    if parts[:2] != ["fastmesh", "_core"] or len(parts) < 3:
        return None
    return parts[2]


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def report(name: str, findings: list[Finding]) -> int:
    for finding in findings:
        print(finding)
    print(f"{name}: {f'{len(findings)} found' if findings else 'clean'}")
    return 1 if findings else 0
