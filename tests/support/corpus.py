"""The corpus of raw cases: loading, macros, and the one way a case is cut into pieces.

A case is a TOML table. `raw` is Latin-1: \\u00ff is the byte ff. `<<text*N>>` repeats text, innermost first.
`want` of a request case is a word per request: `forward`, `tunnel`, `cut` (the origin must never see it complete),
`own:200` (answered by the proxy itself), `400` (refused, nothing of it went upstream), `abort:400` (refused inside its
body). Of a response case: `deliver`, `tunnel`, `502`, `cut` (the client must see that it is not whole, or get 502).
`a/b` allows either, where the RFC leaves the choice.
"""

import pathlib
import random
import re
import tomllib
import zlib
from dataclasses import dataclass
from typing import Any

HTTP1 = pathlib.Path(__file__).resolve().parents[1] / "corpus" / "http1"
_REPEAT = re.compile(r"<<((?:(?!<<|>>).)*)\*(\d+)>>", re.DOTALL)
BYTEWISE_MAX = 2000  # longer input is cut at random places instead

_REQUEST_KEYS = {"body", "eof", "keep", "reply", "reset", "trailers", "up", "up2"}
_RESPONSE_KEYS = {"ask", "body", "down", "interim", "keep", "reuse", "then", "trailers"}
_REQUEST_WORD = re.compile(r"forward|tunnel|cut|(?:own:|abort:)?\d{3}(?:/\d{3})*")
_RESPONSE_WORD = re.compile(r"deliver|deliver/502|tunnel|502|cut")


def expand(text: str) -> str:
    """Text with its repetitions written out."""
    while True:
        text, count = _REPEAT.subn(lambda match: match[1] * int(match[2]), text)
        if not count:
            return text


@dataclass(frozen=True)
class Case:
    """One table of the corpus; `raw` is expanded."""

    name: str  # file/name
    rfc: str
    raw: bytes
    want: tuple[str, ...]
    more: dict[str, Any]  # the optional keys

    def lines(self, key: str) -> list[str]:
        """An optional list of texts, expanded."""
        return [expand(text) for text in self.more.get(key, [])]

    def text(self, key: str) -> bytes | None:
        value = self.more.get(key)
        return None if value is None else expand(value).encode("latin-1")


def load(kind: str) -> list[Case]:
    """Every case of `requests` or `responses`. ValueError for a table that is not one."""
    keys, word = (_REQUEST_KEYS, _REQUEST_WORD) if kind == "requests" else (_RESPONSE_KEYS, _RESPONSE_WORD)
    cases = []
    for path in sorted((HTTP1 / kind).glob("*.toml")):
        for table in tomllib.loads(path.read_text())["case"]:
            case = Case(
                f"{path.stem}/{table.pop('name')}", table.pop("rfc"), expand(table.pop("raw")).encode("latin-1"),
                tuple(table.pop("want").split()), {key: table[key] for key in table if key != "note"},
            )  # fmt: skip
            unknown = case.more.keys() - keys
            if unknown or not all(map(word.fullmatch, case.want)) or not re.fullmatch(r"\d{4} [\dA-Z.]+", case.rfc):
                raise ValueError(f"{case.name}: unknown keys {unknown}, want {case.want} or rfc {case.rfc!r}")
            cases.append(case)
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"names used twice: {sorted({name for name in names if names.count(name) > 1})}")
    return cases


def pieces(raw: bytes, how: str, seed: str) -> list[bytes]:
    """`whole`, `bytewise`, or `random`: cut at places that only depend on the seed."""
    if how == "whole" or len(raw) < 2:
        return [raw] if raw else []
    if how == "bytewise" and len(raw) <= BYTEWISE_MAX:
        return [raw[i : i + 1] for i in range(len(raw))]
    source = random.Random(zlib.crc32(seed.encode()))
    cuts = sorted(source.sample(range(1, len(raw)), min(len(raw) - 1, source.randint(1, 12))))
    return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
