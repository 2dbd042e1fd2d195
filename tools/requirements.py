"""Prints what pyproject.toml asks for, one requirement a line: the build's, the run time's and the named extras'."""

import sys
import tomllib
from pathlib import Path


def requirements(project: Path, extras: list[str]) -> list[str]:
    """Raises KeyError for an extra that pyproject.toml does not name."""
    data = tomllib.loads(project.read_text())
    found = [*data["build-system"]["requires"], *data["project"]["dependencies"]]
    for extra in extras:
        found += data["project"]["optional-dependencies"][extra]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    print("\n".join(requirements(Path(__file__).parents[1] / "pyproject.toml", sys.argv[1:])))
