"""`fastmesh redirect` before it touches the kernel: options, variables, refusals; and that the documentation agrees."""

import pwd
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from fastmesh.cli import main
from fastmesh.config import inspect
from fastmesh.config.model import Ports
from fastmesh.config.redirect import OPTIONS, Redirect, read
from fastmesh.redirect import backends, tools
from tools.source import ROOT

USERS = {"FASTMESH_REDIRECT_USERS": "2102"}
PAGE = ROOT / "docs" / "redirect.md"


def told(environ: dict[str, str], **given: str) -> Redirect:
    found, problems = read(environ, given, True)
    assert problems == []
    return found


def refused(environ: dict[str, str], **given: str) -> list[tuple[str, str]]:
    return [(problem.key, problem.rule) for problem in read(environ, given, True)[1]]


def test_ports_are_those_that_users_of_linkerd_know() -> None:
    found = told(USERS)
    assert (found.outbound_port, found.inbound_port, found.admin_port, found.families) == (
        4140, 4143, 4191, ("ipv4", "ipv6")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("backend", "nft", "nft"),
        ("families", "ipv6", ("ipv6",)),
        ("families", "IPv6, IPv4", ("ipv4", "ipv6")),
        ("outbound_port", "off", 0),
        ("inbound_port", "15006", 15006),
        ("inbound_mode", "tproxy", "tproxy"),
        ("users", "root, 2102", (0, 2102)),
        ("users", "2102:2102", (2102,)),
        ("admin_port", "off", 0),
        ("skip_outbound_ports", "3306,22,23-25", (Ports(22, 25), Ports(3306, 3306))),
        ("skip_inbound_ports", "1-65535", (Ports(1, 65535),)),
        ("inbound_ports", "8080", (Ports(8080, 8080),)),
        ("outbound_networks", "10.0.0.0/9,10.128.0.0/9,fd00::/8", ("10.0.0.0/8", "fd00::/8")),
        ("skip_outbound_networks", "192.0.2.1", ("192.0.2.1/32",)),
        ("skip_inbound_networks", "2001:DB8::/32", ("2001:db8::/32",)),
    ],
)
def test_option_and_variable_say_the_same(name: str, text: str, value: object) -> None:
    environ = dict(USERS)
    assert getattr(told(environ, **{name: text}), name) == value
    assert getattr(told({**environ, f"FASTMESH_REDIRECT_{name.upper()}": text}), name) == value


def test_an_option_wins_over_its_variable_and_may_empty_a_list() -> None:
    environ = {**USERS, "FASTMESH_REDIRECT_SKIP_OUTBOUND_PORTS": "22"}
    assert told(environ, skip_outbound_ports="23").skip_outbound_ports == (Ports(23, 23),)
    assert told(environ, skip_outbound_ports="").skip_outbound_ports == ()
    assert told({**environ, "FASTMESH_REDIRECT_SKIP_OUTBOUND_PORTS": ""}).skip_outbound_ports == ()


def test_the_user_of_the_proxy_is_left_alone_when_no_other_is_named() -> None:
    assert told({"FASTMESH_USER": "2102"}).users == (2102,)
    assert told({"FASTMESH_USER": "2102:5"}).users == (2102,)
    assert told({"FASTMESH_USER": "2102", "FASTMESH_REDIRECT_USERS": "7"}).users == (7,)
    assert told({"FASTMESH_USER": "nobody"}).users == (pwd.getpwnam("nobody").pw_uid,)
    assert told({}, outbound_port="off").users == ()
    ((key, rule),) = refused({})
    assert key == "FASTMESH_REDIRECT_USERS"
    assert "FASTMESH_USER" in rule


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("backend", "nftables", "must be one of auto, nft, iptables"),
        ("families", "ipv5", "must be ipv4, ipv6 or ipv4,ipv6; 'ipv5' is neither"),
        ("families", "", "must be ipv4, ipv6"),
        ("outbound_port", "-1", "from 1 to 65535"),
        ("inbound_port", "65536", 'from 1 to 65535, or "off"'),
        ("inbound_port", "4140", "must not be outbound_port too"),
        ("inbound_mode", "nat", "must be one of redirect, tproxy"),
        ("users", "no-such-user", "there is no user 'no-such-user'"),
        ("users", "2102:no-such-group", "there is no group 'no-such-group'"),
        ("users", "4294967295", "from 0 to 4294967294"),
        ("users", "", "must be users"),
        ("users", "-1", "must be"),
        ("skip_outbound_ports", "22,x", "'x' is neither a port nor a range"),
        ("skip_outbound_ports", "25-22", "'25-22' is neither"),
        ("skip_inbound_ports", "0", "'0' is neither"),
        ("inbound_ports", "22,,23", "'' is neither"),
        ("outbound_networks", "10.0.0.0/33", "'10.0.0.0/33' is no network"),
        ("skip_outbound_networks", "10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("skip_inbound_networks", "example.com", "'example.com' is no network"),
    ],
)
def test_every_wrong_value_is_refused_with_its_rule(name: str, text: str, rule: str) -> None:
    ((key, said),) = refused(USERS, **{name: text})
    assert key == "--" + name.replace("_", "-")
    assert rule in said


def test_there_must_be_something_to_intercept() -> None:
    ((_, rule),) = refused({}, outbound_port="off", inbound_port="off")
    assert "nothing to intercept" in rule


def test_all_that_is_wrong_is_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_PATH", "/nowhere")
    monkeypatch.setattr("fastmesh.redirect.may_change_network", lambda: False)
    environ = {"FASTMESH_REDIRECT_SKIP_INBOUND_PORTS": "x", "FASTMESH_REDIRECT_INBOUND_PROT": "1"}
    assert main(["redirect", "apply", "--users", "no-such-user"], environ) == 64
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "fastmesh: 5 problems with the interception"
    assert [line.split("(")[0].strip() for line in lines[1::2]] == [
        'FASTMESH_REDIRECT_INBOUND_PROT = "1"', '--users = "no-such-user"',
        'FASTMESH_REDIRECT_SKIP_INBOUND_PORTS = "x"', "CAP_NET_ADMIN", "nft or iptables",
    ]  # fmt: skip
    assert 'did you mean "FASTMESH_REDIRECT_INBOUND_PORT"?' in err
    assert "install nft or iptables-save, iptables-restore" in err


@pytest.mark.parametrize("action", ["apply", "remove", "show"])
def test_a_machine_that_cannot_is_exit_1(
    action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_PATH", "/nowhere")
    assert main(["redirect", action], USERS) == 1
    assert "nft or iptables  (this machine)" in capsys.readouterr().err


def test_a_plan_needs_no_programs_and_no_rights(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_PATH", "/nowhere")
    monkeypatch.setattr("fastmesh.redirect.may_change_network", lambda: False)
    assert main(["redirect", "plan"], USERS) == 0
    assert capsys.readouterr().out.startswith("# nft -f -\ntable inet fastmesh\n")
    assert main(["redirect", "plan", "--backend", "iptables"], USERS) == 0
    assert capsys.readouterr().out.startswith("# iptables-restore --noflush\n*nat\n")


@pytest.mark.parametrize(
    ("there", "chosen"), [(("nft", "iptables"), "# nft"), (("nft",), "# nft"), (("iptables",), "# iptables-restore")]
)
def test_auto_is_nft_when_it_is_there(
    there: tuple[str, ...], chosen: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {name for name in there for name in (name, f"{name}-save", f"{name}-restore")}
    monkeypatch.setattr(backends, "path_of", lambda program: program if program in names else "")
    assert main(["redirect", "plan"], USERS) == 0
    assert capsys.readouterr().out.startswith(chosen)


def test_a_kernel_without_ipv6_needs_no_rules_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "kernel_has_ipv6", lambda: False)
    assert main(["redirect", "plan", "--backend", "iptables"], USERS) == 0
    assert "ip6tables" not in capsys.readouterr().out


def test_what_a_program_says_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nft").write_text("#!/bin/sh\necho 'Error: Operation not supported' >&2\nexit 1\n")
    (tmp_path / "nft").chmod(0o755)
    monkeypatch.setattr(tools, "_PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("fastmesh.redirect.may_change_network", lambda: True)
    assert main(["redirect", "apply", "--backend", "nft"], USERS) == 1
    said = capsys.readouterr().err
    assert said == "fastmesh: nft -f - ended with 1: Error: Operation not supported\n"


def test_the_proxy_knows_these_variables_and_their_misspellings() -> None:
    environ = {"FASTMESH_UPSTREAM": "127.0.0.1:1", **USERS, "FASTMESH_REDIRECT_OUTBOUND_PORT": "4140"}
    assert inspect(environ).problems == ()
    (problem,) = inspect({**environ, "FASTMESH_REDIRECT_SKIP_PORTS": "1"}).problems
    assert problem.key == "FASTMESH_REDIRECT_SKIP_PORTS"
    assert "did you mean" in problem.rule


@pytest.mark.parametrize("arguments", [["redirect"], ["redirect", "plan", "--json"], ["redirect", "undo"]])
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments, {})
    assert caught.value.code == 2


def test_every_option_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["redirect", "apply", "--help"], {})
    text = capsys.readouterr().out
    assert all(option.flag in text for option in OPTIONS)


def _rows() -> dict[str, tuple[str, ...]]:
    cells = (tuple(cell.strip().strip("`") for cell in line.split("|")[1:-1]) for line in PAGE.read_text().splitlines()
             if line.startswith("| `FASTMESH_REDIRECT_"))  # fmt: skip
    return {row[0]: row[1:] for row in cells}


def test_the_documentation_has_every_option_with_its_default() -> None:
    wanted: dict[str, Any] = {
        option.variable: (
            option.type_text.replace(" | ", ", "), option.format(getattr(Redirect(), option.name)), option.doc
        )
        for option in OPTIONS
    }
    assert {name: (row[0], row[1], row[2].replace("`", "")) for name, row in _rows().items()} == wanted


def test_commands_in_the_documentation_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^(?:sudo )?((?:FASTMESH_\w+=\S+ )*)fastmesh redirect (.+)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) >= 5
    for variables, words in commands:
        given = dict(word.split("=", 1) for word in variables.split())
        action, *options = shlex.split(words, comments=True)
        shown = [word for word in options if word not in ("--json", "--dry-run")]
        if action in ("plan", "apply"):
            shown = ["2102" if word == "fastmesh" else word for word in shown]  # a user that this machine may not have
            assert main(["redirect", "plan", *shown], given) == 0, words
    capsys.readouterr()
