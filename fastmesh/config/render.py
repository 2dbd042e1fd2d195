"""Text for people: the table of `fastmesh env`, and Markdown for the README and docs/configuration.md."""

import sys
from collections.abc import Iterable, Mapping

from fastmesh.config.load import inspect
from fastmesh.config.logs import LOG_FIELDS
from fastmesh.config.model import Config
from fastmesh.config.problems import EXIT_CONFIG, report
from fastmesh.config.settings import SECTIONS
from fastmesh.config.views import Row, describe

_COLUMNS = ("name", "type", "unit", "default", "value", "source")


def env_table(rows: Iterable[Row]) -> str:
    """The rows as aligned columns."""
    lines = [_COLUMNS, *(tuple(getattr(row, column) or "-" for column in _COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def env_json(rows: Iterable[Row]) -> str:
    """The rows as a JSON array of objects."""
    import json  # only for this form

    return json.dumps([row._asdict() for row in rows], indent=2) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def settings_markdown() -> str:
    """The table of all settings, by group: for the README and the documentation."""
    rows = describe(Config())
    lines = []
    for group in dict.fromkeys(row.group for row in rows):
        lines += ["", f"### {group}", "", "| Variable | Type | Unit | Range | Default | Meaning |"]
        lines.append("|---|---|---|---|---|---|")
        for row in rows:
            if row.group == group:
                doc = row.doc if row.live else f"{row.doc} Taken at start only."
                unit = "" if row.unit == "-" else row.unit
                cells = (f"`{row.name}`", _cell(row.type), unit, row.range, _code(row.default), _cell(doc))
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines[1:]) + "\n"


def _section_markdown(section: str) -> str:
    lines = ["| Key | Type | Unit | Meaning |", "|---|---|---|---|"]
    for key in SECTIONS[section]:
        unit = "" if key.kind.unit == "-" else key.kind.unit
        doc = f"{key.doc} Required." if key.required else key.doc
        lines.append(f"| `{key.name}` | {_cell(key.type_text)} | {unit} | {_cell(doc)} |")
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """The page docs/configuration.md, whole."""
    from fastmesh.config.page import PAGE

    sections = {section: _section_markdown(section) for section in SECTIONS}
    log_fields = ", ".join(f"`{name}`" for name in LOG_FIELDS)
    return PAGE.format(settings=settings_markdown(), log_fields=log_fields, **sections)


def print_env(environ: Mapping[str, str], form: str) -> int:
    """Prints `form` ("table", "json" or "markdown") and answers the exit code; problems go to standard error.

    The documentation is that of the defaults. That nothing says where to send requests is no problem of a listing.
    """
    if form == "markdown":
        sys.stdout.write(markdown())
        return 0
    config, problems = inspect(environ, require_backends=False)
    rows = describe(config)
    sys.stdout.write(env_json(rows) if form == "json" else env_table(rows))
    if problems:
        sys.stderr.write(report(problems) + "\n")
    return EXIT_CONFIG if problems else 0
