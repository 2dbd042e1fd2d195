"""The rules in iptables: chains FASTMESH_*, changed by one iptables-restore --noflush for each of IPv4 and IPv6.

What is there is read from iptables-save. A text that takes the rules from there to what is wanted also serves to take
them back, which is how a family is undone when the other one fails.
"""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from fastmesh.config.model import Ports
from fastmesh.config.ports import merge_ports
from fastmesh.config.redirect import Family, Redirect, merge_networks, networks_of

OUTBOUND, INBOUND = "FASTMESH_OUTBOUND", "FASTMESH_INBOUND"
MULTIPORT_MAX = 15  # ports of one rule; a range counts as two (xt_multiport.h)
# The comment of a jump, where the table was not there before: whoever removes the jump may remove the table.
MADE_TABLE = "fastmesh, first in this table"

Tables = dict[str, list[str]]  # by table: lines of iptables-save ("-A CHAIN ...")


def rules(wanted: Redirect, family: Family, existing: tuple[str, ...] = ()) -> Tables:
    """The lines wanted, by table. `existing`: tables that need not be made."""
    if family not in wanted.families:
        return {}
    tables: Tables = {}
    if wanted.outbound_port:
        tables["nat"] = [_jump("OUTPUT", OUTBOUND, "nat" in existing), *_outbound(wanted, family)]
    if wanted.inbound_port:
        table = "nat" if wanted.inbound_mode == "redirect" else "mangle"
        lines = [_jump("PREROUTING", INBOUND, table in existing), *_inbound(wanted, family)]
        tables.setdefault(table, []).extend(lines)
    return tables


def _jump(hook: str, chain: str, exists: bool) -> str:
    # Only the first packet of a connection: see nft.py.
    comment = "" if exists else f' -m comment --comment "{MADE_TABLE}"'
    return f"-A {hook} -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN{comment} -j {chain}"


def _outbound(wanted: Redirect, family: Family) -> Iterator[str]:
    chain = f"-A {OUTBOUND}"
    yield f"{chain} -o lo -j RETURN"
    for uid in wanted.users:
        yield f"{chain} -m owner --uid-owner {uid} -j RETURN"
    for ports in _multiports(wanted.skip_outbound_ports):
        yield f"{chain} -p tcp -m multiport --dports {ports} -j RETURN"
    for network in networks_of(wanted.skip_outbound_networks, family):
        yield f"{chain} -d {network} -j RETURN"
    target = f"-j REDIRECT --to-ports {wanted.outbound_port}"
    if wanted.outbound_networks:
        for network in networks_of(wanted.outbound_networks, family):
            yield f"{chain} -d {network} -p tcp {target}"
    else:
        yield f"{chain} -p tcp {target}"


def _inbound(wanted: Redirect, family: Family) -> Iterator[str]:
    chain = f"-A {INBOUND}"
    yield f"{chain} -i lo -j RETURN"
    yield f"{chain} -m addrtype ! --dst-type LOCAL -j RETURN"
    for ports in _multiports(wanted.left_inbound_ports):
        yield f"{chain} -p tcp -m multiport --dports {ports} -j RETURN"
    for network in networks_of(wanted.skip_inbound_networks, family):
        yield f"{chain} -s {network} -j RETURN"
    port = wanted.inbound_port
    target = f"-j REDIRECT --to-ports {port}" if wanted.inbound_mode == "redirect" else f"-j TPROXY --on-port {port}"
    if wanted.inbound_ports:
        for ports in _multiports(wanted.inbound_ports):
            yield f"{chain} -p tcp -m multiport --dports {ports} {target}"
    else:
        yield f"{chain} -p tcp {target}"


def _multiports(ranges: tuple[Ports, ...]) -> Iterator[str]:
    """The ports as texts of as many rules as are needed."""
    words: list[str] = []
    room = MULTIPORT_MAX
    for ports in ranges:
        cost = 1 if ports.first == ports.last else 2
        if cost > room:
            yield ",".join(words)
            words, room = [], MULTIPORT_MAX
        words.append(ports.text.replace("-", ":"))
        room -= cost
    if words:
        yield ",".join(words)


def _is_jump(line: str) -> bool:
    return not line.startswith("-A FASTMESH_")


def ours(saved: str) -> Tables:
    """Our lines of an iptables-save, by table: chains as they are declared, jumps, rules."""
    tables: Tables = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(("-A FASTMESH_", ":FASTMESH_")) or (line.startswith("-A ") and "-j FASTMESH_" in line):
            tables.setdefault(table, []).append(line)
    return {table: [_without_counters(line) for line in lines] for table, lines in tables.items()}


def _without_counters(line: str) -> str:
    return line.partition(" - [")[0] if line.startswith(":") else line


def made(saved: str) -> tuple[str, ...]:
    """Names of the tables that are there because of us."""
    return tuple(table for table, lines in ours(saved).items() if any(MADE_TABLE in line for line in lines))


def existing(saved: str) -> tuple[str, ...]:
    """Names of the tables that are there for another reason."""
    return tuple(line[1:] for line in saved.splitlines() if line.startswith("*") and line[1:] not in made(saved))


def leftovers(saved: str, tables: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these tables hold nothing that counts any more: no rule, no chain, no policy but accept."""
    empty: dict[str, bool] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
            empty[table] = True
        elif line.startswith("-A") or (line.startswith(":") and line.split()[1] != "ACCEPT"):
            empty[table] = False
    return tuple(table for table in tables if empty.get(table))


def _chains(lines: list[str]) -> list[str]:
    names = [line.split()[1] for line in lines if line.startswith("-A FASTMESH_")]
    names += [line[1:] for line in lines if line.startswith(":")]
    return sorted(set(names))


def change(now: Tables, wanted: Tables) -> str:
    """What iptables-restore --noflush is given to get from one to the other; "" when nothing of ours is involved."""
    text: list[str] = []
    for table in sorted({*now, *wanted}):
        before, after = now.get(table, []), wanted.get(table, [])
        text.append(f"*{table}")
        text += [f":{chain} - [0:0]" for chain in sorted({*_chains(before), *_chains(after)})]  # emptied when there
        text += [line.replace("-A ", "-D ", 1) for line in before if line.startswith("-A ") and _is_jump(line)]
        text += [line for line in after if line.startswith("-A ")]
        text += [f"-X {chain}" for chain in _chains(before) if chain not in _chains(after)]
        text.append("COMMIT")
    return "".join(f"{line}\n" for line in text)


def found(families: dict[Family, Tables]) -> Redirect:
    """What the lines of all families say is intercepted. The admin port is among the ports to skip."""
    now = Redirect(backend="iptables", families=(), outbound_port=0, inbound_port=0, admin_port=0)
    for family, tables in families.items():
        lines = [line for lines in tables.values() for line in lines if line.startswith("-A FASTMESH_")]
        if lines:
            now = replace(now, families=(*now.families, family))
        for line in lines:
            now = _with(now, shlex.split(line))
    return now


def _with(now: Redirect, words: list[str]) -> Redirect:
    """What one rule adds."""
    options = dict(pairwise(words))
    outbound, skips = options["-A"] == OUTBOUND, options["-j"] == "RETURN"
    if "--to-ports" in options:
        port = int(options["--to-ports"])
        now = replace(now, outbound_port=port) if outbound else replace(now, inbound_port=port)
    elif "--on-port" in options:
        now = replace(now, inbound_port=int(options["--on-port"]), inbound_mode="tproxy")
    if "--uid-owner" in options:
        return replace(now, users=tuple(sorted({*now.users, int(options["--uid-owner"])})))
    if "--dports" in options:
        field = ("skip_" if skips else "") + ("outbound_ports" if outbound else "inbound_ports")
        ports = [Ports(*_ends(word)) for word in options["--dports"].split(",")]
        return _replaced(now, field, merge_ports([*getattr(now, field), *ports]))
    network = options.get("-d" if outbound else "-s")
    if network:
        field = ("skip_" if skips else "") + ("outbound_networks" if outbound else "inbound_networks")
        return _replaced(now, field, merge_networks([*getattr(now, field), network]))
    return now


def _replaced(now: Redirect, field: str, value: Any) -> Redirect:
    change: dict[str, Any] = {field: value}
    return replace(now, **change)


def _ends(word: str) -> tuple[int, int]:
    first, _, last = word.partition(":")
    return int(first), int(last or first)
