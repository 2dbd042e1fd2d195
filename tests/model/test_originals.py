"""Original destinations: a bounded table against an ordered dictionary, and what is said of an address against sets and
networks."""

import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.probe.io_originals import CAPACITY, Said, Table, key_of

ROOM = 6  # places that are not held
NONE = 0xFF


def v4(number: int) -> bytes:
    return key_of(4, (0x0A000000 + number).to_bytes(4), 80)


@pytest.fixture(scope="module")
def table() -> Table:
    """All but a few places are held for ever."""
    table = Table()
    for number in range(CAPACITY - ROOM):
        assert table.place(v4(number)) is not None
        table.hold(v4(number))
    return table


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("0.0.0.0", 0)) as sock:
        yield sock


class Model:
    """Addresses that nobody holds, the longest unused first, and how many hold each other one."""

    def __init__(self) -> None:
        self.unused: OrderedDict[int, None] = OrderedDict()
        self.held: dict[int, int] = {}

    def take(self, number: int) -> bool:
        is_new = number not in self.unused and number not in self.held
        if is_new and len(self.held) == ROOM:
            return False
        if is_new and len(self.unused) + len(self.held) == ROOM:
            self.unused.popitem(last=False)
        self.unused.pop(number, None)
        self.held[number] = self.held.get(number, 0) + 1
        return True

    def release(self, number: int) -> None:
        self.held[number] -= 1
        if not self.held[number]:
            del self.held[number]
            self.unused[number] = None


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_the_longest_unused_address_makes_room(table: Table, steps: list[tuple[bool, int]]) -> None:
    model = Model()
    base = CAPACITY
    known: set[int] = set()
    first: dict[int, tuple[int, int]] = {}
    # What an example before has left is unused: as many new addresses put it out.
    for number in range(100, 100 + ROOM):
        assert table.place(v4(base + number)) is not None
        model.unused[number] = None
        known.add(number)
    for takes, number in steps:
        if takes:
            place = table.place(v4(base + number))
            assert (place is not None) == model.take(number)
            if place is not None:
                if model.held[number] > 1:
                    assert place == first[number]
                first[number] = place
                table.hold(v4(base + number))
            known.add(number)
        elif number in model.held:
            table.release(v4(base + number))
            model.release(number)
        has = {number for number in known if table.find(v4(base + number))}
        assert has == model.unused.keys() | model.held.keys()
    for number, count in model.held.items():
        for _ in range(count):
            table.release(v4(base + number))


def test_a_place_that_another_address_gets_has_another_generation() -> None:
    table = Table()
    slots = [table.place(v4(number)) for number in range(CAPACITY)]
    assert len({slot for slot, _ in slots}) == CAPACITY
    slot, generation = table.place(v4(CAPACITY))
    assert slot == slots[0][0]
    assert generation == slots[0][1] + 1
    assert not table.find(v4(0))


def test_who_makes_room_closes_its_pooled_connections_and_keeps_those_in_use(listener: socket.socket) -> None:
    table = Table()
    first, second = (key_of(4, bytes([127, 0, 0, n]), listener.getsockname()[1]) for n in (1, 2))
    for key in (first, second):
        assert table.place(key) is not None
        table.connect(key)
    table.pool()  # of the second; the first is older, but in use
    for number in range(CAPACITY - 2):
        assert table.place(v4(number)) is not None
        table.hold(v4(number))
    assert table.connections == 2
    assert table.place(v4(CAPACITY)) is not None
    assert table.find(first)
    assert not table.find(second)
    assert table.connections == 1
    table.hold(v4(CAPACITY))
    assert table.place(v4(CAPACITY + 1)) is None  # all are in use
    table.pool()
    assert table.place(v4(CAPACITY + 1)) is not None
    assert table.connections == 0


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (key_of(4, bytes([192, 0, 2, 1]), 80), "192.0.2.1:80"),
        (key_of(4, bytes([255, 255, 255, 255]), 65535), "255.255.255.255:65535"),
        (key_of(6, bytes(15) + b"\1", 4140), "[::1]:4140"),
        (key_of(6, bytes.fromhex("20010db8" + "11112222333344445555ffff"), 65535),
         "[2001:db8:1111:2222:3333:4444:5555:ffff]:65535"),
    ],
)  # fmt: skip
def test_an_address_is_called_as_it_is_written(key: bytes, text: str) -> None:
    table = Table()
    assert table.place(key) is not None
    assert table.name(key) == text


addresses = st.one_of(
    st.tuples(st.just(of), st.sampled_from([bytes(size - 1) + bytes([n]) for n in range(4)]) | st.binary(
        min_size=size, max_size=size))
    for of, size in ((4, 4), (6, 16))
)  # fmt: skip
ports = st.sampled_from([1, 80, 443, 8080, 65535])
endpoints = st.builds(lambda pair, port: (*pair, port), addresses, ports)


@given(st.dictionaries(endpoints, st.integers(0, 3), max_size=30), endpoints)
def test_the_backend_of_an_endpoint_is_found_by_its_address(
    known: dict[tuple[int, bytes, int], int], asked: tuple[int, bytes, int]
) -> None:
    said = Said(5, [(key_of(*endpoint), backend) for endpoint, backend in known.items()], [])
    for endpoint in {asked, *known}:
        assert said.backend(key_of(*endpoint)) == known.get(endpoint, 4)


def is_within(address: bytes, network: bytes, bits: int) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network((network, bits), strict=False)


rules = st.builds(
    lambda pair, share, range_, protocol: (pair[0], pair[1], len(pair[1]) * 8 * share // 8, *sorted(range_), protocol),
    st.just((0, b"")) | addresses, st.integers(0, 8), st.tuples(ports, ports), st.integers(0, 3),
)  # fmt: skip


@given(st.lists(rules, max_size=6), endpoints)
def test_the_first_rule_that_fits_says_what_is_spoken(
    given_rules: list[tuple[int, bytes, int, int, int, int]], asked: tuple[int, bytes, int]
) -> None:
    family, address, port = asked
    wanted = NONE
    for of, network, bits, first, last, protocol in given_rules:
        if (of == 0 or (of == family and is_within(address, network, bits))) and first <= port <= last:
            wanted = protocol
            break
    assert Said(1, [], given_rules).protocol(key_of(*asked)) == wanted
