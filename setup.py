"""Builds the compiled core: one extension module for every .pyx below fastmesh/_core.

Environment:
    FASTMESH_PROFILE  release (default) | debug | asan | tsan   memory checks compiled into the core
    FASTMESH_WERROR   1: warnings of the generated C are errors (CI only, never at install)
    FASTMESH_PROBES   1: also build tests/probe/*.pyx, which show core functions to the tests
    FASTMESH_ONLY     comma-separated path prefixes below fastmesh/_core to build alone (development)
"""

import os
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent

if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    sys.exit(
        "fastmesh runs on Linux on x86_64 and aarch64 only; "
        f"this machine is {sys.platform} on {platform.machine()}."
    )

from Cython.Build import cythonize  # noqa: E402  (only a supported machine needs it)

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "nonecheck": False,
    "cdivision": True,
    "overflowcheck": False,
    "infer_types": False,
    "legacy_implicit_noexcept": False,
    "show_performance_hints": True,
    "embedsignature": True,
    "binding": False,
}

PROFILES = {
    "release": (["-O3", "-DNDEBUG", "-fno-semantic-interposition", "-fno-plt"], []),
    "debug": (["-O1", "-g", "-DFASTMESH_DEBUG=1"], []),
    "asan": (
        ["-O1", "-g", "-DFASTMESH_DEBUG=1", "-DFASTMESH_ASAN=1", "-fno-omit-frame-pointer",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-sanitize=function"],
        ["-fsanitize=address,undefined"],
    ),
    "tsan": (["-O1", "-g", "-fsanitize=thread"], ["-fsanitize=thread"]),
}
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]


def sources() -> list[Path]:
    only = [p for p in os.environ.get("FASTMESH_ONLY", "").split(",") if p]
    core = ROOT / "fastmesh" / "_core"
    found = sorted(core.rglob("*.pyx"))
    if only:
        found = [p for p in found if any(str(p.relative_to(core)).startswith(o) for o in only)]
    if os.environ.get("FASTMESH_PROBES") == "1":
        probes = sorted((ROOT / "tests" / "probe").glob("*.pyx"))
        found += [p for p in probes if not only or any(p.stem.startswith(o.replace("/", "_")) for o in only)]
    return found


def extension(path: Path, cflags: list[str], ldflags: list[str]) -> Extension:
    relative = path.relative_to(ROOT)
    name = ".".join(relative.with_suffix("").parts)
    return Extension(
        name,
        [str(relative)],
        include_dirs=[str(ROOT / "fastmesh" / "_core" / "ffi")],
        extra_compile_args=["-std=gnu11", *cflags],
        extra_link_args=list(ldflags),
    )


def extensions() -> list[Extension]:
    cflags, ldflags = PROFILES[os.environ.get("FASTMESH_PROFILE", "release")]
    if os.environ.get("FASTMESH_WERROR") == "1":
        cflags = [*cflags, *WARNINGS]
    return [extension(path, cflags, ldflags) for path in sources()]


jobs = len(os.sched_getaffinity(0))
setup(ext_modules=cythonize(extensions(), nthreads=jobs, compiler_directives=DIRECTIVES, include_path=[str(ROOT)]))
