"""Answers leave in the order of their requests, whoever made them and however slowly they are read."""

import re
import threading

import pytest

from tests.support.client import Client, request
from tests.support.origin import Origin, serve
from tests.support.pressure import Feed
from tests.support.wait import until
from tests.support.worker import LiveWorker, Plan

MANY = 4000
PAD = "p" * 2000


def trace(number: int) -> bytes:
    """Answered by the proxy with the request itself, so that answers can be told apart."""
    return request("TRACE", f"/{number}", "Max-Forwards: 0", f"X-Pad: {PAD}", host="here")


def send_all(client: Client, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=client.send, args=(data,), daemon=True)
    thread.start()
    return thread


def test_own_answers_wait_for_a_client_that_does_not_read() -> None:
    with (
        Origin(serve()) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        sender = send_all(client, b"".join(trace(i) for i in range(MANY)))
        worker.until_gauge("buffers_small", 1)  # an answer is stuck
        found = [re.search(rb"TRACE /(\d+) ", bytes(client.read("TRACE").body)) for _ in range(MANY)]
        assert [int(match[1]) for match in found if match] == list(range(MANY))
        sender.join()
        assert client.get("/").body == b"ok", "the next answer is not its own"


@pytest.mark.parametrize("cause", ["no route", "no endpoint"])
def test_own_errors_stay_between_the_answers_of_others(cause: str) -> None:
    """Errors that keep the connection, alternating with answers that can be told apart, to a client that reads late."""
    with (
        Origin(serve()) as origin,
        LiveWorker(Plan([origin.address], host="here")) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        if cause == "no endpoint":
            worker.publish(Plan([], host="here"))
            until(lambda: worker.gauge("snapshot_version") == 2, "the publish")
        error = request("GET", "/", host="elsewhere" if cause == "no route" else "here")
        sender = send_all(client, b"".join(trace(i) + error for i in range(MANY)))
        worker.until_gauge("buffers_small", 1)
        status = 404 if cause == "no route" else 503
        for i in range(MANY):
            assert f"TRACE /{i} ".encode() in client.read("TRACE").body
            assert client.read().status == status
        sender.join()


def test_answers_from_upstream_do_not_overtake_own_ones() -> None:
    with (
        Origin(
            serve(
                lambda ask: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ask.target), ask.target.encode())
            )
        ) as origin,
        LiveWorker(Plan([origin.address])) as worker,
        Client(worker.address, receive_buffer_bytes=4096) as client,
    ):
        asks = b"".join(trace(i) + request("GET", f"/up{i}") for i in range(500))
        sender = send_all(client, asks)
        for i in range(500):
            assert f"TRACE /{i} ".encode() in client.read("TRACE").body
            assert client.read().body == f"/up{i}".encode()
        sender.join()


def test_a_client_that_leaves_with_answers_unread_leaves_nothing_behind() -> None:
    with Origin(serve()) as origin, LiveWorker(Plan([origin.address])) as worker:
        with Client(worker.address, receive_buffer_bytes=4096) as client:
            feed = Feed(client.sock, b"".join(trace(i) for i in range(2 * MANY)))
            until(lambda: feed.push() == 0 and worker.gauge("buffers_small"), "an answer to be stuck")
            client.reset()
        worker.settle()
