"""The rules in nftables: one table `inet fastmesh`, replaced or removed as a whole in one transaction.

Lists are named sets, so that whoever looks at the table sees the options, and `found` reads them back from there.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fastmesh.config.model import Ports
from fastmesh.config.ports import merge_ports
from fastmesh.config.redirect import FAMILIES, Redirect, merge_networks, networks_of

TABLE = "inet fastmesh"
REMOVE = f"table {TABLE}\ndelete table {TABLE}\n"  # declared first, so that it is no error when there is none

# Only the first packet of a connection is looked at. NAT would see no other, but for connections that are older than
# the kernel's tracking of them: those would be cut off in their midst.
_FIRST_PACKET = "tcp flags & (fin | syn | rst | ack) != syn return"
_HEADER = {"ipv4": "ip", "ipv6": "ip6"}
_SET_TYPES = {"ipv4": "ipv4_addr", "ipv6": "ipv6_addr"}


def rules(wanted: Redirect) -> str:
    """What `nft -f` is given: the table as wanted, whatever was there before."""
    lines = [f"table {TABLE} {{"]
    for name, kind, words in _sets(wanted):
        flags = "" if kind == "uid" else " flags interval;"
        lines.append(f"\tset {name} {{ type {kind};{flags} elements = {{ {', '.join(words)} }} }}")
    if wanted.outbound_port:
        lines += _chain("outbound", "type nat hook output priority -100", _outbound(wanted))
    if wanted.inbound_port:
        tproxy = wanted.inbound_mode == "tproxy"
        hook = "type filter hook prerouting priority -150" if tproxy else "type nat hook prerouting priority -100"
        lines += _chain("inbound", hook, _inbound(wanted))
    return REMOVE + "\n".join([*lines, "}", ""])


def _sets(wanted: Redirect) -> Iterator[tuple[str, str, list[str]]]:
    """Name, type and elements of every set that is not empty."""
    found: list[tuple[str, str, list[str]]] = []
    if wanted.outbound_port:
        found.append(("users", "uid", [str(uid) for uid in wanted.users]))
        found.append(("skip_outbound_ports", "inet_service", [ports.text for ports in wanted.skip_outbound_ports]))
        found += _network_sets("skip_outbound_networks", wanted)
        found += _network_sets("outbound_networks", wanted)
    if wanted.inbound_port:
        found.append(("skip_inbound_ports", "inet_service", [ports.text for ports in wanted.left_inbound_ports]))
        found.append(("inbound_ports", "inet_service", [ports.text for ports in wanted.inbound_ports]))
        found += _network_sets("skip_inbound_networks", wanted)
    return (each for each in found if each[2])


def _network_sets(field: str, wanted: Redirect) -> Iterator[tuple[str, str, list[str]]]:
    for family in wanted.families:
        yield f"{field}_{family}", _SET_TYPES[family], list(networks_of(getattr(wanted, field), family))


def _chain(name: str, hook: str, body: Iterator[str]) -> list[str]:
    return [f"\tchain {name} {{", f"\t\t{hook}; policy accept;", *(f"\t\t{rule}" for rule in body), "\t}"]


def _common(wanted: Redirect, interface: str) -> Iterator[str]:
    yield "meta l4proto != tcp return"
    if len(wanted.families) == 1:
        yield f"meta nfproto != {wanted.families[0]} return"
    yield _FIRST_PACKET
    yield f'{interface} "lo" return'


def _outbound(wanted: Redirect) -> Iterator[str]:
    yield from _common(wanted, "oifname")
    if wanted.users:
        yield "meta skuid @users return"
    if wanted.skip_outbound_ports:
        yield "tcp dport @skip_outbound_ports return"
    yield from _each_family("daddr", "skip_outbound_networks", wanted, "return")
    verdict = f"redirect to :{wanted.outbound_port}"
    if wanted.outbound_networks:
        yield from _each_family("daddr", "outbound_networks", wanted, f"meta l4proto tcp {verdict}")
    else:
        yield f"meta l4proto tcp {verdict}"


def _inbound(wanted: Redirect) -> Iterator[str]:
    yield from _common(wanted, "iifname")
    yield "fib daddr type != local return"
    if wanted.left_inbound_ports:
        yield "tcp dport @skip_inbound_ports return"
    yield from _each_family("saddr", "skip_inbound_networks", wanted, "return")
    port = wanted.inbound_port
    verdict = f"redirect to :{port}" if wanted.inbound_mode == "redirect" else f"tproxy to :{port} accept"
    yield f"tcp dport @inbound_ports {verdict}" if wanted.inbound_ports else f"meta l4proto tcp {verdict}"


def _each_family(side: str, field: str, wanted: Redirect, verdict: str) -> Iterator[str]:
    for family in wanted.families:
        if networks_of(getattr(wanted, field), family):
            yield f"{_HEADER[family]} {side} @{field}_{family} {verdict}"


def is_there(listing: str) -> bool:
    """Whether `nft list tables` names the table."""
    return f"table {TABLE}" in listing.splitlines()


def found(listing: str) -> Redirect:
    """What `nft -j list table inet fastmesh` says is intercepted. The admin port is among the ports to skip."""
    items = json.loads(listing)["nftables"]
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in items if "set" in item}
    now = Redirect(
        backend="nft", outbound_port=0, inbound_port=0, admin_port=0,
        users=tuple(sorted(sets.get("users", []))),
        skip_outbound_ports=_ports(sets.get("skip_outbound_ports", [])),
        skip_inbound_ports=_ports(sets.get("skip_inbound_ports", [])),
        inbound_ports=_ports(sets.get("inbound_ports", [])),
        outbound_networks=_networks(sets, "outbound_networks"),
        skip_outbound_networks=_networks(sets, "skip_outbound_networks"),
        skip_inbound_networks=_networks(sets, "skip_inbound_networks"),
    )  # fmt: skip
    for item in items:
        for statement in item.get("rule", {}).get("expr", []):
            now = _with(now, item["rule"]["chain"], statement)
    return now


def _with(now: Redirect, chain: str, statement: dict[str, Any]) -> Redirect:
    """What one statement of a rule adds."""
    match = statement.get("match", {})
    if match.get("left") == {"meta": {"key": "nfproto"}}:
        return replace(now, families=(match["right"],))
    target = statement.get("redirect") or statement.get("tproxy")
    if not target:
        return now
    if chain == "outbound":
        return replace(now, outbound_port=target["port"])
    return replace(now, inbound_port=target["port"], inbound_mode="tproxy" if "tproxy" in statement else "redirect")


def _ports(elements: list[Any]) -> tuple[Ports, ...]:
    ranges = [element["range"] if isinstance(element, dict) else [element, element] for element in elements]
    return merge_ports([Ports(first, last) for first, last in ranges])


def _networks(sets: dict[str, list[Any]], field: str) -> tuple[str, ...]:
    texts = []
    for family in FAMILIES:
        for element in sets.get(f"{field}_{family}", []):
            if isinstance(element, dict):
                prefix = element["prefix"]
                texts.append(f"{prefix['addr']}/{prefix['len']}")
            else:
                texts.append(element)
    return merge_networks(texts)
