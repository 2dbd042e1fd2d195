"""The openings of many protocols: each with its verdict, and with the byte that decides it, however they come in."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.model.wire_enums import enum_of
from tests.probe.wire_sniff import sniff
from tests.support.corpus import expand

FOLDER = Path(__file__).resolve().parent / "sniff"
Verdict = enum_of("sniff.pxd", "SniffVerdict")


class Opening(NamedTuple):
    name: str
    data: bytes
    want: int
    at: int | None  # bytes that decide; None: all of them leave it open


def load() -> list[Opening]:
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        for table in tomllib.loads(path.read_text())["case"]:
            assert re.fullmatch(r"[a-z0-9.-]+", table["name"])
            assert table["spec"]
            assert not table.keys() - {"name", "spec", "raw", "hex", "want", "at"}
            assert ("raw" in table) != ("hex" in table)
            data = expand(table["raw"]).encode("latin-1") if "raw" in table else bytes.fromhex(table["hex"])
            want = Verdict[f"SNIFF_{table['want'].upper()}"]
            found.append(Opening(f"{path.stem}/{table['name']}", data, want, table.get("at")))
    return found


OPENINGS = load()


@pytest.mark.parametrize("case", OPENINGS, ids=lambda case: case.name)
def test_opening(case: Opening) -> None:
    assert sniff(case.data) == case.want
    before = len(case.data) + 1 if case.at is None else case.at
    for n in range(len(case.data) + 1):
        assert sniff(case.data[:n]) == (Verdict.SNIFF_MORE if n < before else case.want), f"after {n} bytes"


@pytest.mark.parametrize("case", OPENINGS, ids=lambda case: case.name)
def test_a_line_that_ended_is_decided(case: Opening) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    if b"\n" in case.data and not preface.startswith(case.data):
        assert case.at is not None


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len({case.name for case in OPENINGS}) == len(OPENINGS) >= 150
    kinds = Counter(case.want for case in OPENINGS)
    assert kinds[Verdict.SNIFF_OPAQUE] >= 90
    assert all(kinds[verdict] >= 3 for verdict in Verdict)
