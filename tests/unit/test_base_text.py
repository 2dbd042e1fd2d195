"""Text by example: the forms that a log line and a response head rely on."""

import pytest

from tests.probe.base_text import COMBINED, JSON, TextProbe
from tests.probe.wire_guard import Guard

OUT, INPUT = Guard(1), Guard(1)
MOMENT_NS = 784_111_777_123_456_789  # the example of RFC 9110 5.6.7, and a fraction


def blank(room: int = 128) -> TextProbe:
    return TextProbe(OUT.back(room), room)


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        ("clf_date", b"06/Nov/1994:08:49:37 +0000"),
        ("iso_date", b"1994-11-06T08:49:37.123Z"),
    ],
)
def test_dates(form: str, wanted: bytes) -> None:
    text = blank(len(wanted))
    getattr(text, form)(MOMENT_NS)
    assert text.result() == (wanted, False)


@pytest.mark.parametrize(("ns", "wanted"), [(-1, b"0.000"), (1_234_567, b"1.234"), (60_000_000_000, b"60000.000")])
def test_milliseconds_are_cut_not_rounded(ns: int, wanted: bytes) -> None:
    text = blank()
    text.ms(ns)
    assert text.result() == (wanted, False)


@pytest.mark.parametrize(
    ("value", "digits", "wanted"), [(7, 3, b"007"), (1234, 2, b"34"), (0, 0, b""), (5, 20, b"0" * 19 + b"5")]
)
def test_digits(value: int, digits: int, wanted: bytes) -> None:
    text = blank()
    text.digits(value, digits)
    assert text.result() == (wanted, False)


def test_more_digits_than_a_number_has_are_its_twenty() -> None:
    text = blank()
    text.digits(5, 2**32 - 1)
    assert text.result() == (b"0" * 19 + b"5", False)


@pytest.mark.parametrize(
    ("style", "wanted"), [(JSON, rb"a\"b\\c\u000a\u007f\u00ff~"), (COMBINED, rb"a\"b\\c\x0a\x7f\xff~")]
)
def test_quoted(style: int, wanted: bytes) -> None:
    text, data = blank(), b'a"b\\c\n\x7f\xff~'
    text.quoted_at(INPUT.put_back(data), len(data), style)
    assert text.result() == (wanted, False)


def test_what_follows_a_cut_is_lost_too() -> None:
    text = blank(5)
    text.string(b"abcdefg")
    assert text.result() == (b"abcde", True)
    text.number(1)
    text.quoted_at(INPUT.put_back(b"x"), 1, JSON)
    assert text.result() == (b"abcde", True)


def test_nothing_fits_where_there_is_no_room_and_cuts_nothing() -> None:
    text = blank(0)
    text.string(b"")
    text.put_at(INPUT.put_back(b""), 0)
    text.quoted_at(INPUT.put_back(b""), 0, COMBINED)
    assert text.result() == (b"", False)
    text.string(b"x")
    assert text.result() == (b"", True)


def test_nothing_may_be_a_null_pointer() -> None:
    text = blank()
    text.put_at(0, 0)
    text.quoted_at(0, 0, JSON)
    assert text.result() == (b"", False)


@pytest.mark.parametrize("n", [2**32, 2**63])
def test_lengths_beyond_32_bits_do_not_wrap(n: int) -> None:
    text = blank(8)
    at = INPUT.put_back(b"12345678")
    text.put_at(at, n)
    assert text.result() == (b"12345678", True)
