"""Reads a configuration file, TOML or YAML by its suffix, into plain dicts and lists.

YAML is read with the booleans of YAML 1.2 (true and false only), so that `off` and `on` stay the words they are, and a
key written twice is an error, as in TOML.
"""

import os
from typing import Any

SUFFIXES = (".toml", ".yaml", ".yml")
FILE_BYTES_MAX = 16 << 20


class FileError(Exception):
    """The file cannot be read; the text is the rule that it breaks."""


def read(path: str) -> dict[str, Any]:
    """The tree of a file. Raises FileError."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise FileError(f"must end in {', '.join(SUFFIXES)}")
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FileError(f"must be a file that can be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise FileError(f"must have at most {FILE_BYTES_MAX} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise FileError(f"must be UTF-8; byte {error.start} is not") from None
    tree = _toml(text) if suffix == ".toml" else _yaml(text)
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise FileError("must hold a table of settings at its top")
    return tree


def _toml(text: str) -> object:
    import tomllib  # only when a file is given: start-up stays light

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileError(f"must be TOML: {error}") from None


def _yaml(text: str) -> object:
    try:
        import yaml
    except ImportError:
        raise FileError("must be TOML, or PyYAML must be installed: pip install 'fastmesh[yaml]'") from None
    try:
        tree = yaml.load(text, Loader=_loader(yaml))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FileError(f"must be YAML: {' '.join(str(error).split())}") from None
    return {} if tree is None else tree


def _loader(yaml: Any) -> Any:
    """A safe loader that knows only the decimal scalars of YAML 1.2 and refuses a key written twice."""
    import re

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml is an optional module, seen as Any
        yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  # replaces the base class's table

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, list | dict):
                    raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", key_node.start_mark)
                seen.add(key)
            return super().construct_mapping(node, deep)

    scalars = (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
        ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    )
    for tag, pattern, first in scalars:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    return Loader
