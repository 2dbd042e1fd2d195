"""The suite on a core built with AddressSanitizer and UndefinedBehaviorSanitizer.

The sanitized core lives in build/asan together with a copy of everything else the suite needs, so that neither build
ever sees the other's modules. Python allocates with malloc, so that the sanitizer sees every block.

    python -m tools.asan --build            build, and bring the copy up to date
    python -m tools.asan [pytest arguments] run
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.source import ROOT

TREE = ROOT / "build" / "asan"
NOT_COPIED = {"build", "dist"}
BUILT = {".so", ".o", ".pyc"}
ASAN_OPTIONS = "allocator_may_return_null=1:strict_string_checks=1"
UBSAN_OPTIONS = "print_stacktrace=1:halt_on_error=1"
# CPython keeps blocks to its end, by its own allocators; so does what makes the tests' certificates.
SUPPRESSIONS = "leak:_PyMem_\nleak:PyMem_\nleak:PyObject_\nleak:_PyObject_\nleak:_rust.abi3.so\nleak:_cffi_backend\n"


def build() -> None:
    environment = {**os.environ, "FASTMESH_PROFILE": "asan", "FASTMESH_PROBES": "1"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext"], cwd=ROOT, env=environment, check=True)


def _foreign(path: Path) -> bool:
    translated = path.suffix == ".c" and path.with_suffix(".pyx").exists()
    return translated or path.suffix in BUILT or "__pycache__" in path.parts or ".benchmarks" in path.parts


def _sources() -> list[Path]:
    found = []
    for top in ROOT.iterdir():
        if top.name not in NOT_COPIED and not top.name.startswith("."):
            below = top.rglob("*") if top.is_dir() else [top]
            found += [path.relative_to(ROOT) for path in below if path.is_file() and not _foreign(path)]
    return found


def mirror() -> None:
    """Makes build/asan hold the sources as they are now; what the compiler put there stays."""
    wanted = set(_sources())
    for path in wanted:
        target = TREE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.stat().st_mtime_ns != (ROOT / path).stat().st_mtime_ns:
            shutil.copy2(ROOT / path, target)
    for path in TREE.rglob("*"):
        if path.is_file() and not _foreign(path) and path.relative_to(TREE) not in wanted:
            path.unlink()
    modules = {path.relative_to(TREE).with_name(path.name.split(".")[0] + ".pyx") for path in TREE.rglob("*.so")}
    for module in modules - wanted:
        for built in (TREE / module).parent.glob(f"{module.stem}.*.so"):
            built.unlink()


def _runtime(name: str) -> str:
    shown = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = Path(shown.stdout.strip()).resolve()
    if not path.is_absolute() or not path.exists():
        sys.exit(f"gcc has no {name}")
    return str(path)


def _sanitized() -> dict[str, str]:
    suppressions = TREE / "lsan.supp"
    suppressions.write_text(SUPPRESSIONS)
    environment = {
        **os.environ,
        "LD_PRELOAD": f"{_runtime('libasan.so')} {_runtime('libubsan.so')}",
        "PYTHONMALLOC": "malloc",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ASAN_OPTIONS": f"{ASAN_OPTIONS}:detect_leaks=1",
        "LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0",
        "UBSAN_OPTIONS": UBSAN_OPTIONS,
    }
    probe = subprocess.run([sys.executable, "-c", ""], env=environment, capture_output=True, text=True, check=False)
    if "LeakSanitizer has encountered a fatal error" in probe.stderr:
        print("leaks are not looked for: this machine allows no ptrace", flush=True)
        environment["ASAN_OPTIONS"] = f"{ASAN_OPTIONS}:detect_leaks=0"
    return environment


def run(arguments: list[str]) -> int:
    """Runs the suite; returns pytest's exit code, or the leak detector's when only that found something."""
    environment = _sanitized()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=300", *arguments]
    return subprocess.run(command, cwd=TREE, env=environment, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:] == ["--build"]:
        build()
        mirror()
    else:
        sys.exit(run(sys.argv[1:]))
