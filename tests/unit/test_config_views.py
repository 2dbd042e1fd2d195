"""Rows, the tree in the file's form, and Markdown."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fastmesh.config import (
    Config,
    describe,
    inspect,
    load,
    reader,
    views,
)
from fastmesh.config.problems import HIDDEN
from fastmesh.config.render import markdown, settings_markdown
from fastmesh.config.settings import BY_NAME, BY_VARIABLE, SECTIONS, SETTINGS
from fastmesh.config.values import Integer
from tests.support.configs import write
from tools.source import ROOT

UPSTREAM = {"FASTMESH_UPSTREAM": "127.0.0.1:9000;weight=2,unix:/run/a.sock"}


def rows(environ: dict[str, str]) -> dict[str, Any]:
    return {row.name: row for row in describe(inspect(environ, require_backends=False).config)}


def test_every_setting_has_a_row_in_order() -> None:
    assert [row.name for row in describe(Config())] == [setting.variable for setting in SETTINGS]


def test_rows_of_a_variable_a_file_and_a_default(tmp_path: Path) -> None:
    environ = write(tmp_path / "f.toml", {"fields": 200}) | {"FASTMESH_WORKERS": "2"}
    found = rows(environ)
    assert found["FASTMESH_WORKERS"][:8] == (
        "FASTMESH_WORKERS", "workers", "integer", "threads", "1 to 256", "1", "2", "environment"
    )  # fmt: skip
    assert found["FASTMESH_FIELDS"].value == "200"
    assert found["FASTMESH_FIELDS"].source == f"{tmp_path}/f.toml: fields"
    assert (found["FASTMESH_HEAD_BYTES"].value, found["FASTMESH_HEAD_BYTES"].source) == ("64KiB", "default")
    assert (found["FASTMESH_CONFIG"].value, found["FASTMESH_CONFIG"].key) == (f"{tmp_path}/f.toml", "")


def test_public_is_plain_data_with_sources() -> None:
    public = json.loads(json.dumps(load(UPSTREAM | {"FASTMESH_ADMIN": "off"}).public()))
    assert public["file"] is None
    assert public["sources"]["upstream"] == "environment"
    effective = public["effective"]
    assert effective["admin"] == "off"
    assert effective["header_timeout"] == "15s"
    assert effective["backends"][0]["endpoints"] == [
        {"address": "127.0.0.1:9000", "weight": 2},
        {"address": "unix:/run/a.sock", "weight": 1},
    ]
    assert effective["routes"][0]["backend"] == "default"


def test_secrets_are_hidden_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = dataclasses.replace(BY_NAME["via"], secret=True)
    changed = tuple(secret if setting is BY_NAME["via"] else setting for setting in SETTINGS)
    in_file = tuple(setting for setting in changed if setting.in_file)
    monkeypatch.setattr(views, "SETTINGS", changed)
    monkeypatch.setattr(views, "FILE_SETTINGS", in_file)
    monkeypatch.setattr(reader, "FILE_SETTINGS", in_file)
    monkeypatch.setitem(BY_NAME, "via", secret)
    monkeypatch.setitem(BY_VARIABLE, "FASTMESH_VIA", secret)
    environ = UPSTREAM | {"FASTMESH_VIA": "s3cret"}
    config = load(environ)
    assert config.policy.via == "s3cret"
    assert "s3cret" not in json.dumps(config.public())
    assert "s3cret" not in repr(describe(config))
    wrong = inspect(write(tmp_path / "f.toml", {"via": "s3cret 2"}) | UPSTREAM | {"FASTMESH_VIA": "s3cret 1"}).problems
    assert [(problem.key, problem.value) for problem in wrong] == [("via", "(hidden)"), ("FASTMESH_VIA", "(hidden)")]


def test_tables_in_markdown_name_everything() -> None:
    table = settings_markdown()
    for setting in SETTINGS:
        assert f"| `{setting.variable}` |" in table
    assert "| `FASTMESH_WORKERS` | integer | threads | 1 to 256 | `1` |" in table
    cells = {line.replace("\\|", "").count("|") for line in table.splitlines() if line.startswith("|")}
    assert cells == {7}
    page = markdown()
    for keys in SECTIONS.values():
        assert all(f"| `{key.name}` |" in page for key in keys)


def test_the_documentation_is_current() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == markdown(), "run: python -m fastmesh env --markdown > docs/configuration.md"


def test_the_example_of_the_documentation_is_lawful(tmp_path: Path) -> None:
    example = markdown().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "f.toml").write_text(example)
    config = load({"FASTMESH_CONFIG": f"{tmp_path}/f.toml"})
    assert [route.name for route in config.routes] == ["canary", "shop"]


def test_units_are_words() -> None:
    for setting in SETTINGS:
        if isinstance(setting.kind, Integer):
            assert setting.kind.unit != "-"


def test_public_hides_the_credentials_that_routes_want(tmp_path: Path) -> None:
    file = tmp_path / "mesh.toml"
    file.write_text(
        '[[backends]]\nname = "b"\nendpoints = ["127.0.0.1:1"]\n'
        '[[routes]]\nname = "r"\nbackend = "b"\n'
        'headers = { Authorization = "Bearer s3cret", X-Team = "blue" }\n'
    )
    shown = json.dumps(load({"FASTMESH_CONFIG": str(file)}).public())
    assert "s3cret" not in shown
    assert HIDDEN in shown
    assert "blue" in shown


def test_the_file_in_the_readme_is_accepted(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert examples
    for text in examples:
        file = tmp_path / "mesh.toml"
        file.write_text(text)
        assert load({"FASTMESH_CONFIG": str(file)}).routes
