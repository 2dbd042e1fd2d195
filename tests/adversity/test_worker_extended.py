"""WebSocket and CONNECT wherever HTTP/2 is on one side of the tunnel or on both (RFC 8441, RFC 9113 8.5)."""

import base64
import hashlib

import pytest

from tests.support import http2_frames as h2
from tests.support.client import Client, digest, pattern, request
from tests.support.http1 import Request
from tests.support.http2 import OriginConnection, RawClient, RawOrigin
from tests.support.http2_frames import Error, Field, Setting
from tests.support.http2_watch import Stream
from tests.support.origin import Connection, Origin, serve
from tests.support.wait import DEADLINE_S, Deadline, until
from tests.support.worker import LiveWorker, Plan

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = request("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}",
                  "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: p1")  # fmt: skip
EXTENDED: list[Field] = [
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "t.test"),
    (":path", "/chat"), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "p1"),
]  # fmt: skip
CONNECT: list[Field] = [(":method", "CONNECT"), (":authority", "t.test:443")]
WELCOME = {Setting.ENABLE_CONNECT_PROTOCOL: 1}
HTTP1, HTTP2 = {"protocol": 1}, {"protocol": 2}


def accept_of(key: bytes | str) -> bytes:
    text = key.encode() if isinstance(key, str) else key
    return base64.b64encode(hashlib.sha1(text + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def switched(asked: Request, accept: bytes | None = None) -> bytes:
    accept = accept_of(asked.get("sec-websocket-key") or b"") if accept is None else accept
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket",
             b"Sec-WebSocket-Protocol: p1"]  # fmt: skip
    if accept:
        lines.append(b"Sec-WebSocket-Accept: " + accept)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def echo1(connection: Connection) -> None:
    """Switches, answers every line with itself doubled, half-closes when the client does."""
    asked = connection.request()
    reply = b"HTTP/1.1 200 Connected\r\n\r\n" if asked.method == "CONNECT" else switched(asked)
    connection.stream.tunnel()
    connection.send(reply)
    while True:
        line = connection.tunnel(b"\n")
        connection.send(line[:-1] * 2 + b"\n")


def echo2(connection: OriginConnection) -> None:
    connection.handshake(WELCOME)
    stream = connection.next_request(whole=False)
    connection.send(h2.headers(stream.number, h2.block(h2.response_fields(200, ("sec-websocket-protocol", "p1")))))
    taken = 0
    while not stream.over:
        line = bytes(stream.body[taken:])
        if b"\n" in line:
            taken += len(line)
            connection.send(h2.data(stream.number, line[:-1] * 2 + b"\n"))
        else:
            connection.read_frame(Deadline(DEADLINE_S, "more of the tunnel"))
    connection.send(h2.data(stream.number, end=True))
    connection.wait(lambda: False, "the end")


def wait_body(client: RawClient | OriginConnection, stream: Stream, mark: bytes) -> None:
    client.wait(lambda: stream.body.endswith(mark) or stream.over, f"{mark!r}")
    assert stream.body.endswith(mark)


def open_tunnel(client: RawClient, fields: list[Field] = EXTENDED) -> Stream:
    stream = client.wait_head(client.request(fields, end=False))
    assert stream.status == 200, stream.fields
    assert not stream.ended
    return stream


@pytest.mark.parametrize("fields", [EXTENDED, CONNECT], ids=["websocket", "connect"])
@pytest.mark.parametrize("upstream", ["http1", "http2"])
def test_a_tunnel_of_an_http2_client(fields: list[Field], upstream: str) -> None:
    origin: Origin = Origin(echo1) if upstream == "http1" else RawOrigin(echo2)
    with (
        origin,
        LiveWorker(Plan([origin.address], backend=HTTP1 if upstream == "http1" else HTTP2)) as worker,
        RawClient(worker.address) as client,
    ):
        assert client.watch.settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1
        stream = open_tunnel(client, fields)
        assert not {"upgrade", "connection", "sec-websocket-accept", "content-length"} & set(stream.fields)
        for i in range(3):
            client.send(h2.data(stream.number, b"%d\n" % i))
            wait_body(client, stream, b"%d%d\n" % (i, i))
        worker.until_gauge("tunnels", 1)
        assert worker.report().codes.get(101) is None
        client.send(h2.data(stream.number, b"", end=True))
        assert client.wait_ended(stream.number).reset is None
        until(lambda: worker.gauge("tunnels") == 0, "the tunnel to end")
        assert worker.report().codes == {200: 1}
        asked = origin.requests()[0] if upstream == "http1" else None
        if asked is not None and fields is EXTENDED:
            assert (asked.method, asked.target) == ("GET", "/chat")
            assert (asked.tokens("connection"), asked.tokens("upgrade")) == (["upgrade"], ["websocket"])
            assert len(base64.b64decode(asked.get("sec-websocket-key") or b"")) == 16
        elif asked is not None:
            assert asked.start == b"CONNECT t.test:443 HTTP/1.1"
        client.sync()


def test_an_upgrade_of_an_http1_client_is_an_extended_connect() -> None:
    with (
        RawOrigin(echo2) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        Client(worker.address) as client,
    ):
        answer = client.ask(UPGRADE)
        assert answer.start == b"HTTP/1.1 101 Switching Protocols"
        assert (answer.tokens("connection"), answer.tokens("upgrade")) == (["upgrade"], ["websocket"])
        assert answer.get("sec-websocket-accept") == accept_of(KEY)
        assert answer.get("sec-websocket-protocol") == b"p1"
        asked = origin.peer().stream(1)
        assert asked.fields[":method"] == "CONNECT"
        assert (asked.fields[":protocol"], asked.fields[":path"]) == ("websocket", "/chat")
        assert "sec-websocket-key" not in asked.fields
        for i in range(3):
            client.send(b"%d\n" % i)
            assert client.read_until(b"\n") == b"%d%d\n" % (i, i)
        client.half_close()
        assert client.expect_end() == "FIN"
        until(lambda: worker.gauge("tunnels") == 0, "the tunnel to end")
        assert worker.report().codes == {101: 1}


def test_a_plain_connect_of_an_http1_client_crosses_http2() -> None:
    with (
        RawOrigin(echo2) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        Client(worker.address) as client,
    ):
        answer = client.ask(request("CONNECT", "t.test:443", host="t.test:443"), "CONNECT")
        assert answer.status == 200
        assert origin.peer().stream(1).fields == {
            ":method": "CONNECT",
            ":authority": "t.test:443",
            "via": "1.1 fastmesh",
        }
        client.send(b"a\n")
        assert client.read_until(b"\n") == b"aa\n"


@pytest.mark.parametrize("accept", [b"", b"x" * 28, accept_of("other")], ids=["none", "not base64", "another key's"])
def test_an_upstream_that_did_not_read_the_key_is_refused(accept: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.send(switched(connection.request(), accept))
        connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP1)) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(client.request(EXTENDED, end=False))
        assert (stream.status, stream.fields["fastmesh-error"]) == (502, "upstream did not complete the upgrade")
        worker.expect_faults(upgrade_failed=1)
        assert worker.counter("tunnels") == 0


def test_a_plain_answer_is_no_tunnel_to_an_http2_client() -> None:
    """2xx to its CONNECT would say that the tunnel is there; other statuses are an answer like any other."""
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"
    with (
        Origin(serve()) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP1)) as worker,
        RawClient(worker.address) as client,
    ):
        assert client.wait_ended(client.request(EXTENDED, end=False)).status == 502
        worker.expect_faults(upgrade_failed=1)
        origin.script = serve(not_found)
        origin.drop_connections()
        stream = client.wait_ended(client.request(EXTENDED, end=False))
        assert (stream.status, bytes(stream.body), stream.ended) == (404, b"none", True)
        client.sync()


def test_a_refusal_by_http2_is_a_plain_answer_to_http1() -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake(WELCOME)
        connection.respond(connection.next_request(whole=False), 403, body=b"no")
        connection.respond(connection.next_request(whole=False), 200, body=b"yes")
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        Client(worker.address) as client,
    ):
        answer = client.ask(UPGRADE)
        assert (answer.status, answer.body) == (403, b"no")
        assert client.get("/").body == b"yes"
        assert worker.counter("tunnels") == 0


def test_an_http2_server_that_does_not_welcome_it_is_not_asked() -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.respond(connection.next_request())
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        Client(worker.address) as client,
        RawClient(worker.address) as other,
    ):
        answer = client.ask(UPGRADE)
        assert (answer.status, answer.get("fastmesh-error")) == (501, b"upstream takes no upgrade over HTTP/2")
        assert other.wait_ended(other.request(EXTENDED, end=False)).status == 501
        assert client.get("/").status == 200
        assert [stream.fields[":method"] for stream in origin.peer().watch.streams.values()] == ["GET"]
        worker.expect_faults(upgrade_unsupported=2)


def test_a_backend_of_either_protocol_is_asked_over_http1_then() -> None:
    def script(connection: Connection) -> None:
        """Speaks both, as many servers do, but no extended CONNECT."""
        if connection.index == 0:
            both = OriginConnection(connection.sock, 0)
            both.handshake()
            both.wait(lambda: False, "the end")
        echo1(connection)

    with Origin(script) as origin, LiveWorker(Plan([origin.address])) as worker, RawClient(worker.address) as client:
        stream = open_tunnel(client)
        client.send(h2.data(stream.number, b"a\n"))
        wait_body(client, stream, b"aa\n")


def test_an_upgrade_without_a_form_in_http2_is_left_out() -> None:
    """Two protocols, or one with a version: the server MAY ignore Upgrade (RFC 9110 7.8), and here must."""

    def script(connection: OriginConnection) -> None:
        connection.handshake(WELCOME)
        while True:
            stream = connection.next_request()
            assert stream.fields[":method"] == "GET"
            connection.respond(stream)

    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        Client(worker.address) as client,
    ):
        for offer in ("websocket, other", "foo/2"):
            assert client.get("/", "Connection: Upgrade", f"Upgrade: {offer}").body == b"ok"


def test_an_upgrade_waits_for_settings_and_is_overtaken_by_requests() -> None:
    """Streams begin in the order of their numbers: who has to wait gets a later one."""

    def late(connection: OriginConnection) -> None:
        connection.auto_settings = False  # ours come first
        connection.take_preface()
        connection.wait(lambda: 1 in connection.watch.streams, "the request behind the upgrade")
        assert connection.stream(1).fields[":method"] == "GET"
        connection.send(h2.settings(WELCOME), h2.SETTINGS_ACK)
        connection.respond(connection.next_request())
        stream = connection.next_request(whole=False)
        assert (stream.number, stream.fields[":protocol"]) == (3, "websocket")
        connection.send(h2.headers(stream.number, h2.block(h2.response_fields(200))))
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(late) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        RawClient(worker.address) as client,
    ):
        upgrade = client.request(EXTENDED, end=False)
        client.sync()
        assert client.get("/").status == 200
        assert client.wait_head(upgrade).status == 200
        assert client.stream(upgrade).reset is None


def test_a_client_that_gives_up_before_its_upgrade_went_out_leaves_no_trace() -> None:
    def late(connection: OriginConnection) -> None:
        connection.auto_settings = False  # ours come first
        connection.take_preface()
        connection.wait(lambda: 1 in connection.watch.streams, "the request behind the upgrade")
        connection.send(h2.settings(WELCOME), h2.SETTINGS_ACK)
        connection.respond(connection.next_request())
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(late) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        RawClient(worker.address) as client,
    ):
        upgrade = client.request(EXTENDED, end=False)
        client.sync()
        client.send(h2.rst_stream(upgrade))
        client.sync()
        assert client.get("/").status == 200
        assert list(origin.peer().watch.streams) == [1]
        assert origin.peer().stream(1).reset is None


def silent1(connection: Connection) -> None:
    connection.send(switched(connection.request()))
    connection.stream.tunnel()
    connection.wait_end()


def silent2(connection: OriginConnection) -> None:
    connection.handshake(WELCOME)
    connection.auto_window = True
    stream = connection.next_request(whole=False)
    connection.send(h2.headers(stream.number, h2.block(h2.response_fields(200))))
    connection.wait(lambda: False, "the end")


def test_a_reset_stream_resets_the_connection_behind_it() -> None:
    with (
        Origin(silent1) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP1)) as worker,
        RawClient(worker.address) as client,
    ):
        stream = open_tunnel(client)
        client.send(h2.rst_stream(stream.number))
        assert origin.connection().closed.wait(DEADLINE_S)
        assert origin.connection().ended == "RST"
        client.sync()


def test_a_reset_connection_is_a_connect_error_to_the_stream() -> None:
    def script(connection: Connection) -> None:
        connection.send(switched(connection.request()))
        connection.stream.tunnel()
        connection.tunnel(b"go")
        connection.reset()

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP1)) as worker,
        RawClient(worker.address) as client,
    ):
        stream = open_tunnel(client)
        client.send(h2.data(stream.number, b"go"))
        assert client.wait_ended(stream.number).reset == Error.CONNECT_ERROR
        client.sync()


def test_resets_between_an_http1_client_and_a_stream() -> None:
    with RawOrigin(silent2) as origin, LiveWorker(Plan([origin.address], backend=HTTP2)) as worker:
        with Client(worker.address) as client:
            assert client.ask(UPGRADE).status == 101
            client.reset()
            until(lambda: origin.peer().stream(1).reset is not None, "the reset upstream")
            assert origin.peer().stream(1).reset == Error.CANCEL
        with Client(worker.address) as client:
            origin.drop_connections()
            assert client.ask(UPGRADE).status == 101
            origin.peer(1).send(h2.rst_stream(1))
            assert client.expect_end() == "RST"


@pytest.mark.parametrize("side", ["client", "origin"])
def test_a_tunnel_has_no_trailers(side: str) -> None:
    """RFC 9113 8.5: HEADERS on a connected stream are a stream error."""

    def script(connection: OriginConnection) -> None:
        connection.handshake(WELCOME)
        stream = connection.next_request(whole=False)
        connection.send(
            h2.headers(stream.number, h2.block(h2.response_fields(200))),
            h2.data(stream.number, b"hello"),
            h2.headers(stream.number, h2.block([("x", "y")]), end=True) if side == "origin" else b"",
        )
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address], backend=HTTP2)) as worker,
        RawClient(worker.address) as client,
    ):
        number = client.request(EXTENDED, end=False)
        if side == "client":
            wait_body(client, client.stream(number), b"hello")
            client.send(h2.headers(number, h2.block([("x", "y")]), end=True))
        stream = client.wait_ended(number)
        assert stream.reset is not None
        assert b"x: y" not in bytes(stream.body)
        until(lambda: origin.peer().stream(1).reset is not None, "the reset upstream")
        assert b"x: y" not in bytes(origin.peer().stream(1).body)
        client.sync()


@pytest.mark.parametrize("upstream", ["http1", "http2"])
def test_half_close_and_much_data_both_ways(upstream: str) -> None:
    data = pattern(3_000_000)

    def script1(connection: Connection) -> None:
        connection.send(switched(connection.request()))
        connection.stream.tunnel()
        assert connection.wait_end() == "FIN"
        connection.send(bytes(connection.received).partition(b"\r\n\r\n")[2])

    def script2(connection: OriginConnection) -> None:
        connection.handshake({**WELCOME, Setting.INITIAL_WINDOW_SIZE: 1 << 22})
        connection.send(h2.window_update(0, 1 << 22))
        stream = connection.next_request(whole=False)
        connection.send(h2.headers(stream.number, h2.block(h2.response_fields(200))))
        connection.wait_ended(stream.number)
        send_all(connection, stream.number, bytes(stream.body))
        connection.wait(lambda: False, "the end")

    origin: Origin = Origin(script1) if upstream == "http1" else RawOrigin(script2)
    with (
        origin,
        LiveWorker(Plan([origin.address], backend=HTTP1 if upstream == "http1" else HTTP2)) as worker,
        RawClient(worker.address, {Setting.INITIAL_WINDOW_SIZE: 1 << 22}) as client,
    ):
        client.send(h2.window_update(0, 1 << 22))
        stream = open_tunnel(client)
        send_all(client, stream.number, data)
        client.wait_ended(stream.number)
        assert stream.reset is None
        assert digest(bytes(stream.body)) == digest(data)


def send_all(peer: RawClient | OriginConnection, number: int, data: bytes) -> None:
    """DATA as far as windows go, END_STREAM with the last."""
    stream = peer.stream(number)
    at = 0
    while at < len(data):
        peer.wait(lambda: min(stream.granted.size, peer.watch.granted.size) > 0, "a window")
        take = min(h2.FRAME_MAX, stream.granted.size, peer.watch.granted.size, len(data) - at)
        peer.send(h2.data(number, data[at : at + take], end=at + take == len(data)))
        at += take
