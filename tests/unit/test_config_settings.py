"""The table of settings: complete, documented, and with the defaults that were promised."""

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.addresses import LISTENERS_MAX
from fastmesh.config.logs import LOG_FIELDS, PARTS_MAX
from fastmesh.config.matching import METHODS
from fastmesh.config.model import Config
from fastmesh.config.settings import BY_NAME, BY_VARIABLE, SECTIONS, SETTINGS, Setting
from fastmesh.config.values import Integer, Number
from tests.support.configs import PATIENT, values
from tools.source import ROOT

FIXED_VARIABLES = {
    "FASTMESH_LISTEN",
    "FASTMESH_UPSTREAM",
    "FASTMESH_ADMIN",
    "FASTMESH_BALANCER",
    "FASTMESH_WORKERS",
    "FASTMESH_CONFIG",
    "FASTMESH_DRAIN_TIMEOUT",
    "FASTMESH_ACCESS_LOG",
    "FASTMESH_LOG",
}

DEFAULTS = {
    "listen": "0.0.0.0:4143",
    "upstream": "",
    "admin": "127.0.0.1:4191",
    "balancer": "p2c_ewma",
    "workers": "1",
    "drain_timeout": "30s",
    "access_log": "off",
    "log": "info",
    "head_bytes": "64KiB",
    "line_bytes": "16KiB",
    "fields": "128",
    "header_timeout": "15s",
    "idle_timeout": "75s",
    "stream_timeout": "5m",
    "request_timeout": "off",
    "per_try_timeout": "off",
    "connect_timeout": "1s",
    "linger_timeout": "2s",
    "max_connections": "10000",
    "max_pending": "1024",
    "keepalive_requests": "off",
    "upstream_max_connections": "off",
    "upstream_max_idle": "128",
    "upstream_subset": "off",
    "ewma_default": "30ms",
    "ewma_decay": "10s",
    "backoff_min": "100ms",
    "backoff_max": "1m",
    "retry_connect": "2",
    "upstream_protocol": "auto",
    "upstream_max_streams": "100",
    "upstream_ping_interval": "off",
    "upstream_ping_timeout": "10s",
    "http2_streams": "100",
    "http2_glitches": "1000",
    "http2_window": "1MiB",
    "grpc_timeout": "on",
    "grpc_web": "off",
    "retry_grpc": "off",
    "via": "fastmesh",
    "via_response": "off",
    "forwarded": "none",
    "forwarded_replace": "off",
    "pin_cpus": "off",
    "metrics_endpoints": "off",
    "access_log_path": "-",
}

every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def test_the_fixed_variables_are_settings() -> None:
    assert BY_VARIABLE.keys() >= FIXED_VARIABLES


@pytest.mark.parametrize(("name", "text"), DEFAULTS.items())
def test_default(name: str, text: str) -> None:
    assert BY_NAME[name].format(BY_NAME[name].default) == text


def test_names_and_variables_are_unique_and_of_one_style() -> None:
    assert len(BY_NAME) == len(BY_VARIABLE) == len(SETTINGS)
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z]+)*", setting.name) for setting in SETTINGS)


@every_setting
def test_is_documented_in_one_sentence_with_type_and_unit(setting: Setting) -> None:
    assert re.fullmatch(r"[A-Z.].*\.", setting.doc)
    assert setting.type_text
    assert setting.kind.unit
    assert setting.group
    assert setting.rule.startswith("must ")


@every_setting
def test_default_is_inside_its_bounds(setting: Setting) -> None:
    if isinstance(setting.kind, Number):
        least = 0 if setting.zero_off else setting.minimum
        assert least <= setting.default <= setting.maximum
    if setting.name not in ("upstream", "config"):
        assert setting.parse(setting.format(setting.default)) == setting.default


@every_setting
@PATIENT
@given(data=st.data())
def test_what_is_written_is_read_back(setting: Setting, data: st.DataObject) -> None:
    value = data.draw(values(setting))
    assert setting.parse(setting.format(value)) == value
    if setting.in_file:
        assert setting.take(setting.plain(value)) == value
        assert isinstance(setting.kind, Integer) or setting.take(setting.format(value)) == value


@pytest.mark.parametrize("setting", [s for s in SETTINGS if isinstance(s.kind, Number)], ids=lambda s: s.name)
def test_bounds_are_taken_and_what_is_beyond_is_not(setting: Setting) -> None:
    kind = setting.kind
    assert isinstance(kind, Number)
    for bound in (setting.minimum, setting.maximum):
        assert setting.parse(kind.write(bound)) == bound
        assert setting.take(kind.write(bound) if kind.type != "integer" else bound) == bound
    beyond = [setting.maximum + 1] + ([setting.minimum - 1] if setting.minimum > 1 else [])
    for value in beyond:
        with pytest.raises(ValueError, match=r"^must be"):
            setting.parse(kind.write(value))


def _leaves(struct: Any, prefix: str = "") -> set[str]:
    leaves = set()
    for field in dataclasses.fields(struct):
        value = getattr(struct, field.name)
        own = any(setting.field == prefix + field.name for setting in SETTINGS)
        if dataclasses.is_dataclass(value) and not own:
            leaves |= _leaves(value, f"{prefix}{field.name}.")
        else:
            leaves.add(prefix + field.name)
    return leaves


def test_every_field_of_the_model_has_a_setting() -> None:
    made_of_items = {"routes", "backends", "sources"}
    assert _leaves(Config()) - made_of_items == {setting.field for setting in SETTINGS} - {""}


def test_keys_of_items_are_unique_and_documented() -> None:
    for keys in SECTIONS.values():
        assert len({key.name for key in keys}) == len(keys)
        assert all(key.doc.endswith(".") for key in keys)


def test_upstream_and_exchange_settings_stand_in_items_too() -> None:
    for setting in SETTINGS:
        assert bool(setting.backend_key) == setting.field.startswith("upstream.")
        assert bool(setting.route_key) == setting.field.startswith("exchange.")


def _core_constant(path: str, name: str) -> int:
    found = re.search(rf"^\s+{name} = (\d+)", (ROOT / "fastmesh/_core" / path).read_text(), re.M)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(
    ("path", "name", "bound"),
    [
        ("io/state.pxd", "HEAD_BYTES_MAX", BY_NAME["head_bytes"].maximum),
        ("io/state.pxd", "LISTENERS_MAX", LISTENERS_MAX),
        ("routing/snapshot.pxd", "HTTP2_STREAMS_MAX", BY_NAME["http2_streams"].maximum),
        ("routing/snapshot.pxd", "HTTP2_STREAMS_MAX", BY_NAME["upstream_max_streams"].maximum),
        ("routing/snapshot.pxd", "HTTP2_WINDOW_MIN", BY_NAME["http2_window"].minimum),
        ("routing/snapshot.pxd", "HTTP2_WINDOW_MAX", BY_NAME["http2_window"].maximum),
        ("wire/headers.pxd", "HEADERS_MAX", BY_NAME["fields"].maximum),
        ("bridge.pyx", "WORKERS_MAX", BY_NAME["workers"].maximum),
        ("bridge.pyx", "LOG_RING_MIN", BY_NAME["access_log_ring"].minimum),
        ("io/access_log.pxd", "LOG_PARTS_MAX", PARTS_MAX + 1),
    ],
)
def test_bounds_are_those_of_the_core(path: str, name: str, bound: int) -> None:
    assert _core_constant(path, name) == bound


def test_words_are_those_of_the_core() -> None:
    bridge, build = pytest.importorskip("fastmesh._core.bridge"), pytest.importorskip("fastmesh._core.build")
    assert set(LOG_FIELDS) == bridge.LOG_FIELDS.keys()
    assert {method.encode() for method in METHODS} == set(build.METHODS) - {b""}
