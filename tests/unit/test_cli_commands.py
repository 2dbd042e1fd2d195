"""The command line: what each command prints and answers."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastmesh
from fastmesh import check
from fastmesh.cli import main
from fastmesh.config import schema
from fastmesh.config.render import markdown
from fastmesh.config.settings import SETTINGS
from tools.source import ROOT

UPSTREAM = {"FASTMESH_UPSTREAM": "127.0.0.1:9000"}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"], {}) == 0
    assert capsys.readouterr().out == f"fastmesh {fastmesh.__version__}\n"


def test_env_prints_a_row_per_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"], UPSTREAM | {"FASTMESH_WORKERS": "2"}) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["name", "type", "unit", "default", "value", "source"]
    assert [line.split()[0] for line in out[1:]] == [setting.variable for setting in SETTINGS]
    (workers,) = (line.split() for line in out if line.startswith("FASTMESH_WORKERS "))
    assert workers == ["FASTMESH_WORKERS", "integer", "threads", "1", "2", "environment"]


def test_env_needs_no_upstream_but_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"], {}) == 0
    assert capsys.readouterr().err == ""
    assert main(["env"], {"FASTMESH_WORKERS": "two"}) == 64
    out, err = capsys.readouterr()
    assert "FASTMESH_WORKERS" in out
    assert 'FASTMESH_WORKERS = "two"  (environment)' in err


def test_env_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--json"], UPSTREAM) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["value"] for row in rows}["FASTMESH_UPSTREAM"] == "127.0.0.1:9000"
    assert rows[0].keys() >= {"name", "type", "unit", "default", "value", "source", "doc"}


def test_env_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--markdown"], {"FASTMESH_WORKERS": "two"}) == 0
    assert capsys.readouterr().out == markdown()


def test_check_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"], {}) == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_config_option_is_the_variable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.toml").write_text("fields = 77\n")
    assert main(["env", "--json", "--config", f"{tmp_path}/f.toml"], {"FASTMESH_CONFIG": "/nowhere.toml"}) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["FASTMESH_FIELDS"]["value"] == "77"
    assert rows["FASTMESH_FIELDS"]["source"] == f"{tmp_path}/f.toml: fields"


def test_run_hands_the_environment_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, str]] = []

    def run(environ: Mapping[str, str]) -> int:
        seen.append(environ)
        return 7

    app = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "fastmesh.app", app)
    monkeypatch.setattr(fastmesh, "app", app, raising=False)
    assert main(["run", "--config", "x.toml"], UPSTREAM) == 7
    assert seen == [UPSTREAM | {"FASTMESH_CONFIG": "x.toml"}]


def test_check_reports_configuration_and_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "judge", lambda config, machine: [check.Finding("error", "thing", "is broken")])
    assert main(["check"], UPSTREAM) == 1
    assert capsys.readouterr().out.splitlines()[0].split() == ["ok", "configuration", "environment"]
    assert main(["check"], {"FASTMESH_WORKERS": "two"}) == 64
    out, err = capsys.readouterr()
    assert "is broken" in out
    assert 'FASTMESH_WORKERS = "two"' in err


@pytest.mark.parametrize("arguments", [[], ["serve"], ["env", "--json", "--markdown"], ["check", "--nothing"]])
def test_wrong_arguments_are_refused_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments, {})
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: fastmesh")


def _module(*arguments: str, python: tuple[str, ...] = (), **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *python, *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_the_module_is_the_command() -> None:
    done = _module("-m", "fastmesh", "env", FASTMESH_WORKERS="0")
    assert done.returncode == 64
    assert done.stderr.splitlines() == [
        "fastmesh: 1 problem in the configuration",
        '  FASTMESH_WORKERS = "0"  (environment)',
        "      must be a whole number from 1 to 256",
    ]


HEAVY = [
    "yaml",
    "json",
    "asyncio",
    "uvloop",
    "tomllib",
    "difflib",
    "fastmesh.app",
    "fastmesh.check",
    "fastmesh.config.render",
]


def test_loading_a_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fastmesh import cli, config; config.load({'FASTMESH_UPSTREAM': '127.0.0.1:9000'}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = _module("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")
