"""Configuration: environment and file in, one immutable Config out, or a report of all that is wrong.

`settings.py` is the one table everything is derived from; `model.py` is what the rest of the program sees.
"""

from fastmesh.config.json_schema import schema
from fastmesh.config.load import Inspection, inspect, load
from fastmesh.config.model import Config
from fastmesh.config.problems import EXIT_CONFIG, ConfigError, Problem, report
from fastmesh.config.render import markdown, settings_markdown
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
    "markdown",
    "report",
    "schema",
    "settings_markdown",
]
