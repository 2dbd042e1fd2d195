"""The admin HTTP server over real sockets: strictness, bounds, order, keep-alive, closing."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from fastmesh.admin import http
from fastmesh.admin.http import AdminServer, Request, Response, is_local_peer, text_response
from tests.support import net
from tests.support.client import Client, request
from tests.support.wait import DEADLINE_S, until


class Server:
    """A server in a thread of its own whose handler says back what it was asked; /slow waits for `go`."""

    def __init__(self, address: str) -> None:
        self.logged: list[str] = []
        self.asked: list[Request] = []
        self._listener = net.listen(address)
        self.address = net.text(self._listener)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.go, self._stop = asyncio.Event(), asyncio.Event()
        self.server = AdminServer(self._handle, lambda level, message, **fields: self.logged.append(message))
        await self.server.start([self._listener.detach()])
        self._ready.set()
        await self._stop.wait()
        self.server.close()

    async def _handle(self, asked: Request) -> Response:
        self.asked.append(asked)
        if asked.path == "/slow":
            await self.go.wait()
        if asked.path == "/fails":
            raise RuntimeError("broken page")
        if asked.path == "/big":
            return Response(200, [b"x" * 50_000] * 100)
        return text_response(200, f"{asked.method} {asked.path} {asked.body.decode()}")

    def call(self, what: object) -> None:
        """Runs a method of the server in its loop."""
        done = threading.Event()

        def run() -> None:
            assert callable(what)
            what()
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(DEADLINE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_S)


@pytest.fixture(params=["inet", "unix"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = Server("127.0.0.1:0" if request.param == "inet" else f"unix:{tmp_path}/admin.sock")
    yield made
    made.close()


@pytest.fixture
def inet() -> Iterator[Server]:
    made = Server("127.0.0.1:0")
    yield made
    made.close()


def test_keep_alive_answers_one_after_the_other(server: Server) -> None:
    with Client(server.address) as client:
        for i in range(20):
            response = client.get(f"/page/{i}?query=1")
            assert bytes(response.body) == f"GET /page/{i} \n".encode()
            assert response.status == 200
    assert server.asked[0].is_local


def test_pipelined_requests_are_answered_in_order_behind_a_slow_one(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("GET", "/slow") + b"".join(request("GET", f"/{i}") for i in range(10)))
        until(lambda: server.asked, "the slow request")
        assert [asked.path for asked in server.asked] == ["/slow"]
        server.call(server.go.set)
        bodies = [bytes(client.read().body) for _ in range(11)]
    assert bodies == [b"GET /slow \n", *(f"GET /{i} \n".encode() for i in range(10))]


def test_a_slow_answer_holds_up_nobody_else(server: Server) -> None:
    with Client(server.address) as slow, Client(server.address) as quick:
        slow.send(request("GET", "/slow"))
        until(lambda: server.asked, "the slow request")
        assert quick.get("/quick").status == 200
        server.call(server.go.set)
        assert slow.read().status == 200


@pytest.mark.parametrize("split", [1, 7, 1000])
def test_requests_may_arrive_in_any_pieces(inet: Server, split: int) -> None:
    data = request("POST", "/p", body=b"level") + request("GET", "/q")
    with Client(inet.address) as client:
        for at in range(0, len(data), split):
            client.send(data[at : at + split])
        assert bytes(client.read("POST").body) == b"POST /p level\n"
        assert bytes(client.read().body) == b"GET /q \n"


def test_chunked_bodies_are_read(inet: Server) -> None:
    with Client(inet.address) as client:
        head = request("POST", "/p", "Transfer-Encoding: chunked")
        assert bytes(client.ask(head + b"3\r\nwar\r\n4\r\nning\r\n0\r\n\r\n", "POST").body) == b"POST /p warning\n"


def test_head_has_the_length_and_no_body(inet: Server) -> None:
    with Client(inet.address) as client:
        client.send(request("HEAD", "/x"))
        response = client.read("HEAD")
        assert response.status == 200
        assert response.get("content-length") == b"9"
        assert client.get("/y").status == 200


def test_a_client_that_expects_continue_gets_it(inet: Server) -> None:
    with Client(inet.address) as client:
        client.send(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        client.stream.expect("POST")
        assert client.next_response().status == 100
        client.send(b"ok")
        assert bytes(client.next_response().body) == b"POST /p ok\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(4000)), 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"z" * 5000, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1400\r\n" + b"z" * 5120, 413),
    ],
)
def test_what_is_wrong_or_too_long_is_refused_and_the_connection_closed(
    inet: Server, data: bytes, status: int
) -> None:
    with Client(inet.address) as client:
        response = client.ask(data)
        assert response.status == status
        assert response.get("connection") == b"close"
        client.expect_end()
    assert inet.asked == []


def test_what_came_before_a_bad_request_is_answered(inet: Server) -> None:
    with Client(inet.address) as client:
        client.send(request("GET", "/good") + b"BAD\r\n\r\n")
        assert client.read().status == 200
        assert client.read().status == 400
        client.expect_end()


def test_an_upgrade_is_not_taken_up(inet: Server) -> None:
    with Client(inet.address) as client:
        response = client.get("/x", "Connection: Upgrade", "Upgrade: h2c")
        assert response.status == 200
        client.expect_end()


def test_absolute_form_is_a_path_too(inet: Server) -> None:
    with Client(inet.address) as client:
        assert bytes(client.get("http://t.test/ready?x").body) == b"GET /ready \n"


def test_http10_and_connection_close_end_the_connection(inet: Server) -> None:
    with Client(inet.address) as client:
        assert client.ask(b"GET /old HTTP/1.0\r\n\r\n").status == 200
        client.expect_end()
    with Client(inet.address) as client:
        assert client.get("/x", "Connection: close").get("connection") == b"close"
        client.expect_end()


def test_a_client_that_has_sent_all_and_closed_its_side_is_still_answered(inet: Server) -> None:
    with Client(inet.address) as client:
        client.send(request("GET", "/slow"))
        client.half_close()
        until(lambda: inet.asked, "the request")
        inet.call(inet.go.set)
        assert client.read().status == 200
        client.expect_end()


def test_a_page_that_fails_is_a_500_and_in_the_log(inet: Server) -> None:
    with Client(inet.address) as client:
        assert client.get("/fails").status == 500
        assert client.get("/next").status == 200
    assert inet.logged == ["admin request failed"]


def test_a_big_answer_waits_for_a_slow_reader(inet: Server) -> None:
    with Client(inet.address, receive_buffer_bytes=4096) as client, Client(inet.address) as other:
        client.send(request("GET", "/big") + request("GET", "/after"))
        until(lambda: inet.asked, "the big request")
        assert other.get("/quick").status == 200
        assert "/after" not in [asked.path for asked in inet.asked], "the next one waits until the big one is out"
        assert len(client.read().body) == 5_000_000
        assert client.read().status == 200


def test_idle_connections_make_room_for_new_ones(inet: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECTIONS", 4)
    clients = [Client(inet.address) for _ in range(4)]
    for client in clients:
        assert client.get("/x").status == 200
    with Client(inet.address) as late:
        assert late.get("/y").status == 200
    assert clients[0].read_to_end()[0] == b""
    assert clients[3].get("/z").status == 200
    for client in clients:
        client.close()


def test_when_all_are_busy_a_new_connection_is_the_one_to_go(inet: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECTIONS", 2)
    with Client(inet.address) as first, Client(inet.address) as second:
        first.send(request("GET", "/slow"))
        second.send(request("GET", "/slow"))
        until(lambda: len(inet.asked) == 2, "both requests")
        with Client(inet.address) as third:
            assert third.read_to_end()[0] == b""
        inet.call(inet.go.set)
        assert first.read().status == second.read().status == 200


def test_sweep_ends_connections_without_progress(inet: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(inet.address) as idle, Client(inet.address) as stalled, Client(inet.address) as busy:
        assert idle.get("/x").status == 200
        stalled.send(b"GET / HTTP/1.1\r\nHos")
        busy.send(request("GET", "/slow"))
        until(lambda: len(inet.asked) == 2, "the requests")
        inet.call(inet.server.sweep)
        assert idle.get("/still").status == 200
        monkeypatch.setattr(http, "IDLE_S", -1.0)
        monkeypatch.setattr(http, "STALL_S", -1.0)
        inet.call(inet.server.sweep)
        assert idle.read_to_end()[0] == b""
        assert stalled.read_to_end()[0] == b""
        inet.call(inet.go.set)
        assert busy.read().status == 200, "an answer that takes its time is not the client's fault"


def test_closing_ends_idle_connections_and_lets_answers_finish(inet: Server) -> None:
    with Client(inet.address) as idle, Client(inet.address) as busy:
        assert idle.get("/x").status == 200
        busy.send(request("GET", "/slow"))
        until(lambda: len(inet.asked) == 2, "the slow request")
        inet.call(inet.server.close)
        idle.expect_end()
        inet.call(inet.go.set)
        assert busy.read().get("connection") == b"close"
        busy.expect_end()
    with pytest.raises(ConnectionRefusedError):
        Client(inet.address)


@pytest.mark.parametrize(
    ("peer", "family", "local"),
    [
        (("127.0.0.1", 5), socket.AF_INET, True), (("127.8.0.9", 5), socket.AF_INET, True),
        (("::1", 5, 0, 0), socket.AF_INET6, True), (("::ffff:127.0.0.1", 5, 0, 0), socket.AF_INET6, True),
        ("", socket.AF_UNIX, True), (("10.0.0.1", 5), socket.AF_INET, False),
        (("::ffff:10.127.0.1", 5, 0, 0), socket.AF_INET6, False), (("fe80::1", 5, 0, 2), socket.AF_INET6, False),
        (None, socket.AF_INET, False),
    ],
)  # fmt: skip
def test_who_is_local(peer: object, family: int, local: bool) -> None:
    assert is_local_peer(peer, family) is local
