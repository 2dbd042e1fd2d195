"""Fuzzes the core with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tools.fuzz                        every target for 60 s each
    python -m tools.fuzz --seconds 600 wire_head
    python -m tools.fuzz --replay FILE wire_head

A target is a C function of a probe, `tests/probe/*_fuzz.pyx` says which laws it checks. Its seeds, and every input that
ever broke a law, are in tests/corpus/fuzz/TARGET; the suite runs them all. What a run finds new it keeps in
build/fuzz/corpus/TARGET, and what breaks a law in build/fuzz/crashes: copy that to the seeds when it is mended.
"""

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from tools.source import ROOT

BUILD = ROOT / "build" / "fuzz"
SEEDS = ROOT / "tests" / "corpus" / "fuzz"
CLANG = os.environ.get("FUZZ_CC", "clang-14")
SANITIZE = "-fsanitize=address,undefined"
FLAGS = ["-O1", "-g", "-std=gnu11", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined", "-w",
         "-DFASTMESH_DEBUG=1", "-DFASTMESH_ASAN=1"]  # fmt: skip
# What the probes with targets need, as prefixes below fastmesh/_core.
SOURCES = ("io", "routing", "wire", "base")
# CPython keeps blocks until its end; a leak of the core's shows in the suite.
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=1"}


def probes() -> list[Path]:
    """The probes that hold targets."""
    return sorted((ROOT / "tests" / "probe").glob("*_fuzz.pyx"))


def targets() -> dict[str, str]:
    """MODULE:FUNCTION by target name."""
    found = {}
    for probe in probes():
        for name in re.findall(r"^cdef int fuzz_(\w+)\(", probe.with_suffix(".pxd").read_text(), re.MULTILINE):
            found[name] = f"tests.probe.{probe.stem}:fuzz_{name}"
    return found


def translate() -> list[Path]:
    """Translates what is needed into C below build/fuzz; the C files."""
    environment = {**os.environ, "FASTMESH_C": str(BUILD), "FASTMESH_PROBES": "1", "FASTMESH_ONLY": ",".join(SOURCES)}
    done = subprocess.run([sys.executable, "setup.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    helpers = sorted((ROOT / "tests" / "probe").glob("*_peer.pyx"))
    core = [path for prefix in SOURCES for path in (ROOT / "fastmesh" / "_core" / prefix).glob("*.pyx")]
    return [BUILD / path.relative_to(ROOT).with_suffix(".c") for path in [*sorted(core), *helpers, *probes()]]


def build(target: Path, sources: list[Path], command: list[str]) -> subprocess.Popen[bytes] | None:
    """Starts the compiler when the target was not made by this command from these bytes."""
    digest = hashlib.sha256(shlex.join(command).encode())
    for source in sources:
        digest.update(source.read_bytes())
    stamp = target.with_suffix(".sha256")
    if target.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return None
    target.unlink(missing_ok=True)
    stamp.write_text(digest.hexdigest())
    return subprocess.Popen([*command, "-o", str(target)])


def compile_all() -> Path:
    """Instrumented extension modules, and the program that fuzzes them."""
    headers = sorted((ROOT / "fastmesh" / "_core").rglob("*.h"))
    compiler = [CLANG, *FLAGS, "-I", sysconfig.get_paths()["include"], "-I", str(ROOT / "fastmesh" / "_core" / "ffi")]
    running = []
    for source in translate():
        module = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
        command = [*compiler, f"{SANITIZE},fuzzer-no-link", "-shared", "-fPIC", str(source)]
        running.append(build(module, [source, *headers], command))
    for package in ("fastmesh", "fastmesh/_core", *(f"fastmesh/_core/{name}" for name in SOURCES)):
        (BUILD / package / "__init__.py").touch()
    program, main = BUILD / "fuzz", ROOT / "tests" / "fuzz" / "main.c"
    library, version = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    link = [f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{version}", "-rdynamic"]
    running.append(build(program, [main], [*compiler, f"{SANITIZE},fuzzer", str(main), *link]))
    if any(codes := [process.wait() for process in running if process]):
        sys.exit(f"fuzz: the compiler answered {max(codes)}")
    return program


def fuzz(program: Path, name: str, where: str, arguments: list[str]) -> int:
    """Runs one target; libFuzzer's exit code."""
    environment = {**os.environ, **OPTIONS, "FUZZ_TARGET": where, "PYTHONMALLOC": "malloc",
                   "PYTHONPATH": str(BUILD), "PYTHONHOME": sys.base_prefix}  # fmt: skip
    command = [str(program), *arguments]
    print(f"fuzz: {name}: {shlex.join(command)}", flush=True)
    return subprocess.run(command, env=environment, cwd=BUILD, check=False).returncode


def campaign(name: str, seconds: int) -> list[str]:
    """libFuzzer's arguments for so many seconds of a target."""
    corpus, crashes = BUILD / "corpus" / name, BUILD / "crashes"
    for folder in (corpus, crashes, SEEDS / name):
        folder.mkdir(parents=True, exist_ok=True)
    return [str(corpus), str(SEEDS / name), f"-max_total_time={seconds}", "-max_len=2000", "-timeout=10",
            f"-dict={ROOT / 'tests' / 'fuzz' / 'http1.dict'}", f"-artifact_prefix={crashes}/{name}-",
            "-print_final_stats=1", "-verbosity=0", "-rss_limit_mb=1024"]  # fmt: skip


def main() -> int:
    known = targets()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--replay", metavar="FILE", help="run this one input instead")
    parser.add_argument("target", nargs="*", help=f"of {', '.join(known)} (default: all)")
    options = parser.parse_args()
    if unknown := set(options.target) - known.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    program = compile_all()
    failed = []
    for name in options.target or known:
        arguments = [str(Path(options.replay).resolve())] if options.replay else campaign(name, options.seconds)
        if fuzz(program, name, known[name], arguments):
            failed.append(name)
    if failed:
        print(f"fuzz: broken: {', '.join(failed)}; the inputs are in {BUILD / 'crashes'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
