"""No parser reads and no writer writes one byte outside what it was given: inputs and outputs flush against forbidden
pages, behind and before. A violation ends the process."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.wire_enums import AGAIN, OK
from tests.model.wire_messages import KINDS, damaged, messages
from tests.model.wire_model import Limits, judge
from tests.probe import wire_http1
from tests.probe.wire_chunked import Decoder
from tests.probe.wire_guard import Guard

GUARD = Guard(4)
OUT = Guard(64)


def check_places(kind: str, data: bytes) -> None:
    wanted = judge(kind, data, Limits())
    for place in (GUARD.put_back, GUARD.put_front):
        parser = wire_http1.Parser(kind)
        assert parser.feed_at(place(data), len(data)) == (wanted.status, wanted.fault)


@settings(max_examples=1000, deadline=None)
@given(messages().flatmap(damaged))
def test_damaged_heads(message: tuple[str, bytes]) -> None:
    check_places(*message)


@settings(max_examples=300, deadline=None)
@given(messages())
def test_every_prefix_of_a_head(message: tuple[str, bytes]) -> None:
    kind, data = message
    resumed = wire_http1.Parser(kind)
    for n in range(len(data) + 1):
        whole = wire_http1.Parser(kind)
        answer = whole.feed_at(GUARD.put_back(data[:n]), n)
        if answer == (AGAIN, 0) or n == len(data):
            assert resumed.feed_at(GUARD.put_back(data[:n]), n) == answer
        if answer != (AGAIN, 0):
            break


@pytest.mark.parametrize("kind", KINDS)
@given(st.binary(max_size=150))
def test_any_bytes(kind: str, data: bytes) -> None:
    check_places(kind, data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80) | st.from_regex(rb"[A-Za-z0-9/?.\-\[\]:%]*", fullmatch=True))
def test_the_small_parsers(data: bytes) -> None:
    for place in (GUARD.put_back, GUARD.put_front):
        wire_http1.name_id_at(place(data), len(data))
        wire_http1.authority_at(place(data), len(data))
        wire_http1.token_at(place(data), len(data), len(data))
        wire_http1.target_span_at(place(data), len(data))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.from_regex(rb'([0-9a-f]{1,3}( ?; ?a="?b"?)?\r\n[x\r\n]{0,20}){0,4}', fullmatch=True))
def test_chunked_in_place(data: bytes) -> None:
    for place in (GUARD.put_back, GUARD.put_front):
        at = place(data)
        status, used, payload = Decoder().strip_at(at, len(data))
        wanted = Decoder().strip(data)
        assert (status, used, GUARD.get(at, payload)) == wanted


@settings(max_examples=500, deadline=None)
@given(messages(), st.integers(0, 2047), st.integers(0, 40))
def test_writers_stay_in_their_room(message: tuple[str, bytes], flags: int, missing: int) -> None:
    kind, data = message
    parser = wire_http1.Parser(kind)
    if parser.feed(data)[0] != OK:
        return
    edit = {"flags": flags, "via": b"fm", "client": b"::1", "date": b"D" * 29}
    wanted = parser.write(**edit)
    room = max(0, len(wanted) - missing)
    again = parser.write(room=room, out_at=OUT.back(room), **edit)
    assert again == (wanted if room == len(wanted) else -3)


@given(st.binary(max_size=60), st.integers(0, 250))
def test_proxy_made_responses_stay_in_their_room(cause: bytes, room: int) -> None:
    wanted = wire_http1.error(502, cause)
    again = wire_http1.error(502, cause, room=room, out_at=OUT.back(room))
    assert again == (wanted if room >= len(wanted) else -3)
