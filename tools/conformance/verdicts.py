"""What became of the cases of one suite, run direct and run through fastmesh."""

from dataclasses import dataclass, field

SHOWN = 20  # lost cases that are explained
REASON_LINES = 12


@dataclass
class Verdicts:
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # by case: what is wrong

    @property
    def cases(self) -> int:
        return self.passed + len(self.failed)

    def add(self, case: str, wrong: str) -> None:
        """`wrong` is empty when the case passed."""
        if wrong:
            self.failed[case] = wrong
        else:
            self.passed += 1


@dataclass(frozen=True)
class Outcome:
    suite: str
    through: str
    direct: Verdicts
    proxied: Verdicts

    def lost(self) -> dict[str, str]:
        """Cases that fail only through fastmesh."""
        return {case: wrong for case, wrong in self.proxied.failed.items() if case not in self.direct.failed}

    def row(self) -> dict[str, object]:
        """As it is recorded."""
        return {
            "suite": self.suite, "upstream_protocol": self.through, "cases": self.direct.cases,
            "passed_direct": self.direct.passed, "passed_through": self.proxied.passed, "lost": sorted(self.lost()),
            "failed_direct": sorted(self.direct.failed),
        }  # fmt: skip

    def ok(self) -> bool:
        """Nothing was lost of something: a suite in which no case passes direct proves nothing, and one that ended
        early names no case that it lost."""
        return not self.lost() and self.proxied.passed >= self.direct.passed > 0


def table(outcomes: list[Outcome]) -> str:
    rows = [("suite", "upstream protocol", "cases", "passed direct", "passed through", "lost", "")]
    for outcome in outcomes:
        direct, proxied = outcome.direct, outcome.proxied
        counts = (str(direct.cases), str(direct.passed), str(proxied.passed), str(len(outcome.lost())))
        rows.append((outcome.suite, outcome.through, *counts, "ok" if outcome.ok() else "FAILED"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def reasons(outcome: Outcome) -> str:
    """The lost cases by name and why, as far as they fit a screen."""
    lost = outcome.lost()
    lines = []
    for case, wrong in list(lost.items())[:SHOWN]:
        lines.append(f"{outcome.suite} ({outcome.through}): {case}")
        lines += [f"    {line}" for line in wrong.splitlines()[:REASON_LINES]]
    if len(lost) > SHOWN:
        lines.append(f"... and {len(lost) - SHOWN} more")
    return "\n".join(lines)
