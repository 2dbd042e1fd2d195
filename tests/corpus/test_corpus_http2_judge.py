"""The judge of the HTTP/2 corpus itself: nghttpd passes what it must, and a gateway that copies fields is found out."""

from collections.abc import Iterator

import pytest
from hpack import Decoder

from tests.support import http2_frames as h2
from tests.support.http2 import RawClient
from tests.support.http2_corpus import Case, check, load
from tests.support.http2_gateway import NaiveGateway
from tests.support.http2_origins import Origins
from tests.support.http2_script import Player, block, flatten, frames
from tests.support.http2_trial import ClientTrial
from tests.support.http2_wants import Wants
from tests.support.metrics import Metrics
from tests.support.server import Nghttpd


@pytest.fixture(scope="module")
def nghttpd() -> Iterator[Nghttpd]:
    with Nghttpd({"small": b"hello", "big": b"x" * 100_000}) as server:
        yield server


def play(server: Nghttpd, script: list[object], *want: str, seconds: float = 5) -> None:
    with RawClient(server.address) as client:
        player = Player(client)
        player.play(script)
        Wants(want).hold(player, seconds)


LAWFUL = {
    "answer": (["head 1 GET /small"], ["answered 1 hello"]),
    "several": ([["3 times", "head + GET /small"]], ["answered 1 hello", "answered 5 hello"]),
    "status": (["head + GET /none"], ["status 1 404"]),
    "pieces": (["head 1 GET /small cut=90 | x: <<y*300>>"], ["answered 1 hello"]),
    "malformed": (["head 1 GET /small | x: a\nb"], ["refused 1"]),
    "reset": (["head 1 GET /big", "window 1 2147483647"], ["reset 1 FLOW_CONTROL_ERROR"]),
    "held": (["head 1 GET /big", "came 1 65535"], ["bytes 1 65535"]),
    "granted": (["grant", "head 1 GET /big", "end 1"], ["bytes 1 100000"]),
    "compression": (["head 1 GET /small | @i0"], ["dies COMPRESSION_ERROR"]),
    "overflow": (["window 0 2147483647"], ["dies FLOW_CONTROL_ERROR"]),
    "frame size": (["frame PING 0 0 abc"], ["dies FRAME_SIZE_ERROR"]),
    "either": (["head 1 GET /small"], ["reset 1 CANCEL || answered 1 hello"]),
    "unread": (["deaf", ["3000 times", "ping"], "hear"], ["lives"]),
}  # fmt: skip
WRONG = {
    "no flood": ([["50 times", "ping"]], ["calm"]),
    "other body": (["head 1 GET /small"], ["answered 1 evil"]),
    "not refused": (["head 1 GET /small"], ["refused 1"]),
    "not reset": (["head 1 GET /small"], ["reset 1 CANCEL"]),
    "other code": (["head 1 GET /small | @i0"], ["dies PROTOCOL_ERROR"]),
    "dead": (["head 1 GET /small | @i0"], ["lives"]),
    "implied life": (["head 1 GET /small", "end 1", "frame PING 0 0 abc"], ["answered 1 hello"]),
    "one of two": (["head 1 GET /small"], ["answered 1 hello", "status 1 404"]),
}


@pytest.mark.parametrize("name", LAWFUL)
def test_nghttpd_passes(nghttpd: Nghttpd, name: str) -> None:
    script, want = LAWFUL[name]
    play(nghttpd, script, *want)


@pytest.mark.parametrize("name", WRONG)
def test_what_did_not_happen_is_not_seen(nghttpd: Nghttpd, name: str) -> None:
    script, want = WRONG[name]
    with pytest.raises(AssertionError):
        play(nghttpd, script, *want, seconds=0.2)


# --- a gateway that understands nothing


class Unmeasured:
    """Stands in for the proxy under test: an address without counters."""

    def __init__(self, address: str) -> None:
        self.address = address

    def metrics(self) -> Metrics:
        return Metrics("")

    def wait_metric(self, name: str, value: float) -> None: ...

    def assert_alive(self) -> None: ...


SMUGGLED = [
    "fields/value-ends-head", "fields/value-crlf", "fields/value-nul", "fields/name-crlf", "fields/name-ends-head",
    "fields/name-colon", "fields/name-blank-behind", "fields/name-blank-before", "fields/coding-chunked",
    "fields/coding-with-length", "fields/name-upper-case-coding", "fields/connection-names-a-field",
    "fields/upgrade-h2c", "fields/te-gzip", "fields/cookies-are-joined", "pseudo/path-space",
    "pseudo/path-second-request", "pseudo/path-absolute-form", "pseudo/method-space",
    "pseudo/authority-second-request", "pseudo/authority-userinfo", "pseudo/host-differs", "pseudo/host-twice",
    "pseudo/no-authority-no-host", "pseudo/path-twice",
    "length/less-than-data", "length/more-than-data", "length/twice-different", "length/body-looks-like-a-request",
    "length/plus",
]  # fmt: skip
SOUND = {"length/body-looks-like-a-request"}  # what even that gateway does right, for the judge must not be blind


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[NaiveGateway, Origins]]:
    origins = Origins("http1")
    with NaiveGateway(origins.address) as gateway:
        yield gateway, origins
    origins.close()


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_gateway_that_copies_is_found_out(
    gateway: tuple[NaiveGateway, Origins], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.http2_wants.PATIENCE_S", 0.2)
    case = next(case for case in load("clients") if case.name == name)
    front, origins = gateway
    trial = ClientTrial(case, "http1", Unmeasured(front.address), origins)  # type: ignore[arg-type]
    if name in SOUND:
        trial.run()
        return
    with pytest.raises((AssertionError, TimeoutError)):
        trial.run()
    origins.origin.errors.clear()


# --- the language


def test_blocks_say_what_the_items_say() -> None:
    items = [":path: /q", "-:scheme", "x: y", "+k: v", "~h: w", "!s: t", "@i62*2", "@x82"]
    decoded = Decoder().decode(block(items, h2.request_fields()), raw=True)
    assert [(bytes(item[0]), bytes(item[1])) for item in decoded] == [
        (b":method", b"GET"), (b":authority", b"t.test"), (b":path", b"/q"), (b"x", b"y"), (b"k", b"v"), (b"h", b"w"),
        (b"s", b"t"), (b"k", b"v"), (b"k", b"v"), (b":method", b"GET"),
    ]  # fmt: skip


def test_steps_become_frames() -> None:
    sent = bytearray(frames("data . a b end pad=2").on(7) + frames("reset + CANCEL").on(9) + frames("ping").on(0))
    found = [(str(frame), frame.content) for frame in h2.take_frames(sent)]
    assert found[0] == ("DATA(stream=7, flags=0x9, 6 bytes)", b"a b")
    assert [text for text, _ in found[1:]] == [
        "RST_STREAM(stream=9, flags=0x0, 4 bytes)", "PING(stream=0, flags=0x0, 8 bytes)",
    ]  # fmt: skip


def test_repetitions_nest() -> None:
    assert list(flatten(["a", ["2 times", "b", ["2 times", "c"]]])) == ["a", "b", "c", "c", "b", "c", "c"]


GOOD = {"name": "n", "rfc": "9113 1", "script": ["ping"], "want": ["lives"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"script": ["pong", "pung"]}, {"want": ["alive"]}, {"want": ["reset 1 CANCEL || dead"]}, {"rfc": "9113"},
        {"ways": ["http3"]}, {"wont": ["lives"]},
    ],
)  # fmt: skip
def test_a_table_that_is_no_case_is_refused(wrong: dict[str, object]) -> None:
    check(Case("n", "clients", GOOD))
    with pytest.raises(ValueError, match=r"n: "):
        check(Case("n", "clients", GOOD | wrong))
