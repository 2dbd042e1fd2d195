"""Text is what the standard library says it is, and whatever the room, what is written is its beginning and no more."""

import ast
import ipaddress
import json
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.probe.base_text import COMBINED, JSON, TextProbe
from tests.probe.wire_guard import Guard

Step = Callable[[TextProbe], None]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(2200, 12, 31, tzinfo=UTC)
DAY_NS = 86_400 * 10**9
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
ROOM = 4096
OUT, INPUT = Guard(1), Guard(1)

i64 = st.integers(-(2**63), 2**63 - 1)
u64 = st.integers(0, 2**64 - 1) | st.integers(0, 64).map(lambda bits: 2**bits - 1)
walls = st.integers(0, (LAST - EPOCH) // timedelta(microseconds=1) * 1000 + DAY_NS - 1)


def written(*steps: Step, room: int = ROOM) -> tuple[bytes, bool]:
    """What the steps write into `room` bytes that end at a forbidden page, and whether they say it was cut."""
    text = TextProbe(OUT.back(room), room)
    for step in steps:
        step(text)
    return text.result()


def whole(*steps: Step) -> str:
    data, cut = written(*steps)
    assert not cut
    return data.decode("ascii")


def put(data: bytes) -> Step:
    return lambda text: text.put_at(INPUT.put_back(data), len(data))


def quoted(data: bytes, style: int) -> Step:
    return lambda text: text.quoted_at(INPUT.put_back(data), len(data), style)


def ip(address: bytes) -> Step:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return lambda text: text.ip_at(family, INPUT.put_back(address))


def string(data: bytes) -> Step:
    return lambda text: text.string(data)


def number(value: int) -> Step:
    return lambda text: text.number(value)


def digits(value: int, n: int) -> Step:
    return lambda text: text.digits(value, n)


def ms(ns: int) -> Step:
    return lambda text: text.ms(ns)


def date(form: str, wall_ns: int) -> Step:
    return lambda text: getattr(text, form)(wall_ns)


steps = st.lists(
    st.one_of(
        st.binary(max_size=30).map(put),
        st.binary(max_size=30).map(lambda data: string(data.replace(b"\0", b""))),
        st.tuples(st.binary(max_size=30), st.sampled_from([COMBINED, JSON])).map(lambda args: quoted(*args)),
        u64.map(number),
        st.tuples(u64, st.integers(0, 20)).map(lambda args: digits(*args)),
        i64.map(ms),
        (st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)).map(ip),
        st.tuples(st.sampled_from(["date", "clf_date", "iso_date"]), i64).map(lambda args: date(*args)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_every_room_holds_the_beginning(parts: list[Step]) -> None:
    full, cut = written(*parts)
    assert not cut
    for room in range(len(full) + 3):
        assert written(*parts, room=room) == (full[:room], room < len(full))


@given(u64)
def test_numbers(value: int) -> None:
    assert whole(number(value)) == str(value)


@given(u64, st.integers(0, 20))
def test_digits(value: int, n: int) -> None:
    assert whole(digits(value, n)) == str(value).zfill(n)[len(str(value).zfill(n)) - n :]


@given(i64)
@example(0)
@example(999)
@example(1_000)
@example(999_999_999)
@example(2**63 - 1)
def test_milliseconds(ns: int) -> None:
    us = max(0, ns) // 1000
    assert whole(ms(ns)) == f"{us // 1000}.{us % 1000:03}"


def check_dates(wall_ns: int) -> None:
    moment = EPOCH + timedelta(microseconds=wall_ns // 1000)
    clf = f"{moment.day:02}/{MONTHS[moment.month - 1]}/{moment.year}:{moment:%H:%M:%S} +0000"
    assert whole(date("date", wall_ns)) == format_datetime(moment, usegmt=True)
    assert whole(date("clf_date", wall_ns)) == clf
    assert whole(date("iso_date", wall_ns)) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("decade", range(1970, 2201, 10))
def test_every_day_from_1970_to_2200(decade: int) -> None:
    day = (datetime(decade, 1, 1, tzinfo=UTC) - EPOCH).days
    end = (min(datetime(decade + 10, 1, 1, tzinfo=UTC), LAST + timedelta(days=1)) - EPOCH).days
    for wall_ns in range(day * DAY_NS, end * DAY_NS, DAY_NS):
        check_dates(wall_ns)
        check_dates(wall_ns + DAY_NS - 1)


@given(walls)
def test_any_moment(wall_ns: int) -> None:
    check_dates(wall_ns)


@given(st.integers(-(2**63), -1))
def test_before_1970_counts_as_its_start(wall_ns: int) -> None:
    for form in ("date", "clf_date", "iso_date"):
        assert whole(date(form, wall_ns)) == whole(date(form, 0))


@given(st.binary(min_size=4, max_size=4))
def test_ipv4(address: bytes) -> None:
    assert whole(ip(address)) == str(ipaddress.IPv4Address(address))


# Words of 0 and of few digits, so that every place and length of the longest run of zeros comes up.
words = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF]) | st.integers(0, 0xFFFF), min_size=8, max_size=8)


@settings(max_examples=1000)
@given(words.map(lambda found: b"".join(word.to_bytes(2, "big") for word in found)))
@example(b"\0" * 16)
@example(b"\0" * 15 + b"\1")
@example(b"\0" * 10 + b"\xff\xff\x7f\0\0\1")
@example(b"\xff" * 16)
def test_ipv6(address: bytes) -> None:
    text = whole(ip(address))
    assert text == socket.inet_ntop(socket.AF_INET6, address)
    assert ipaddress.IPv6Address(text).packed == address
    if "." not in text:  # the module writes the last word pair of a mapped or compatible address in hex
        assert text == str(ipaddress.IPv6Address(address))


@pytest.mark.parametrize("family", [0, socket.AF_UNIX, 255])
def test_no_address_is_unix(family: int) -> None:
    text = TextProbe(OUT.back(16), 16)
    text.ip_at(family, INPUT.put_back(b""))
    assert text.result() == (b"unix", False)


every_byte = bytes(range(256))


@given(st.binary(max_size=200))
@example(every_byte)
@example(b'"\\"\\')
def test_json_reads_back(data: bytes) -> None:
    text = whole(quoted(data, JSON))
    assert json.loads(f'"{text}"') == data.decode("latin-1")
    assert all(" " <= c <= "~" for c in text)


@given(st.binary(max_size=200))
@example(every_byte)
@example(b'"\\"\\')
@example(b"\\x41")
def test_combined_reads_back(data: bytes) -> None:
    text = whole(quoted(data, COMBINED))
    assert ast.literal_eval(f'b"{text}"') == data
    assert re.fullmatch(r'([ !#-\[\]-~]|\\["\\]|\\x[0-9a-f]{2})*', text)
