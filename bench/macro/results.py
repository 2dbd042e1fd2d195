"""Results files: JSON, one row a line, so that a difference between two of them can be read."""

import json
from pathlib import Path
from typing import Any


def text(result: dict[str, Any]) -> str:
    head = {name: value for name, value in result.items() if name != "rows"}
    rows = ",\n  ".join(json.dumps(row) for row in result["rows"])
    return f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n  {rows}\n ]\n}}\n'


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text(result))
