"""gRPC: deadlines, and what a client is told when the proxy itself has to end a call."""

import os
import threading
import time

import pytest

from fastmesh._core import bridge
from fastmesh._core.spec import LogTemplateSpec
from tests.support import grpc, net
from tests.support import http2_frames as h2
from tests.support.http2 import OriginConnection, RawClient, RawOrigin, Script
from tests.support.http2_frames import Error
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, LiveWorker, Plan


def silent(connection: OriginConnection) -> None:
    """Takes requests and answers none."""
    connection.handshake()
    connection.wait(lambda: False, "the end")


def begun(connection: OriginConnection) -> None:
    """Begins a response and never ends it."""
    connection.handshake()
    stream = connection.next_request()
    connection.send(
        h2.headers(stream.number, h2.block(h2.response_fields(200, grpc.CONTENT_TYPE))),
        h2.data(stream.number, grpc.message(b"one")),
    )
    connection.wait(lambda: False, "the end")


def expect_grpc(worker: LiveWorker, **statuses: int) -> None:
    """These were counted, `s4=1` for one DEADLINE_EXCEEDED, and no others."""
    wanted = {int(name[1:]): n for name, n in statuses.items()}
    until(lambda: sum(worker.report().grpc.values()) >= sum(wanted.values()), "the statuses to be counted")
    assert worker.report().grpc == wanted


def test_a_deadline_is_told_by_its_status_and_cancels_the_call_upstream() -> None:
    with (
        RawOrigin(silent) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        began = time.monotonic()
        stream = client.wait_ended(grpc.call(client, ("grpc-timeout", "150m")))
        assert time.monotonic() - began >= 0.14
        assert stream.fields[":status"] == "200"
        assert stream.fields["content-type"] == "application/grpc"
        assert stream.fields["grpc-status"] == "4"
        assert stream.fields["grpc-message"] == "request timeout"
        assert (stream.ended, stream.trailers, bytes(stream.body)) == (True, {}, b"")
        upstream = origin.peer()
        until(lambda: upstream.stream(1).reset is not None, "the reset upstream")
        assert upstream.stream(1).reset == Error.CANCEL
        assert upstream.stream(1).fields["grpc-timeout"] == "150m", "the server is told what the client said"
        expect_grpc(worker, s4=1)
        worker.expect_faults(request_timeout=1)
        client.sync()


def test_a_deadline_within_a_response_ends_it_with_trailers() -> None:
    with (
        RawOrigin(begun) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client, ("grpc-timeout", "150m")))
        assert stream.reset is None
        assert bytes(stream.body) == grpc.message(b"one")
        assert stream.trailers["grpc-status"] == "4"
        until(lambda: origin.peer().stream(1).reset is not None, "the reset upstream")
        assert origin.peer().stream(1).reset == Error.CANCEL
        expect_grpc(worker, s4=1)


def test_a_deadline_counts_for_a_client_that_streams_without_end() -> None:
    with (
        RawOrigin(silent) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client, ("grpc-timeout", "100m"), end=False))
        assert grpc.status_of(stream) == grpc.DEADLINE_EXCEEDED
        expect_grpc(worker, s4=1)
        client.sync()


@pytest.mark.parametrize(
    ("text", "counts"),
    [("100m", True), ("100000u", True), ("99999999n", True), ("0S", False), ("x", False), ("123456789m", False),
     ("1", False), ("10ms", False), ("-1m", False)],
)  # fmt: skip
def test_units_of_a_deadline(text: str, counts: bool) -> None:
    with (
        RawOrigin(silent) as origin,
        LiveWorker(Plan([origin.address], route={"request_timeout_ns": 400 * MS})) as worker,
        RawClient(worker.address) as client,
    ):
        began = time.monotonic()
        stream = client.wait_ended(grpc.call(client, ("grpc-timeout", text)))
        took = time.monotonic() - began
        assert grpc.status_of(stream) == grpc.DEADLINE_EXCEEDED
        assert took >= 0.09
        if not counts:
            assert took >= 0.38
        assert worker.report().faults.get("request_timeout") == 1 or until(
            lambda: worker.report().faults.get("request_timeout") == 1, "the fault to be counted"
        )


def test_a_deadline_that_is_not_heeded_goes_to_the_server_alone() -> None:
    with (
        RawOrigin(lambda c: slow_answer(c)) as origin,
        LiveWorker(Plan([origin.address], policy={"grpc_timeout": 0})) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client, ("grpc-timeout", "1m")))
        assert grpc.status_of(stream) == grpc.OK
        expect_grpc(worker, s0=1)


def slow_answer(connection: OriginConnection) -> None:
    connection.handshake()
    stream = connection.next_request()
    threading.Event().wait(0.05)  # well beyond the deadline of the call
    grpc.reply(connection, stream, grpc.message(b"late"), 0)
    connection.wait(lambda: False, "the end")


def reset_at_once(connection: OriginConnection) -> None:
    connection.handshake()
    connection.send(h2.rst_stream(connection.next_request().number, Error.INTERNAL_ERROR))
    connection.wait(lambda: False, "the end")


def cut_within(connection: OriginConnection) -> None:
    connection.handshake()
    stream = connection.next_request()
    connection.send(
        h2.headers(stream.number, h2.block(h2.response_fields(200, grpc.CONTENT_TYPE))),
        h2.data(stream.number, grpc.message(b"one")),
        h2.rst_stream(stream.number, Error.INTERNAL_ERROR),
    )
    connection.wait(lambda: False, "the end")


def cut_announced(connection: OriginConnection) -> None:
    connection.handshake()
    stream = connection.next_request()
    head = h2.response_fields(200, grpc.CONTENT_TYPE, ("content-length", "100"))
    connection.send(
        h2.headers(stream.number, h2.block(head)), h2.data(stream.number, b"x" * 10),
        h2.rst_stream(stream.number, Error.INTERNAL_ERROR),
    )  # fmt: skip
    connection.wait(lambda: False, "the end")


def test_a_call_that_the_upstream_resets_is_unavailable() -> None:
    with (
        RawOrigin(reset_at_once) as origin,
        LiveWorker(Plan([origin.address], backend={"protocol": 2})) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client))
        assert stream.fields[":status"] == "200"
        assert grpc.status_of(stream) == grpc.UNAVAILABLE
        assert "reset" in stream.fields["grpc-message"]
        expect_grpc(worker, s14=1)


def test_a_response_that_is_cut_ends_with_a_status() -> None:
    with (
        RawOrigin(cut_within) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client))
        assert (stream.reset, bytes(stream.body)) == (None, grpc.message(b"one"))
        assert stream.trailers["grpc-status"] == "14"
        expect_grpc(worker, s14=1)
        worker.expect_faults(upstream_truncated=1)


def test_a_cut_response_of_announced_length_is_reset() -> None:
    with (
        RawOrigin(cut_announced) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        assert client.wait_ended(grpc.call(client)).reset == Error.INTERNAL_ERROR


def test_no_endpoint_and_no_route_are_told_by_status() -> None:
    refusing = f"127.0.0.1:{net.free_port()}"
    with LiveWorker(Plan([refusing], host="t.test")) as worker, RawClient(worker.address) as client:
        stream = client.wait_ended(grpc.call(client))
        assert grpc.status_of(stream) == grpc.UNAVAILABLE
        assert "(connection refused)" in stream.fields["grpc-message"]
        fields = [(name, "other.test") if name == ":authority" else (name, value) for name, value in grpc.call_fields()]
        stream = client.wait_ended(client.request(fields, grpc.message(b"")))
        assert grpc.status_of(stream) == grpc.UNIMPLEMENTED
        expect_grpc(worker, s14=1, s12=1)


def test_a_client_that_is_no_grpc_gets_an_http_error() -> None:
    refusing = f"127.0.0.1:{net.free_port()}"
    with LiveWorker(Plan([refusing])) as worker, RawClient(worker.address) as client:
        for kind in ("application/json", "application/grpc-web", "application/grpcx"):
            stream = client.wait_ended(client.request(h2.request_fields("POST", "/", ("content-type", kind)), b"x"))
            assert (stream.status in (502, 503), grpc.status_of(stream)) == (True, None)
        for kind in ("application/grpc+proto", "application/grpc;x=y", "Application/GRPC"):
            stream = client.wait_ended(client.request(h2.request_fields("POST", "/", ("content-type", kind)), b"x"))
            assert (stream.status, grpc.status_of(stream)) == (200, grpc.UNAVAILABLE)


def test_statuses_are_counted_wherever_they_stand() -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake()
        grpc.trailers_only(connection, connection.next_request(), 5)
        grpc.reply(connection, connection.next_request(), grpc.message(b""), 0)
        grpc.reply(connection, connection.next_request(), b"", 16, ("grpc-message", "no"))
        grpc.reply(connection, connection.next_request(), b"", 99)
        connection.respond(connection.next_request(), 503)
        connection.next_request()
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        RawClient(worker.address) as client,
    ):
        seen = [grpc.status_of(client.wait_ended(grpc.call(client))) for _ in range(5)]
        assert seen == [5, 0, 16, 99, None]
        number = grpc.call(client)
        until(lambda: len(origin.peer().watch.streams) == 6, "the last call to arrive")
        client.send(h2.rst_stream(number))
        until(lambda: origin.peer().stream(11).reset is not None, "the call to be cancelled upstream")
        assert origin.peer().stream(11).reset == Error.CANCEL
        expect_grpc(worker, s0=1, s1=1, s5=1, s16=1, s17=2)


def test_the_access_log_has_the_status() -> None:
    fields = bridge.LOG_FIELDS
    parts = ((fields["status"], b""), (0, b" "), (fields["grpc_status"], b""))
    ring = bridge.LogRing(1, 1 << 16, LogTemplateSpec(parts, 0))
    reader, writer = os.pipe()
    flusher = threading.Thread(target=ring.run, args=(writer,), daemon=True)
    flusher.start()

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        grpc.trailers_only(connection, connection.next_request(), 7)
        grpc.reply(connection, connection.next_request(), grpc.message(b""), 0)
        grpc.reply(connection, connection.next_request(), b"", 1234)
        connection.respond(connection.next_request())
        connection.send(h2.rst_stream(connection.next_request().number, Error.INTERNAL_ERROR))
        connection.wait(lambda: False, "the end")

    try:
        with (
            RawOrigin(script) as origin,
            LiveWorker(Plan([origin.address], policy={"access_log": 1}), log=ring) as worker,
            RawClient(worker.address) as client,
        ):
            for _ in range(3):
                client.wait_ended(grpc.call(client))
            client.get("/")
            client.wait_ended(grpc.call(client))
            until(lambda: ring.lines() == 5, "the lines")
        ring.stop()
        flusher.join(DEADLINE_S)
        assert os.read(reader, 1 << 16).decode().splitlines() == ["200 7", "200 0", "200 other", "200 -", "200 14"]
    finally:
        ring.stop()
        os.close(reader)
        os.close(writer)


# --- retries


class Answering:
    """Origins whose answers are scripted by their place: `statuses[i]` of the i-th; 0 answers with a message."""

    def __init__(self, *statuses: int) -> None:
        self.calls = [0] * len(statuses)
        self.bodies: list[bytes] = []
        self.origins = [RawOrigin(self._script(i, status)) for i, status in enumerate(statuses)]

    def _script(self, index: int, status: int) -> Script:
        def script(connection: OriginConnection) -> None:
            connection.handshake()
            while True:
                stream = connection.next_request()
                self.calls[index] += 1
                self.bodies.append(bytes(stream.body))
                if status:
                    grpc.trailers_only(connection, stream, status, ("x-origin", str(index)))
                else:
                    grpc.reply(connection, stream, grpc.message(b"fine"), 0)

        return script

    def __enter__(self) -> list[str]:
        return [origin.address for origin in self.origins]

    def __exit__(self, *_: object) -> None:
        for origin in self.origins:
            origin.close()


RETRIED = {"retry_grpc": 1 << grpc.UNAVAILABLE | 1 << grpc.RESOURCE_EXHAUSTED, "retry_connect": 2}
ROUND_ROBIN = {"balancer": 2}


def test_a_status_of_the_route_is_answered_by_another_endpoint() -> None:
    answering = Answering(grpc.UNAVAILABLE, 0)
    with (
        answering as addresses,
        LiveWorker(Plan(addresses, route=RETRIED, backend=ROUND_ROBIN)) as worker,
        RawClient(worker.address) as client,
    ):
        for i in range(6):
            body = grpc.message(b"%d" % i * 3000)
            stream = client.wait_ended(grpc.call(client, body=body))
            assert grpc.status_of(stream) == grpc.OK
            assert bytes(stream.body) == grpc.message(b"fine")
            assert answering.bodies[-1] == body
        assert answering.calls[1] == 6
        assert answering.calls[0] >= 2, "the draw never began with the endpoint that fails"
        until(lambda: worker.report().grpc == {0: 6}, "the calls to be counted")
        report = worker.report()
        assert report.counters["retries"] == answering.calls[0]
        failures = {endpoint["slot"]: endpoint["failures"] for endpoint in report.endpoints}
        assert failures == {0: answering.calls[0], 1: 0}


def test_every_endpoint_is_tried_once_and_the_last_answer_passed_on() -> None:
    answering = Answering(grpc.UNAVAILABLE, grpc.RESOURCE_EXHAUSTED)
    with (
        answering as addresses,
        LiveWorker(Plan(addresses, route={**RETRIED, "retry_connect": 1}, backend=ROUND_ROBIN)) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client))
        assert answering.calls == [1, 1]
        assert grpc.status_of(stream) in (grpc.UNAVAILABLE, grpc.RESOURCE_EXHAUSTED)
        assert stream.fields["x-origin"] in ("0", "1")
        assert not stream.trailers
        assert worker.counter("retries") == 1


@pytest.mark.parametrize(
    ("route", "status"),
    [({"retry_grpc": 1 << grpc.UNAVAILABLE}, grpc.INTERNAL), ({"retry_grpc": 0}, grpc.UNAVAILABLE),
     ({**RETRIED, "retry_connect": 0}, grpc.UNAVAILABLE)],
    ids=["another status", "no setting", "no tries"],
)  # fmt: skip
def test_other_answers_are_passed_on(route: dict[str, int], status: int) -> None:
    answering = Answering(status, status)
    with (
        answering as addresses,
        LiveWorker(Plan(addresses, route=route)) as worker,
        RawClient(worker.address) as client,
    ):
        assert grpc.status_of(client.wait_ended(grpc.call(client))) == status
        assert sum(answering.calls) == 1
        assert worker.counter("retries") == 0


def test_without_another_endpoint_the_answer_is_passed_on() -> None:
    answering = Answering(grpc.UNAVAILABLE)
    with (
        answering as addresses,
        LiveWorker(Plan(addresses, route=RETRIED)) as worker,
        RawClient(worker.address) as client,
    ):
        assert grpc.status_of(client.wait_ended(grpc.call(client))) == grpc.UNAVAILABLE
        assert answering.calls == [1]


def test_an_answer_that_has_begun_is_not_tried_elsewhere() -> None:
    """A status in trailers came after a head that the client has."""
    calls: list[int] = []

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        while True:
            stream = connection.next_request()
            calls.append(stream.number)
            grpc.reply(connection, stream, b"", grpc.UNAVAILABLE)

    with (
        RawOrigin(script) as one,
        RawOrigin(script) as two,
        LiveWorker(Plan([one.address, two.address], route=RETRIED)) as worker,
        RawClient(worker.address) as client,
    ):
        stream = client.wait_ended(grpc.call(client))
        assert stream.trailers["grpc-status"] == "14"
        assert len(calls) == 1


def test_a_request_too_long_to_keep_is_not_sent_twice() -> None:
    def script(connection: OriginConnection) -> None:
        connection.handshake()
        stream = connection.next_request(whole=False)
        connection.wait(lambda: len(stream.body) >= 60_000, "more than is kept")
        grpc.trailers_only(connection, stream, grpc.UNAVAILABLE)
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as one,
        RawOrigin(script) as two,
        LiveWorker(Plan([one.address, two.address], route=RETRIED)) as worker,
        RawClient(worker.address) as client,
    ):
        number = grpc.call(client, body=grpc.message(bytes(16_000)), end=False)
        client.sync()
        client.send(h2.data(number, bytes(16_000)), h2.data(number, bytes(16_000)), h2.data(number, bytes(15_000)))
        stream = client.wait_ended(number)
        assert grpc.status_of(stream) == grpc.UNAVAILABLE
        assert worker.counter("retries") == 0


def test_a_stream_that_is_kept_is_sent_again_from_its_beginning() -> None:
    """The client has sent a part of its messages; the rest follows to the endpoint that took over."""
    refused, bodies = threading.Event(), []

    def script(connection: OriginConnection) -> None:
        connection.handshake()
        stream = connection.next_request(whole=False)
        connection.wait(lambda: stream.body, "the first message")
        if not refused.is_set():
            refused.set()
            grpc.trailers_only(connection, stream, grpc.UNAVAILABLE)
        else:
            connection.wait(lambda: stream.over, "the last message")
            bodies.append(bytes(stream.body))
            grpc.reply(connection, stream, grpc.message(b"fine"), 0)
        connection.wait(lambda: False, "the end")

    with (
        RawOrigin(script) as one,
        RawOrigin(script) as two,
        LiveWorker(Plan([one.address, two.address], route=RETRIED)) as worker,
        RawClient(worker.address) as client,
    ):
        number = grpc.call(client, body=grpc.message(b"one"), end=False)
        assert refused.wait(DEADLINE_S)
        until(lambda: worker.counter("retries") == 1, "the retry")
        client.send(h2.data(number, grpc.message(b"two"), end=True))
        assert grpc.status_of(client.wait_ended(number)) == grpc.OK
        assert bodies == [grpc.message(b"one") + grpc.message(b"two")]
