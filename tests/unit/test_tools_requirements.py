"""tools/requirements prints what pyproject.toml asks for."""

from pathlib import Path

import pytest

from tools.requirements import requirements
from tools.source import ROOT, bare, logical_lines


def test_extras_add_to_build_and_run_time(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[build-system]\nrequires = ["a", "b>1"]\n[project]\ndependencies = ["c"]\n'
        '[project.optional-dependencies]\nx = ["d", "a"]\ny = ["e"]\n'
    )
    assert requirements(project, []) == ["a", "b>1", "c"]
    assert requirements(project, ["x", "y"]) == ["a", "b>1", "c", "d", "e"]
    with pytest.raises(KeyError):
        requirements(project, ["z"])


def test_every_group_of_the_makefile_is_an_extra() -> None:
    for extra in ("test", "check", "bench", "wheel"):
        assert requirements(ROOT / "pyproject.toml", [extra])


def test_logical_lines_join_and_keep_numbers() -> None:
    source = 'a = f(\n    1,  # one\n    "(",\n)\nb = \\\n    2\n"""\ndoc\n"""\nc = 3\n'
    assert [(line.number, line.text) for line in logical_lines(source)] == [
        (1, "a = f( 1, '', )"),
        (5, "b = 2"),
        (7, "''"),
        (10, "c = 3"),
    ]
    assert bare(source).count("\n") == source.count("\n")
