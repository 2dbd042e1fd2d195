"""Rules of interception: what they say, what they take of any packet, and how one set turns into another."""

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.model import Ports
from fastmesh.config.ports import merge_ports
from fastmesh.config.redirect import FAMILIES, Family, Redirect, merge_networks, networks_of
from fastmesh.redirect import iptables, nft

PLAN = Redirect(
    users=(0, 2102), skip_outbound_ports=(Ports(22, 22), Ports(4000, 4010)), skip_inbound_ports=(Ports(25, 25),),
    inbound_ports=(Ports(1, 9000),), skip_outbound_networks=("10.0.0.0/8", "fd00::/8"),
    outbound_networks=("192.0.2.0/24",), skip_inbound_networks=("2001:db8::/32",),
)  # fmt: skip

NFT = """\
table inet fastmesh
delete table inet fastmesh
table inet fastmesh {
	set users { type uid; elements = { 0, 2102 } }
	set skip_outbound_ports { type inet_service; flags interval; elements = { 22, 4000-4010 } }
	set skip_outbound_networks_ipv4 { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
	set skip_outbound_networks_ipv6 { type ipv6_addr; flags interval; elements = { fd00::/8 } }
	set outbound_networks_ipv4 { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
	set skip_inbound_ports { type inet_service; flags interval; elements = { 25, 4191 } }
	set inbound_ports { type inet_service; flags interval; elements = { 1-9000 } }
	set skip_inbound_networks_ipv6 { type ipv6_addr; flags interval; elements = { 2001:db8::/32 } }
	chain outbound {
		type nat hook output priority -100; policy accept;
		meta l4proto != tcp return
		tcp flags & (fin | syn | rst | ack) != syn return
		oifname "lo" return
		meta skuid @users return
		tcp dport @skip_outbound_ports return
		ip daddr @skip_outbound_networks_ipv4 return
		ip6 daddr @skip_outbound_networks_ipv6 return
		ip daddr @outbound_networks_ipv4 meta l4proto tcp redirect to :4140
	}
	chain inbound {
		type nat hook prerouting priority -100; policy accept;
		meta l4proto != tcp return
		tcp flags & (fin | syn | rst | ack) != syn return
		iifname "lo" return
		fib daddr type != local return
		tcp dport @skip_inbound_ports return
		ip6 saddr @skip_inbound_networks_ipv6 return
		tcp dport @inbound_ports redirect to :4143
	}
}
"""

IPTABLES = """\
*nat
:FASTMESH_INBOUND - [0:0]
:FASTMESH_OUTBOUND - [0:0]
-A OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j FASTMESH_OUTBOUND
-A FASTMESH_OUTBOUND -o lo -j RETURN
-A FASTMESH_OUTBOUND -m owner --uid-owner 0 -j RETURN
-A FASTMESH_OUTBOUND -m owner --uid-owner 2102 -j RETURN
-A FASTMESH_OUTBOUND -p tcp -m multiport --dports 22,4000:4010 -j RETURN
-A FASTMESH_OUTBOUND -d 10.0.0.0/8 -j RETURN
-A FASTMESH_OUTBOUND -d 192.0.2.0/24 -p tcp -j REDIRECT --to-ports 4140
-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j FASTMESH_INBOUND
-A FASTMESH_INBOUND -i lo -j RETURN
-A FASTMESH_INBOUND -m addrtype ! --dst-type LOCAL -j RETURN
-A FASTMESH_INBOUND -p tcp -m multiport --dports 25,4191 -j RETURN
-A FASTMESH_INBOUND -p tcp -m multiport --dports 1:9000 -j REDIRECT --to-ports 4143
COMMIT
"""


def test_nft_rules() -> None:
    assert nft.rules(PLAN) == NFT


def test_iptables_rules() -> None:
    assert iptables.change({}, iptables.rules(PLAN, "ipv4", ("nat",))) == IPTABLES


def test_tproxy_is_no_nat() -> None:
    plan = replace(PLAN, inbound_mode="tproxy", inbound_ports=())
    assert "type filter hook prerouting priority -150;" in nft.rules(plan)
    assert "\t\tmeta l4proto tcp tproxy to :4143 accept\n" in nft.rules(plan)
    tables = iptables.rules(plan, "ipv6")
    assert tables["mangle"][-1] == "-A FASTMESH_INBOUND -p tcp -j TPROXY --on-port 4143"
    assert not any("INBOUND" in line for line in tables["nat"])


# --- any plan

ports = st.builds(lambda first, more: Ports(first, min(65535, first + more)), st.integers(1, 65535), st.integers(0, 9))
port_lists = st.lists(ports, max_size=20).map(merge_ports)
v4 = st.builds(
    lambda address, bits: str(ipaddress.ip_network((address, bits), strict=False)),
    st.integers(0, 2**32 - 1), st.integers(1, 32),
)  # fmt: skip
v6 = st.builds(
    lambda address, bits: str(ipaddress.ip_network((address, bits), strict=False)),
    st.integers(0, 2**128 - 1), st.integers(1, 128),
)  # fmt: skip
networks = st.lists(v4 | v6, max_size=4).map(merge_networks)
plans = st.builds(
    Redirect,
    families=st.sampled_from([("ipv4",), ("ipv6",), FAMILIES]),
    outbound_port=st.sampled_from([0, 4140]),
    inbound_port=st.sampled_from([4143, 5143]),
    inbound_mode=st.sampled_from(["redirect", "tproxy"]),
    users=st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True).map(lambda uids: tuple(sorted(uids))),
    admin_port=st.sampled_from([0, 4191]),
    skip_outbound_ports=port_lists,
    skip_inbound_ports=port_lists,
    inbound_ports=port_lists,
    outbound_networks=networks,
    skip_outbound_networks=networks,
    skip_inbound_networks=networks,
)


class Packet(NamedTuple):
    """The first packet of a connection."""

    outbound: bool
    family: Family
    source: str
    destination: str
    port: int
    uid: int
    loopback: bool
    local: bool  # its destination is an address of this machine


def within(address: str, texts: tuple[str, ...]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(text) for text in texts)


def among(port: int, ranges: tuple[Ports, ...]) -> bool:
    return any(ports.first <= port <= ports.last for ports in ranges)


def meaning(plan: Redirect, packet: Packet) -> int:
    """The port it has to go to; 0: it is left alone."""
    if packet.family not in plan.families or packet.loopback:
        return 0
    if packet.outbound:
        left = packet.uid in plan.users or among(packet.port, plan.skip_outbound_ports)
        left = left or within(packet.destination, plan.skip_outbound_networks)
        wanted = not plan.outbound_networks or within(packet.destination, plan.outbound_networks)
        return plan.outbound_port if wanted and not left else 0
    left = not packet.local or within(packet.source, plan.skip_inbound_networks)
    left = left or among(packet.port, plan.skip_inbound_ports) or packet.port == plan.admin_port
    wanted = not plan.inbound_ports or among(packet.port, plan.inbound_ports)
    return plan.inbound_port if wanted and not left else 0


rarely = st.sampled_from([False, False, True])


@st.composite
def plans_and_packets(draw: st.DrawFn) -> tuple[Redirect, Packet]:
    """A packet whose addresses and port are often at the bounds of what the plan names."""
    plan = draw(plans)
    family: Family = draw(st.sampled_from(FAMILIES))
    named = [*plan.skip_outbound_networks, *plan.outbound_networks, *plan.skip_inbound_networks]
    ends = [str(ipaddress.ip_network(n)[i]) for n in networks_of(tuple(named), family) for i in (0, -1)]
    addresses = st.sampled_from([*ends, "192.0.2.1" if family == "ipv4" else "2001:db8::1"])
    bounds = [p for r in (plan.skip_outbound_ports, plan.skip_inbound_ports, plan.inbound_ports) for p in r]
    near = [port for each in bounds for port in (each.first - 1, each.first, each.last, each.last + 1)]
    return plan, Packet(
        draw(st.booleans()), family, draw(addresses), draw(addresses), draw(st.sampled_from([80, 4191, *near])),
        draw(st.integers(0, 5)), draw(rarely), not draw(rarely),
    )  # fmt: skip


def judged_by_iptables(tables: iptables.Tables, packet: Packet) -> int:
    """What the lines do with it: a reader of their few matches, which knows no other."""
    chain = "FASTMESH_OUTBOUND" if packet.outbound else "FASTMESH_INBOUND"
    for line in (line for lines in tables.values() for line in lines if line.startswith(f"-A {chain} ")):
        words = iter(shlex.split(line)[2:])
        matches, negated, target, port = True, False, "", 0
        for word in words:
            if word == "!":
                negated = True
                continue
            value = next(words)
            checks: dict[str, Callable[[], bool]] = {
                "-o": lambda: packet.loopback,
                "-i": lambda: packet.loopback,
                "-m": lambda: True,
                "-p": lambda value=value: value == "tcp",
                "--uid-owner": lambda value=value: packet.uid == int(value),
                "--dst-type": lambda: packet.local,
                "-d": lambda value=value: within(packet.destination, (value,)),
                "-s": lambda value=value: within(packet.source, (value,)),
                "--dports": lambda value=value: among(packet.port, _ranges(value)),
            }
            if word == "-j":
                target = value
            elif word in ("--to-ports", "--on-port"):
                port = int(value)
            else:
                matches = matches and checks[word]() != negated
            negated = False
        if matches:
            return 0 if target == "RETURN" else port
    return 0


def _ranges(text: str) -> tuple[Ports, ...]:
    pairs = (word.partition(":") for word in text.split(","))
    return tuple(Ports(int(first), int(last or first)) for first, _, last in pairs)


def judged_by_nft(text: str, packet: Packet) -> int:
    """What the table does with it: a reader of its few matches, which knows no other."""
    sets = {
        match[1]: match[2].split(", ") for match in re.finditer(r"set (\w+) \{.*elements = \{ (.*) \} \}", text)
    }
    chain = "outbound" if packet.outbound else "inbound"
    found = re.search(rf"chain {chain} \{{\n(.*?)\n\t\}}", text, re.DOTALL)
    for rule in found[1].split("\n")[1:] if found else ():
        verdict = re.search(r"(return|(?:redirect|tproxy) to :(\d+)(?: accept)?)$", rule)
        assert verdict is not None
        if all(_nft_matches(rule[: verdict.start()].strip(), sets, packet)):
            return int(verdict[2] or 0)
    return 0


def _nft_matches(text: str, sets: dict[str, list[str]], packet: Packet) -> Iterator[bool]:
    checks: tuple[tuple[str, Callable[[str], bool]], ...] = (
        (r"meta l4proto tcp", lambda _: True),
        (r"meta l4proto != tcp", lambda _: False),
        (r"tcp flags & \(fin \| syn \| rst \| ack\) != syn", lambda _: False),
        (r"meta nfproto != (ipv[46])", lambda family: packet.family != family),
        (r'[io]ifname "lo"', lambda _: packet.loopback),
        (r"fib daddr type != local", lambda _: not packet.local),
        (r"meta skuid @(\w+)", lambda name: str(packet.uid) in sets[name]),
        (r"tcp dport @(\w+)", lambda name: among(packet.port, _ranges(",".join(sets[name]).replace("-", ":")))),
        (r"ip daddr @(\w+)", lambda name: packet.family == "ipv4" and within(packet.destination, tuple(sets[name]))),
        (r"ip6 daddr @(\w+)", lambda name: packet.family == "ipv6" and within(packet.destination, tuple(sets[name]))),
        (r"ip saddr @(\w+)", lambda name: packet.family == "ipv4" and within(packet.source, tuple(sets[name]))),
        (r"ip6 saddr @(\w+)", lambda name: packet.family == "ipv6" and within(packet.source, tuple(sets[name]))),
    )
    while text:
        for pattern, check in checks:
            match = re.match(pattern + r"(?: |$)", text)
            if match:
                yield check(match[1] if match.lastindex else "")
                text = text[match.end() :]
                break
        else:
            raise AssertionError(f"an unknown match: {text}")


@given(plans_and_packets())
def test_rules_take_what_the_plan_says(case: tuple[Redirect, Packet]) -> None:
    plan, packet = case
    assert judged_by_nft(nft.rules(plan), packet) == meaning(plan, packet)
    assert judged_by_iptables(iptables.rules(plan, packet.family), packet) == meaning(plan, packet)


@given(plans)
def test_iptables_rules_say_which_plan_they_are_of(plan: Redirect) -> None:
    tables = {family: iptables.rules(plan, family) for family in FAMILIES}
    effective = replace(
        plan, backend="iptables", admin_port=0, skip_inbound_ports=plan.left_inbound_ports,
        **{
            field: tuple(network for family in plan.families for network in networks_of(getattr(plan, field), family))
            for field in ("outbound_networks", "skip_outbound_networks", "skip_inbound_networks")
        },
    )  # fmt: skip
    if plan.outbound_networks and not effective.outbound_networks:  # none of an intercepted family: nothing is taken
        effective = replace(effective, outbound_port=0)
    if not plan.outbound_port:
        effective = replace(
            effective, users=(), skip_outbound_ports=(), outbound_networks=(), skip_outbound_networks=()
        )
    assert iptables.found(tables) == effective


@given(plans)
def test_no_iptables_rule_has_more_ports_than_it_may(plan: Redirect) -> None:
    for lines in iptables.rules(plan, plan.families[0]).values():
        for found in re.findall(r"--dports (\S+)", "\n".join(lines)):
            assert len(re.split("[,:]", found)) <= iptables.MULTIPORT_MAX


# --- from one set of rules to another

FOREIGN = """\
*nat
:PREROUTING ACCEPT [1:60]
:OUTPUT ACCEPT [0:0]
:KUBE - [0:0]
-A PREROUTING -j KUBE
-A OUTPUT -p tcp -m tcp --dport 7 -j KUBE
COMMIT
"""


class Kernel:
    """iptables as iptables-restore --noflush changes it and iptables-save shows it."""

    def __init__(self, saved: str = "") -> None:
        self.tables: dict[str, dict[str, list[str]]] = {}
        self.restore(saved)

    def restore(self, text: str) -> None:
        table: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("*"):
                table = self.tables.setdefault(line[1:], {"PREROUTING": [], "OUTPUT": []})
            elif line.startswith(":"):
                table[line[1:].split()[0]] = []
            elif line.startswith("-A "):
                table[line.split()[1]].append(line)
            elif line.startswith("-D "):
                table[line.split()[1]].remove(line.replace("-D ", "-A ", 1))
            elif line.startswith("-X "):
                name = line.split()[1]
                assert table.pop(name) == []
                assert not any(rule.endswith(f"-j {name}") for rules in table.values() for rule in rules)
            else:
                assert line == "COMMIT"

    def save(self) -> str:
        text = "# Generated by iptables-save\n"
        for name, chains in self.tables.items():
            built_in = ("PREROUTING", "OUTPUT")
            heads = [f":{chain} {'ACCEPT' if chain in built_in else '-'} [0:0]" for chain in chains]
            rules = [rule for lines in chains.values() for rule in lines]
            text += "".join(f"{line}\n" for line in (f"*{name}", *heads, *rules, "COMMIT"))
        return text

    def apply(self, plan: Redirect | None, family: Family) -> None:
        saved = self.save()
        wanted = iptables.rules(plan, family, iptables.existing(saved)) if plan else {}
        self.restore(iptables.change(iptables.ours(saved), wanted))
        for table in iptables.leftovers(self.save(), iptables.made(saved)):
            del self.tables[table]


@given(st.lists(plans, min_size=1, max_size=3), st.sampled_from(FAMILIES), st.sampled_from(["", FOREIGN]))
def test_the_last_plan_counts_and_removal_undoes_all(history: list[Redirect], family: Family, foreign: str) -> None:
    kernel, fresh, untouched = Kernel(foreign), Kernel(foreign), Kernel(foreign)
    for plan in history:
        kernel.apply(plan, family)
    fresh.apply(history[-1], family)
    assert kernel.tables == fresh.tables
    kernel.apply(history[-1], family)
    assert kernel.tables == fresh.tables
    kernel.apply(None, family)
    assert kernel.tables == untouched.tables


def test_a_table_is_ours_only_when_it_was_not_there() -> None:
    plan = Redirect(users=(1,), inbound_mode="tproxy")
    kernel = Kernel(FOREIGN)
    kernel.apply(plan, "ipv4")
    assert iptables.made(kernel.save()) == ("mangle",)
    kernel.apply(plan, "ipv4")
    assert (iptables.made(kernel.save()), iptables.existing(kernel.save())) == (("mangle",), ("nat",))


@given(st.lists(ports, max_size=30))
def test_merged_ports_are_the_same_ports(ranges: list[Ports]) -> None:
    merged = merge_ports(ranges)
    assert {p for r in merged for p in range(r.first, r.last + 1)} == {
        p for r in ranges for p in range(r.first, r.last + 1)
    }
    assert all(one.last + 1 < two.first for one, two in pairwise(merged))


@pytest.mark.parametrize(
    ("text", "rule"),
    [("10.0.0.1/8", "did you mean 10.0.0.0/8"), ("fe80::1%eth0", "names an interface"), ("ten", "is no network")],
)
def test_what_is_no_network(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        merge_networks([text])
