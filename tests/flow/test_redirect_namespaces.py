"""Interception in the kernel: a workload and one outside, each in a network namespace of the test's own.

A server that reports the original destination stands in for the proxy on its two ports.
"""

import contextlib
import json
import pathlib
import shutil
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support import netns
from tests.support.netns import Command, Namespace, Peer

PROXY_UID, APP_UID = 2102, 1000
HERE = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}
THERE = {"ipv4": "192.0.2.2", "ipv6": "2001:db8::2"}
ALSO_THERE = {"ipv4": "192.0.2.3", "ipv6": "2001:db8::3"}
BITS = {"ipv4": "/24", "ipv6": "/64"}
LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}
ANY = {"ipv4": "0.0.0.0", "ipv6": "::"}
FAMILIES = ("ipv4", "ipv6")
SERVICE, SECOND, ADMIN = 8080, 9090, 4191  # of the workload; outside has the first two

pytestmark = pytest.mark.skipif(bool(netns.impossible()), reason=netns.impossible())


class Stage(NamedTuple):
    """The two machines and who lives there."""

    inside: Namespace
    beyond: Namespace
    command: Command  # in the first
    proxy: Peer  # of the user whose connections are left alone
    app: Peer
    outside: Peer


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Namespace() as inside, Namespace() as outside:
        inside.join(
            outside,
            tuple(HERE[family] + BITS[family] for family in FAMILIES),
            tuple(there[family] + BITS[family] for there in (THERE, ALSO_THERE) for family in FAMILIES),
        )
        made = Stage(inside, outside, inside.command(), inside.peer(), inside.peer(APP_UID), outside.peer())
        for family in FAMILIES:
            made.proxy.listen(LOOPBACK[family], 4140)
            made.proxy.listen(ANY[family], 4143, transparent=True)
            for port in (SERVICE, SECOND, ADMIN):
                made.app.listen(ANY[family], port)
            for port in (SERVICE, SECOND):
                made.outside.listen(ANY[family], port)
        made.proxy.ask("become", PROXY_UID)
        yield made


class Redirect:
    """`fastmesh redirect` in the workload's namespace, with one backend."""

    def __init__(self, stage: Stage, backend: str, folder: pathlib.Path) -> None:
        self.space, self.command, self.backend = stage.inside, stage.command, backend
        self.name = "nft" if backend == "nft" else "iptables"
        self.folder = folder  # first in PATH
        if backend == "legacy":
            for program in ("iptables", "ip6tables"):
                for end in ("", "-save", "-restore"):
                    self.stand_in(program + end, shutil.which(f"{program}-legacy{end}", path="/usr/sbin:/sbin") or "")

    def stand_in(self, program: str, target: str) -> None:
        (self.folder / program).symlink_to(target)

    def __call__(self, action: str, *options: str) -> str:
        users = ["--users", str(PROXY_UID)] if action in ("apply", "plan") else []
        words = ("redirect", action, "--backend", self.name, *options, *users)
        return self.command.run(*words, path=f"{self.folder}:/usr/bin:/bin:/usr/sbin:/sbin")

    def state(self) -> dict[str, Any]:
        """The one interception that is there; {} for none."""
        found = json.loads(self("show", "--json"))
        assert found["applied"] == bool(found["interceptions"])
        assert len(found["interceptions"]) <= 1
        return found["interceptions"][0] if found["interceptions"] else {}

    def tool(self, program: str, *arguments: str, text: str = "") -> str:
        return self.space.run(program, *arguments, text=text, PATH=f"{self.folder}:/usr/sbin:/sbin:/usr/bin:/bin")

    def everything(self) -> str:
        """All rules of the namespace, without counters and dates."""
        text = self.tool("nft", "list", "ruleset") if self.backend == "nft" else ""
        for program in ("iptables-save", "ip6tables-save"):
            text += "".join(
                line.partition(" [")[0] + "\n" for line in self.tool(program).splitlines() if not line.startswith("#")
            )
        return text


BACKENDS = ("nft", "iptables", "legacy")  # the last: iptables over its older interface to the kernel


@pytest.fixture(params=BACKENDS[:2], scope="module")
def redirect(
    request: pytest.FixtureRequest, stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Redirect]:
    """One for all tests of a backend: each begins with the rules of the one before, which an apply must replace."""
    if request.param == "legacy":
        tried = netns.run("ip", "netns", "exec", stage.inside.name, "iptables-legacy", "-t", "nat", "-L", check=False)
        if tried.returncode:
            pytest.skip("this kernel has no older interface of iptables")
    command = Redirect(stage, request.param, tmp_path_factory.mktemp("bin"))
    yield command
    command("remove")


def to_proxy(greeting: dict[str, Any], port: int, meant: list[Any]) -> bool:
    return greeting["listener"][1] == port and greeting["original"] == meant


def direct(greeting: dict[str, Any], port: int) -> bool:
    return greeting["listener"][1] == port and greeting["original"] in (None, greeting["local"])




@pytest.mark.parametrize("redirect", BACKENDS, indirect=True, scope="module")
def test_connections_arrive_with_their_original_destination(stage: Stage, redirect: Redirect) -> None:
    redirect("apply")
    for family in FAMILIES:
        out = stage.app.greeting(THERE[family], SERVICE)
        assert to_proxy(out, 4140, [THERE[family], SERVICE]), out
        into = stage.outside.greeting(HERE[family], SERVICE)
        assert to_proxy(into, 4143, [HERE[family], SERVICE]), into
        assert into["peer"] in (THERE[family], ALSO_THERE[family])


def test_connections_of_the_proxy_itself_are_left_alone(stage: Stage, redirect: Redirect) -> None:
    redirect("apply")
    for family in FAMILIES:
        assert direct(stage.proxy.greeting(THERE[family], SERVICE), SERVICE)


def test_loopback_and_own_addresses_are_left_alone(stage: Stage, redirect: Redirect) -> None:
    redirect("apply")
    for peer in (stage.app, stage.proxy):
        for host in (*LOOPBACK.values(), *HERE.values()):
            assert direct(peer.greeting(host, SERVICE), SERVICE)


@pytest.mark.parametrize("redirect", BACKENDS, indirect=True, scope="module")
def test_ports_and_networks_that_are_skipped_are_left_alone(stage: Stage, redirect: Redirect) -> None:
    networks = ",".join(f"{ALSO_THERE[family]}" for family in FAMILIES)
    redirect(
        "apply", "--skip-outbound-ports", f"1,{SECOND}-{SECOND + 1}", "--skip-inbound-ports", f"22,{SECOND}",
        "--skip-outbound-networks", networks,
    )  # fmt: skip
    for family in FAMILIES:
        assert direct(stage.app.greeting(THERE[family], SECOND), SECOND)
        assert direct(stage.app.greeting(ALSO_THERE[family], SERVICE), SERVICE)
        assert to_proxy(stage.app.greeting(THERE[family], SERVICE), 4140, [THERE[family], SERVICE])
        for port in (SECOND, ADMIN):
            assert direct(stage.outside.greeting(HERE[family], port), port)
        assert to_proxy(stage.outside.greeting(HERE[family], SERVICE), 4143, [HERE[family], SERVICE])


def test_inbound_connections_from_skipped_networks_are_left_alone(stage: Stage, redirect: Redirect) -> None:
    redirect("apply", "--skip-inbound-networks", f"{THERE['ipv4']},2001:db8::/64", "--admin-port", "off")
    for family in FAMILIES:
        assert direct(stage.outside.greeting(HERE[family], SERVICE), SERVICE)
        assert to_proxy(stage.app.greeting(THERE[family], SERVICE), 4140, [THERE[family], SERVICE])


def test_only_what_is_included_is_intercepted(stage: Stage, redirect: Redirect) -> None:
    networks = f"{THERE['ipv4']}/32,2001:db8::2/127"
    redirect("apply", "--inbound-ports", f"{SECOND},1-7", "--outbound-networks", networks)
    for family in FAMILIES:
        assert to_proxy(stage.outside.greeting(HERE[family], SECOND), 4143, [HERE[family], SECOND])
        assert direct(stage.outside.greeting(HERE[family], SERVICE), SERVICE)
        assert to_proxy(stage.app.greeting(THERE[family], SECOND), 4140, [THERE[family], SECOND])
    assert direct(stage.app.greeting(ALSO_THERE["ipv4"], SECOND), SECOND)


def test_one_side_and_one_family_alone(stage: Stage, redirect: Redirect) -> None:
    redirect("apply", "--families", "ipv4", "--outbound-port", "off")
    assert to_proxy(stage.outside.greeting(HERE["ipv4"], SERVICE), 4143, [HERE["ipv4"], SERVICE])
    assert direct(stage.outside.greeting(HERE["ipv6"], SERVICE), SERVICE)
    assert direct(stage.app.greeting(THERE["ipv4"], SERVICE), SERVICE)
    state = redirect.state()
    assert (state["families"], state["outbound_port"], state["inbound_port"]) == (["ipv4"], None, 4143)


def test_tproxy_hands_inbound_connections_over_as_they_are(stage: Stage, redirect: Redirect) -> None:
    redirect("apply", "--inbound-mode", "tproxy", "--skip-inbound-ports", str(SECOND))
    for family in FAMILIES:
        number, greeting = stage.outside.dial(HERE[family], SERVICE)
        assert greeting["listener"][1] == 4143
        assert greeting["local"] == [HERE[family], SERVICE]
        assert stage.outside.echo(number, "both ways") == "both ways"
        stage.outside.ask("close", number)
        assert direct(stage.outside.greeting(HERE[family], SECOND), SECOND)
        assert to_proxy(stage.app.greeting(THERE[family], SERVICE), 4140, [THERE[family], SERVICE])
        assert direct(stage.app.greeting(HERE[family], SERVICE), SERVICE)
    assert redirect.state()["inbound_mode"] == "tproxy"


@pytest.mark.parametrize("redirect", BACKENDS, indirect=True, scope="module")
@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_open_connections_live_through_apply_replace_and_remove(stage: Stage, redirect: Redirect, mode: str) -> None:
    redirect("remove")
    ends = [(stage.app, THERE), (stage.outside, HERE)]
    before = [(peer, peer.dial(hosts[family], SERVICE)) for peer, hosts in ends for family in FAMILIES]
    assert all(direct(greeting, SERVICE) for _, (_, greeting) in before)
    redirect("apply", "--inbound-mode", mode)
    assert [peer.echo(number, "applied") for peer, (number, _) in before] == ["applied"] * 4
    during = [(peer, peer.dial(hosts[family], SERVICE)) for peer, hosts in ends for family in FAMILIES]
    assert all(greeting["listener"][1] in (4140, 4143) for _, (_, greeting) in during)
    skip = ("--skip-outbound-ports", str(SERVICE), "--skip-inbound-ports", str(SERVICE))
    redirect("apply", "--inbound-mode", mode, *skip)
    for peer, (number, _) in before + during:
        assert peer.echo(number, "replaced") == "replaced"
    redirect("remove")
    for peer, (number, _) in before:
        assert peer.echo(number, "removed") == "removed"
    for peer, (number, _) in before + during:
        peer.ask("close", number)


@contextlib.contextmanager
def rules_of_others(redirect: Redirect) -> Iterator[None]:
    """Rules beside ours in every table that ours may be in."""
    foreign = ("PREROUTING", "-p", "tcp", "--dport", "7", "-m", "comment", "--comment", "of somebody", "-j", "RETURN")
    tables = [(program, table) for program in ("iptables", "ip6tables") for table in ("nat", "mangle")]
    for program, table in tables:
        redirect.tool(program, "-t", table, "-A", *foreign)
    redirect.tool("nft", "-f", "-", text="table inet other {\nchain c {\ntcp dport 7 accept\n}\n}\n")
    try:
        yield
    finally:
        redirect.tool("nft", "delete", "table", "inet", "other")
        for program, table in tables:
            redirect.tool(program, "-t", table, "-D", *foreign)
            if redirect.backend != "legacy":
                redirect.tool("nft", "delete", "table", "ip" if program == "iptables" else "ip6", table)


@pytest.mark.parametrize("redirect", BACKENDS, indirect=True, scope="module")
@pytest.mark.parametrize("others", [False, True])
def test_removal_leaves_everything_as_it_was(stage: Stage, redirect: Redirect, others: bool) -> None:
    redirect("remove")
    beside = others or redirect.backend == "legacy"  # whose tables stay for good, once used
    with rules_of_others(redirect) if beside else contextlib.nullcontext():
        before = redirect.everything()
        for options in ((), ("--inbound-mode", "tproxy"), ("--outbound-port", "off")):
            redirect("apply", *options)
            assert redirect.everything() != before
        assert redirect("remove") == f"removed ({redirect.name})\n"
        assert redirect.everything() == before
        if redirect.backend == "iptables" and not beside:
            assert redirect.tool("nft", "list", "ruleset") == ""  # not even an empty table
        assert redirect("remove") == "nothing to remove\n"
        assert redirect("show") == "no interception\n"


def test_a_second_apply_changes_nothing_and_others_options_replace(stage: Stage, redirect: Redirect) -> None:
    many = ",".join(f"{port}-{port + 1}" for port in range(10, 100, 3))
    options = (
        "--skip-outbound-ports", many, "--skip-inbound-ports", "22", "--inbound-ports", "1-4000,8000-9000",
        "--skip-outbound-networks", "10.0.0.0/8,fd00::/8,198.51.100.7", "--skip-inbound-networks", "10.1.0.0/16",
        "--outbound-networks", "128.0.0.0/1,8000::/1",
    )  # fmt: skip
    redirect("apply", *options)
    rules, state = redirect.everything(), redirect.state()
    redirect("apply", *options)
    assert redirect.everything() == rules
    state.pop("rules")
    assert state == {
        "backend": redirect.name, "families": ["ipv4", "ipv6"], "outbound_port": 4140, "inbound_port": 4143,
        "inbound_mode": "redirect", "users": [PROXY_UID], "skip_outbound_ports": many.split(","),
        "skip_inbound_ports": ["22", "4191"], "inbound_ports": ["1-4000", "8000-9000"],
        "outbound_networks": ["128.0.0.0/1", "8000::/1"],
        "skip_outbound_networks": ["10.0.0.0/8", "198.51.100.7/32", "fd00::/8"],
        "skip_inbound_networks": ["10.1.0.0/16"],
    }  # fmt: skip
    redirect("apply", "--outbound-port", "5140", "--admin-port", "off")
    fresh = redirect.state()
    redirect("remove")
    redirect("apply", "--outbound-port", "5140", "--admin-port", "off")
    assert redirect.state() == fresh
    assert (fresh["outbound_port"], fresh["skip_outbound_ports"], fresh["skip_inbound_ports"]) == (5140, [], [])


def test_a_dry_run_prints_what_is_done_and_does_nothing(stage: Stage, redirect: Redirect) -> None:
    redirect("remove")
    before = redirect.everything()
    plan, text = redirect("plan"), redirect("apply", "--dry-run")
    assert redirect.everything() == before
    assert redirect.state() == {}
    if redirect.backend != "legacy":  # where the table is there from an earlier test
        assert text == plan
    parts: dict[str, list[str]] = {}
    for line in text.splitlines(keepends=True):
        if line.startswith("# "):
            parts[line[2:].strip()] = []
        else:
            parts[next(reversed(parts))].append(line)
    for command, lines in parts.items():
        redirect.tool(*command.split(), text="".join(lines))
    by_hand = redirect.everything()
    redirect("remove")
    redirect("apply")
    assert redirect.everything() == by_hand


def test_what_is_forwarded_for_others_is_left_alone(stage: Stage, redirect: Redirect) -> None:
    """It comes in, but its destination is not here; there is no way on, which the kernel tells the client at once."""
    elsewhere = "198.51.100.1"
    stage.inside.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    stage.beyond.run("ip", "route", "add", elsewhere, "via", HERE["ipv4"])
    redirect("apply")
    try:
        with pytest.raises(OSError, match=r"unreachable|No route"):
            stage.outside.dial(elsewhere, SERVICE)
        assert to_proxy(stage.outside.greeting(HERE["ipv4"], SERVICE), 4143, [HERE["ipv4"], SERVICE])
    finally:
        stage.beyond.run("ip", "route", "del", elsewhere)


@pytest.mark.parametrize("pair", [("nft", "iptables"), ("iptables", "nft")])
def test_another_backend_takes_over(stage: Stage, pair: tuple[str, str], tmp_path: pathlib.Path) -> None:
    first, second = (Redirect(stage, backend, tmp_path) for backend in pair)
    before = second.everything()
    first("apply")
    second("apply")
    try:
        assert first.state() == {}
        assert second.state()["backend"] == pair[1]
        assert to_proxy(stage.app.greeting(THERE["ipv4"], SERVICE), 4140, [THERE["ipv4"], SERVICE])
    finally:
        second("remove")
    assert second.everything() == before


def test_when_one_family_fails_the_other_is_as_before(stage: Stage, tmp_path: pathlib.Path) -> None:
    redirect = Redirect(stage, "iptables", tmp_path)
    redirect("apply", "--skip-outbound-ports", "7")
    before = redirect.everything()
    broken = tmp_path / "ip6tables-restore"
    refuse = "grep -q 5140 && { echo no such table >&2; exit 3; }"
    broken.write_text(f"#!/bin/sh\n{refuse}\nexec /usr/sbin/ip6tables-restore\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    try:
        with pytest.raises(RuntimeError, match="ip6tables-restore --noflush --wait ended with 3: no such table"):
            redirect("apply", "--outbound-port", "5140")
        assert redirect.everything() == before
    finally:
        broken.unlink()
        redirect("remove")
