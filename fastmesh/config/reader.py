"""Reads the sources, environment and file, into values by setting and items by section, and notes what is wrong.

A variable wins over the file. What cannot be read is left out, so that the rest can still be judged.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fastmesh.config import files
from fastmesh.config.problems import Problem, nearest, shown
from fastmesh.config.settings import BY_NAME, BY_VARIABLE, FILE_SETTINGS, PREFIX, SECTIONS, Setting
from fastmesh.config.values import Key

ENVIRONMENT = "environment"

# Variables that are not settings: those of the build, and those Kubernetes makes of a Service called "fastmesh..."
# (kubernetes.io, "Discovering services").
_BUILD_VARIABLES = frozenset({"FASTMESH_PROFILE", "FASTMESH_WERROR", "FASTMESH_PROBES", "FASTMESH_ONLY"})
_SERVICE_VARIABLE = re.compile(r"FASTMESH_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_PORT_VALUE = re.compile(r"(tcp|udp|sctp)://.*")


class Place(NamedTuple):
    """Where a value was written, as a report names it."""

    key: str  # a variable or a path in the file
    source: str  # "environment" or the file's path

    @property
    def text(self) -> str:
        """As `fastmesh env` names it."""
        return self.source if self.source == ENVIRONMENT else f"{self.source}: {self.key}"


class Item(NamedTuple):
    """One table of [[listeners]], [[backends]] or [[routes]]: what was given and lawful."""

    place: Place
    values: dict[str, Any]

    def at(self, key: str) -> Place:
        """The place of one of its keys."""
        return Place(f"{self.place.key}.{key}", self.place.source)


class Reader:
    """What the sources gave. Build it with `read`."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.values: dict[str, Any] = {}  # by name of the setting; only what was given and lawful
        self.places: dict[str, Place] = {}  # by name of the setting, of the values above
        self.bad: set[str] = set()  # settings that were given and wrong
        self.items: dict[str, list[Item]] = {section: [] for section in SECTIONS}
        self.given: set[str] = set()  # sections that the file has, lawful or not
        self.file = ""

    def problem(self, place: Place, raw: object, rule: str, secret: bool = False) -> None:
        """Notes a problem; `raw` None: there is no value to show."""
        self.problems.append(Problem(place.key, "" if raw is None else shown(raw, secret), place.source, rule))

    def attempt(self, key: Key, read: Callable[[Any], Any], raw: object, place: Place) -> tuple[bool, Any]:
        """(True, value), or (False, None) after the problem was noted."""
        try:
            if isinstance(raw, str):
                _check_utf8(raw)
            return True, read(raw)
        except ValueError as error:
            self.problem(place, raw, str(error), key.secret)
            return False, None

    def take_setting(self, setting: Setting, read: Callable[[Any], Any], raw: object, place: Place) -> None:
        """Takes a setting's value from a source; the last lawful one wins."""
        lawful, value = self.attempt(setting, read, raw, place)
        if lawful:
            self.values[setting.name] = value
            self.places[setting.name] = place
        else:
            self.bad.add(setting.name)

    def take_item(self, section: str, index: int, table: dict[Any, Any]) -> None:
        """Takes one table of a section."""
        place = Place(f"{section}[{index}]", self.file)
        item = Item(place, {})
        keys = {key.name: key for key in SECTIONS[section]}
        for name in table:
            if name not in keys:
                self.problem(item.at(str(name)), table[name], "must be a known key" + nearest(str(name), keys))
        for name, key in keys.items():
            if name in table:
                lawful, value = self.attempt(key, key.take, table[name], item.at(name))
                if lawful:
                    item.values[name] = value
            elif key.required:
                self.problem(item.at(name), None, f"must be there: {key.doc[0].lower()}{key.doc[1:]}")
        self.items[section].append(item)


def _check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8 text") from None


def read(environ: Mapping[str, str]) -> Reader:
    """Reads the environment and the file that it names."""
    reader = Reader()
    texts = _variables(reader, environ)
    tree = _file(reader, texts.pop("config", ""))
    for setting in FILE_SETTINGS:
        if setting.name in tree:
            place = Place(setting.name, reader.file)
            reader.take_setting(setting, setting.take, tree[setting.name], place)
    for name, text in texts.items():
        setting = BY_NAME[name]
        reader.take_setting(setting, setting.parse, text, Place(setting.variable, ENVIRONMENT))
    for section in SECTIONS:
        _section(reader, tree, section)
    return reader


def _variables(reader: Reader, environ: Mapping[str, str]) -> dict[str, str]:
    """Texts by name of the setting. An unknown variable is a problem: misspelt, it would be without effect."""
    found = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[variable]
        setting = BY_VARIABLE.get(variable)
        if setting is not None:
            if text or setting.empty:
                found[setting.name] = text
        elif not is_foreign(variable, text) and not _is_of_redirect(reader, variable, text):
            rule = "must be the name of a setting (fastmesh env lists them)" + nearest(variable, BY_VARIABLE)
            reader.problem(Place(variable, ENVIRONMENT), text, rule)
    return found


def _is_of_redirect(reader: Reader, variable: str, text: str) -> bool:
    """Whether it is meant for `fastmesh redirect`; a misspelt one is noted here, with the names of that command."""
    if not variable.startswith("FASTMESH_REDIRECT_"):
        return False
    from fastmesh.config.redirect import misspelt  # only where interception is configured beside the proxy

    reader.problems += misspelt(variable, text)
    return True


def is_foreign(variable: str, text: str) -> bool:
    """Whether a variable FASTMESH_... is none of ours: of the build, or made by Kubernetes."""
    if variable in _BUILD_VARIABLES:
        return True
    if not _SERVICE_VARIABLE.fullmatch(variable):
        return False
    # FASTMESH_..._PORT could be the user's mistake; Kubernetes always writes a URL into it.
    return not variable.endswith("_PORT") or variable.endswith("SERVICE_PORT") or bool(_PORT_VALUE.fullmatch(text))


def _file(reader: Reader, path: str) -> dict[str, Any]:
    if not path:
        return {}
    setting = BY_NAME["config"]
    place = Place(setting.variable, ENVIRONMENT)
    reader.take_setting(setting, setting.parse, path, place)
    if "config" in reader.bad:
        return {}
    reader.file = path
    try:
        tree = files.read(path)
    except files.FileError as error:
        reader.problem(place, path, str(error))
        return {}
    known = {*SECTIONS, *(setting.name for setting in FILE_SETTINGS)}
    for key in tree:
        if key not in known:
            reader.problem(Place(key, path), tree[key], "must be a known key" + nearest(key, known))
    return tree


def _section(reader: Reader, tree: dict[str, Any], section: str) -> None:
    if section not in tree:
        return
    reader.given.add(section)
    tables = tree[section]
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        rule = f"must be a list of at least one table ([[{section}]])"
        reader.problem(Place(section, reader.file), tables, rule)
        return
    for index, table in enumerate(tables):
        reader.take_item(section, index, table)
