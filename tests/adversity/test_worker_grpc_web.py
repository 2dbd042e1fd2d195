"""The bridge from gRPC-Web to gRPC: what goes upstream and what comes back, in pieces of any size, and how calls end
that cannot end well."""

import base64
import socket
from collections.abc import Callable

import pytest

from tests.support import grpc, grpc_web, net
from tests.support import http2_frames as h2
from tests.support.client import Client, Ended, pattern, request
from tests.support.grpc import message
from tests.support.grpc_web import BINARY, TEXT, WebClient, body_of, http1_answer, http1_request, http2_answer
from tests.support.http2 import OriginConnection, RawClient, RawOrigin
from tests.support.http2_frames import Field
from tests.support.origin import Origin, serve
from tests.support.wait import until
from tests.support.worker import LiveWorker, Plan

WEB = {"grpc_web": 1}
KINDS = pytest.mark.parametrize("kind", [BINARY, TEXT], ids=["bytes", "text"])
VERSIONS = pytest.mark.parametrize("version", ["http1", "http2"])


def plan(*upstreams: str, **route: int) -> Plan:
    return Plan(list(upstreams), route={**WEB, **route})


def echo(connection: OriginConnection) -> None:
    """Answers each call with its own messages, from window to window."""
    connection.auto_window = True
    connection.handshake()
    while True:
        stream = connection.next_request()
        if stream.reset is not None:
            continue
        connection.send(h2.headers(stream.number, h2.block(h2.response_fields(200, grpc.CONTENT_TYPE))))
        grpc_web.http2_send(connection, stream.number, bytes(stream.body), end=False)
        end = h2.block([("grpc-status", "0"), ("x-tail", "yes")])
        connection.send(h2.headers(stream.number, end, end=True))


def begin(connection: OriginConnection, *bodies: bytes, head: tuple[Field, ...] = ()) -> int:
    """The first part of an answer to the next call; its stream."""
    connection.handshake()
    number = connection.next_request().number
    connection.send(h2.headers(number, h2.block(h2.response_fields(200, grpc.CONTENT_TYPE, *head))))
    for body in bodies:
        connection.send(h2.data(number, body))
    return number


def stalled(*bodies: bytes) -> Callable[[OriginConnection], None]:
    def script(connection: OriginConnection) -> None:
        begin(connection, *bodies)
        connection.wait(lambda: False, "the end")

    return script


def silent(connection: OriginConnection) -> None:
    connection.handshake()
    connection.wait(lambda: False, "the end")


@VERSIONS
@pytest.mark.parametrize(
    ("kind", "upstream"),
    [
        ("application/grpc-web", "application/grpc"), ("application/grpc-web+proto", "application/grpc+proto"),
        ("application/grpc-web+json; a=b", "application/grpc+json; a=b"),
        ("application/grpc-web-text", "application/grpc"),
        ("application/grpc-web-text+proto", "application/grpc+proto"),
    ],
)  # fmt: skip
def test_what_the_server_sees(version: str, kind: str, upstream: str) -> None:
    with (
        RawOrigin(echo) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        got = client.call("/t.Echo/Call", b"hello", b"", b"12", fields=(("te", "trailers"), ("x-any", "thing")))
        assert (got.status, got.code, got.messages) == (200, 0, [b"hello", b"", b"12"])
        assert got.trailers == {"grpc-status": "0", "x-tail": "yes"}
        assert got.fields["content-type"] == (TEXT if "text" in kind else BINARY), "as Envoy has it"
        stream = origin.peer().stream(1)
        assert stream.fields["content-type"] == upstream
        assert (stream.fields["te"], stream.fields["x-any"], stream.fields["x-grpc-web"]) == ("trailers", "thing", "1")
        assert (stream.fields[":method"], stream.fields[":path"]) == ("POST", "/t.Echo/Call")
        assert "content-length" not in stream.fields
        assert bytes(stream.body) == message(b"hello") + message(b"") + message(b"12")
        until(lambda: worker.report().grpc == {0: 1}, "the status to be counted")


@pytest.mark.parametrize(
    ("own", "accept", "wanted"), [(BINARY, TEXT, TEXT), (TEXT, BINARY, BINARY), (TEXT, "*/*", TEXT)]
)
def test_accept_says_what_the_answer_is(own: str, accept: str, wanted: str) -> None:
    with RawOrigin(echo) as origin, LiveWorker(plan(origin.address)) as worker, Client(worker.address) as client:
        client.send(http1_request("/t.Echo/Call", body_of([b"hello"], own), own, f"Accept: {accept}"))
        got = http1_answer(client)
        assert (got.fields["content-type"], got.messages) == (wanted, [b"hello"])


@KINDS
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_a_request_that_comes_byte_by_byte(kind: str, chunk: int) -> None:
    with RawOrigin(echo) as origin, LiveWorker(plan(origin.address)) as worker, Client(worker.address) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in http1_request("/t.Echo/Call", body_of([b"hello", b"", b"1"], kind), kind, chunk=chunk):
            client.send(bytes([byte]))
        assert http1_answer(client).messages == [b"hello", b"", b"1"]


@KINDS
def test_a_stream_that_comes_byte_by_byte(kind: str) -> None:
    with RawOrigin(echo) as origin, LiveWorker(plan(origin.address)) as worker, RawClient(worker.address) as client:
        number = client.request(grpc_web.http2_fields("/t.Echo/Call", kind), end=False)
        grpc_web.http2_send(client, number, body_of([b"hello", b"", b"1"], kind), most=1)
        assert http2_answer(client, number).messages == [b"hello", b"", b"1"]
        client.sync()


@KINDS
def test_an_answer_that_comes_byte_by_byte(kind: str) -> None:
    whole = message(b"hello") + message(b"") + message(b"12")

    def script(connection: OriginConnection) -> None:
        number = begin(connection)
        for byte in whole:
            connection.send(h2.data(number, bytes([byte])))
            connection.sync()
        connection.send(h2.headers(number, h2.block([("grpc-status", "0")]), end=True))
        connection.wait(lambda: False, "the end")

    for version in ("http1", "http2"):
        with (
            RawOrigin(script) as origin,
            LiveWorker(plan(origin.address)) as worker,
            WebClient(worker.address, version, kind) as client,
        ):
            got = client.call("/t.Echo/Call", b"")
            assert (got.messages, got.trailers) == ([b"hello", b"", b"12"], {"grpc-status": "0"})


@KINDS
@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_an_answer_through_a_window_of_some_bytes(kind: str, window: int) -> None:
    """Units of text are cut anywhere between two frames, and none is lost or sent twice."""
    with (
        RawOrigin(echo) as origin,
        LiveWorker(plan(origin.address)) as worker,
        RawClient(worker.address, [(h2.Setting.INITIAL_WINDOW_SIZE, window)]) as client,
    ):
        body = body_of([b"hello", b"", pattern(40)], kind)
        number = client.request(grpc_web.http2_fields("/t.Echo/Call", kind), body)
        stream = client.stream(number)
        while not stream.over:
            had = len(stream.body)
            client.wait(lambda had=had: stream.over or len(stream.body) == had + window, "a window's worth")
            client.send(b"" if stream.over else h2.window_update(number, window))
        got = http2_answer(client, number)
        assert (got.messages, got.code) == ([b"hello", b"", pattern(40)], 0)


@KINDS
def test_a_server_with_a_window_of_some_bytes(kind: str) -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake([(h2.Setting.INITIAL_WINDOW_SIZE, 2)])
        number = connection.next_request(whole=False).number
        stream = connection.stream(number)
        while not stream.ended:
            connection.send(h2.window_update(number, 2))
            connection.sync()
        grpc.reply(connection, number, bytes(stream.body), 0)
        connection.wait(lambda: False, "the end")

    with RawOrigin(script) as origin, LiveWorker(plan(origin.address)) as worker, Client(worker.address) as client:
        client.send(http1_request("/t.Echo/Call", body_of([b"hello", pattern(40)], kind), kind))
        assert http1_answer(client).messages == [b"hello", pattern(40)]


@KINDS
def test_a_slow_reader_of_4_mib(kind: str) -> None:
    with (
        RawOrigin(echo) as origin,
        LiveWorker(plan(origin.address)) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        data = pattern(4 << 20)
        client.send(http1_request("/t.Echo/Call", body_of([data], kind), kind))
        assert http1_answer(client).messages == [data]


@KINDS
def test_a_reader_that_stalls_stops_the_server(kind: str) -> None:
    """What the proxy holds is bounded by its windows."""
    sent = [0]

    def script(connection: OriginConnection) -> None:
        number = begin(connection)
        stream, frame = connection.stream(number), message(bytes(16_000))
        while not stream.over:
            connection.wait(
                lambda: stream.over or min(stream.granted.size, connection.watch.granted.size) >= len(frame), "a window"
            )
            connection.send(b"" if stream.over else h2.data(number, frame))
            sent[0] += len(frame)

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        client.send(http1_request("/t.Echo/Call", body_of([b""], kind), kind))
        client.read_head("POST")
        seen: list[int] = []

        def rests() -> bool:
            seen.append(sent[0])
            return len(set(seen[-20:])) == 1 and len(seen) > 20

        until(rests, "the server to be stopped")
        assert sent[0] < 12 << 20, "sockets of this machine hold some MiB"
        client.close()


@pytest.mark.parametrize("kind", [BINARY, TEXT])
def test_http10(kind: str) -> None:
    """The end of the answer is the end of the connection, whatever length the server says."""

    def script(connection: OriginConnection) -> None:
        body = message(b"hello")
        number = begin(connection, body, head=(("content-length", str(len(body))),))
        connection.send(h2.headers(number, h2.block([("grpc-status", "0")]), end=True))
        connection.wait(lambda: False, "the end")

    with RawOrigin(script) as origin, LiveWorker(plan(origin.address)) as worker, Client(worker.address) as client:
        body = body_of([b"x"], kind)
        client.send(http1_request("/t.Echo/Call", body, kind, "Connection: keep-alive", version="1.0"))
        got = http1_answer(client)
        assert (got.messages, got.code) == ([b"hello"], 0)
        assert "content-length" not in got.fields
        assert client.expect_end() == "FIN"


@VERSIONS
def test_a_length_of_the_server_is_not_passed_on(version: str) -> None:
    def script(connection: OriginConnection) -> None:
        body = message(b"hello")
        number = begin(connection, body, head=(("content-length", str(len(body))),))
        connection.send(h2.headers(number, h2.block([("grpc-status", "0")]), end=True))
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, BINARY) as client,
    ):
        got = client.call("/t.Echo/Call", b"")
        assert (got.messages, got.code) == ([b"hello"], 0)
        assert "content-length" not in got.fields


@VERSIONS
@KINDS
def test_trailers_of_many_bytes_and_names(version: str, kind: str) -> None:
    """Those that no trailer section may have stay out."""
    long = [(f"x-{i}", "v" * 4000) for i in range(12)]

    def script(connection: OriginConnection) -> None:
        number = begin(connection, message(b"hello"))
        trailers = [("grpc-status", "0"), ("content-length", "5"), *long, ("host", "a")]
        section = h2.block(trailers)
        pieces = [section[at : at + h2.FRAME_MAX] for at in range(0, len(section), h2.FRAME_MAX)]
        connection.send(h2.headers(number, pieces[0], end=True, whole=False))
        for index, piece in enumerate(pieces[1:], 2):
            connection.send(h2.continuation(number, piece, whole=index == len(pieces)))
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        got = client.call("/t.Echo/Call", b"")
        assert (got.messages, got.trailers) == ([b"hello"], {"grpc-status": "0", **dict(long)})


@VERSIONS
@KINDS
def test_a_trailers_only_answer_is_a_head(version: str, kind: str) -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake()
        while True:
            stream = connection.next_request()
            grpc.trailers_only(connection, stream, 7, ("grpc-message", "no"), ("content-length", "0"))

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        for _ in range(2):
            got = client.call("/t.Echo/Call", b"")
            assert (got.status, got.fields["grpc-status"], got.details, got.messages) == (200, "7", "no", [])
            assert (got.fields["content-type"], got.trailers) == (kind, {})
        until(lambda: worker.report().grpc == {7: 2}, "the statuses to be counted")


@pytest.mark.parametrize("trailers", ["", "x-late: 1\r\n"])
@KINDS
def test_a_call_ends_on_its_messages(kind: str, trailers: str) -> None:
    """Whatever follows the last chunk, and trailers of a stream: grpc-go would end the connection over HEADERS."""
    with (
        RawOrigin(echo) as origin,
        LiveWorker(plan(origin.address)) as worker,
        Client(worker.address) as http1,
        RawClient(worker.address) as http2,
    ):
        body = body_of([b"hello"], kind)
        whole = http1_request("/t.Echo/Call", body, kind, chunk=5)
        http1.send(whole[:-2] + trailers.encode() + whole[-2:])
        assert http1_answer(http1).messages == [b"hello"]
        number = http2.request(grpc_web.http2_fields("/t.Echo/Call", kind), body, end=not trailers)
        http2.send(h2.headers(number, h2.block([("x-late", "1")]), end=True) if trailers else b"")
        assert http2_answer(http2, number).messages == [b"hello"]
        for stream in origin.peer().watch.streams.values():
            assert (bytes(stream.body), len(stream.heads), stream.ended) == (message(b"hello"), 1, True)


# --- what the proxy says


@VERSIONS
@KINDS
def test_no_server(version: str, kind: str) -> None:
    with (
        LiveWorker(plan(f"127.0.0.1:{net.free_port()}")) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        for _ in range(2):
            got = client.call("/t.Echo/Call", b"hello")
            assert (got.status, got.code, got.messages) == (200, grpc.UNAVAILABLE, [])
            assert got.details
            assert got.fields["fastmesh-error"] == got.details
            assert got.fields["content-type"] == kind
        until(lambda: worker.report().grpc == {grpc.UNAVAILABLE: 2}, "the statuses to be counted")


@VERSIONS
@KINDS
@pytest.mark.parametrize("after", [None, b"one", b"1"])
def test_a_deadline(version: str, kind: str, after: bytes | None) -> None:
    """Before there is an answer, and behind whole messages of one."""
    with (
        RawOrigin(silent if after is None else stalled(message(after))) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        got = client.call("/t.Echo/Call", b"hello", timeout="150m")
        assert (got.status, got.code, got.details) == (200, grpc.DEADLINE_EXCEEDED, "request timeout")
        assert got.messages == ([] if after is None else [after])
        assert origin.peer().stream(1).fields["grpc-timeout"] == "150m"
        until(lambda: origin.peer().stream(1).reset == h2.Error.CANCEL, "the reset upstream")
        worker.expect_faults(request_timeout=1)
        until(lambda: worker.report().grpc == {grpc.DEADLINE_EXCEEDED: 1}, "the status to be counted")


@KINDS
def test_a_connection_stays_behind_an_answer_that_a_deadline_ended(kind: str) -> None:
    """Its client was not told otherwise, and may send the next request at once."""

    def script(connection: OriginConnection) -> None:
        begin(connection, message(b"one"))
        connection.wait(lambda: connection.watch.streams.get(3), "the next call")
        grpc.reply(connection, connection.next_request(), message(b"two"), 0)
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, "http1", kind) as client,
    ):
        got = client.call("/t.Echo/Call", b"hello", timeout="100m")
        assert (got.code, got.messages) == (grpc.DEADLINE_EXCEEDED, [b"one"])
        assert "connection" not in got.fields
        assert client.call("/t.Echo/Call", b"hello").messages == [b"two"]


@VERSIONS
@KINDS
def test_a_deadline_amid_a_message_breaks_the_answer(version: str, kind: str) -> None:
    """Trailers there would be taken for the rest of the message."""
    with (
        RawOrigin(stalled(message(b"whole"), message(b"broken")[:7])) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        if client.http1:
            client.http1.send(http1_request("/t.Echo/Call", body_of([b""], kind), kind, "grpc-timeout: 100m"))
            with pytest.raises(Ended) as ended:
                client.http1.read("POST")
            assert ended.value.how == "RST"
        else:
            assert client.http2
            fields = grpc_web.http2_fields("/t.Echo/Call", kind, ("grpc-timeout", "100m"))
            assert client.http2.wait_ended(client.http2.request(fields, body_of([b""], kind))).reset is not None


@VERSIONS
@KINDS
def test_a_server_that_breaks_off_behind_a_message(version: str, kind: str) -> None:
    def script(connection: OriginConnection) -> None:
        number = begin(connection, message(b"one"))
        connection.sync()
        connection.send(h2.rst_stream(number, h2.Error.INTERNAL_ERROR))
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        got = client.call("/t.Echo/Call", b"hello")
        assert got.messages in ([b"one"], [])
        assert got.code == grpc.UNAVAILABLE


BAD_TEXT = [b"AAAA*AAA", b"AAAAA", b"AAA", b"AA=A", b"====", b"AAAAAAAA\r\n\r\n", b"AAAA-___"]


@pytest.mark.parametrize("body", BAD_TEXT, ids=repr)
def test_text_that_is_no_base64(body: bytes) -> None:
    with (
        RawOrigin(silent) as origin,
        LiveWorker(plan(origin.address)) as worker,
        Client(worker.address) as http1,
        RawClient(worker.address) as http2,
    ):
        http1.send(http1_request("/t.Echo/Call", body, TEXT))
        response = http1.read("POST")
        assert (response.status, bytes(response.body)) == (400, b"gRPC-Web body is not base64\n")
        stream = http2.wait_ended(http2.request(grpc_web.http2_fields("/t.Echo/Call", TEXT), body))
        assert (stream.fields[":status"], bytes(stream.body)) == ("400", b"gRPC-Web body is not base64\n")
        worker.expect_faults(bad_grpc_web_text=2)
        until(lambda: worker.report().grpc == {grpc.INTERNAL: 2}, "the statuses to be counted")


@VERSIONS
def test_text_that_goes_bad_under_way(version: str) -> None:
    """The server has a part of the call, and hears that it is over."""
    with (
        RawOrigin(silent) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, TEXT) as client,
    ):
        begun, bad = body_of([b"hello"], TEXT), b"*" * 4
        if client.http1:
            whole = http1_request("/t.Echo/Call", begun + bad, TEXT)
            client.http1.send(whole[:-4])
        else:
            assert client.http2
            number = client.http2.request(grpc_web.http2_fields("/t.Echo/Call", TEXT), begun, end=False)
        until(lambda: bytes(origin.peer().stream(1).body) == message(b"hello"), "the first message")
        if client.http1:
            client.http1.send(bad)
            assert client.http1.read("POST").status == 400
        else:
            assert client.http2
            client.http2.send(h2.data(number, bad, end=True))
            assert client.http2.wait_ended(number).fields[":status"] == "400"
        until(lambda: origin.peer().stream(1).reset is not None, "the reset upstream")


@VERSIONS
def test_a_client_that_goes(version: str) -> None:
    with RawOrigin(stalled(message(b"one"))) as origin, LiveWorker(plan(origin.address)) as worker:
        with WebClient(worker.address, version, TEXT) as client:
            client.begin("/t.Echo/Call", b"hello")
            until(lambda: origin.peer().watch.streams.get(1), "the call")
        until(lambda: origin.peer().stream(1).reset is not None, "the reset upstream")
        until(lambda: worker.report().grpc == {grpc.CANCELLED: 1}, "the status to be counted")


@VERSIONS
@KINDS
def test_a_call_goes_to_another_server_when_one_is_not_there(version: str, kind: str) -> None:
    with (
        RawOrigin(echo) as origin,
        LiveWorker(plan(f"127.0.0.1:{net.free_port()}", origin.address)) as worker,
        WebClient(worker.address, version, kind) as client,
    ):
        for _ in range(4):
            got = client.call("/t.Echo/Call", b"hello", pattern(3000))
            assert (got.code, got.messages) == (0, [b"hello", pattern(3000)])


@VERSIONS
def test_a_chosen_status_is_looked_for_elsewhere(version: str) -> None:
    """Text was decoded for the first server; the second has all of it too."""

    def busy(connection: OriginConnection) -> None:
        connection.handshake()
        while True:
            grpc.trailers_only(connection, connection.next_request(), grpc.UNAVAILABLE)

    with (
        RawOrigin(busy) as one,
        RawOrigin(echo) as two,
        LiveWorker(plan(one.address, two.address, retry_grpc=1 << grpc.UNAVAILABLE)) as worker,
        WebClient(worker.address, version, TEXT) as client,
    ):
        for _ in range(6):
            assert client.call("/t.Echo/Call", b"hello").messages == [b"hello"]


# --- what is no gRPC-Web


def test_other_requests_of_the_route_pass_untouched() -> None:
    with (
        RawOrigin() as origin,
        LiveWorker(plan(origin.address).but(backend={"protocol": 2})) as worker,
        Client(worker.address) as client,
        RawClient(worker.address) as http2,
    ):
        body = body_of([b"hello"], TEXT)
        others = ("application/json", "application/grpc", "application/grpc-websocket")
        for index, (method, kind) in enumerate([*(("POST", other) for other in others), ("PUT", BINARY)]):
            lines = (f"Content-Type: {kind}",)
            assert client.ask(request(method, "/t.Echo/Call", *lines, body=body), method).body == b"ok"
            stream = origin.peer().stream(2 * index + 1)
            assert (stream.fields["content-type"], bytes(stream.body)) == (kind, body)
            assert stream.fields["content-length"] == str(len(body))
        assert bytes(http2.wait_ended(grpc.call(http2)).body) == b"ok"


def test_without_the_setting_nothing_is_bridged() -> None:
    with (
        RawOrigin() as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        Client(worker.address) as client,
    ):
        body = body_of([b"hello"], TEXT)
        client.send(http1_request("/t.Echo/Call", body, TEXT))
        assert client.read("POST").body == b"ok"
        stream = origin.peer().stream(1)
        assert (stream.fields["content-type"], bytes(stream.body)) == (TEXT, body)
        assert worker.report().grpc == {}


@VERSIONS
def test_an_answer_that_is_no_grpc_passes_untouched(version: str) -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.respond(connection.next_request(), 404, ("content-type", "text/plain"), body=b"not here")
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(plan(origin.address)) as worker,
        WebClient(worker.address, version, TEXT) as client,
    ):
        client.begin("/t.Echo/Call", b"hello")
        if client.http1:
            response = client.http1.read("POST")
            assert (response.status, response.get("content-type"), response.body) == (404, b"text/plain", b"not here")
        else:
            assert client.http2
            stream = client.http2.wait_ended(1)
            assert (stream.fields[":status"], stream.fields["content-type"]) == ("404", "text/plain")
            assert bytes(stream.body) == b"not here"


def test_an_http1_server_is_not_bridged_to() -> None:
    """There is no gRPC without HTTP/2."""
    with Origin(serve()) as origin, LiveWorker(plan(origin.address).but(backend={"protocol": 1})) as worker:
        with Client(worker.address) as client:
            client.send(http1_request("/t.Echo/Call", base64.b64encode(message(b"x")), TEXT))
            assert client.read("POST").status == 200
        assert origin.requests()[0].get("content-type") == TEXT.encode()
