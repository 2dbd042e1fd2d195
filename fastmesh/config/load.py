"""From environment and file to one effective Config, or to all that is wrong at once.

Order: a variable wins over the file, the file over the default. FASTMESH_UPSTREAM makes the backend `default`, or
replaces the endpoints of the file's backend of that name; FASTMESH_LISTEN replaces the file's listeners.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from fastmesh.config.model import (
    DEFAULT_NAME,
    Backend,
    Config,
    Exchange,
    Listener,
    ListenerRole,
    PathKind,
    Reception,
    Route,
)
from fastmesh.config.problems import ConfigError, Problem
from fastmesh.config.reader import ENVIRONMENT, Item, Place, Reader, read
from fastmesh.config.rules import check
from fastmesh.config.settings import BY_NAME, SETTINGS
from fastmesh.config.transparent import OFF, transparent_listeners

DEFAULT_SOURCE = "default"


class Inspection(NamedTuple):
    """What the sources say, wrong or not."""

    config: Config  # with defaults where a value was wrong
    problems: tuple[Problem, ...]


def load(environ: Mapping[str, str]) -> Config:
    """The effective configuration of an environment and the file it names. Raises ConfigError with all problems."""
    config, problems = inspect(environ)
    if problems:
        raise ConfigError(problems)
    return config


def inspect(environ: Mapping[str, str], require_backends: bool = True) -> Inspection:
    """Reads all sources and never raises. `require_backends`: no backend at all is a problem, as it is to run."""
    reader = read(environ)
    assembly = _Assembly(reader)
    config = assembly.config()
    problems = (*reader.problems, *check(config, reader, assembly.places))
    if require_backends and not problems and not config.backends and not config.intercepts:
        rule = "must be set, or a file (FASTMESH_CONFIG) must name backends: there is nowhere to send requests"
        problems = (Problem(BY_NAME["upstream"].variable, "", ENVIRONMENT, rule),)
    return Inspection(config, problems)


class _Assembly:
    """Puts values and items in their places. Remembers where listeners, backends and routes came from."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.places: dict[str, Place] = {}  # "listeners[0]", "backends[0]", "backends[0].endpoints", "routes[0]"

    def config(self) -> Config:
        settled = _with_settings(self.reader)
        config = replace(settled, listeners=self._listeners(settled), file=self.reader.file)
        config = replace(config, backends=self._backends(config))
        config = replace(config, routes=self._routes(config))
        sources = {setting.name: DEFAULT_SOURCE for setting in SETTINGS}
        places = {**self.reader.places, **self.places}
        sources |= {name: place.text for name, place in places.items()}
        if "listeners[0]" in self.places:
            sources["listen"] = Place("listeners", self.reader.file).text
        return replace(config, sources=MappingProxyType(sources))

    def _listeners(self, config: Config) -> tuple[Listener, ...]:
        items = [item for item in self.reader.items["listeners"] if "name" in item.values and "address" in item.values]
        place = self.reader.places.get("listen")
        taking = config.reception  # of listeners with a role: what others take by default says nothing of them
        if taking.protocol == "http":
            taking = replace(taking, protocol="detect")
        own = transparent_listeners(self.reader.values.get("transparent", OFF), taking)
        if not items or (place and place.source == ENVIRONMENT):
            asked = config.listeners if place or not own else ()
            return (*(replace(listener, reception=config.reception) for listener in asked), *own)
        for index, item in enumerate(items):
            self.places[f"listeners[{index}]"] = item.place
        return (*(_listener(item, config.reception, taking) for item in items), *own)

    def _backends(self, config: Config) -> tuple[Backend, ...]:
        items = [item for item in self.reader.items["backends"] if "name" in item.values]
        backends = []
        for index, item in enumerate(items):
            self.places[f"backends[{index}]"] = item.place
            upstream = replace(config.upstream, **_own(item, "upstream", "backend_key"))
            backends.append(Backend(item.values["name"], item.values.get("endpoints", ()), upstream))
        endpoints = self.reader.values.get("upstream")
        if endpoints is None:
            return tuple(backends)
        place = self.reader.places["upstream"]
        at = next((i for i, backend in enumerate(backends) if backend.name == DEFAULT_NAME), len(backends))
        if at == len(backends):
            self.places[f"backends[{at}]"] = place
            backends.append(Backend(DEFAULT_NAME, endpoints, config.upstream))
        elif place.source == ENVIRONMENT:
            self.places[f"backends[{at}].endpoints"] = place
            backends[at] = replace(backends[at], endpoints=endpoints)
        return tuple(backends)

    def _routes(self, config: Config) -> tuple[Route, ...]:
        items = [item for item in self.reader.items["routes"] if "name" in item.values and "backend" in item.values]
        routes = []
        for index, item in enumerate(items):
            self.places[f"routes[{index}]"] = item.place
            routes.append(_route(item, config.exchange))
        backend = self._default_backend(config, routes)
        if backend:
            self.places[f"routes[{len(routes)}]"] = self._place_of_backend(config, backend)
            routes.append(Route(DEFAULT_NAME, backend, exchange=config.exchange))
        return tuple(routes)

    def _default_backend(self, config: Config, routes: list[Route]) -> str:
        """The backend that the route `default` goes to when the configuration leaves that route out; "": no such route.

        A given upstream must not be without effect, and where nothing is routed and there is one choice, it is meant.
        """
        names = [backend.name for backend in config.backends]
        named = {item.values.get("name") for item in self.reader.items["routes"]}
        if DEFAULT_NAME in named or not names:
            return ""
        if "upstream" in self.reader.values and not any(route.backend == DEFAULT_NAME for route in routes):
            return DEFAULT_NAME
        if "routes" in self.reader.given:
            return ""
        return DEFAULT_NAME if DEFAULT_NAME in names else names[0] if len(names) == 1 else ""

    def _place_of_backend(self, config: Config, name: str) -> Place:
        index = next(i for i, backend in enumerate(config.backends) if backend.name == name)
        return self.places.get(f"backends[{index}].endpoints", self.places[f"backends[{index}]"])


def _with_settings(reader: Reader) -> Config:
    """A Config with every setting in its place; backends and routes come later."""
    defaults = Config()
    whole: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in reader.values.items():
        part, dot, field = BY_NAME[name].field.partition(".")
        if dot:
            parts.setdefault(part, {})[field] = value
        elif part:
            whole[part] = value
    if "head_bytes" in reader.values:  # limits of parts that were not set follow the whole's down
        for field in ("line_bytes", "field_line_bytes"):
            parts["policy"].setdefault(field, min(getattr(defaults.policy, field), reader.values["head_bytes"]))
    for part, fields in parts.items():
        whole[part] = replace(getattr(defaults, part), **fields)
    return replace(defaults, **whole)


def _own(item: Item, part: str, item_key: str) -> dict[str, Any]:
    """What an item says of the settings below `part`, by field of the struct."""
    pairs = ((getattr(setting, item_key), setting.field) for setting in SETTINGS)
    return {
        field.removeprefix(f"{part}."): item.values[key]
        for key, field in pairs
        if key in item.values and field.startswith(f"{part}.")
    }


def _listener(item: Item, reception: Reception, taking: Reception) -> Listener:
    given = item.values
    role: ListenerRole = given.get("transparent", "off")
    base = reception if role == "off" else taking
    return Listener(given["name"], given["address"], replace(base, **_own(item, "reception", "listener_key")), role)


def _route(item: Item, exchange: Exchange) -> Route:
    given = item.values
    kind: PathKind = "exact" if "path" in given else "prefix" if "path_prefix" in given else "any"
    return Route(
        given["name"],
        given["backend"],
        given.get("hosts", ()),
        kind,
        given.get("path", given.get("path_prefix", "")),
        given.get("methods", ()),
        given.get("headers", ()),
        given.get("listeners", ()),
        given.get("tcp", False),
        given.get("sni", ()),
        given.get("alpn", ()),
        replace(exchange, **_own(item, "exchange", "route_key")),
    )
