"""Where fastmesh cannot run, the install says so in one sentence."""

import platform
import runpy
import sys
from pathlib import Path

import pytest

SETUP = str(Path(__file__).resolve().parents[2] / "setup.py")


def refusal() -> str:
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(SETUP, run_name="not_main")
    said = str(raised.value.code)
    assert said.endswith(".")
    assert said.count("\n") == 0
    return said


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "runs on Linux" in refusal()


def test_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "on riscv64" in refusal()


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 12, "final", 0))
    assert "needs CPython 3.11 or newer; this is cpython 3.10" in refusal()


def test_an_unknown_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMESH_PROFILE", "fast")
    built = runpy.run_path(SETUP, run_name="not_main")
    with pytest.raises(SystemExit, match="FASTMESH_PROFILE=fast: must be one of release, debug, asan, tsan"):
        built["extensions"]()
