"""Settings of interception: the listeners one word makes, and what destinations speak."""

import pytest

from fastmesh.config import ConfigError, load, transparent
from fastmesh.config.model import Ports, ProtocolRule
from fastmesh.config.ports import rule_parse


def listeners(monkeypatch: pytest.MonkeyPatch, v6: bool = True, **variables: str) -> list[tuple[str, str, str, str]]:
    monkeypatch.setattr(transparent, "has_ipv6", lambda: v6)
    made = load({f"FASTMESH_{name.upper()}": text for name, text in variables.items()})
    return [(each.name, each.address.text, each.role, each.reception.protocol) for each in made.listeners]


def test_one_variable_is_a_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listeners(monkeypatch, transparent="1") == [
        ("inbound", "[::]:4143", "inbound", "detect"),
        ("outbound", "127.0.0.1:4140", "outbound", "detect"),
        ("outbound-v6", "[::1]:4140", "outbound", "detect"),
    ]


def test_where_there_is_no_ipv6_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listeners(monkeypatch, v6=False, transparent="redirect") == [
        ("inbound", "0.0.0.0:4143", "inbound", "detect"),
        ("outbound", "127.0.0.1:4140", "outbound", "detect"),
    ]


def test_tproxy_is_of_what_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = [role for _, _, role, _ in listeners(monkeypatch, transparent="tproxy")]
    assert roles == ["tproxy", "outbound", "outbound"]


def test_listeners_that_were_asked_for_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    found = listeners(monkeypatch, transparent="on", listen="127.0.0.1:80", listener_protocol="opaque")
    assert found[0] == ("default", "127.0.0.1:80", "off", "opaque")
    assert [(name, protocol) for name, _, _, protocol in found[1:]] == [
        ("inbound", "opaque"), ("outbound", "opaque"), ("outbound-v6", "opaque"),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["off", "no", "0"])
def test_off_is_as_if_nothing_had_been_said(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    found = listeners(monkeypatch, transparent=word, upstream="127.0.0.1:9")
    assert found == [("default", "0.0.0.0:4143", "off", "http")]


def test_no_other_word_is_known() -> None:
    with pytest.raises(ConfigError, match="must be off, redirect"):
        load({"FASTMESH_TRANSPARENT": "iptables"})


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("8443=tls", ProtocolRule("", 0, Ports(8443, 8443), "tls")),
        ("9000-9010 = opaque", ProtocolRule("", 0, Ports(9000, 9010), "opaque")),
        ("10.0.0.0/8=http", ProtocolRule("10.0.0.0", 8, Ports(1, 65535), "http")),
        ("10.0.0.1:9000=detect", ProtocolRule("10.0.0.1", 32, Ports(9000, 9000), "detect")),
        ("[fd00::/8]:25=opaque", ProtocolRule("fd00::", 8, Ports(25, 25), "opaque")),
        ("[FD00:0:0::1]=opaque", ProtocolRule("fd00::1", 128, Ports(1, 65535), "opaque")),
        ("0.0.0.0/0=opaque", ProtocolRule("0.0.0.0", 0, Ports(1, 65535), "opaque")),
    ],
)
def test_a_rule_says_where_and_what(text: str, rule: ProtocolRule) -> None:
    assert rule_parse(text) == rule
    assert rule_parse(rule.text) == rule


@pytest.mark.parametrize(
    "text",
    ["8443", "8443=", "8443=htp", "0=tls", "65536=tls", "9-8=tls", "10.0.0.1/8=tls", "10.0.0.0/33=tls", "10.0.0=tls",
     "fd00::1=tls", "[fd00::/129]=tls", "[fd00::1]:=tls", "a.example=tls", "10.0.0.1:0=tls", "=tls"],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be destinations with their protocols"):
        load({"FASTMESH_TRANSPARENT": "on", "FASTMESH_DESTINATION_PROTOCOLS": text})
