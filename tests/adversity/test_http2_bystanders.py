"""What one client or one stream does harms nobody who shares a connection with it."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support import http2_frames as h2
from tests.support.fastmesh import Fastmesh
from tests.support.http2 import OriginConnection, RawClient, RawOrigin
from tests.support.http2_frames import Error, Kind, Setting
from tests.support.http2_origins import BIG, BIG_BYTES, serve_http2
from tests.support.origin import Gone
from tests.support.server import Nghttpd
from tests.support.wait import DEADLINE_S, until

STREAMS = 4000  # that the attacker opens and resets, over as many connections as it takes
AT_A_TIME = 8  # of the bystander's
RESETS_BEARABLE = 250  # on one connection, before this origin ends it for everyone


def strict_origin(connection: OriginConnection) -> None:
    """Serves, and ends a connection that resets too much, as servers do since CVE-2023-44487."""
    resets = 0
    came = connection.watch.came

    def watched(frame: h2.Frame) -> None:
        nonlocal resets
        resets += frame.kind == Kind.RST_STREAM
        if resets > RESETS_BEARABLE:
            connection.send(h2.goaway(connection.watch.highest, Error.ENHANCE_YOUR_CALM))
            raise Gone("too many resets")
        came(frame)

    connection.watch.came = watched  # type: ignore[method-assign]
    serve_http2(connection)


@pytest.fixture(params=["nghttpd", "python"])
def upstream(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "nghttpd":
        with Nghttpd({"big": BIG, "small": b"ok"}) as server:
            yield server.address
    else:
        with RawOrigin(strict_origin) as origin:
            yield origin.address


class Attacker(threading.Thread):
    """Opens and resets until STREAMS are spent, on a new connection whenever one is ended."""

    def __init__(self, address: str, end: Callable[[RawClient, int], None]) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.end = end
        self.opened = 0
        self.ended = 0  # connections that the proxy ended
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while self.opened < STREAMS:
                self._connection()
        except BaseException as error:  # kept for the test's thread
            self.problem = error

    def _connection(self) -> None:
        with RawClient(self.address, {Setting.INITIAL_WINDOW_SIZE: 0}) as client:
            try:
                while self.opened < STREAMS:
                    numbers = [client.request(h2.request_fields("GET", "/big")) for _ in range(20)]
                    self.opened += len(numbers)
                    client.sync()  # they are begun, and upstream
                    for number in numbers:
                        self.end(client, number)
            except Gone:
                self.ended += 1


def reset(client: RawClient, number: int) -> None:
    client.send(h2.rst_stream(number))


def make_reset(client: RawClient, number: int) -> None:
    """The proxy has to reset it (CVE-2025-8671)."""
    client.send(h2.window_update(number, 0))


@pytest.mark.parametrize("end", [reset, make_reset])
def test_resets_without_end_harm_no_bystander(upstream: str, end: Callable[[RawClient, int], None]) -> None:
    with Fastmesh(upstream=upstream, upstream_protocol="http2") as proxy, RawClient(proxy.address) as bystander:
        attacker = Attacker(proxy.address, end)
        attacker.start()
        answered = 0
        while attacker.is_alive():
            numbers = [bystander.request(h2.request_fields("GET", "/small")) for _ in range(AT_A_TIME)]
            for number in numbers:
                stream = bystander.wait_ended(number)
                assert (stream.status, bytes(stream.body)) == (200, b"ok"), f"{answered} answered, then {stream.fields}"
                answered += 1
        attacker.join(DEADLINE_S)
        assert attacker.problem is None
        metrics = proxy.metrics()
        assert answered >= AT_A_TIME
        assert attacker.ended >= 2
        # It may have spent its streams before it read how its last connection ended.
        assert attacker.ended <= metrics.sum("fastmesh_http2_floods_total") <= attacker.ended + 1
        assert metrics.sum("fastmesh_http2_goaways_received_total") == 0, "an upstream connection was ended for all"


# --- no stream blocks another


def test_a_reader_that_stalls_stops_no_other() -> None:
    """Both clients' streams share the upstream connection; nine run to their end, the tenth when it is read."""
    with (
        RawOrigin(serve_http2) as origin,
        Fastmesh(upstream=origin.address, upstream_protocol="http2") as proxy,
        RawClient(proxy.address, {Setting.INITIAL_WINDOW_SIZE: 0}) as stalled,
        RawClient(proxy.address) as reader,
    ):
        held = stalled.request(h2.request_fields("GET", "/big"))
        stalled.sync()
        reader.auto_window = True
        for number in [reader.request(h2.request_fields("GET", "/big")) for _ in range(9)]:
            assert bytes(reader.wait_ended(number).body) == BIG
        assert len(origin.connections) == 1
        assert proxy.metrics().sum("fastmesh_buffers_large_in_use") <= 3
        assert stalled.stream(held).body == b""
        stalled.send(h2.window_update(held, BIG_BYTES), h2.window_update(0, BIG_BYTES))
        assert bytes(stalled.wait_ended(held).body) == BIG


def test_an_origin_that_takes_one_body_slowly_stops_no_other() -> None:
    """The origin grants nothing for the first stream: its client is stopped, the others' bodies go through."""
    whole: list[int] = []

    def script(connection: OriginConnection) -> None:
        connection.handshake({Setting.INITIAL_WINDOW_SIZE: 1000})
        connection.respond(connection.next_request())
        first = connection.next_request(whole=False)
        whole.append(1)
        while len(whole) < 10:
            connection.wait(lambda: open_streams(connection, first.number), "another stream")
            for number in open_streams(connection, first.number):
                connection.send(h2.window_update(number, 1_000_000), h2.window_update(0, BIG_BYTES))
                assert bytes(connection.wait_ended(number).body) == BIG
                connection.respond(number)
                whole.append(number)
        assert len(first.body) == 1000
        connection.send(h2.window_update(first.number, 1_000_000), h2.window_update(0, BIG_BYTES))
        connection.respond(connection.wait_ended(first.number))
        connection.wait_end()

    def open_streams(connection: OriginConnection, but: int) -> list[int]:
        return [n for n, stream in connection.watch.streams.items() if stream.heads and n != but and n not in whole]

    with (
        RawOrigin(script) as origin,
        Fastmesh(upstream=origin.address, upstream_protocol="http2") as proxy,
        RawClient(proxy.address) as client,
    ):
        assert client.get("/the-settings-are-known").status == 200
        slow = client.request(h2.request_fields("POST", "/slow"), end=False)
        client.sync()
        numbers = [client.request(h2.request_fields("POST", "/fast"), end=False) for _ in range(9)]
        upload(client, slow, BIG[:60_000])
        for number in numbers:
            upload(client, number, BIG)
            assert client.wait_ended(number).status == 200
        assert proxy.metrics().sum("fastmesh_buffers_large_in_use") <= 4
        assert client.wait_ended(slow).status == 200


def upload(client: RawClient, number: int, body: bytes) -> None:
    """A body within its windows."""
    stream, watch, left = client.stream(number), client.watch, memoryview(body)
    while left:
        size = min(len(left), h2.FRAME_MAX, stream.granted.size, watch.granted.size)
        if size <= 0:
            client.wait(lambda: stream.granted.size > 0 and watch.granted.size > 0, "a window")
            continue
        client.send(h2.data(number, bytes(left[:size]), end=size == len(left)))
        left = left[size:]


def test_stalled_readers_bound_what_the_proxy_holds() -> None:
    """A hundred streams that nobody reads: what they hold is bounded by their windows, and all is given back."""
    with (
        RawOrigin(serve_http2) as origin,
        Fastmesh(upstream=origin.address, upstream_protocol="http2") as proxy,
        RawClient(proxy.address, {Setting.INITIAL_WINDOW_SIZE: 0}) as client,
    ):
        for _ in range(100):
            client.request(h2.request_fields("GET", "/big"))
        client.sync()
        held = until(
            lambda: proxy.metrics().sum("fastmesh_http2_open_streams") == 200 and proxy.metrics(), "200 streams"
        )
        small, large = held.sum("fastmesh_buffers_small_in_use"), held.sum("fastmesh_buffers_large_in_use")
        assert small + large <= 210
        with RawClient(proxy.address) as other:
            assert other.get("/small").status == 200
        client.reset()
        proxy.wait_metric("fastmesh_http2_open_streams", 0)
