"""The access log never holds up its worker or its own end."""

import os
import threading

from tests.support.client import Client
from tests.support.origin import Origin, serve
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import LiveWorker, Plan, log_ring


def full_pipe() -> tuple[int, int]:
    """(read end, write end) of a pipe that takes no more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        return reader, writer


def test_stopping_does_not_wait_for_a_pipe_nobody_reads() -> None:
    ring = log_ring()
    reader, writer = full_pipe()
    ended: list[int] = []
    flusher = threading.Thread(target=lambda: ended.append(ring.run(writer)), daemon=True)
    flusher.start()
    try:
        with (
            Origin(serve()) as origin,
            LiveWorker(Plan([origin.address], policy={"access_log": 1}), log=ring) as worker,
            Client(worker.address) as client,
        ):
            assert client.get("/").body == b"ok"
            until(lambda: ring.lines() == 1, "a line that cannot be written")
        ring.stop()
        flusher.join(DEADLINE_S)
        assert ended == [0]
    finally:
        os.close(reader)  # whoever still writes is ended by this
        flusher.join(DEADLINE_S)
        os.close(writer)
