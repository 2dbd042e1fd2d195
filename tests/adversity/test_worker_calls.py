"""Answers and calls of HTTP/2 whose form says something: an end apart, trailers behind nothing, a reset with CANCEL."""

import threading

import pytest

from tests.support import grpc
from tests.support import http2_frames as h2
from tests.support.client import Client, Ended, request
from tests.support.http1 import chunked
from tests.support.http2 import OriginConnection, RawClient, RawOrigin, Script
from tests.support.http2_frames import Error, Kind
from tests.support.origin import Connection, Origin
from tests.support.wait import until
from tests.support.worker import LiveWorker, Plan

EMPTY = ("content-length", "0")
STATUS = [("grpc-status", "9"), ("x-sum", "1")]


def behind(*pieces: bytes, head: tuple[tuple[str, str], ...]) -> Script:
    """A response all of whose frames come at once."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.next_request()
        connection.send(h2.headers(1, h2.block(h2.response_fields(200, *head))), *pieces)
        connection.wait(lambda: False, "the end")

    return script


def later(head: tuple[tuple[str, str], ...], *frames: bytes) -> Script:
    """A response whose head is read before the frames behind it come."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.next_request()
        connection.send(h2.headers(1, h2.block(h2.response_fields(200, *head))))
        connection.sync()
        connection.send(*frames)
        connection.wait(lambda: False, "the end")

    return script


TRAILERS = h2.headers(1, h2.block(STATUS), end=True)


@pytest.mark.parametrize("script", [
    behind(TRAILERS, head=(EMPTY,)), behind(h2.data(1), TRAILERS, head=(EMPTY,)), later((EMPTY,), TRAILERS),
    later((EMPTY,), h2.data(1), TRAILERS), later((), TRAILERS),
], ids=["at once", "behind an empty DATA", "later", "later, behind an empty DATA", "of unknown length"])  # fmt: skip
def test_trailers_behind_a_body_of_no_bytes(script: Script) -> None:
    """RFC 9113 8.1: the trailer section is there whatever the length was. gRPC servers say so what went wrong."""
    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client))
        assert stream.reset is None
        assert stream.trailers == dict(STATUS)
        assert "grpc-status" not in stream.fields
        client.sync()


def test_a_body_of_no_bytes_without_trailers() -> None:
    with (
        RawOrigin(later((EMPTY,), h2.data(1, end=True))) as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        RawClient(worker.address) as client,
        Client(worker.address) as old,
    ):
        stream = client.wait_ended(client.request(h2.request_fields("POST", "/"), b"x"))
        assert (stream.status, bytes(stream.body), stream.trailers) == (200, b"", {})
        origin.script = behind(TRAILERS, head=(EMPTY,))  # type: ignore[assignment]
        origin.drop_connections()
        assert old.get("/").body == b""


@pytest.mark.parametrize("apart", [False, True], ids=["one packet", "two"])
def test_a_call_without_a_message_ends_with_data(apart: bool) -> None:
    """Servers of gRPC look for the end of a request on DATA alone, an empty one if there is no message."""
    with (
        RawOrigin(lambda c: answer_first(c)) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        number = client.open_stream()
        head = h2.headers(number, h2.block(grpc.call_fields()), end=False)
        if apart:
            client.send(head)
            client.sync()
            client.send(h2.data(number, end=True))
        else:
            client.send(head, h2.data(number, end=True))
        assert grpc.status_of(client.wait_ended(number)) == grpc.OK
        frames = [frame for frame in origin.peer().frames if frame.stream == 1]
        ends = [(frame.kind, frame.has(h2.END_STREAM)) for frame in frames]
        assert ends == [(Kind.HEADERS, False), (Kind.DATA, True)]
        assert not frames[-1].payload


def test_other_requests_end_on_their_head() -> None:
    with (
        RawOrigin(lambda c: answer_first(c)) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        client.get("/")
        frames = [frame for frame in origin.peer().frames if frame.stream == 1]
        assert [(frame.kind, frame.has(h2.END_STREAM)) for frame in frames] == [(Kind.HEADERS, True)]


def answer_first(connection: OriginConnection) -> None:
    connection.handshake()
    grpc.reply(connection, connection.next_request(), grpc.message(b"fine"), 0)
    connection.wait(lambda: False, "the end")


CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")
FORBIDDEN = ("content-length", "5")  # in trailers (RFC 9110 6.5.1)


@pytest.mark.parametrize("body", [chunked(), chunked(b"hello"), chunked(b"hello", trailers=b"Content-Length: 5\r\n")],
                         ids=["no body", "a body", "a trailer that may not pass"])  # fmt: skip
@pytest.mark.parametrize("apart", [False, True], ids=["one packet", "two"])
def test_no_trailers_of_http1_are_no_headers(body: bytes, apart: bool) -> None:
    """A server that has reset the stream meanwhile would take HEADERS for a new one, and end the connection."""
    with (
        RawOrigin() as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        Client(worker.address) as client,
    ):
        client.send(CHUNKED if apart else CHUNKED + body)
        if apart:
            until(lambda: origin.peer().stream(1).heads, "the request upstream")
            client.send(body)
        assert client.read("POST").status == 200
        frames = [frame for frame in origin.peer().frames if frame.stream == 1]
        assert [frame.kind for frame in frames].count(Kind.HEADERS) == 1
        assert (frames[-1].kind, frames[-1].has(h2.END_STREAM)) == (Kind.DATA, True)


@pytest.mark.parametrize("section", [[], [FORBIDDEN]], ids=["empty", "nothing that may pass"])
def test_no_trailers_of_http2_are_no_headers(section: list[tuple[str, str]]) -> None:
    with (
        RawOrigin() as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        number = client.request(h2.request_fields("POST", "/"), b"hello", end=False)
        client.send(h2.headers(number, h2.block(section), end=True))
        assert client.wait_ended(number).status == 200
        frames = [frame for frame in origin.peer().frames if frame.stream == 1]
        assert [frame.kind for frame in frames].count(Kind.HEADERS) == 1
        assert (frames[-1].kind, frames[-1].has(h2.END_STREAM)) == (Kind.DATA, True)


def test_no_trailers_of_an_http1_server_are_no_headers() -> None:
    def script(connection: Connection) -> None:
        connection.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello"))

    with (
        Origin(script) as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 1})) as worker,
        RawClient(worker.address) as client,
    ):
        assert bytes(client.get("/").body) == b"hello"
        frames = [frame for frame in client.frames if frame.stream == 1]
        assert [frame.kind for frame in frames].count(Kind.HEADERS) == 1


# --- a server that cancels


def cancelling(begin: bool, late: bool) -> Script:
    """Resets the call with CANCEL: at once, or `late`, when its deadline of 100 ms has passed."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.next_request()
        if begin:
            connection.send(
                h2.headers(1, h2.block(h2.response_fields(200, grpc.CONTENT_TYPE))),
                h2.data(1, grpc.message(b"one")),
            )
        if late:
            threading.Event().wait(0.1)  # a timer of the server's, as long as the client's
        connection.send(h2.rst_stream(1, Error.CANCEL))
        connection.wait(lambda: False, "the end")

    return script


@pytest.mark.parametrize("begin", [False, True], ids=["before its answer", "within its answer"])
@pytest.mark.parametrize(
    ("late", "timeout", "status"),
    [(True, "100m", grpc.DEADLINE_EXCEEDED), (False, "20S", grpc.CANCELLED), (False, None, grpc.CANCELLED)],
    ids=["at the deadline", "before the deadline", "without one"],
)  # fmt: skip
def test_a_call_that_the_server_cancels(begin: bool, late: bool, timeout: str | None, status: int) -> None:
    """Whoever of server and proxy sees the deadline first, the client is told that it has passed."""
    fields = [("grpc-timeout", timeout)] if timeout else []
    with (
        RawOrigin(cancelling(begin, late)) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client, *fields))
        assert grpc.status_of(stream) == status
        assert bytes(stream.body) == (grpc.message(b"one") if begin else b"")
        if not late:
            worker.expect_faults(upstream_cancelled=1)


def test_a_cancelled_request_that_is_no_call_is_502() -> None:
    with (
        RawOrigin(cancelling(False, False)) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        assert client.get("/").status == 502
        worker.expect_faults(upstream_reset=1)


# --- HTTP/1.1 clients of HTTP/2 servers


SIZED = (("content-length", "5"), ("trailer", "x-sum"))
FIVE = (h2.data(1, b"hello"), h2.headers(1, h2.block([("x-sum", "1")]), end=True))


@pytest.mark.parametrize("script", [behind(*FIVE, head=SIZED), later(SIZED, *FIVE)], ids=["at once", "later"])
def test_announced_trailers_behind_a_content_length_reach_http1(script: Script) -> None:
    """RFC 9112 7.1.2: only chunks can have trailers, so the length gives way."""
    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        Client(worker.address) as client,
    ):
        answer = client.get("/")
        assert answer.body == b"hello"
        assert answer.get("transfer-encoding") == b"chunked"
        assert answer.get("content-length") is None
        assert answer.trailers == [(b"x-sum", b"1")]


def test_an_announced_trailer_changes_nothing_for_others() -> None:
    """HEAD keeps its length; so does an answer without the announcement, whose trailers nobody expects."""
    head = h2.headers(1, h2.block(h2.response_fields(200, *SIZED)), end=True)

    def headless(connection: OriginConnection) -> None:
        connection.handshake()
        connection.next_request()
        connection.send(head)
        connection.wait(lambda: False, "the end")

    with RawOrigin(headless) as origin, LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker:
        with Client(worker.address) as client:
            assert client.ask(request("HEAD", "/"), "HEAD").get("content-length") == b"5"
        origin.script = behind(*FIVE, head=SIZED[:1])  # type: ignore[assignment]
        origin.drop_connections()
        with Client(worker.address) as client:
            answer = client.get("/")
            assert (answer.body, answer.get("content-length"), answer.trailers) == (b"hello", b"5", [])


def test_a_body_shorter_than_its_length_is_cut_in_chunks_too() -> None:
    short = (h2.data(1, b"hel"), h2.headers(1, h2.block([("x-sum", "1")]), end=True))
    with (
        RawOrigin(later(SIZED, *short)) as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        Client(worker.address) as client,
    ):
        with pytest.raises(Ended):
            client.get("/")
        worker.expect_faults(bad_response=1)


# --- statuses of no class


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_above_599_passes(status: int) -> None:
    """RFC 9110 15: applications have their own, and a client takes them for 5xx."""

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        connection.respond(connection.next_request(), status)
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        Client(worker.address) as old,
    ):
        assert old.get("/").status == status
        # The worker counts once it has sent the answer.
        until(lambda: worker.report().codes == {status: 1}, "the status to be counted")
