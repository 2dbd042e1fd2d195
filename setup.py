"""Builds the compiled core: one extension module for every .pyx below fastmesh/_core.

Environment:
    FASTMESH_PROFILE  release (default) | debug | asan | tsan   memory checks compiled into the core. Any other profile
                      than release builds into build/PROFILE, never in place
    FASTMESH_WERROR   1: warnings of the generated C are errors, built into build/*-werror (CI only, never at install)
    FASTMESH_C        a directory: translate every .pyx into C below it, afresh, say everything Cython has to say, and
                      build nothing (tools/check_nogil reads it)
    FASTMESH_PROBES   1: also build tests/probe/*.pyx, which show core functions to the tests
    FASTMESH_ONLY     comma-separated path prefixes below fastmesh/_core to build alone (development)
    CC                the compiler; unset: gcc by way of ccache where that is installed
"""

import os
import platform
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
    sys.exit(
        "fastmesh needs CPython 3.11 or newer; "
        f"this is {sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}."
    )
if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    sys.exit(
        "fastmesh runs on Linux on x86_64 and aarch64 only; "
        f"this machine is {sys.platform} on {platform.machine()}."
    )

from Cython.Build import cythonize  # noqa: E402  (only a supported machine needs it)
from setuptools import Extension, setup  # noqa: E402
from setuptools.command.build_ext import build_ext  # noqa: E402

PROFILE = os.environ.get("FASTMESH_PROFILE", "release")
WERROR = os.environ.get("FASTMESH_WERROR") == "1"
BUILD = f"{PROFILE}-werror" if WERROR else PROFILE
JOBS = len(os.sched_getaffinity(0))

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
    # Fewer pages for each of many small modules: all of them are mapped by every sidecar.
    "release": (["-O3", "-DNDEBUG", "-fno-semantic-interposition", "-fno-plt"], ["-Wl,-z,noseparate-code"]),
    "debug": (["-O1", "-g", "-DFASTMESH_DEBUG=1"], []),
    "asan": (
        ["-O1", "-g", "-DFASTMESH_DEBUG=1", "-DFASTMESH_ASAN=1", "-fno-omit-frame-pointer",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
        ["-fsanitize=address,undefined"],
    ),
    "tsan": (["-O1", "-g", "-fsanitize=thread"], ["-fsanitize=thread"]),
}
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]


class BuildCore(build_ext):
    """One compiler per processor; a directory per profile, and a wheel never sees what a developer built in place."""

    def finalize_options(self) -> None:
        if BUILD != "release" or self.inplace:
            self.inplace = self.inplace and BUILD == "release"
            self.build_lib = self.build_lib or f"build/{BUILD}"
            self.build_temp = self.build_temp or f"build/temp-{BUILD}"
        super().finalize_options()
        self.parallel = self.parallel or JOBS


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


def extension(path: Path, cflags: list[str], ldflags: list[str], headers: list[str]) -> Extension:
    relative = path.relative_to(ROOT)
    name = ".".join(relative.with_suffix("").parts)
    return Extension(
        name,
        [str(relative)],
        include_dirs=["fastmesh/_core/ffi"],
        depends=headers,
        extra_compile_args=["-std=gnu11", *cflags],
        extra_link_args=list(ldflags),
    )


def extensions() -> list[Extension]:
    if PROFILE not in PROFILES:
        sys.exit(f"FASTMESH_PROFILE={PROFILE}: must be one of {', '.join(PROFILES)}.")
    cflags, ldflags = PROFILES[PROFILE]
    if WERROR:
        cflags = [*cflags, *WARNINGS]
    headers = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "fastmesh" / "_core").rglob("*.h"))
    return [extension(path, cflags, ldflags, headers) for path in sources()]


def translate(out: str | None) -> list[Extension]:
    translated: list[Extension] = cythonize(
        extensions(),
        nthreads=JOBS,
        compiler_directives=DIRECTIVES,
        include_path=[str(ROOT)],
        build_dir=out,
        force=bool(out),
    )
    return translated


if __name__ == "__main__":
    if out := os.environ.get("FASTMESH_C"):
        translate(out)
        sys.exit(0)
    if shutil.which("ccache") and shutil.which("gcc"):
        os.environ.setdefault("CC", "ccache gcc")
    setup(ext_modules=translate(None), cmdclass={"build_ext": BuildCore})
