"""The corpus of hostile HTTP/2: loading, and holding each table against what a table may say.

A case of `clients` attacks fastmesh as a server:
    script    steps (tests/support/http2_script), after a handshake unless `handshake = false`
    want      what the client must see (tests/support/http2_wants)
    origin    how many whole requests reach the origin: a number, or "0-3"; 0 unless said
    up, body  what the first of them must be, as in the corpus of HTTP/1 (tests/support/judge); `trailers` likewise
    half      1: a request whose end never came may have begun to go upstream
    counts    counters that move: name (without fastmesh_http2_ and _total, or whole) = N, or ">=N"
    gauges    what may be in use at most when the script was played: name without fastmesh_ = N
    proxy     which of the proxies in tests/corpus/test_corpus_http2.py; "plain" unless said
    settings  of the client's first SETTINGS frame
    ways      how it is sent and to which upstream; all of them unless said

A case of `origins` attacks fastmesh as a client:
    script    steps of the first connection the origin accepts; `every = 1`: of every connection
    asks      how many requests are made at a time, to /1, /2, ...; one unless said
    ask       the method of each and its fields
    want      of each request what its client sees: `deliver`, `cut`, a status, `a/b` for either
    up        what the origin must see on its connection, in the words of http2_wants; not judged unless said
    down, body, trailers   what the delivered response must be, as in the corpus of HTTP/1
    streams   how many requests may reach origins at most, all connections together
    counts, gauges, settings, ways   as above
"""

import pathlib
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from tests.support.corpus import expand
from tests.support.http2_script import VERBS, flatten
from tests.support.http2_wants import Wants

HTTP2 = pathlib.Path(__file__).resolve().parents[1] / "corpus" / "http2"
_SHARED = {
    "body", "counts", "gauges", "handshake", "name", "note", "proxy", "rfc", "script", "settings", "trailers", "up",
    "want", "ways",
}  # fmt: skip
_KEYS = {"clients": _SHARED | {"half", "origin"}, "origins": _SHARED | {"ask", "asks", "down", "every", "streams"}}
WAYS = {"clients": ("http1", "http1-pieces", "http2"), "origins": ("http1", "http2")}
_ORIGIN_WORD = re.compile(r"deliver|cut|\d{3}")
_WANT_WORD = re.compile(
    r"(answered \d+( .*)?|bytes \d+ \d+|status \d+ [\d/]+|refused \d+( \d+)*|reset \d+ [A-Z_/0-9]+|(cut|silent) \d+|"
    r"dies [A-Z_/]+|calm|closed|stuck|lives)"
)


@dataclass(frozen=True)
class Case:
    """One table."""

    name: str  # file/name
    kind: str
    more: dict[str, Any]

    @property
    def script(self) -> list[Any]:
        return list(self.more["script"])

    @property
    def wants(self) -> Wants:
        texts = self.more["want"] if self.kind == "clients" else self.more.get("up", [])
        return Wants(tuple(texts))

    @property
    def ways(self) -> tuple[str, ...]:
        return tuple(self.more.get("ways", WAYS[self.kind]))

    def lines(self, key: str) -> list[str]:
        return [expand(text) for text in self.more.get(key, [])]

    def bytes(self, key: str) -> bytes | None:
        value = self.more.get(key)
        return None if value is None else expand(value).encode("latin-1")

    def bounds(self, key: str, default: int) -> tuple[int, int]:
        """`3` or `0-3`."""
        low, _, high = str(self.more.get(key, default)).partition("-")
        return int(low), int(high or low)


def check(case: Case) -> None:
    """ValueError for a table that is not a case."""
    unknown = case.more.keys() - _KEYS[case.kind]
    verbs = {step.partition(" ")[0] for step in flatten(case.script)} - set(VERBS)
    texts = case.more["want"] if case.kind == "clients" else case.more.get("up", [])
    wrong = [one for text in texts for one in text.split(" || ") if not _WANT_WORD.fullmatch(one)]
    if case.kind == "origins":
        wrong += [one for text in case.more["want"] for one in text.split("/") if not _ORIGIN_WORD.fullmatch(one)]
    ways = set(case.ways) - set(WAYS[case.kind])
    rfc = case.more["rfc"]
    if unknown or verbs or wrong or ways or not re.fullmatch(r"\d{4} [\dA-Z.]+|CVE-\d{4}-\d+", rfc):
        raise ValueError(f"{case.name}: keys {unknown}, verbs {verbs}, want {wrong}, ways {ways} or rfc {rfc!r}")


def load(kind: str) -> list[Case]:
    """Every case of `clients` or `origins`."""
    cases = [
        Case(f"{path.stem}/{table['name']}", kind, table)
        for path in sorted((HTTP2 / kind).glob("*.toml"))
        for table in tomllib.loads(path.read_text())["case"]
    ]
    for case in cases:
        check(case)
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"names used twice: {sorted({name for name in names if names.count(name) > 1})}")
    return cases


def trials(kind: str) -> list[tuple[Case, str]]:
    """Every case in every way it is played."""
    return [(case, way) for case in load(kind) for way in case.ways]
