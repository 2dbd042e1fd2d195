"""A configuration as data to show: rows, and a tree in the file's own form.

Law: loading `tree(config)` as a file gives the same configuration again, sources apart.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from fastmesh.config.model import Config
from fastmesh.config.problems import HIDDEN
from fastmesh.config.settings import (
    BACKEND_KEYS,
    FILE_SETTINGS,
    LISTENER_KEYS,
    ROUTE_KEYS,
    SETTINGS,
    Setting,
)
from fastmesh.config.values import Key

# Fields whose value lets somebody in; /config does not show what a route wants of them.
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


_CONDITIONS = ("hosts", "methods", "headers", "listeners", "tcp", "sni", "alpn")


class Row(NamedTuple):
    """One setting as `fastmesh env` shows it."""

    name: str  # the variable
    key: str  # in a file; "" when a file cannot say it
    type: str
    unit: str
    range: str  # "" where there are no bounds
    default: str
    value: str  # effective; secrets are hidden
    source: str  # "default", "environment", or "PATH: KEY"
    live: bool  # a reload applies it
    group: str
    doc: str


def describe(config: Config) -> list[Row]:
    """Every setting with its effective value and where that came from, in the order of the documentation."""
    return [_row(setting, config) for setting in SETTINGS]


def _row(setting: Setting, config: Config) -> Row:
    return Row(
        name=setting.variable,
        key=setting.name if setting.in_file else "",
        type=setting.type_text,
        unit=setting.kind.unit,
        range=setting.kind.range(setting),
        default=setting.format(setting.default),
        value=HIDDEN if setting.secret else setting.text_of(config),
        source=config.sources.get(setting.name, "default"),
        live=setting.live,
        group=setting.group,
        doc=setting.doc,
    )


def tree(config: Config) -> dict[str, Any]:
    """The configuration as a file would say it; secrets are hidden."""
    plain = {setting.name: _plain(setting, setting.of(config)) for setting in FILE_SETTINGS}
    del plain["listen"], plain["upstream"], plain["transparent"]  # the sections below say it
    plain["listeners"] = [_item(LISTENER_KEYS, _listener(each)) for each in config.listeners]
    plain["backends"] = [
        _item(BACKEND_KEYS, {"name": each.name, "endpoints": each.endpoints} | _local("upstream", "backend_key", each))
        for each in config.backends
    ]
    plain["routes"] = [_item(ROUTE_KEYS, _route(each)) for each in config.routes]
    return plain


def _plain(key: Key, value: Any) -> Any:
    return HIDDEN if key.secret else key.plain(value)


def _item(keys: tuple[Key, ...], values: dict[str, Any]) -> dict[str, Any]:
    return {key.name: _plain(key, values[key.name]) for key in keys if values.get(key.name) is not None}


def _local(part: str, item_key: str, owner: Any) -> dict[str, Any]:
    """Values of the settings that a backend or route has of its own, by their key in its item."""
    return {
        getattr(setting, item_key): getattr(getattr(owner, part), setting.field.removeprefix(f"{part}."))
        for setting in SETTINGS
        if getattr(setting, item_key)
    }


def _listener(listener: Any) -> dict[str, Any]:
    role = listener.role if listener.role != "off" else None
    own = {"name": listener.name, "address": listener.address, "transparent": role}
    return own | _local("reception", "listener_key", listener)


def _route(route: Any) -> dict[str, Any]:
    path_key = {"exact": "path", "prefix": "path_prefix"}.get(route.path_kind)
    lists = {name: getattr(route, name) or None for name in _CONDITIONS}
    path = {path_key: route.path} if path_key else {}
    return {"name": route.name, "backend": route.backend} | lists | path | _local("exchange", "route_key", route)


def _masked(config: Config) -> Config:
    """Without the values of credentials that routes match on."""
    routes = tuple(
        replace(route, headers=tuple(
            replace(match, value=HIDDEN) if match.value and match.name.lower() in CREDENTIALS else match
            for match in route.headers
        ))
        for route in config.routes
    )  # fmt: skip
    return replace(config, routes=routes)


def public(config: Config) -> dict[str, Any]:
    """What the admin port's /config says: the effective configuration in the file's form, and every value's source."""
    return {"file": config.file or None, "effective": tree(_masked(config)), "sources": dict(config.sources)}
