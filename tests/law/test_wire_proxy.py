"""The PROXY protocol, both versions: parse(write(h)) == h, and a verdict stays, whole or byte by byte."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.wire_enums import AGAIN, BAD, FULL, LIMIT, enum_of
from tests.probe.wire_guard import Guard
from tests.probe.wire_proxy import proxy, proxy_at, proxy_write

NONE, UNIX, INET, INET6 = enum_of("proxy_protocol.pxd", "ProxyFamily")
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GUARD = Guard(2)
OUT = Guard(1)
SIZES = {NONE: 0, UNIX: 108, INET: 4, INET6: 16}
ports = st.sampled_from([0, 1, 9, 80, 443, 65535]) | st.integers(0, 65535)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of a header to write."""
    family = draw(st.sampled_from([NONE, UNIX, INET, INET6, INET, INET6]))
    size = SIZES[family]
    address = st.binary(min_size=size, max_size=size)
    if family == INET6:
        address |= st.sampled_from([bytes(16), bytes(15) + b"\1", bytes(10) + b"\xff\xff\1\2\3\4", b"\xff" * 16])
    if family == UNIX:
        address = st.binary(max_size=108).map(lambda path: path.ljust(108, b"\0"))
    found = {"family": family, "local": family == NONE and draw(st.booleans()),
             "datagram": family != NONE and draw(st.integers(0, 3)) == 0, "source": draw(address),
             "destination": draw(address)}  # fmt: skip
    if family in (INET, INET6):
        found |= {"source_port": draw(ports), "destination_port": draw(ports)}
    return found


def parsed(data: bytes, version: int, header: dict[str, Any]) -> tuple[Any, ...]:
    return (len(data), version, header["family"], header["local"], header["datagram"], header["source"],
            header.get("source_port", 0), header["destination"], header.get("destination_port", 0))  # fmt: skip


def check_prefixes(data: bytes) -> Any:
    answer = AGAIN
    for n in range(len(data) + 1):
        found = proxy(data[:n])
        assert found == answer or answer == AGAIN
        answer = found
    return answer


def block2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(block) if length is None else length).to_bytes(2, "big") + block


@settings(max_examples=250, deadline=None)
@given(headers(), st.binary(max_size=20))
def test_what_version_2_writes_it_reads(header: dict[str, Any], rest: bytes) -> None:
    data = proxy_write(2, **header)
    assert proxy(data + rest) == parsed(data, 2, header)
    assert check_prefixes(data) == parsed(data, 2, header)
    assert proxy(data[:-1]) == AGAIN


@settings(max_examples=250, deadline=None)
@given(headers(), st.binary(max_size=20))
def test_what_version_1_writes_it_reads(header: dict[str, Any], rest: bytes) -> None:
    data = proxy_write(1, **header)
    if header["datagram"] or header["local"] or header["family"] not in (INET, INET6):
        assert data == b"PROXY UNKNOWN\r\n"
        header = {"family": NONE, "local": False, "datagram": False, "source": b"", "destination": b""}
    else:
        assert data == b"PROXY TCP%d %s %s %d %d\r\n" % (
            4 if header["family"] == INET else 6, text(header["source"]), text(header["destination"]),
            header["source_port"], header["destination_port"])  # fmt: skip
    assert len(data) <= 107
    assert proxy(data + rest) == parsed(data, 1, header)
    assert check_prefixes(data) == parsed(data, 1, header)
    assert proxy(data[:-1]) == AGAIN


def text(address: bytes) -> bytes:
    """RFC 5952, with the dotted form that inet_ntop gives mapped and compatible addresses."""
    ip = ipaddress.ip_address(address)
    if len(address) == 16 and address[:12] == bytes(10) + b"\xff\xff":
        return b"::ffff:%s" % str(ipaddress.ip_address(address[12:])).encode()
    if len(address) == 16 and not any(address[:12]) and any(address[12:14]):
        return b"::%s" % str(ipaddress.ip_address(address[12:])).encode()
    return str(ip).encode()


@settings(max_examples=150, deadline=None)
@given(headers(), st.sampled_from([1, 2]), st.integers(1, 40))
def test_writers_stay_in_their_room(header: dict[str, Any], version: int, missing: int) -> None:
    wanted = proxy_write(version, **header)
    room = max(0, len(wanted) - missing)
    assert proxy_write(version, room=room, out_at=OUT.back(room), **header) == FULL
    assert proxy_write(version, room=len(wanted), out_at=OUT.back(len(wanted)), **header) == wanted


@settings(max_examples=250, deadline=None)
@given(headers(), st.sampled_from([1, 2]), st.integers(0, 300), st.binary(max_size=3), st.binary(max_size=40))
def test_damage(header: dict[str, Any], version: int, at: int, junk: bytes, rest: bytes) -> None:
    data = proxy_write(version, **header)
    at %= len(data)
    damaged = data[:at] + junk + data[at + len(junk) :] + rest
    answer = check_prefixes(damaged)
    for place in (GUARD.put_back, GUARD.put_front):
        assert proxy_at(place(damaged), len(damaged)) == answer


@settings(max_examples=250, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 "]))
def test_any_bytes(data: bytes, start: bytes) -> None:
    answer = check_prefixes(start + data)
    for place in (GUARD.put_back, GUARD.put_front):
        assert proxy_at(place(start + data), len(start + data)) == answer


GOOD = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"


TO_TCP4 = (
    b"01.2.3.4 192.0.2.2 1 2", b"1.2.3 192.0.2.2 1 2", b"1.2.3.256 192.0.2.2 1 2", b"::1 ::1 1 2",
    b"192.0.2.1 192.0.2.2 01 2", b"192.0.2.1 192.0.2.2 1 65536", b"192.0.2.1 192.0.2.2 1 100000",
    b"192.0.2.1 192.0.2.2 1 -2", b"192.0.2.1 192.0.2.2 1", b"192.0.2.1 192.0.2.2 1 ", b"192.0.2.1 192.0.2.2 1 2 ",
    b"192.0.2.1 192.0.2.2 1 2 3", b" 192.0.2.1 192.0.2.2 1 2", b"192.0.2.1\t192.0.2.2 1 2",
    b"192.0.2.1 192.0.2.2 1 2\n", b"192.0.2.1 192.0.2.2 1 2\r", b"192.0.2.1\x00 192.0.2.2 1 2", b"192.0.2.1", b"",
)  # fmt: skip
TO_TCP6 = (
    b"192.0.2.1 192.0.2.2 1 2", b"fe80::1%eth0 ::1 1 2", b"[::1] ::1 1 2", b"1::2::3 ::1 1 2", b"1:2:3:4:5:6:7 ::1 1 2",
    b"12345::1 ::1 1 2", b"1:2:3:4:5:6:7:8:9 ::1 1 2", b"::1 ::1 1 02",
)  # fmt: skip
STARTS = (
    b"TCP4", b"", b" TCP4", b"TCP5 192.0.2.1 192.0.2.2 1 2", b"tcp4 192.0.2.1 192.0.2.2 1 2", b"UNKNOW", b"UNKNOWNS",
    b"UDP4 192.0.2.1 192.0.2.2 1 2", b"TCP4X 192.0.2.1 192.0.2.2 1 2",
)  # fmt: skip


@pytest.mark.parametrize("rest", [*(b"TCP4 " + a for a in TO_TCP4), *(b"TCP6 " + a for a in TO_TCP6), *STARTS])
def test_lines_that_are_refused(rest: bytes) -> None:
    assert proxy(b"PROXY " + rest) == AGAIN
    assert check_prefixes(b"PROXY " + rest + b"\r\n") == BAD


@pytest.mark.parametrize("data", [
    b"\n", b"\r\nX", b"PROXIED", b"proxy TCP4", b"PROXY\tTCP4", b"GET / HTTP/1.1", SIGNATURE + b"\x11",
    SIGNATURE + b"\x01", SIGNATURE + b"\x31", SIGNATURE + b"\x22", SIGNATURE + b"\x2f",
])  # fmt: skip
def test_other_openings_are_refused_at_once(data: bytes) -> None:
    assert proxy(data[:-1]) in (AGAIN, BAD)
    assert check_prefixes(data) == BAD


def test_lines_as_other_proxies_write_them() -> None:
    four = (INET, False, False, bytes([192, 0, 2, 1]), 56324, bytes([192, 0, 2, 2]), 443)
    assert proxy(GOOD + b"GET / HTTP/1.1\r\n") == (len(GOOD), 1, *four)
    for one in (b"2001:DB8::1", b"2001:0db8:0000:0000:0000:0000:0000:0001", b"::ffff:192.0.2.1"):
        line = b"PROXY TCP6 %s :: 0 65535\r\n" % one
        answer = proxy(line)
        assert answer[5] == ipaddress.ip_address(one.decode()).packed
        assert answer[6:] == (0, bytes(16), 65535)
    for line in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 any\rthing \n\xff\0\r\n"):
        assert proxy(line) == (len(line), 1, NONE, False, False, b"", 0, b"", 0)


def test_a_line_has_107_bytes_at_most() -> None:
    longest = b"PROXY UNKNOWN" + b" x" * 46 + b"\r\n"
    assert len(longest) == 107
    assert proxy(longest)[0] == 107
    assert proxy(longest[:-2] + b"x\r\n") == BAD
    assert proxy(longest[:-2] + b"x") == AGAIN
    assert proxy(longest[:-2] + b"xx") == BAD


ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + b"\xdc\x04\x01\xbb"
TLV = b"\x04\x00\x03abc" + b"\x02\x00\x00"


@pytest.mark.parametrize("tlvs", [b"", TLV, b"\xee\x01\x00" + bytes(256), b"\x03\x00\x04\0\0\0\0"])
def test_tlvs_are_skipped(tlvs: bytes) -> None:
    data = block2(0x21, 0x11, ADDRESSES + tlvs)
    assert check_prefixes(data + b"x") == (len(data), 2, INET, False, False, ADDRESSES[:4], 56324, ADDRESSES[4:8], 443)


@pytest.mark.parametrize("tlvs", [b"\x04", b"\x04\x00", b"\x04\x00\x01", TLV + b"\x04\x00\x04abc", b"\x04\xff\xff"])
def test_tlvs_that_do_not_fill_the_header_are_refused(tlvs: bytes) -> None:
    assert check_prefixes(block2(0x21, 0x11, ADDRESSES + tlvs)) == BAD


@pytest.mark.parametrize(("command", "family"), [(0x20, 0x00), (0x20, 0x11), (0x20, 0xFF), (0x21, 0x00), (0x21, 0x10),
                                                 (0x21, 0x01), (0x21, 0x02), (0x21, 0x30)])  # fmt: skip
@pytest.mark.parametrize("block", [b"", b"\x04", ADDRESSES, bytes(300)])
def test_headers_without_addresses_of_use(command: int, family: int, block: bytes) -> None:
    data = block2(command, family, block)
    assert check_prefixes(data) == (len(data), 2, NONE, command == 0x20, False, b"", 0, b"", 0)


@pytest.mark.parametrize("family", [0x13, 0x1F, 0x40, 0x41, 0xF1, 0x03])
def test_families_nobody_specified_are_refused(family: int) -> None:
    assert proxy(block2(0x21, family, b"")[:14]) == BAD
    assert check_prefixes(block2(0x21, family, bytes(216))) == BAD


@pytest.mark.parametrize(("family", "size"), [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)])
def test_a_block_too_short_for_its_family_is_refused(family: int, size: int) -> None:
    assert proxy(block2(0x21, family, b"", size)) == AGAIN
    assert proxy(block2(0x21, family, b"", size - 1)) == BAD
    assert proxy(block2(0x21, family, bytes(size)))[4] == bool(family & 2)


def test_a_header_has_a_limit() -> None:
    assert proxy(block2(0x20, 0, bytes(4080)))[0] == 4096
    assert proxy(block2(0x20, 0, b"", 4081)) == LIMIT
    assert proxy(block2(0x21, 0x11, b"", 65535)) == LIMIT
