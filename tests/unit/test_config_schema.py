"""The JSON schema accepts what `load` accepts, and refuses what it must not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fastmesh.config import inspect, schema
from fastmesh.config.settings import FILE_SETTINGS, SECTIONS
from tests.support.configs import PATIENT, trees, write

SCHEMA = schema()
MINIMAL: dict[str, Any] = {
    "listeners": [{"name": "l", "address": "127.0.0.1:1"}],
    "backends": [{"name": "b", "endpoints": ["a:1"]}],
    "routes": [{"name": "r", "backend": "b"}],
}

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)
}  # fmt: skip
ANNOTATIONS = {"$schema", "title", "description", "default"}


def errors(rules: dict[str, Any], value: Any, at: str = "$") -> Iterator[str]:
    """What a value breaks: the keywords of JSON schema (draft 2020-12) that the schema uses, and no other."""
    for keyword, rule in rules.items():
        if keyword not in ANNOTATIONS:
            yield from KEYWORDS[keyword](rules, rule, value, at)


def _type(rules: dict[str, Any], rule: str, value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, TYPES[rule]) or (isinstance(value, bool) and rule != "boolean"):
        yield f"{at}: no {rule}"


def _any_of(rules: dict[str, Any], rule: list[Any], value: Any, at: str) -> Iterator[str]:
    if all(list(errors(each, value, at)) for each in rule):
        yield f"{at}: none of the forms"


def _not(rules: dict[str, Any], rule: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    if not list(errors(rule, value, at)):
        yield f"{at}: a form that must not be"


def _enum(rules: dict[str, Any], rule: list[Any], value: Any, at: str) -> Iterator[str]:
    if not any(type(each) is type(value) and each == value for each in rule):
        yield f"{at}: none of {rule}"


def _bound(holds: Any) -> Any:
    def check(rules: dict[str, Any], rule: Any, value: Any, at: str) -> Iterator[str]:
        if not holds(rule, value):
            yield f"{at}: out of bounds {rule}"

    return check


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _items(rules: dict[str, Any], rule: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for index, each in enumerate(value if isinstance(value, list) else ()):
        yield from errors(rule, each, f"{at}[{index}]")


def _properties(rules: dict[str, Any], rule: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for name, each in rule.items():
        if isinstance(value, dict) and name in value:
            yield from errors(each, value[name], f"{at}.{name}")


def _additional(rules: dict[str, Any], rule: Any, value: Any, at: str) -> Iterator[str]:
    for name in value if isinstance(value, dict) else ():
        if name not in rules.get("properties", {}):
            yield from [f"{at}.{name}: unknown"] if rule is False else errors(rule, value[name], f"{at}.{name}")


def _names(rules: dict[str, Any], rule: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for name in value if isinstance(value, dict) else ():
        yield from errors(rule, name, f"{at}.{name}")


KEYWORDS: dict[str, Any] = {
    "type": _type,
    "anyOf": _any_of,
    "not": _not,
    "enum": _enum,
    "const": lambda rules, rule, value, at: _enum(rules, [rule], value, at),
    "items": _items,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "pattern": _bound(lambda rule, value: not isinstance(value, str) or re.search(rule, value) is not None),
    "minimum": _bound(lambda rule, value: not _number(value) or value >= rule),
    "maximum": _bound(lambda rule, value: not _number(value) or value <= rule),
    "maxLength": _bound(lambda rule, value: not isinstance(value, str) or len(value) <= rule),
    "minItems": _bound(lambda rule, value: not isinstance(value, list) or len(value) >= rule),
    "maxItems": _bound(lambda rule, value: not isinstance(value, list) or len(value) <= rule),
    "maxProperties": _bound(lambda rule, value: not isinstance(value, dict) or len(value) <= rule),
    "required": _bound(lambda rule, value: not isinstance(value, dict) or set(rule) <= value.keys()),
}


@PATIENT
@given(tree=trees())
def test_accepts_what_load_accepts(tmp_path: Path, tree: dict[str, Any]) -> None:
    assert inspect(write(tmp_path / "f.toml", tree)).problems == ()
    assert list(errors(SCHEMA, tree)) == []


def test_has_every_key() -> None:
    assert SCHEMA["properties"].keys() == {setting.name for setting in FILE_SETTINGS} | SECTIONS.keys()
    for section, keys in SECTIONS.items():
        assert SCHEMA["properties"][section]["items"]["properties"].keys() == {key.name for key in keys}


def _described(node: Any) -> Iterator[dict[str, Any]]:
    for each in node["properties"].values():
        if "description" in each:
            yield each
        elif each.get("type") == "array":
            yield from _described(each["items"])


def test_defaults_and_descriptions_are_there_and_lawful() -> None:
    keys = list(_described(SCHEMA))
    assert len(keys) == len(FILE_SETTINGS) + sum(map(len, SECTIONS.values()))
    for each in keys:
        assert each["description"].endswith(".")
        if "default" in each:
            assert list(errors(each, each["default"])) == []
    assert SCHEMA["properties"]["workers"]["default"] == 1
    assert SCHEMA["properties"]["pin_cpus"]["default"] is False
    assert SCHEMA["properties"]["request_timeout"]["default"] == "off"


@pytest.mark.parametrize(
    "tree",
    [
        {"hed_bytes": 1},
        {"listeners": [{"name": "l", "address": "a:1", "port": 1}]},
        {"backends": [{"name": "b", "endpoints": ["a:1"], "upstream_max_idle": 1}]},
        {"backends": [{"name": "b", "endpoints": [{"address": "a:1", "wait": 1}]}]},
        {"routes": [{"name": "r", "backend": "b", "host": "a"}]},
    ],
)
def test_refuses_unknown_keys(tmp_path: Path, tree: dict[str, Any]) -> None:
    assert list(errors(SCHEMA, MINIMAL)) == []
    assert list(errors(SCHEMA, MINIMAL | tree)) != []
    assert inspect(write(tmp_path / "f.toml", MINIMAL | tree)).problems != ()


@pytest.mark.parametrize(
    "tree",
    [
        {"workers": "2"},
        {"workers": 0},
        {"workers": True},
        {"fields": 1025},
        {"header_timeout": "soon"},
        {"header_timeout": 0},
        {"header_timeout": "off"},
        {"head_bytes": "64KB"},
        {"head_bytes": 100},
        {"balancer": "best"},
        {"pin_cpus": 1},
        {"via": "two words"},
        {"upstream_protocol": "h2"},
        {"upstream_max_streams": 0},
        {"upstream_ping_timeout": "off"},
        {"http2_streams": 1001},
        {"http2_window": 65534},
        {"http2_glitches": -1},
        {"grpc_timeout": "1s"},
        {"retry_grpc": [0]},
        {"retry_grpc": [17]},
        {"retry_grpc": 14},
        {"backends": [{"name": "b", "endpoints": ["a:1"], "protocol": "auto2"}]},
        {"routes": [{"name": "r", "backend": "b", "grpc_web": 1}]},
        {"listen": []},
        {"backends": []},
        {"backends": [{"name": "b"}]},
        {"backends": [{"name": "b", "endpoints": []}]},
        {"backends": [{"name": "b", "endpoints": [{"address": "a:1", "weight": 0}]}]},
        {"routes": [{"name": "r", "backend": "b", "path": "a"}]},
        {"routes": [{"name": "r", "backend": "b", "path": "/a", "path_prefix": "/b"}]},
        {"routes": [{"name": "r", "backend": "b", "methods": ["get"]}]},
        {"routes": [{"name": "r", "backend": "b", "headers": {"x y": "a"}}]},
        {"routes": [{"name": "r", "backend": "b", "headers": {"x": 1}}]},
    ],
)
def test_refuses_wrong_values_as_load_does(tmp_path: Path, tree: dict[str, Any]) -> None:
    assert list(errors(SCHEMA, MINIMAL | tree)) != []
    assert inspect(write(tmp_path / "f.toml", MINIMAL | tree)).problems != ()
