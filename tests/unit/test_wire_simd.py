"""Every form of the byte scans gives the same answers: the machine's vectors, plain C, and aarch64 where it can run."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FFI = HERE.parents[1] / "fastmesh" / "_core" / "ffi"
FLAGS = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZE = "-fsanitize=address,undefined"


def check(tmp_path: Path, compiler: list[str], run: list[str]) -> str:
    program = tmp_path / "check"
    source = str(HERE / "wire_simd_check.c")
    # The sanitizer this suite may run under is not for the compiler, and the program has its own.
    alone = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run([*compiler, *FLAGS, f"-I{FFI}", source, "-o", str(program)], check=True, timeout=60, env=alone)
    done = subprocess.run([*run, str(program)], capture_output=True, text=True, timeout=50, env=alone)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_this_machine_s_vectors(tmp_path: Path) -> None:
    assert check(tmp_path, ["gcc", SANITIZE], []) == "vectors"


def test_plain_c(tmp_path: Path) -> None:
    assert check(tmp_path, ["gcc", SANITIZE, "-DFM_SIMD_SCALAR"], []) == "plain"


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this is the machine's own form")
def test_aarch64(tmp_path: Path) -> None:
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64-static")
    if not compiler or not emulator:
        pytest.skip("needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static")
    assert check(tmp_path, [compiler, "-static"], [emulator]) == "vectors"
