"""The benchmark's own C programs, compiled when they are older than their source."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"


def program(source: str) -> Path:
    """`source`: a .c below bench/. Raises CalledProcessError when the compiler refuses."""
    path = ROOT / "bench" / source
    built = OUT / path.stem
    if not built.exists() or built.stat().st_mtime < path.stat().st_mtime:
        OUT.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-o", built, path, "-lm"], check=True)
    return built
