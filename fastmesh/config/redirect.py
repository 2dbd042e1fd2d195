"""What `fastmesh redirect` is told: options, each also a variable FASTMESH_REDIRECT_..., and what is wrong with them.

An option wins over its variable, the variable over the default. `fastmesh run` knows the variables by name only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fastmesh.config.model import Ports
from fastmesh.config.ports import Listed, PortList, merge_ports
from fastmesh.config.problems import Problem, nearest, shown
from fastmesh.config.reader import ENVIRONMENT, Place, is_foreign
from fastmesh.config.users import find_user
from fastmesh.config.values import Choice, Integer, Key

if TYPE_CHECKING:
    import argparse

PREFIX = "FASTMESH_REDIRECT_"
COMMAND_LINE = "command line"
USER_VARIABLE = "FASTMESH_USER"  # of the process that is to take the connections

BackendName = Literal["auto", "nft", "iptables"]
Family = Literal["ipv4", "ipv6"]
InboundMode = Literal["redirect", "tproxy"]
BACKENDS: tuple[BackendName, ...] = ("auto", "nft", "iptables")
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
INBOUND_MODES: tuple[InboundMode, ...] = ("redirect", "tproxy")


@dataclass(frozen=True, slots=True)
class Redirect:
    """Which connections are intercepted. Lists are sorted and without overlap; no port is 0 but for "off"."""

    backend: BackendName = "auto"
    families: tuple[Family, ...] = FAMILIES
    outbound_port: int = 4140  # 0: outbound connections are left alone
    inbound_port: int = 4143  # 0: inbound connections are left alone
    inbound_mode: InboundMode = "redirect"
    users: tuple[int, ...] = ()  # uids whose outbound connections are left alone
    admin_port: int = 4191  # 0: the admin port is intercepted like any other
    skip_outbound_ports: tuple[Ports, ...] = ()
    skip_inbound_ports: tuple[Ports, ...] = ()
    inbound_ports: tuple[Ports, ...] = ()  # empty: all
    outbound_networks: tuple[str, ...] = ()  # destinations; empty: all
    skip_outbound_networks: tuple[str, ...] = ()  # destinations
    skip_inbound_networks: tuple[str, ...] = ()  # sources

    @property
    def left_inbound_ports(self) -> tuple[Ports, ...]:
        """Those that no inbound rule takes: the ports to skip, and the admin port."""
        admin = [Ports(self.admin_port, self.admin_port)] if self.admin_port else []
        return merge_ports([*self.skip_inbound_ports, *admin])


def merge_networks(texts: list[str]) -> tuple[str, ...]:
    """The same addresses as the fewest networks, IPv4 first. ValueError: the rule that one of them breaks."""
    import ipaddress  # a running proxy never needs it

    v4: list[ipaddress.IPv4Network] = []
    v6: list[ipaddress.IPv6Network] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no network") from None
        if "%" in text:
            raise ValueError(f"{text!r} names an interface")
        if "/" in text and ipaddress.ip_interface(text).ip != network.network_address:
            raise ValueError(f"{text!r} has bits behind its prefix; did you mean {network}?")
        if isinstance(network, ipaddress.IPv4Network):
            v4.append(network)
        else:
            v6.append(network)
    return tuple(str(network) for group in (v4, v6) for network in ipaddress.collapse_addresses(group))  # type: ignore[type-var]


def networks_of(networks: tuple[str, ...], family: Family) -> tuple[str, ...]:
    """Those of one family."""
    return tuple(network for network in networks if (":" in network) == (family == "ipv6"))


class Networks(Listed):
    type = "networks"

    def read(self, words: list[str]) -> tuple[str, ...]:
        return merge_networks(words)

    def rule(self, key: Key) -> str:
        return "must be networks such as 10.0.0.0/8 or fd00::/8, or addresses, separated by commas"


class FamilyList(Listed):
    type = "families"

    def read(self, words: list[str]) -> tuple[Family, ...]:
        for word in words:
            if word not in FAMILIES:
                raise ValueError(f"{word!r} is neither")
        return tuple(family for family in FAMILIES if family in words)

    def parse(self, key: Key, text: str) -> Any:
        families = super().parse(key, text.lower())
        if not families:
            raise ValueError(self.rule(key))
        return families

    def rule(self, key: Key) -> str:
        return "must be ipv4, ipv6 or ipv4,ipv6"


class Users(Listed):
    type = "users"

    def read(self, words: list[str]) -> tuple[int, ...]:
        return tuple(sorted({find_user(word).uid for word in words}))

    def parse(self, key: Key, text: str) -> Any:
        if not text.strip():
            raise ValueError(self.rule(key))
        return super().parse(key, text)

    def rule(self, key: Key) -> str:
        return "must be users by name or number, separated by commas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option(Key):
    """One option of the command."""

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


_PORT = Integer()
OPTIONS = (
    Option("backend", Choice(), "What makes the rules; auto: nft when it is there.", choices=BACKENDS),
    Option("families", FamilyList(), "Which of IPv4 and IPv6 is intercepted."),
    Option("outbound_port", _PORT, "Where connections that this machine opens go, on 127.0.0.1 and ::1.",
           1, 65535, True),
    Option("inbound_port", _PORT, "Where connections to this machine go.", 1, 65535, True),
    Option("inbound_mode", Choice(), "redirect rewrites the destination; tproxy hands the connection over as it is, to "
           "a listener with IP_TRANSPARENT.", choices=INBOUND_MODES),
    Option("users", Users(), "Users whose outbound connections are left alone: those that fastmesh runs as. "
           "FASTMESH_USER when not set."),
    Option("admin_port", _PORT, "Inbound port of fastmesh itself that is left alone.", 1, 65535, True),
    Option("skip_outbound_ports", PortList(), "Outbound connections to these ports are left alone."),
    Option("skip_inbound_ports", PortList(), "Inbound connections to these ports are left alone."),
    Option("inbound_ports", PortList(), "Only inbound connections to these ports are intercepted."),
    Option("outbound_networks", Networks(), "Only outbound connections to these networks are intercepted."),
    Option("skip_outbound_networks", Networks(), "Outbound connections to these networks are left alone."),
    Option("skip_inbound_networks", Networks(), "Inbound connections from these networks are left alone."),
)  # fmt: skip
BY_OPTION = {option.name: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS}


def add_options(parser: "argparse.ArgumentParser") -> None:
    """Every option; one that is not given is None."""
    for option in OPTIONS:
        default = option.format(getattr(Redirect(), option.name))
        doc = option.doc + (f" Default: {default}." if default else "")
        parser.add_argument(option.flag, metavar=option.kind.type.upper(), help=doc.replace("%", "%%"))


def read(environ: Mapping[str, str], given: Mapping[str, str], makes_rules: bool) -> tuple[Redirect, list[Problem]]:
    """The effective options and all that is wrong. `given`: texts by name of the option.

    `makes_rules`: the command is one that needs to know what is intercepted.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    for key, text, place in _texts(environ, given, problems):
        places[key.name] = place
        try:
            values[key.name] = key.parse(text)
        except ValueError as error:
            problems.append(Problem(place.key, shown(text), place.source, str(error)))
    found = replace(Redirect(), **values)
    if makes_rules:
        problems += _check(found, places)
    return found, problems


def misspelt(variable: str, text: str) -> list[Problem]:
    """The problem of a variable that begins like ours and is none; misspelt, it would be without effect."""
    if variable in BY_VARIABLE:
        return []
    rule = "must be the name of an option (fastmesh redirect plan --help lists them)" + nearest(variable, BY_VARIABLE)
    return [Problem(variable, shown(text), ENVIRONMENT, rule)]


def _texts(
    environ: Mapping[str, str], given: Mapping[str, str], problems: list[Problem]
) -> Iterator[tuple[Key, str, Place]]:
    """The text of every option that was given anywhere, with its place."""
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        if not is_foreign(variable, environ[variable]):
            problems += misspelt(variable, environ[variable])
    for option in OPTIONS:
        if option.name in given:
            yield option, given[option.name], Place(option.flag, COMMAND_LINE)
        elif environ.get(option.variable):
            yield option, environ[option.variable], Place(option.variable, ENVIRONMENT)
        elif option.name == "users" and environ.get(USER_VARIABLE):
            yield option, environ[USER_VARIABLE].strip(), Place(USER_VARIABLE, ENVIRONMENT)


def _check(found: Redirect, places: Mapping[str, Place]) -> Iterator[Problem]:
    """What single values do not show."""
    if found.outbound_port and "users" not in places:
        rule = f"must be set (or {USER_VARIABLE}): the user that fastmesh runs as, whose connections are left alone"
        yield _problem("users", places, rule)
    if not found.outbound_port and not found.inbound_port:
        rule = "must not be off when inbound_port is off too: there is nothing to intercept"
        yield _problem("outbound_port", places, rule)
    if found.outbound_port == found.inbound_port != 0:
        yield _problem("inbound_port", places, f"must not be outbound_port too, which is {found.outbound_port}")


def _problem(name: str, places: Mapping[str, Place], rule: str) -> Problem:
    place = places.get(name, Place(BY_OPTION[name].variable, ENVIRONMENT))
    return Problem(place.key, "", place.source, rule)
