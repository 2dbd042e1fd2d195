"""Everything at once, from fixed seeds and for a bounded number of rounds: nothing is mixed up, nothing is lost, and
what the worker took it gives back."""

import itertools
import threading
from collections import Counter
from contextlib import ExitStack
from functools import partial

import pytest

from tests.support.chaos import honest_client, honest_origin, run_all, wild_client, wild_origin
from tests.support.origin import Origin
from tests.support.worker import MS, LiveWorker, Plan


@pytest.mark.parametrize("seed", [19, 33])
def test_every_answer_belongs_to_its_request(seed: int) -> None:
    plan = Plan([], sizes={"large_buffers": 8}, backend={"max_connections": 6, "idle_timeout_ns": 100 * MS})
    done: list[int] = []
    with ExitStack() as stack:
        origins = [stack.enter_context(Origin(honest_origin(seed + i))) for i in range(2)]
        worker = stack.enter_context(LiveWorker(plan.but(upstreams=[origin.address for origin in origins])))
        run_all([partial(honest_client, worker.address, seed * 31 + i, 8, done) for i in range(10)])
        assert sum(done) > 200
        asked = Counter((ask.method, ask.target) for origin in origins for ask in origin.requests())
        assert [key for key, n in asked.items() if n > 1 and key[0] == "POST"] == [], "sent twice"
        worker.settle()


@pytest.mark.parametrize("seed", [2, 31])
def test_nothing_is_left_after_chaos(seed: int) -> None:
    """Everything is nearly too small, every timeout is short, and snapshots change all the time."""
    plan = Plan(
        [],
        host="t.test",
        sizes={"connections": 80, "exchanges": 25, "buffers": 60, "large_buffers": 4},
        policy={
            "header_timeout_ns": 400 * MS, "idle_timeout_ns": 300 * MS, "stream_timeout_ns": 700 * MS,
            "linger_timeout_ns": 200 * MS, "max_connections": 50, "forwarded": 3,
        },
        backend={
            "max_connections": 4, "max_pending": 5, "backoff_min_ns": 10 * MS, "backoff_max_ns": 100 * MS,
            "idle_timeout_ns": 300 * MS, "max_idle": 2,
        },
        route={"per_try_timeout_ns": 300 * MS, "request_timeout_ns": 900 * MS},
    )  # fmt: skip
    over = threading.Event()
    with ExitStack() as stack:
        origins = [stack.enter_context(Origin(wild_origin(seed + i))) for i in range(3)]
        everyone = [origin.address for origin in origins] + ["127.0.0.1:1"]
        worker = stack.enter_context(LiveWorker(plan.but(upstreams=everyone)))

        def publish() -> None:
            for i in itertools.count():
                if over.wait(0.05):
                    return
                worker.publish(plan.but(upstreams=everyone[i % 2 :]))

        publisher = threading.Thread(target=publish, daemon=True)
        publisher.start()
        try:
            run_all([partial(wild_client, worker.address, seed * 7777 + i, 20) for i in range(24)])
        finally:
            over.set()
            publisher.join()
        worker.settle()
        assert worker.counter("accepted") > 100
