"""`fastmesh redirect`: rules of the kernel that bring a machine's TCP connections to fastmesh, without its knowing.

    options > one Redirect > nft or iptables text > the kernel, in one transaction

Which connections: those that Linkerd's proxy-init takes, with the same ports.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from fastmesh.config.problems import EXIT_CONFIG, Problem, report
from fastmesh.config.redirect import BY_OPTION, Redirect, read
from fastmesh.redirect.backends import BACKENDS, Backend, present
from fastmesh.redirect.tools import ToolError, may_change_network

EXIT_MACHINE = 1
MACHINE = "this machine"


def plan(environ: Mapping[str, str], given: Mapping[str, str]) -> int:
    """Prints the rules that `apply` makes where none are in place. Needs neither rights nor programs."""
    wanted, problems = read(environ, given, True)
    if problems:
        return _refuse(problems)
    sys.stdout.write(_chosen(wanted, present() or BACKENDS).plan(wanted))
    return 0


def apply(environ: Mapping[str, str], given: Mapping[str, str], dry_run: bool) -> int:
    """Puts the rules in place, instead of those that are there; `dry_run` only prints what would be done."""
    wanted, problems = read(environ, given, True)
    machine = _machine_problems(wanted, wanted.families)
    if problems or machine:
        return _refuse(problems, machine)
    backend = _chosen(wanted, present())
    try:
        if dry_run:
            sys.stdout.write(backend.preview(wanted))
            return 0
        backend.apply(wanted)
        for other in present():
            if other is not backend and _may_hold_rules(other):
                other.remove()
    except ToolError as error:
        return _failed(error)
    sys.stdout.write(f"in place ({backend.name}): {_summary(wanted)}\n")
    return 0


def remove(environ: Mapping[str, str], given: Mapping[str, str]) -> int:
    """Removes every rule of ours, whatever made it."""
    wanted, problems = read(environ, given, False)
    machine = _machine_problems(wanted)
    if problems or machine:
        return _refuse(problems, machine)
    removed = []
    try:
        for backend in _asked(wanted):
            if backend.holds_rules():
                backend.remove()
                removed.append(backend.name)
    except ToolError as error:
        return _failed(error)
    sys.stdout.write(f"removed ({', '.join(removed)})\n" if removed else "nothing to remove\n")
    return 0


def show(environ: Mapping[str, str], given: Mapping[str, str], as_json: bool) -> int:
    """Prints what is intercepted now, read from the rules themselves."""
    wanted, problems = read(environ, given, False)
    machine = _machine_problems(wanted)
    if problems or machine:
        return _refuse(problems, machine)
    try:
        found = [(backend, state) for backend in _asked(wanted) if (state := backend.found()) is not None]
        if as_json:
            items = [{**_plain(state), "rules": backend.listing().splitlines()} for backend, state in found]
            sys.stdout.write(json.dumps({"applied": bool(items), "interceptions": items}, indent=2) + "\n")
            return 0
        for backend, state in found:
            sys.stdout.write(_table(state) + "\n" + backend.listing())
    except ToolError as error:
        return _failed(error)
    if not found:
        sys.stdout.write("no interception\n")
    return 0


def _chosen(wanted: Redirect, among: tuple[Backend, ...]) -> Backend:
    return next(backend for backend in (BACKENDS if wanted.backend != "auto" else among)
                if wanted.backend in ("auto", backend.name))  # fmt: skip


def _asked(wanted: Redirect) -> tuple[Backend, ...]:
    """Where rules are looked for."""
    return tuple(backend for backend in present() if wanted.backend in ("auto", backend.name))


def _machine_problems(wanted: Redirect, families: tuple[Any, ...] = ("ipv4",)) -> list[Problem]:
    """What this machine lacks."""
    problems = []
    if not may_change_network():
        rule = "must be there: run as root (sudo), or with the capability CAP_NET_ADMIN"
        problems.append(Problem("CAP_NET_ADMIN", "", "this process", rule))
    candidates = [backend for backend in BACKENDS if wanted.backend in ("auto", backend.name)]
    lacking = [backend.missing(families) for backend in candidates]
    if all(lacking):
        rule = "must be there: install " + " or ".join(", ".join(programs) for programs in lacking)
        problems.append(Problem(" or ".join(backend.name for backend in candidates), "", MACHINE, rule))
    return problems


def _may_hold_rules(backend: Backend) -> bool:
    try:
        return backend.holds_rules()
    except ToolError:
        return False  # a program without support in the kernel has made no rules


def _refuse(problems: list[Problem], machine: list[Problem] | None = None) -> int:
    sys.stderr.write(report([*problems, *(machine or [])], "with the interception") + "\n")
    return EXIT_CONFIG if problems else EXIT_MACHINE


def _failed(error: ToolError) -> int:
    sys.stderr.write(f"fastmesh: {error}\n")
    return EXIT_MACHINE


def _summary(wanted: Redirect) -> str:
    parts = []
    if wanted.outbound_port:
        users = ", ".join(map(str, wanted.users))
        parts.append(f"outbound connections, but for those of uid {users}, go to port {wanted.outbound_port}")
    if wanted.inbound_port:
        how = "by TPROXY " if wanted.inbound_mode == "tproxy" else ""
        parts.append(f"inbound connections go {how}to port {wanted.inbound_port}")
    return "; ".join(parts)


def _plain(state: Redirect) -> dict[str, Any]:
    """Options by name, as JSON says them; ports that are off are null."""
    values = {name: option.plain(getattr(state, name)) for name, option in BY_OPTION.items() if name != "admin_port"}
    values["users"] = list(state.users)
    return {name: None if value == "off" else value for name, value in values.items()}


def _table(state: Redirect) -> str:
    rows = {name: option.format(getattr(state, name)) for name, option in BY_OPTION.items() if name != "admin_port"}
    return "".join(f"{name:<24} {value or '-'}\n" for name, value in rows.items())
