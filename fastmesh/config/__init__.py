"""Configuration: environment and file in, one immutable Config out, or a report of all that is wrong.

`settings.py` is the one table everything is derived from; `model.py` is what the rest of the program sees.
"""

from typing import Any

from fastmesh.config.load import Inspection, inspect, load
from fastmesh.config.model import Config
from fastmesh.config.problems import EXIT_CONFIG, ConfigError, Problem, report
from fastmesh.config.views import Row, describe

__all__ = [
    "EXIT_CONFIG",
    "Config",
    "ConfigError",
    "Inspection",
    "Problem",
    "Row",
    "describe",
    "inspect",
    "load",
    "report",
    "schema",
]


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the file that FASTMESH_CONFIG names."""
    from fastmesh.config.json_schema import build  # a running proxy never needs it

    return build()
