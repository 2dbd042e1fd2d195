"""What is wrong with a configuration, all of it at once."""

from collections.abc import Iterable
from typing import NamedTuple

EXIT_CONFIG = 64  # EX_USAGE of sysexits.h: what the command was given cannot be used
HIDDEN = "(hidden)"
SHOWN_CHARACTERS = 120  # of a value in a report; a pasted certificate must not fill the screen


class Problem(NamedTuple):
    """One thing that is wrong."""

    key: str  # a variable's name, or a path in the file: "routes[0].backend"
    value: str  # as it was written, shortened; "" when there is none
    source: str  # "environment" or the file's path
    rule: str  # what would be right, a clause that begins with "must" where it can

    @property
    def text(self) -> str:
        """Two lines: where and what, then the rule."""
        shown = f" = {self.value}" if self.value else ""
        return f"  {self.key}{shown}  ({self.source})\n      {self.rule}"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds everything that was found, in the order of the sources."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(report(self.problems))


def report(problems: Iterable[Problem], where: str = "in the configuration") -> str:
    """The readable report of one refusal: a title and two lines per problem."""
    listed = tuple(problems)
    count = "1 problem" if len(listed) == 1 else f"{len(listed)} problems"
    return "\n".join([f"fastmesh: {count} {where}", *(problem.text for problem in listed)])


def shown(value: object, secret: bool = False) -> str:
    """A value as a report shows it: one line, quoted text, no control characters, shortened, secrets hidden."""
    if secret:
        return HIDDEN
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value) + '"'
    else:
        text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for a misspelt word, or nothing."""
    from difflib import get_close_matches  # only when there is a mistake: start-up stays light

    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
