"""JSON schema of the configuration file, derived from the table of settings.

It accepts every file that `load` accepts. Rules between values, and the forms of addresses, are `load`'s alone.
"""

from typing import Any

from fastmesh.config.settings import FILE_SETTINGS, SECTIONS, Setting
from fastmesh.config.values import Key


def build() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the file that FASTMESH_CONFIG names."""
    properties: dict[str, Any] = {setting.name: _setting(setting) for setting in FILE_SETTINGS}
    for section, keys in SECTIONS.items():
        properties[section] = {"type": "array", "minItems": 1, "items": _item(section, keys)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fastmesh configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _setting(setting: Setting) -> dict[str, Any]:
    if not setting.field:  # `upstream` has no default
        return setting.schema()
    return {**setting.schema(), "default": setting.plain(setting.default)}


def _item(section: str, keys: tuple[Key, ...]) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "object",
        "properties": {key.name: key.schema() for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }
    if section == "routes":
        item["not"] = {"required": ["path", "path_prefix"]}
    return item
