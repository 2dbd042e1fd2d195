"""Fails on any dependency that does not point down.

Core: bridge > build > io > routing > wire > base > ffi by cimport; no cycle anywhere. Python: cli > app > {publish,
workers, discovery, identity, admin, telemetry} > config, siblings never import each other, and few touch the core.
"""

import ast
import re
import sys
from typing import NamedTuple

from tools.source import LAYERS, PYTHON, ROOT, Finding, core_files, layer_of, logical_lines, module_of, report

# The kernel and the clock are io's affair; base may reserve memory. Target: the layers, or the modules, that may.
KERNEL = {"fastmesh._core.ffi.linux": ("io", "base", "bridge"), "posix": ("io",), "libc.time": ("io",)}
CLOCK = {"fastmesh._core.base.clock": ("fastmesh._core.io.worker", "fastmesh._core.bridge")}

PACKAGES = {"fastmesh", "fastmesh._core", *(f"fastmesh._core.{layer}" for layer in LAYERS if layer not in PYTHON)}

# Python: which level a top-level part of the package has. A part may import only lower levels (and itself).
LEVELS = {
    "__main__": 5,
    "cli": 4,
    "app": 3,
    "check": 3,
    "redirect": 3,
    "publish": 2,
    "workers": 2,
    "discovery": 2,
    "identity": 2,
    "admin": 2,
    "telemetry": 2,
    "config": 1,
    "": 0,  # fastmesh itself: its version
}
TOUCHES_CORE = {"publish", "workers", "telemetry"}


def _root_relative(module: str, package: str) -> str:
    """An absolute dotted name for a possibly relative one."""
    dots = len(module) - len(module.lstrip("."))
    if dots == 0:
        return module
    parts = package.split(".")
    base = parts[: len(parts) - dots + 1]
    return ".".join([*base, *filter(None, [module.lstrip(".")])])


class Cimport(NamedTuple):
    line: int
    module: str
    calls: bool  # a function (or a whole module) is named, not only types and constants


def cimports(source: str, package: str) -> list[Cimport]:
    """Every cimport; a name cimported from a package counts as that package's module."""
    found: list[Cimport] = []
    for line in logical_lines(source):
        if match := re.match(r"from\s+([.\w]+)\s+cimport\s+(.+)", line.text):
            module = _root_relative(match[1], package)
            names = [name.split(" as ")[0].strip() for name in match[2].strip("() ").split(",") if name.strip()]
            found += [
                Cimport(line.number, f"{module}.{name}" if module in PACKAGES else module, not name[0].isupper())
                for name in names
            ]
        elif match := re.match(r"cimport\s+(.+)", line.text):
            found += [Cimport(line.number, name.split(" as ")[0].strip(), True) for name in match[1].split(",")]
    return found


def _right(module: str, target: str) -> str | None:
    """Why `module` may not cimport `target`; None when it may."""
    layer, target_layer = layer_of(module), layer_of(target)
    for name, layers in KERNEL.items():
        if (target == name or target.startswith(name + ".")) and layer not in (*layers, "ffi"):
            return f"{layer} knows no kernel"
    for name, modules in CLOCK.items():
        if target == name and module not in (*modules, name):
            return "only io/worker reads the clock"
    if target_layer is None or layer is None:
        return None
    if layer not in LAYERS or target_layer not in LAYERS:
        return f"{target_layer if layer in LAYERS else layer} is no layer of the core"
    if LAYERS.index(target_layer) > LAYERS.index(layer):
        return f"{layer} is below {target_layer}"
    return None


def check_cimports(sources: dict[str, tuple[str, str]]) -> list[Finding]:
    """`sources`: path -> (dotted module, text).

    A cycle is one of calls: two modules that know each other's types are one design, two that call each other are one
    module. A .pyx and its .pxd count as one.
    """
    found: list[Finding] = []
    edges: dict[str, set[str]] = {}
    for path, (module, text) in sources.items():
        seen = set()
        for number, target, calls in cimports(text, module.rpartition(".")[0]):
            why = _right(module, target)
            if why and (number, target) not in seen:
                found.append(Finding(path, number, f"cimports {target}: {why}"))
            seen.add((number, target))
            if calls and target != module:
                edges.setdefault(module, set()).add(target)
    found += [Finding(" > ".join(cycle), 0, "a cycle of cimports") for cycle in cycles(edges)]
    return found


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """One path for every back edge of a depth-first walk."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(node: str, trail: list[str]) -> None:
        if node in trail:
            found.append([*trail[trail.index(node) :], node])
            return
        if node in done:
            return
        for target in sorted(edges.get(node, ())):
            walk(target, [*trail, node])
        done.add(node)

    for node in sorted(edges):
        walk(node, [])
    return found


def imports(source: str, package: str) -> list[tuple[int, str]]:
    """Line and dotted name of every import, type-checking ones included; `from m import n` gives m.n."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _root_relative("." * node.level + (node.module or ""), package)
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


def _part(module: str) -> str:
    """The top-level part of the package a dotted name lies in ("" for fastmesh itself)."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (parts[1] in LEVELS or parts[1] == "_core") else ""


def check_imports(sources: dict[str, tuple[str, str, str]]) -> list[Finding]:
    """`sources`: path -> (dotted module, its package, text)."""
    found: list[Finding] = []
    for path, (module, package, text) in sources.items():
        part = _part(module)
        if part == "" and module != "fastmesh":
            found.append(Finding(path, 1, f"{module} has no place among {', '.join(filter(None, LEVELS))}"))
            continue
        for number, target in imports(text, package):
            if target.split(".")[0] != "fastmesh":
                continue
            other = _part(target)
            if other == part:
                continue
            if other == "_core":
                if part not in TOUCHES_CORE:
                    found.append(Finding(path, number, f"imports {target}: only {', '.join(sorted(TOUCHES_CORE))} may"))
            elif part == "_core" or LEVELS[other] >= LEVELS[part]:
                found.append(Finding(path, number, f"imports {target}: {part or 'fastmesh'} is not above {other}"))
    return found


def main() -> int:
    core = {str(path.relative_to(ROOT)): (module_of(path), path.read_text()) for path in core_files()}
    python = {}
    for path in sorted((ROOT / "fastmesh").rglob("*.py")):
        module = module_of(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        python[str(path.relative_to(ROOT))] = (module, package, path.read_text())
    return report("check_layers", check_cimports(core) + check_imports(python))


if __name__ == "__main__":
    sys.exit(main())
