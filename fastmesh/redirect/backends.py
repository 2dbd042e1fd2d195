"""The two ways to have rules in the kernel, behind one face: what is there, what would be done, do it, undo it."""

from typing import Literal

from fastmesh.config.redirect import FAMILIES, Family, Redirect
from fastmesh.redirect import iptables, nft
from fastmesh.redirect.tools import ToolError, kernel_has_ipv6, path_of, run

Name = Literal["nft", "iptables"]
_PROGRAMS: dict[Family, str] = {"ipv4": "iptables", "ipv6": "ip6tables"}
_NFT_FAMILIES: dict[Family, str] = {"ipv4": "ip", "ipv6": "ip6"}


class Nft:
    """One table of nftables."""

    name: Name = "nft"

    def missing(self, families: tuple[Family, ...]) -> list[str]:
        """Programs that are needed and not there."""
        return [] if path_of("nft") else ["nft"]

    def plan(self, wanted: Redirect) -> str:
        """What would be done where nothing is in place; asks the machine nothing."""
        return f"# nft -f -\n{nft.rules(wanted)}"

    def preview(self, wanted: Redirect) -> str:
        """What `apply` would do now."""
        return self.plan(wanted)

    def apply(self, wanted: Redirect) -> None:
        """Puts the rules in place of those that are there. Raises ToolError, and then nothing has changed."""
        run("nft", "-f", "-", text=nft.rules(wanted))

    def remove(self) -> None:
        """Leaves nothing behind. Raises ToolError."""
        run("nft", "-f", "-", text=nft.REMOVE)

    def holds_rules(self) -> bool:
        """Whether rules of ours are there. Raises ToolError."""
        return nft.is_there(run("nft", "list", "tables"))

    def found(self) -> Redirect | None:
        """What is intercepted now; None: nothing. Raises ToolError."""
        if not self.holds_rules():
            return None
        return nft.found(run("nft", "-j", "list", "table", *nft.TABLE.split()))

    def listing(self) -> str:
        """The rules as the kernel has them; there must be some."""
        return run("nft", "list", "table", *nft.TABLE.split())


class Iptables:
    """Chains of iptables and ip6tables."""

    name: Name = "iptables"

    def missing(self, families: tuple[Family, ...]) -> list[str]:
        """Programs that are needed and not there."""
        wanted = [_PROGRAMS[family] + end for family in families for end in ("-save", "-restore")]
        return [program for program in wanted if not path_of(program)]

    def plan(self, wanted: Redirect) -> str:
        """What would be done where nothing is in place; asks the machine nothing."""
        families = _supported(wanted.families)
        return "".join(_titled(family, iptables.change({}, iptables.rules(wanted, family))) for family in families)

    def preview(self, wanted: Redirect) -> str:
        """What `apply` would do now."""
        return "".join(_titled(family, self._change(family, wanted)) for family in self._usable())

    def apply(self, wanted: Redirect) -> None:
        """Puts the rules in place of those that are there. Raises ToolError, and then nothing has changed."""
        before: dict[Family, str] = {}
        try:
            for family in self._usable():
                before[family] = _save(family)
                _restore(family, self._change(family, wanted))
        except ToolError as error:
            self._back(before, error)
            raise
        for family, saved in before.items():
            _remove_leftovers(family, saved)

    def remove(self) -> None:
        """Leaves nothing behind, but for an empty table that cannot be removed. Raises ToolError."""
        for family in self._usable():
            saved = _save(family)
            _restore(family, iptables.change(iptables.ours(saved), {}))
            _remove_leftovers(family, saved)

    def holds_rules(self) -> bool:
        """Whether rules of ours are there. Raises ToolError."""
        return any(iptables.ours(_save(family)) for family in self._usable())

    def found(self) -> Redirect | None:
        """What is intercepted now; None: nothing. Raises ToolError."""
        tables = {family: iptables.ours(_save(family)) for family in self._usable()}
        return iptables.found(tables) if any(tables.values()) else None

    def listing(self) -> str:
        """The rules as the kernel has them."""
        text = ""
        for family in self._usable():
            for table, lines in iptables.ours(_save(family)).items():
                text += "".join(f"{line}\n" for line in (f"# {_PROGRAMS[family]} -t {table}", *lines))
        return text

    def _usable(self) -> tuple[Family, ...]:
        """Families that this machine has programs for: rules of ours are looked for in all of them."""
        return tuple(family for family in _supported(FAMILIES) if not self.missing((family,)))

    def _change(self, family: Family, wanted: Redirect) -> str:
        saved = _save(family)
        return iptables.change(iptables.ours(saved), iptables.rules(wanted, family, iptables.existing(saved)))

    def _back(self, before: dict[Family, str], error: ToolError) -> None:
        """Makes the rules again what they were before one family failed."""
        try:
            for family, saved in before.items():
                _restore(family, iptables.change(iptables.ours(_save(family)), iptables.ours(saved)))
        except ToolError as second:
            raise ToolError(f"{error}\nand the rules before cannot be restored: {second}") from error


Backend = Nft | Iptables
BACKENDS: tuple[Backend, ...] = (Nft(), Iptables())


def present() -> tuple[Backend, ...]:
    """Those that this machine has programs for; the preferred one first."""
    return tuple(backend for backend in BACKENDS if not backend.missing(("ipv4",)))


def _supported(families: tuple[Family, ...]) -> tuple[Family, ...]:
    """Without IPv6 where the kernel has none: there is nothing to intercept then."""
    return tuple(family for family in families if family == "ipv4" or kernel_has_ipv6())


def _titled(family: Family, text: str) -> str:
    return f"# {_PROGRAMS[family]}-restore --noflush\n{text}" if text else ""


def _save(family: Family) -> str:
    return run(f"{_PROGRAMS[family]}-save")


def _restore(family: Family, text: str) -> None:
    if text:
        run(f"{_PROGRAMS[family]}-restore", "--noflush", "--wait", text=text)


def _remove_leftovers(family: Family, before: str) -> None:
    """Removes tables that we made, as the iptables-save from before tells, and that are empty now.

    Only nft can, and iptables over the older kernel interface keeps its tables for good; an empty one has no effect.
    """
    made = iptables.made(before)
    if not made or not path_of("nft"):
        return
    saved = _save(family)
    if "(nf_tables)" in saved:
        for table in iptables.leftovers(saved, made):
            run("nft", "delete", "table", _NFT_FAMILIES[family], table)
