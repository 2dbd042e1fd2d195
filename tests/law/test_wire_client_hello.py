"""The ClientHello: the answer depends on the hello alone, not on how records and segments cut it."""

import shutil
import socket
import ssl
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.wire_enums import AGAIN, BAD, LIMIT, OK, enum_of
from tests.probe.wire_guard import Guard
from tests.probe.wire_sniff import begins, client_hello, client_hello_at, sniff
from tests.support import hello as made
from tests.support import net

Flag = enum_of("client_hello.pxd", "HelloFlag")
TLS = 3
GUARD = Guard(5)
LABEL = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True).map(str.encode)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(b".".join).filter(lambda name: not name.split(b".")[-1].isdigit())
GREASE = (0x0A0A, b"")


@st.composite
def hellos(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A hello's handshake message, and what must be read from it."""
    legacy = draw(st.sampled_from([0x0300, 0x0301, 0x0303, 0x0303]))
    wanted: dict[str, Any] = {"name": b"", "alpn": [], "version": legacy, "legacy": legacy, "flags": 0}
    extensions = [GREASE, (23, b""), (51, draw(st.binary(max_size=300)))]
    if draw(st.booleans()):
        wanted["name"] = draw(NAMES)
        extensions.append(made.server_name(wanted["name"]))
    if draw(st.booleans()):
        wanted["alpn"] = draw(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=5))
        extensions.append(made.alpn(*wanted["alpn"]))
    if draw(st.booleans()):
        offered = draw(st.lists(st.sampled_from([0x0A0A, 0x0301, 0x0303, 0x0304, 0x7F1C, 0xFAFA]), min_size=1))
        wanted["version"] = max((number for number in offered if number >> 8 == 3), default=0)
        extensions.append(made.versions(*offered))
    hello = made.body(draw(st.permutations(extensions)), legacy, draw(st.binary(max_size=32)),
                      draw(st.binary(min_size=1, max_size=20)) * 2)  # fmt: skip
    return made.handshake(hello), wanted


def check_prefixes(data: bytes) -> Any:
    """The answer to data; before its first byte that decides AGAIN, from there on always the same."""
    answer = AGAIN
    for n in range(len(data) + 1):
        found = client_hello(data[:n])
        assert found == answer or answer == AGAIN
        answer = found
    return answer


@settings(max_examples=150, deadline=None)
@given(hellos(), st.lists(st.integers(1, 600), max_size=6), st.binary(max_size=9))
def test_every_cut_reads_the_same(case: tuple[bytes, dict[str, Any]], cuts: list[int], rest: bytes) -> None:
    message, wanted = case
    for places in ([], cuts, range(1, 9), range(0, len(message), 50)):
        data = made.records(message, places)
        assert client_hello(data + rest) == {**wanted, "bytes": len(data)}
        assert sniff(data) == TLS
    assert check_prefixes(made.records(message, cuts) + rest) == {**wanted, "bytes": len(made.records(message, cuts))}


@settings(max_examples=50, deadline=None)
@given(hellos())
def test_one_byte_in_each_record(case: tuple[bytes, dict[str, Any]]) -> None:
    message, wanted = case
    data = made.records(message, range(len(message)))
    assert client_hello(data) == {**wanted, "bytes": len(data)}
    assert client_hello(data[:-1]) == AGAIN


@settings(max_examples=150, deadline=None)
@given(hellos(), st.lists(st.integers(1, 600), max_size=3), st.data())
def test_damage_is_judged_alike_in_every_cut(case: tuple[bytes, Any], cuts: list[int], draw: st.DataObject) -> None:
    message = bytearray(case[0])
    for _ in range(draw.draw(st.integers(1, 3))):
        message[draw.draw(st.integers(4, len(message) - 1))] = draw.draw(st.integers(0, 255))
    whole, cut = check_prefixes(made.records(bytes(message))), client_hello(made.records(bytes(message), cuts))
    if isinstance(whole, dict):
        whole["bytes"] = cut["bytes"]
    assert whole == cut


@settings(max_examples=200, deadline=None)
@given(hellos(), st.lists(st.integers(1, 600), max_size=4), st.integers(0, 3000), st.integers(0, 255))
def test_nothing_outside_is_read(case: tuple[bytes, Any], cuts: list[int], at: int, byte: int) -> None:
    data = made.records(case[0], cuts)
    damaged = data[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :]
    for text in (damaged, damaged[: at % len(data)]):
        for place in (GUARD.put_back, GUARD.put_front):
            assert client_hello_at(place(text), len(text)) == client_hello(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: bytes.fromhex("160301004601000042") + rest))
def test_any_bytes(data: bytes) -> None:
    answer = check_prefixes(data)
    opening = AGAIN
    for n in range(len(data) + 1):
        assert begins(data[:n]) == opening or opening == AGAIN
        opening = begins(data[:n])
    assert not isinstance(answer, dict) or opening == OK


def read(*extensions: tuple[int, bytes], **fields: Any) -> Any:
    return client_hello(made.records(made.handshake(made.body(extensions, **fields))))


GOOD_NAMES = [b"a", b"a.test", b"xn--bcher-kva.example", b"_tcp.a.test", b"1.a.test", b"a" * 63 + b".test", b"A.Test",
              b"1e3", b".".join([b"a" * 49] * 5)]  # fmt: skip
ODD_NAMES = [b"a.", b".a", b"a..b", b"192.0.2.1", b"1", b"::1", b"[::1]", b"a b", b"a\0b", b"a/b", b"*.a.test", b"a:1",
             b"caf\xc3\xa9.test", b"a" * 64, b".".join([b"aaa"] * 64), b"x" * 300]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_host_names(name: bytes) -> None:
    answer = read(made.server_name(name))
    assert (answer["name"], answer["flags"]) == (name, 0)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_is_no_host_name_is_not_given(name: bytes) -> None:
    answer = read(made.server_name(name), made.alpn(b"h2"))
    assert (answer["name"], answer["flags"], answer["alpn"]) == (b"", Flag.HELLO_NAME_ODD, [b"h2"])


def test_more_protocols_than_there_is_room() -> None:
    offered = [b"p%02d" % i for i in range(64)]
    assert read(made.alpn(*offered))["alpn"] == offered
    answer = read(made.alpn(*offered, b"h2"), made.server_name(b"a.test"))
    assert (answer["alpn"], answer["flags"], answer["name"]) == (offered, Flag.HELLO_ALPN_CUT, b"a.test")
    answer = read(made.alpn(b"h2", b"x" * 255, b"y"))
    assert (answer["alpn"], answer["flags"]) == ([b"h2"], Flag.HELLO_ALPN_CUT)
    assert read(made.alpn(b"x" * 255))["alpn"] == [b"x" * 255]


def test_a_hello_without_extensions() -> None:
    data = made.records(made.handshake(made.body(None, legacy=0x0301)))
    assert client_hello(data) == {"bytes": len(data), "name": b"", "alpn": [], "version": 0x0301, "legacy": 0x0301,
                                  "flags": 0}  # fmt: skip


@pytest.mark.parametrize("extensions", [
    [made.server_name(b"a.test"), made.server_name(b"b.test")], [made.server_name(b"a.test", b"b.test")],
    [made.server_name(b"a.test", kind=1)], [made.server_name()], [made.server_name(b"")], [(0, b"")], [(0, b"\0")],
    [(0, made.server_name(b"a.test")[1] + b"\0")], [(0, made.server_name(b"a.test")[1][:-1])],
    [made.alpn()], [made.alpn(b"")], [made.alpn(b"h2", b"")], [made.alpn(b"h2"), made.alpn(b"h2")], [(16, b"")],
    [(16, b"\x00\x03\x03h2")], [(16, b"\x00\x03\x02h2\x00")], [(16, b"\x00\x04\x02h2")],
    [made.versions()], [(43, b"\x03\x03\x04\x03")], [(43, b"\x02\x03\x04\x00")], [(43, b"\x04\x03\x04")], [(43, b"")],
    [made.versions(0x0304), made.versions(0x0303)],
])  # fmt: skip
def test_extensions_that_are_refused(extensions: list[tuple[int, bytes]]) -> None:
    assert read(*extensions) == BAD


@pytest.mark.parametrize("hello", [
    made.body(legacy=0x0203), made.body(legacy=0x0403), made.body(session=b"x" * 33), made.body(ciphers=b""),
    made.body(ciphers=b"\x13"), made.body(compression=b""), made.body() + b"\0", made.body()[:-1],
    made.body([GREASE])[:-1], made.body(None) + b"\0", made.body(None)[:-2] + b"\x02\x00",
])  # fmt: skip
def test_bodies_that_are_refused(hello: bytes) -> None:
    assert client_hello(made.records(made.handshake(hello.ljust(41, b"\0")))) == BAD


HELLO = made.handshake(made.body([made.server_name(b"a.test")]))


@pytest.mark.parametrize(("data", "at"), [
    (bytes.fromhex("802e01030100150000001000002f00000a"), 1), (b"\x15\x03\x01\x00\x02\x02\x28", 1),
    (b"\x16\x02\x00", 2), (b"\x16\x03\x05", 3), (b"\x16\x03\x01\x41", 4), (b"\x16\x03\x01\x40\x01", 5),
    (b"\x16\x03\x01\x00\x00", 5), (b"\x16\x03\x01\x00\x30\x02", 6), (b"\x16\x03\x01\x00\x30\x01\x00\x00\x28", 9),
    (made.records(HELLO, [20])[:25] + b"\x17", 26), (made.records(HELLO, [20])[:25] + b"\x16\x03\x01\x00\x00", 30),
    (made.records(HELLO + b"\0"), 9), (made.records(HELLO, [4])[:12] + b"\x03\x00\xff", 14),
])  # fmt: skip
def test_records_that_are_refused(data: bytes, at: int) -> None:
    assert client_hello(data[: at - 1]) == AGAIN
    assert client_hello(data[:at]) == BAD
    assert check_prefixes(data) == BAD


def test_a_hello_has_a_limit() -> None:
    room = 16384 - 5 - 4 - len(made.body([(51, b"")]))
    largest = made.records(made.handshake(made.body([(51, bytes(room))])))
    assert len(largest) == 16384
    assert client_hello(largest)["bytes"] == 16384
    assert client_hello(made.records(made.handshake(made.body([(51, bytes(room + 1))])))[:5]) == LIMIT
    message = made.handshake(made.body([(51, bytes(room))]))
    assert client_hello(made.records(message, [100])) == LIMIT
    assert client_hello(made.records(made.handshake(bytes(17000)), [100])[:9]) == LIMIT
    assert client_hello(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff") == LIMIT


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["www.example.com", "xn--bcher-kva.example", None])
@pytest.mark.parametrize("protocols", [(), ("h2", "http/1.1")])
def test_what_python_sends(newest: ssl.TLSVersion, name: str | None, protocols: tuple[str, ...]) -> None:
    data = made.of_python(name, protocols, newest)
    wanted = {"bytes": len(data), "name": (name or "").encode(), "alpn": [p.encode() for p in protocols],
              "version": int(newest), "legacy": 0x0303, "flags": 0}  # fmt: skip
    assert check_prefixes(data) == wanted
    cut = made.records(made.unwrap(data), range(0, 500, 70))
    assert client_hello(cut) == {**wanted, "bytes": len(cut)}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(("options", "name", "alpn", "version", "records"), [
    (["-servername", "a.example", "-alpn", "h2,http/1.1"], b"a.example", [b"h2", b"http/1.1"], 0x0304, 1),
    (["-noservername", "-tls1_2"], b"", [], 0x0303, 1),
    (["-servername", "b.example", "-no_tls1_3", "-cipher", "DEFAULT:@SECLEVEL=0"], b"b.example", [], 0x0303, 1),
    (["-servername", "c" * 60 + ".example", "-max_send_frag", "512", "-alpn", ",".join(["p" * 200] * 3)],
     b"c" * 60 + b".example", [b"p" * 200], 0x0304, 2),
])  # fmt: skip
def test_what_openssl_sends(options: list[str], name: bytes, alpn: list[bytes], version: int, records: int) -> None:
    with net.listen() as listener:
        listener.settimeout(20)
        command = ["openssl", "s_client", "-connect", "%s:%d" % listener.getsockname(), *options]
        nothing = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing) as client:
            try:
                answer, data = receive(listener)
            finally:
                client.kill()
    assert (answer["name"], answer["alpn"], answer["version"]) == (name, alpn, version)
    assert data.count(b"\x16\x03\x01") == records
    assert answer["flags"] == (Flag.HELLO_ALPN_CUT if records > 1 else 0)


def receive(listener: socket.socket) -> tuple[Any, bytes]:
    """What the next client sends, read a few bytes at a time until it is judged."""
    peer, _ = listener.accept()
    data, answer = b"", AGAIN
    with peer:
        peer.settimeout(20)
        while answer == AGAIN:
            piece = peer.recv(7)
            assert piece
            data += piece
            answer = client_hello(data)
    return answer, data
