"""From environment and file to a Config: precedence, equivalence, sources, and every problem at once."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fastmesh.config import Config, ConfigError, describe, inspect, load
from fastmesh.config.model import Endpoint, Listener
from fastmesh.config.problems import Problem
from fastmesh.config.settings import BY_NAME
from fastmesh.config.views import tree
from tests.support.configs import PATIENT, SETTING_VALUES, environment, trees, write

UPSTREAM = {"FASTMESH_UPSTREAM": "127.0.0.1:9000"}
TWO_BACKENDS = [
    {"name": "default", "endpoints": ["10.0.0.1:1"], "balancer": "random"},
    {"name": "b", "endpoints": ["10.0.0.2:1"]},
]


def without_sources(config: Config) -> Config:
    return dataclasses.replace(config, sources={}, file="")


def problems(environ: dict[str, str]) -> list[Problem]:
    return list(inspect(environ).problems)


def endpoints_of(config: Config, backend: str) -> list[str]:
    return [endpoint.text for endpoint in config.backend(backend).endpoints]


def routes_of(config: Config) -> list[tuple[str, str]]:
    return [(route.name, route.backend) for route in config.routes]


def test_one_variable_is_enough() -> None:
    config = load(UPSTREAM)
    assert routes_of(config) == [("default", "default")]
    assert endpoints_of(config, "default") == ["127.0.0.1:9000"]
    untouched = dataclasses.replace(config, backends=(), routes=(), sources={})
    assert untouched == dataclasses.replace(Config(), sources={})


def test_without_an_upstream_there_is_nowhere_to_send_requests() -> None:
    with pytest.raises(ConfigError) as caught:
        load({})
    assert [problem.key for problem in caught.value.problems] == ["FASTMESH_UPSTREAM"]
    assert inspect({}, require_backends=False).problems == ()


@PATIENT
@given(SETTING_VALUES)
def test_environment_sets_every_value(drawn: dict[str, Any]) -> None:
    config, found = inspect(environment(drawn), require_backends=False)
    assert found == ()
    assert {name: BY_NAME[name].of(config) for name in drawn} == drawn


@PATIENT
@given(SETTING_VALUES)
def test_what_is_described_gives_the_same_configuration(drawn: dict[str, Any]) -> None:
    config = inspect(environment(drawn), require_backends=False).config
    again = inspect({row.name: row.value for row in describe(config)}, require_backends=False)
    assert again.problems == ()
    assert without_sources(again.config) == without_sources(config)


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".yml"])
@PATIENT
@given(drawn=SETTING_VALUES)
def test_a_file_says_the_same_as_variables(tmp_path: Path, suffix: str, drawn: dict[str, Any]) -> None:
    plain = {name: BY_NAME[name].plain(value) for name, value in drawn.items()}
    from_file = inspect(write(tmp_path / f"f{suffix}", plain), require_backends=False)
    from_variables = inspect(environment(drawn), require_backends=False)
    assert from_file.problems == from_variables.problems == ()
    assert without_sources(from_file.config) == without_sources(from_variables.config)


@pytest.mark.parametrize("suffix", [".toml", ".yaml"])
@PATIENT
@given(drawn=trees())
def test_a_configuration_written_out_is_read_back(tmp_path: Path, suffix: str, drawn: dict[str, Any]) -> None:
    config = load(write(tmp_path / f"first{suffix}", drawn))
    again = load(write(tmp_path / f"second{suffix}", tree(config)))
    assert without_sources(again) == without_sources(config)


@PATIENT
@given(drawn=SETTING_VALUES, other=SETTING_VALUES)
def test_a_variable_wins_over_the_file(tmp_path: Path, drawn: dict[str, Any], other: dict[str, Any]) -> None:
    file = {name: BY_NAME[name].plain(value) for name, value in other.items()}
    config = inspect(write(tmp_path / "f.toml", file) | environment(drawn)).config
    for name, value in drawn.items():
        assert BY_NAME[name].of(config) == value
        assert config.sources[name] == "environment"
    for name in other.keys() - drawn.keys():
        assert BY_NAME[name].of(config) == other[name]
        assert config.sources[name] == f"{tmp_path}/f.toml: {name}"
    for name in BY_NAME.keys() - drawn.keys() - other.keys() - {"config"}:
        assert config.sources[name] == "default"


def test_sources_of_parts(tmp_path: Path) -> None:
    file = {"listeners": [{"name": "l", "address": "127.0.0.1:1"}], "backends": TWO_BACKENDS}
    environ = write(tmp_path / "f.toml", file | {"routes": [{"name": "r", "backend": "b"}]})
    config = load(environ | {"FASTMESH_UPSTREAM": "127.0.0.1:9"})
    path = environ["FASTMESH_CONFIG"]
    parts = {key: value for key, value in config.sources.items() if "[" in key}
    assert parts == {
        "listeners[0]": f"{path}: listeners[0]",
        "backends[0]": f"{path}: backends[0]",
        "backends[0].endpoints": "environment",
        "backends[1]": f"{path}: backends[1]",
        "routes[0]": f"{path}: routes[0]",
        "routes[1]": "environment",
    }
    assert config.sources["listen"] == f"{path}: listeners"
    assert config.sources["config"] == "environment"
    with pytest.raises(TypeError):
        config.sources["listen"] = "x"  # type: ignore[index]


def test_a_config_cannot_be_changed() -> None:
    config = load(UPSTREAM)
    with pytest.raises(AttributeError):
        config.policy.fields = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.backends = ()  # type: ignore[misc]


def test_an_empty_variable_counts_as_not_set() -> None:
    config = load(UPSTREAM | {"FASTMESH_WORKERS": "", "FASTMESH_CONFIG": "", "FASTMESH_VIA": ""})
    assert config.workers.count == 1
    assert config.policy.via == ""
    assert config.sources["workers"] == "default"
    assert config.sources["via"] == "environment"


def test_limits_of_parts_follow_the_limit_of_the_head_down() -> None:
    policy = load(UPSTREAM | {"FASTMESH_HEAD_BYTES": "4k"}).policy
    assert (policy.head_bytes, policy.line_bytes, policy.field_line_bytes) == (4096, 4096, 4096)
    policy = load(UPSTREAM | {"FASTMESH_HEAD_BYTES": "128k", "FASTMESH_LINE_BYTES": "1k"}).policy
    assert (policy.head_bytes, policy.line_bytes, policy.field_line_bytes) == (131072, 1024, 65536)


# Where upstream, backends and routes meet.


def test_the_variable_replaces_endpoints_of_the_backend_default(tmp_path: Path) -> None:
    environ = write(tmp_path / "f.toml", {"backends": TWO_BACKENDS})
    config = load(environ | {"FASTMESH_UPSTREAM": "127.0.0.1:9;weight=2"})
    assert endpoints_of(config, "default") == ["127.0.0.1:9;weight=2"]
    assert config.backend("default").upstream.balancer == "random"
    assert routes_of(config) == [("default", "default")]


def test_the_variable_adds_the_backend_and_route_default(tmp_path: Path) -> None:
    file = {"backends": TWO_BACKENDS[1:], "routes": [{"name": "r", "backend": "b", "path_prefix": "/b"}]}
    config = load(write(tmp_path / "f.toml", file) | UPSTREAM)
    assert endpoints_of(config, "default") == ["127.0.0.1:9000"]
    assert routes_of(config) == [("r", "b"), ("default", "default")]


@pytest.mark.parametrize("route", [{"name": "default", "backend": "b"}, {"name": "r", "backend": "default"}])
def test_no_route_default_is_added_where_the_file_has_its_own(tmp_path: Path, route: dict[str, str]) -> None:
    config = load(write(tmp_path / "f.toml", {"backends": TWO_BACKENDS, "routes": [route]}) | UPSTREAM)
    assert routes_of(config) == [(route["name"], route["backend"])]


def test_a_file_without_routes_sends_everything_to_its_one_backend(tmp_path: Path) -> None:
    assert routes_of(load(write(tmp_path / "f.toml", {"backends": TWO_BACKENDS[1:]}))) == [("default", "b")]
    assert routes_of(load(write(tmp_path / "f.toml", {"backends": TWO_BACKENDS}))) == [("default", "default")]


def test_upstream_in_a_file_is_the_short_form(tmp_path: Path) -> None:
    config = load(write(tmp_path / "f.toml", {"upstream": ["a:1", {"address": "b:2", "weight": 3}]}))
    assert endpoints_of(config, "default") == ["a:1", "b:2;weight=3"]
    assert routes_of(config) == [("default", "default")]


def test_the_variable_replaces_the_listeners_of_the_file(tmp_path: Path) -> None:
    file = {"listeners": [{"name": "l", "address": "127.0.0.1:1"}], "upstream": "127.0.0.1:9"}
    environ = write(tmp_path / "f.toml", file)
    assert [listener.name for listener in load(environ).listeners] == ["l"]
    config = load(environ | {"FASTMESH_LISTEN": "127.0.0.1:2,127.0.0.1:3"})
    assert [(each.name, each.address.port) for each in config.listeners] == [("default", 2), ("default-2", 3)]


def test_items_take_what_they_do_not_say_from_the_settings(tmp_path: Path) -> None:
    file = {
        "connect_timeout": "3s",
        "upstream_idle_timeout": "9s",
        "upstream_protocol": "http2",
        "retry_grpc": [14, "aborted"],
        "request_timeout": "20s",
        "backends": [
            {"name": "a", "endpoints": ["a:1"], "idle_timeout": 1, "protocol": "http1", "max_streams": 9},
            {"name": "b", "endpoints": "b:1", "ping_interval": "5m"},
        ],
        "routes": [
            {"name": "a", "backend": "a", "path": "/a", "request_timeout": "off", "grpc_web": True, "retry_grpc": []},
            {"name": "b", "backend": "b"},
        ],
    }
    config = load(write(tmp_path / "f.toml", file) | {"FASTMESH_CONNECT_TIMEOUT": "4s"})
    a, b = (config.backend(name).upstream for name in "ab")
    assert (a.connect_timeout_ns, b.connect_timeout_ns) == (4_000_000_000, 4_000_000_000)
    assert (a.idle_timeout_ns, b.idle_timeout_ns) == (1_000_000_000, 9_000_000_000)
    assert [(each.protocol, each.max_streams) for each in (a, b)] == [("http1", 9), ("http2", 100)]
    assert (a.ping_interval_ns, b.ping_interval_ns) == (0, 300_000_000_000)
    first, second = (route.exchange for route in config.routes)
    assert (first.request_timeout_ns, second.request_timeout_ns) == (0, 20_000_000_000)
    assert (first.grpc_web, second.grpc_web) == (True, False)
    assert (first.retry_grpc, second.retry_grpc) == ((), ("aborted", "unavailable"))


# What is wrong.


def test_all_problems_appear_at_once(tmp_path: Path) -> None:
    file = {
        "fields": 2000,
        "hed_bytes": 1,
        "balancer": "p2c_emwa",
        "backends": [{"name": "a", "endpoints": ["a"], "weigth": 3}, {"endpoints": ["b:1"]}],
        "routes": [{"name": "r", "backend": "aa", "path": "x"}],
    }
    environ = write(tmp_path / "f.toml", file)
    environ |= {"FASTMESH_WORKERS": "two", "FASTMESH_LISTN": "x", "FASTMESH_DRAIN_TIMEOUT": "soon"}
    with pytest.raises(ConfigError) as caught:
        load(environ)
    path = environ["FASTMESH_CONFIG"]
    found = {(problem.key, problem.value, problem.source) for problem in caught.value.problems}
    assert found == {
        ("FASTMESH_WORKERS", '"two"', "environment"),
        ("FASTMESH_LISTN", '"x"', "environment"),
        ("FASTMESH_DRAIN_TIMEOUT", '"soon"', "environment"),
        ("fields", "2000", path),
        ("hed_bytes", "1", path),
        ("balancer", '"p2c_emwa"', path),
        ("backends[0].endpoints", "['a']", path),
        ("backends[0].weigth", "3", path),
        ("backends[1].name", "", path),
        ("routes[0].backend", '"aa"', path),
        ("routes[0].path", '"x"', path),
    }
    report = str(caught.value)
    assert report.startswith("fastmesh: 11 problems in the configuration\n")
    for problem in caught.value.problems:
        assert all(part in report for part in problem)
    for suggestion in ("FASTMESH_LISTEN", "head_bytes", "p2c_ewma", "a"):
        assert f'did you mean "{suggestion}"?' in report


@pytest.mark.parametrize("setting", BY_NAME.values(), ids=lambda setting: setting.name)
def test_a_bad_value_names_key_value_source_and_rule(tmp_path: Path, setting: Any) -> None:
    bad = "\x01 bad"
    in_environment = problems(UPSTREAM | {setting.variable: bad})
    assert [(p.key, p.value, p.source) for p in in_environment] == [(setting.variable, '"\\x01 bad"', "environment")]
    assert in_environment[0].rule.startswith("must ") or "must be" in in_environment[0].rule
    if setting.in_file:
        path = tmp_path / "f.yaml"
        path.write_text(f'{setting.name}: "\\x01 bad"\n')
        in_file = [p for p in problems({"FASTMESH_CONFIG": str(path)}) if p.key != "FASTMESH_UPSTREAM"]
        assert [(p.key, p.value, p.source) for p in in_file] == [(setting.name, '"\\x01 bad"', str(path))]


def test_a_file_is_judged_also_where_a_variable_wins(tmp_path: Path) -> None:
    environ = write(tmp_path / "f.toml", {"workers": 0})
    found = problems(environ | UPSTREAM | {"FASTMESH_WORKERS": "2"})
    assert [(problem.key, problem.source) for problem in found] == [("workers", environ["FASTMESH_CONFIG"])]


def test_bytes_that_are_no_text_are_a_problem() -> None:
    found = problems(UPSTREAM | {"FASTMESH_VIA": "\udcff"})
    assert [(p.key, p.value, p.rule) for p in found] == [("FASTMESH_VIA", '"\\udcff"', "must be UTF-8 text")]


def test_a_long_value_is_shortened() -> None:
    (problem,) = problems(UPSTREAM | {"FASTMESH_WORKERS": "9" * 5000})
    assert len(problem.value) <= 120
    assert problem.value.endswith("...")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FASTMESH_SERVICE_HOST", "10.0.0.1"),
        ("FASTMESH_SERVICE_PORT", "4143"),
        ("FASTMESH_SERVICE_PORT_HTTP", "4143"),
        ("FASTMESH_PORT", "tcp://10.0.0.1:4143"),
        ("FASTMESH_PORT_4143_TCP", "tcp://10.0.0.1:4143"),
        ("FASTMESH_PORT_4143_TCP_ADDR", "10.0.0.1"),
        ("FASTMESH_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("FASTMESH_ADMIN_PORT", "tcp://10.0.0.1:4191"),
        ("FASTMESH_PROFILE", "asan"),
    ],
)
def test_variables_of_others_are_left_alone(name: str, value: str) -> None:
    assert problems(UPSTREAM | {name: value}) == []


@pytest.mark.parametrize("name", ["FASTMESH_PORT", "FASTMESH_ADMIN_PORT", "FASTMESH_", "FASTMESH_listen", "FASTMESH_X"])
def test_unknown_variables_are_problems(name: str) -> None:
    assert [problem.key for problem in problems(UPSTREAM | {name: "4191"})] == [name]


# Files.


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("f.toml", b"workers = ", "must be TOML"),
        ("f.toml", b"workers = 1\nworkers = 2", "must be TOML"),
        ("f.toml", b"via = '\xff'", "must be UTF-8; byte 7"),
        ("f.yaml", b"workers: [", "must be YAML"),
        ("f.yaml", b"workers: 1\nworkers: 2", "'workers' is there twice"),
        ("f.yaml", b"backends: [{name: a, name: b}]", "'name' is there twice"),
        ("f.yaml", b"{[1]: 2}", "a key must be a text"),
        ("f.yaml", b"- 1", "must hold a table"),
        ("f.yaml", b"1: 2", "must hold a table"),
        ("f.yaml", b"!!python/object:os.system {}", "must be YAML"),
        ("f.json", b"{}", "must end in .toml, .yaml, .yml"),
        ("f", b"", "must end in"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str, content: bytes, rule: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    (problem,) = problems({"FASTMESH_CONFIG": str(path)} | UPSTREAM)
    assert (problem.key, problem.value) == ("FASTMESH_CONFIG", f'"{path}"')
    assert rule in problem.rule


def test_a_missing_file_and_a_directory_are_problems(tmp_path: Path) -> None:
    (problem,) = problems({"FASTMESH_CONFIG": f"{tmp_path}/no.toml"} | UPSTREAM)
    assert "No such file" in problem.rule
    (tmp_path / "d.toml").mkdir()
    (problem,) = problems({"FASTMESH_CONFIG": f"{tmp_path}/d.toml"} | UPSTREAM)
    assert "directory" in problem.rule


def test_yaml_words_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("admin: off\naccess_log: off\nvia: off\npin_cpus: on\nrequest_timeout: off\nupstream: a:1\n"
                    "backends: [{name: b, endpoints: [a:1]}]\n"
                    "routes: [{name: r, backend: b, headers: {x-a: yes, x-b: true, x-c: false}}]\n")  # fmt: skip
    config = load({"FASTMESH_CONFIG": str(path)})
    assert config.admin is None
    assert config.policy.via == ""
    assert config.workers.pin
    assert [(match.kind, match.value) for match in config.routes[0].headers] == [
        ("exact", "yes"),
        ("present", ""),
        ("absent", ""),
    ]


@pytest.mark.parametrize("text", ["010", "0x10", "1:30", "1_000", "2020-01-01"])
def test_yaml_numbers_are_decimal(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(f"workers: {text}\nupstream: a:1\n")
    assert [problem.key for problem in problems({"FASTMESH_CONFIG": str(path)})] == ["workers"]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    for name in ("f.toml", "f.yaml"):
        (tmp_path / name).write_text("")
        config = load({"FASTMESH_CONFIG": f"{tmp_path}/{name}"} | UPSTREAM)
        assert without_sources(config) == without_sources(load(UPSTREAM))


def test_yaml_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "f.yaml").write_text("workers: 1\n")
    (problem,) = problems({"FASTMESH_CONFIG": f"{tmp_path}/f.yaml"} | UPSTREAM)
    assert "pip install 'fastmesh[yaml]'" in problem.rule


@pytest.mark.parametrize("section", ["listeners", "backends", "routes"])
@pytest.mark.parametrize("content", [[], {"name": "a"}, "a", [1], [["a"]]])
def test_sections_must_be_lists_of_tables(tmp_path: Path, section: str, content: object) -> None:
    found = problems(write(tmp_path / "f.toml", {section: content}) | UPSTREAM)
    assert [problem.key for problem in found] == [section]


def test_types_of_the_model() -> None:
    config = load(UPSTREAM)
    assert all(isinstance(listener, Listener) for listener in config.listeners)
    assert all(isinstance(endpoint, Endpoint) for backend in config.backends for endpoint in backend.endpoints)
    with pytest.raises(KeyError):
        config.backend("nobody")
