"""tools/conformance: verdicts, and the messages its shim changes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.conformance.connect import parse
from tools.conformance.shim import SERVER_VERSION, number_field, read_message, spoken, with_number_field, write_message
from tools.conformance.verdicts import Outcome, Verdicts, reasons, table

NUMBERS = st.integers(min_value=1, max_value=(1 << 32) - 1)


@given(NUMBERS, NUMBERS)
def test_a_number_field_is_replaced(before: int, after: int) -> None:
    """Among fields of every wire type; the last of two counts."""
    around = b"\x0a\x03abc" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x20\xff\x01"  # fields 1 to 4
    message = with_number_field(around, 7, before)
    assert number_field(message, 7) == before
    assert number_field(around, 7) == 0
    changed = with_number_field(message, 7, after)
    assert (number_field(changed, 4), number_field(changed, 7)) == (255, after)


@pytest.mark.parametrize(("through", "version"), [("auto", 1), ("http1", 1), ("http2", 2)])
def test_the_server_speaks_what_fastmesh_does(through: str, version: int) -> None:
    assert number_field(spoken(with_number_field(b"", SERVER_VERSION, 1), through), SERVER_VERSION) == version


def test_messages_behind_their_lengths() -> None:
    stream = io.BytesIO()
    for message in (b"", b"one", b"x" * 70_000):
        write_message(stream, message)
    stream.seek(0)
    assert [read_message(stream) for _ in range(4)] == [b"", b"one", b"x" * 70_000, None]


def test_the_runner_s_report_is_read() -> None:
    verdicts = parse(
        "Computed 3\nFAILED: a/b/c:\n\tit is wrong\n\tvery wrong\nINFO: other\nFAILED: d:\n\tno\n\n"
        "Total cases: 12\n10 passed, 2 failed\n"
    )
    assert verdicts.passed == 10
    assert list(verdicts.failed) == ["a/b/c", "d"]
    assert verdicts.failed["a/b/c"].startswith("it is wrong\nvery wrong\n")
    with pytest.raises(RuntimeError, match="end"):
        parse("FAILED: a:\n\tb\n")


def outcome(direct: Verdicts, proxied: Verdicts) -> Outcome:
    return Outcome("suite", "auto", direct, proxied)


def test_what_fails_direct_may_fail_through() -> None:
    known = Verdicts(2, {"known": "it is so"})
    assert outcome(known, known).ok()
    assert outcome(known, Verdicts(3)).ok()
    lost = outcome(known, Verdicts(1, {"known": "it is so", "other": "broken"}))
    assert lost.lost() == {"other": "broken"}
    assert not lost.ok()
    assert "broken" in reasons(lost)
    assert "FAILED" in table([lost])


def test_what_is_recorded() -> None:
    row = outcome(Verdicts(2, {"known": "it is so"}), Verdicts(1, {"known": "it is so", "other": "broken"})).row()
    assert (row["cases"], row["passed_direct"], row["passed_through"]) == (3, 2, 1)
    assert (row["lost"], row["failed_direct"]) == (["other"], ["known"])


def test_a_suite_that_ran_nothing_proves_nothing() -> None:
    assert not outcome(Verdicts(), Verdicts()).ok()
    assert not outcome(Verdicts(3), Verdicts(2)).ok()
