"""Generated configurations: lawful values of every setting, whole files, and a writer of TOML."""

import json
from collections.abc import Mapping
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fastmesh.config.addresses import AdminAddress, Endpoints, Listen
from fastmesh.config.logs import LOG_FIELDS, LogFormat, LogWords
from fastmesh.config.matching import METHODS, GrpcStatuses
from fastmesh.config.model import (
    GRPC_STATUSES,
    LISTENER_PROTOCOLS,
    LISTENER_ROLES,
    LOG_LEVELS,
    Address,
    Endpoint,
    HeaderMatch,
    Listener,
    Log,
    Ports,
    ProtocolRule,
)
from fastmesh.config.ports import PortList, ProtocolRules, merge_ports
from fastmesh.config.settings import SETTINGS
from fastmesh.config.transparent import InterceptionMode
from fastmesh.config.values import NS, Choice, Duration, Integer, Key, Pattern, Pseudonym, Size, Switch

# Machines that run tests are busy: no bound on the time of one example. tmp_path is shared by a test's examples.
PATIENT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,15}", fullmatch=True)
TOKENS = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True)
HOST_NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,10}(\.[a-z0-9-]{1,8}){0,2}\.[a-z][a-z0-9-]{1,5}", fullmatch=True)
UNIX_PATHS = st.from_regex(r"/[a-zA-Z0-9 ._-]{0,20}[a-z]", fullmatch=True)
FILE_PATHS = st.from_regex(r"[a-z./_-][a-zA-Z0-9 ./_-]{0,20}", fullmatch=True)
URL_PATHS = st.from_regex(r"(/([a-z0-9._~!$&'()*+,;=:@-]|%2[0-9A-F]){1,6}){1,3}", fullmatch=True)
HEADER_VALUES = st.from_regex(r"[\x21-\x7e]([\x20-\x7e]{0,10}[\x21-\x7e])?", fullmatch=True)
ORDERED = (("line_bytes", "head_bytes"), ("field_line_bytes", "head_bytes"), ("backoff_min", "backoff_max"))


def addresses(ports: st.SearchStrategy[int]) -> st.SearchStrategy[Address]:
    """Addresses of every kind."""
    return st.one_of(
        st.builds(lambda ip, port: Address("inet", str(ip), port), st.ip_addresses(v=4), ports),
        st.builds(lambda ip, port: Address("inet6", _ipv6(str(ip)), port), st.ip_addresses(v=6), ports),
        st.builds(lambda host, port: Address("name", host, port), HOST_NAMES, ports),
        st.builds(lambda path: Address("unix", path=path), UNIX_PATHS),
    )


def _ipv6(text: str) -> str:
    from socket import AF_INET6, inet_ntop, inet_pton

    return inet_ntop(AF_INET6, inet_pton(AF_INET6, text))


# Ports of the three do not meet, so that no generated configuration has overlapping or looping addresses.
LISTEN_ADDRESSES = addresses(st.just(0) | st.integers(1, 9999).filter(lambda port: port not in (4140, 4143)))
ADMIN_ADDRESSES = addresses(st.integers(10000, 19999)).filter(lambda address: address.kind != "unix")
UPSTREAM_ADDRESSES = addresses(st.integers(20000, 65535)).map(
    lambda address: Address("unix", path="/up" + address.path) if address.kind == "unix" else address
)
ENDPOINTS = st.lists(
    st.builds(Endpoint, UPSTREAM_ADDRESSES, st.integers(1, 1000)), min_size=1, max_size=4, unique_by=lambda e: e.address
).map(tuple)


def _apart(found: list[Address]) -> bool:
    """No two of them share a port or a path; port 0 is a free one each."""
    keys = [address.path or address.port for address in found if address.port or address.path]
    return len(set(keys)) == len(keys)


LISTENERS = (
    st.lists(LISTEN_ADDRESSES, min_size=1, max_size=3)
    .filter(_apart)
    .map(lambda found: tuple(Listener(f"default-{i}" if i > 1 else "default", a) for i, a in enumerate(found, 1)))
)


PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: Ports(*sorted(pair)))
_NETWORKS = st.just(("", 0)) | st.one_of(
    st.tuples(st.ip_addresses(v=version), st.integers(0, bits)).map(lambda pair, bits=bits: _network(*pair, bits))
    for version, bits in ((4, 32), (6, 128))
)
PROTOCOL_RULES = st.builds(
    lambda network, ports, protocol: ProtocolRule(*network, ports, protocol), _NETWORKS, PORTS,
    st.sampled_from(LISTENER_PROTOCOLS),
)  # fmt: skip


def _network(address: Any, bits: int, most: int) -> tuple[str, int]:
    """The network of that length that the address is in, as the configuration writes it."""
    family = AF_INET if most == 32 else AF_INET6
    return inet_ntop(family, (int(address) >> (most - bits) << (most - bits)).to_bytes(most // 8)), bits


def _sizes(key: Key, power_of_two: bool) -> st.SearchStrategy[int]:
    if power_of_two:
        return st.integers(key.minimum.bit_length() - 1, key.maximum.bit_length() - 1).map(lambda bits: 1 << bits)
    steps = st.integers(-(-key.minimum // 1024), key.maximum // 1024).map(lambda n: n * 1024)
    return st.integers(key.minimum, key.maximum) | steps


def _durations(key: Key) -> st.SearchStrategy[int]:
    exact = st.integers(key.minimum, key.maximum)
    round_ = st.sampled_from(list(NS.values())).flatmap(
        lambda unit: st.integers(-(-key.minimum // unit), max(-(-key.minimum // unit), key.maximum // unit)).map(
            lambda n: min(n * unit, key.maximum)
        )
    )
    return exact | round_


def _templates() -> st.SearchStrategy[str]:
    fields = st.sampled_from(LOG_FIELDS).flatmap(
        lambda name: TOKENS.map(lambda token: f"{{header:{token}}}") if name == "header" else st.just(f"{{{name}}}")
    )
    texts = st.sampled_from(["{{", "}}", " ", '"', "é", "a|b", "%"])
    return st.tuples(st.lists(fields | texts, max_size=8), fields).map(lambda pair: "".join([*pair[0], pair[1]]))


def values(key: Key) -> st.SearchStrategy[Any]:
    """Lawful values of a key, each alone."""
    kind = key.kind
    zero = st.just(0) if key.zero_off else st.nothing()
    if isinstance(kind, Integer):
        return zero | st.integers(key.minimum, key.maximum)
    if isinstance(kind, Size):
        return zero | _sizes(key, kind.power_of_two)
    if isinstance(kind, Duration):
        return zero | _durations(key)
    if key.name == "user":
        return NAMES
    if isinstance(kind, Pseudonym):
        return st.just("") | TOKENS.filter(lambda token: token != "off")
    found = {
        InterceptionMode: st.sampled_from(["off", "redirect", "tproxy"]),
        PortList: st.lists(PORTS, max_size=4).map(merge_ports),
        ProtocolRules: st.lists(PROTOCOL_RULES, max_size=4).map(tuple),
        Switch: st.booleans(),
        Choice: st.sampled_from(key.choices) if key.choices else st.nothing(),
        LogFormat: st.sampled_from(["off", "json", "combined"]) | _templates(),
        LogWords: st.builds(Log, st.sampled_from(LOG_LEVELS), st.booleans()),
        GrpcStatuses: st.sets(st.sampled_from(range(1, 17))).map(
            lambda numbers: tuple(GRPC_STATUSES[number] for number in sorted(numbers))
        ),
        Listen: LISTENERS,
        Endpoints: ENDPOINTS,
        AdminAddress: st.none() | ADMIN_ADDRESSES,
        Pattern: FILE_PATHS,
    }
    return found[type(kind)]


def _in_order(drawn: dict[str, Any]) -> dict[str, Any]:
    """Swaps or lifts what rules between settings do not allow."""
    settings = {setting.name: setting for setting in SETTINGS}
    for lesser, greater in ORDERED:
        high = drawn.get(greater, settings[greater].default)
        if lesser in drawn:
            drawn[lesser] = min(drawn[lesser], high)
        elif settings[lesser].default > high and lesser.startswith("backoff"):
            del drawn[greater]
    if drawn.get("request_timeout"):
        drawn["per_try_timeout"] = min(drawn.get("per_try_timeout", 0), drawn["request_timeout"])
    if drawn.get("connection_slots"):
        drawn["max_connections"] = min(drawn.get("max_connections", 1000), drawn["connection_slots"] - 1)
    if drawn.get("upstream_protocol") == "http2":
        drawn.pop("send_proxy_protocol", None)
    if drawn.get("upstream_protocol") == "http1" or drawn.get("send_proxy_protocol", "off") != "off":
        drawn.pop("grpc_web", None)
    drawn.pop("endpoint_slots", None)  # would have to be above the number of endpoints
    return drawn


SETTING_VALUES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={setting.name: values(setting) for setting in SETTINGS if setting.name != "config"}
).map(_in_order)
"""Lawful values of any settings together, by name."""


_SECTIONS = ("listen", "upstream", "transparent")  # settings that stand for them


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Whole files: settings, listeners, backends and routes, in plain form."""
    drawn = {name: value for name, value in draw(SETTING_VALUES).items() if name not in _SECTIONS}
    # Backends and routes may say these again, within the order of the settings: leave both to the items.
    settled = {name: value for name, value in drawn.items() if not name.startswith("backoff")}
    tree = {setting.name: setting.plain(settled[setting.name]) for setting in SETTINGS if setting.name in settled}
    listeners = draw(st.lists(st.tuples(NAMES, LISTEN_ADDRESSES), max_size=3, unique_by=lambda pair: pair[0]))
    if listeners and _apart([address for _, address in listeners]):
        tree["listeners"] = [draw(_listeners(name, address)) for name, address in listeners]
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    tree["backends"] = [draw(_backends(name)) for name in names]
    for item in tree["backends"]:
        if item.get("protocol", drawn.get("upstream_protocol")) == "http2":
            item["send_proxy_protocol"] = "off"
    on = [item["name"] for item in tree.get("listeners", [{"name": "default"}])]
    route_names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    tree["routes"] = [draw(_routes(name, names, on, i)) for i, name in enumerate(route_names)]
    items = tree.get("listeners", [{"name": "default"}])
    relaying = [item["name"] for item in items if _protocol(item, tree) != "http"]
    if relaying:
        free = draw(st.lists(NAMES.filter(lambda name: name not in route_names), max_size=2, unique=True))
        tree["routes"] += [draw(_tcp_routes(name, names, relaying, i)) for i, name in enumerate(free)]
    return tree


@st.composite
def _listeners(draw: st.DrawFn, name: str, address: Address) -> dict[str, Any]:
    optional = {"protocol": st.sampled_from(LISTENER_PROTOCOLS), "proxy_protocol": st.booleans()}
    if address.kind != "unix":
        optional["transparent"] = st.sampled_from(LISTENER_ROLES)
    return {"name": name, "address": address.text} | draw(st.fixed_dictionaries({}, optional=optional))


def _protocol(listener: dict[str, Any], tree: dict[str, Any]) -> str:
    usual = str(tree.get("listener_protocol", "http"))
    if usual == "http" and listener.get("transparent", "off") != "off":
        usual = "detect"
    return str(listener.get("protocol", usual))


@st.composite
def _backends(draw: st.DrawFn, name: str) -> dict[str, Any]:
    local = {setting.backend_key: setting for setting in SETTINGS if setting.backend_key}
    chosen = draw(st.fixed_dictionaries({}, optional={key: values(setting) for key, setting in local.items()}))
    if {"backoff_min", "backoff_max"} & chosen.keys():
        low, high = sorted((draw(values(local["backoff_min"])), draw(values(local["backoff_max"]))))
        hour = local["backoff_min"].maximum
        chosen |= {"backoff_min": min(low, hour), "backoff_max": high}
    endpoints = draw(ENDPOINTS)
    as_text = draw(st.booleans())
    plain = (
        [e.text for e in endpoints] if as_text else [{"address": e.address.text, "weight": e.weight} for e in endpoints]
    )
    return {"name": name, "endpoints": plain} | {key: local[key].plain(value) for key, value in chosen.items()}


@st.composite
def _routes(draw: st.DrawFn, name: str, backends: list[str], listeners: list[str], index: int) -> dict[str, Any]:
    route: dict[str, Any] = {"name": name, "backend": draw(st.sampled_from(backends))}
    hosts = st.lists(HOST_NAMES | HOST_NAMES.map(lambda host: f"*.{host}"), min_size=1, max_size=3, unique=True)
    headers = st.dictionaries(TOKENS.map(str.lower), HEADER_VALUES | st.booleans(), min_size=1, max_size=3)
    optional = {
        "hosts": hosts,
        "methods": st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True),
        "headers": headers,
        "listeners": st.lists(st.sampled_from(listeners), min_size=1, max_size=3, unique=True),
        "retry_connect": st.integers(0, 10),
        "retry_grpc": st.lists(st.integers(1, 16) | st.sampled_from(GRPC_STATUSES[1:]), max_size=4),
        "grpc_web": st.booleans(),
    }
    route |= draw(st.fixed_dictionaries({}, optional=optional))
    route["path" if draw(st.booleans()) else "path_prefix"] = f"/{index}" + draw(URL_PATHS)
    if draw(st.booleans()):
        route |= {"request_timeout": "10s", "per_try_timeout": draw(st.sampled_from(["1s", 0.5, "off"]))}
    return route


@st.composite
def _tcp_routes(draw: st.DrawFn, name: str, backends: list[str], listeners: list[str], index: int) -> dict[str, Any]:
    route: dict[str, Any] = {"name": name, "backend": draw(st.sampled_from(backends)), "sni": [f"n{index}.example"]}
    names = st.lists(HOST_NAMES | HOST_NAMES.map(lambda host: f"*.{host}"), max_size=3, unique=True)
    route["sni"] += [each for each in draw(names) if each != route["sni"][0]]
    optional = {
        "tcp": st.just(True),
        "alpn": st.lists(st.sampled_from(["h2", "http/1.1", "x"]), min_size=1, max_size=3, unique=True),
        "listeners": st.lists(st.sampled_from(listeners), min_size=1, max_size=3, unique=True),
    }
    return route | draw(st.fixed_dictionaries({}, optional=optional))


def header_matches() -> st.SearchStrategy[HeaderMatch]:
    """Conditions on header fields."""
    exact = st.builds(lambda name, value: HeaderMatch(name.lower(), "exact", value), TOKENS, HEADER_VALUES)
    other = st.builds(HeaderMatch, TOKENS.map(str.lower), st.sampled_from(["present", "absent"]))
    return exact | other


def environment(drawn: Mapping[str, Any]) -> dict[str, str]:
    """Values by name as environment text."""
    return {setting.variable: setting.format(drawn[setting.name]) for setting in SETTINGS if setting.name in drawn}


def toml(tree: Mapping[str, Any]) -> str:
    """A tree as TOML, every value inline."""
    return "".join(f"{_toml_key(key)} = {_toml_value(value)}\n" for key, value in tree.items())


def _toml_key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, tree: Mapping[str, Any]) -> dict[str, str]:
    """Writes a file by its suffix; answers the environment that names it."""
    if path.suffix == ".toml":
        path.write_text(toml(tree), encoding="utf-8")
    else:
        import yaml

        path.write_text(yaml.safe_dump(dict(tree), allow_unicode=True), encoding="utf-8")
    return {"FASTMESH_CONFIG": str(path)}
