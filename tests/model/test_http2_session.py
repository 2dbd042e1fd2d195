"""The worker beside the `h2` package, as servers of one client: what h2 takes is answered, what it refuses is not.

Law: a script that h2 takes without an error leaves our connection alive and every request that ended answered, with
its body unchanged; the first step that h2 refuses (GOAWAY or RST_STREAM) is refused by us as well, by GOAWAY,
RST_STREAM or a status. Which of these it is, the conformance suite says case by case; h2 often ends more than it must.

What the scripts leave out, since h2 differs there: PRIORITY of a stream on itself (RFC 9113 5.3.2 no longer asks for an
error), RST_STREAM of an idle stream (which 6.4 makes an error of the connection), a setting twice in one frame,
anything behind GOAWAY, and frames on a stream that their sender has reset, which we pass over as long as the reset is
not through (5.1 leaves both open).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import http2_frames as h2
from tests.support.fastmesh import Fastmesh
from tests.support.http2 import RawClient
from tests.support.http2_frames import Error, Kind
from tests.support.http2_watch import Stream
from tests.support.origin import Connection, Origin
from tests.support.wait import Deadline

STREAMS = (1, 3, 5, 7)


def serve(connection: Connection) -> None:
    """Answers with what was asked: as many bytes as the body had."""
    while True:
        request = connection.request()
        body = bytes(request.body)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Fastmesh]:
    with (
        Origin(serve) as origin,
        Fastmesh(upstream=origin.address, upstream_protocol="http1", http2_glitches=0) as proxy,
    ):
        yield proxy


# ---- scripts

HEADS = {
    "GET": h2.request_fields("GET", "/"),
    "POST": h2.request_fields("POST", "/"),
    "length 4": h2.request_fields("POST", "/", ("content-length", "4")),
    "upper case": h2.request_fields("GET", "/", ("X-Upper", "1")),
    "connection": h2.request_fields("GET", "/", ("connection", "close")),
    "te": h2.request_fields("GET", "/", ("te", "gzip")),
    "te trailers": h2.request_fields("GET", "/", ("te", "trailers")),
    "no path": [pair for pair in h2.request_fields() if pair[0] != ":path"],
    "two methods": [*h2.request_fields(), (":method", "GET")],
    "a response": [(":status", "200")],
    "pseudo last": [*h2.request_fields()[1:], ("x", "1"), h2.request_fields()[0]],
}


def _head(stream: int, name: str, end: bool, cut: int, pad: int | None) -> bytes:
    block = h2.block(HEADS[name])
    cut = min(cut, len(block))
    if not cut:
        return h2.headers(stream, block, end=end, pad=pad)
    return h2.headers(stream, block[:cut], end=end, whole=False, pad=pad) + h2.continuation(stream, block[cut:])


def _mostly(*good: str) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(good), st.sampled_from(good), st.sampled_from(sorted(HEADS)))


_streams = st.sampled_from([*STREAMS, *STREAMS, 0, 2, 99])
_codes = st.sampled_from([Error.NO_ERROR, Error.CANCEL, Error.REFUSED_STREAM])
_pads = st.sampled_from([None, None, 0, 7])
_steps = st.one_of(
    st.builds(_head, _streams, _mostly("GET", "POST", "length 4"), st.booleans(), st.integers(0, 6), _pads),
    st.builds(_head, st.sampled_from(STREAMS), st.just("POST"), st.just(False), st.just(0), st.none()),
    st.builds(lambda stream, size, end, pad: h2.data(stream, b"x" * size, end=end, pad=pad),
              _streams, st.sampled_from([0, 2, 4, 5000]), st.booleans(), _pads),
    st.builds(lambda stream, end: h2.headers(stream, h2.block([("x-sum", "1")]), end=end),
              st.sampled_from(STREAMS), st.sampled_from([True, True, False])),
    st.builds(h2.rst_stream, _streams, _codes),
    st.builds(h2.window_update, _streams, st.sampled_from([1, 1000, h2.WINDOW_MAX])),
    st.builds(lambda ack: h2.ping(b"12345678", ack=ack), st.just(False)),
    st.builds(h2.settings, st.lists(st.tuples(st.sampled_from([1, 2, 3, 4, 5, 6, 99]),
                                              st.sampled_from([0, 1, 100, 16384, 65535, 1 << 31])), max_size=2,
                                    unique_by=lambda pair: pair[0])),
    st.builds(h2.frame, st.sampled_from([0xB, 0xFE]), st.integers(0, 255), _streams, st.binary(max_size=9)),
    st.builds(lambda stream: h2.priority(stream, 0), st.sampled_from([*STREAMS, 0])),
    st.builds(h2.continuation, st.sampled_from(STREAMS), st.just(b"")),
    st.builds(h2.frame, st.sampled_from([Kind.RST_STREAM, Kind.PING, Kind.WINDOW_UPDATE, Kind.SETTINGS]),
              st.just(0), st.sampled_from([0, 1]), st.binary(min_size=5, max_size=7)),
)  # fmt: skip


# ---- the model

@dataclass
class Model:
    """What h2 made of a script."""

    taken: list[bytes] = field(default_factory=list)  # steps up to the first it refused, which is the last
    refused: str = ""
    bodies: dict[int, bytearray] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    reset: set[int] = field(default_factory=set)  # by the client
    lengths: dict[int, int] = field(default_factory=dict)  # of the content, as announced

    def came(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            self.bodies[event.stream_id] = bytearray()
            fields = dict(event.headers)
            if b"content-length" in fields:
                self.lengths[event.stream_id] = int(fields[b"content-length"])
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] += event.data
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
            body = self.bodies[event.stream_id]
            if len(body) != self.lengths.get(event.stream_id, len(body)):
                self.refused = "content-length"  # h2 sees that only on DATA (8.1.1 knows no exception)


def _errors(data: bytes) -> list[str]:
    """What a server said that ends a stream or the connection."""
    return [
        str(frame) for frame in h2.take_frames(bytearray(data))
        if frame.kind == Kind.RST_STREAM or (frame.kind == Kind.GOAWAY and frame.payload[4:8] != bytes(4))
    ]  # fmt: skip


def judged(script: list[bytes]) -> Model:
    model = Model()
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    server.receive_data(h2.PREFACE + h2.settings())
    server.data_to_send()
    for step in script:
        sent = list(h2.take_frames(bytearray(step)))
        if any(frame.stream in model.reset or (frame.kind == Kind.RST_STREAM and frame.stream not in model.bodies)
               for frame in sent):  # fmt: skip
            continue
        model.taken.append(step)
        try:
            events = server.receive_data(step)
        except ProtocolError as error:
            model.refused = repr(error)
            return model
        for event in events:
            model.came(event)
        model.reset |= {frame.stream for frame in sent if frame.kind == Kind.RST_STREAM}
        model.refused = model.refused or "; ".join(_errors(server.data_to_send()))
        if model.refused:
            return model
    return model


# ---- the law

def _is_refusal(client: RawClient) -> bool:
    if client.ended or client.goaway_code:
        return True
    streams = client.watch.streams.values()
    return any(stream.reset or stream.status >= 400 for stream in streams)


def hold_refused(client: RawClient, model: Model) -> None:
    deadline = Deadline(5, f"a refusal, as h2 did by {model.refused}")
    while not _is_refusal(client):
        client.read_frame(deadline)


def hold_taken(client: RawClient, model: Model) -> None:
    client.sync()
    for number in model.ended - model.reset:
        stream: Stream = client.wait_ended(number)
        assert (stream.status, bytes(stream.body)) == (200, bytes(model.bodies[number])), client.story()
    client.sync()
    assert not _is_refusal(client), client.story()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(_steps, min_size=1, max_size=10))
@example(script=[h2.headers(1, h2.block(HEADS["POST"])), h2.data(1, b"body", end=True), h2.data(1, b"late")])
@example(script=[h2.headers(3, h2.block(HEADS["GET"])), h2.headers(1, h2.block(HEADS["GET"]))])
def test_it_takes_and_refuses_what_h2_does(proxy: Fastmesh, script: list[bytes]) -> None:
    model = judged(script)
    with RawClient(proxy.address) as client:
        client.auto_window = True
        client.send(*model.taken)
        if model.refused:
            hold_refused(client, model)
        else:
            hold_taken(client, model)
