"""Buffers are gone for a while: exchanges that find none wait, go on when there are some, and never wait for ever."""

import threading
from contextlib import ExitStack

from tests.support.client import Client, request
from tests.support.origin import OK, Connection, Origin
from tests.support.pressure import SWITCHED, WEBSOCKET, is_silent, stuff
from tests.support.wait import DEADLINE_S, until
from tests.support.worker import MS, SECOND, LiveWorker, Plan

SMALL, LARGE = 16, 4
RESERVE = SMALL // 4  # what is kept for responses
STEADY_LOOKS = 50
PLAN = Plan([], sizes={"buffers": SMALL, "large_buffers": LARGE})
UPGRADE = request("GET", "/tunnel", *WEBSOCKET)


class Upstream:
    """/tunnel echoes, /flood answers without end on `flood`, /held once on `go_on`, everything else at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.flood = threading.Event()

    def __call__(self, connection: Connection) -> None:
        while True:
            target = connection.request().target
            if target == "/tunnel":
                connection.send(SWITCHED)
                while True:
                    connection.send(connection.read())
            elif target == "/flood":
                assert self.flood.wait(2 * DEADLINE_S)
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                while True:
                    connection.send(b"f" * 65536)
            elif target == "/held":
                assert self.go_on.wait(2 * DEADLINE_S)
            connection.send(OK)


def hold_by_responses(worker: LiveWorker, upstream: Upstream, stack: ExitStack) -> list[Client]:
    """Clients that do not read what they asked for and have another request at hand: one buffer each way. First they
    take all that clients may hold, then the responses come and take the rest."""
    holders: list[Client] = []

    def all_asked() -> bool:
        if worker.gauge("buffers_small") == SMALL - RESERVE:
            return True
        holder = stack.enter_context(Client(worker.address, receive_buffer_bytes=4096))
        holders.append(holder)
        before = worker.gauge("buffers_small")
        holder.send(request("GET", "/flood") + b"GET")
        until(lambda: worker.gauge("buffers_small") > before, "the request to hold a buffer")
        return False

    until(all_asked, "clients to hold all they may")
    upstream.flood.set()
    until_stuck(worker)
    return holders


def until_stuck(worker: LiveWorker) -> None:
    """Every buffer is held, and stays so look after look: the kernel takes nothing more of the responses either."""
    looks = 0

    def stuck() -> bool:
        nonlocal looks
        gauges = worker.report().gauges
        looks = looks + 1 if (gauges["buffers_small"], gauges["buffers_large"]) == (SMALL, LARGE) else 0
        return looks == STEADY_LOOKS

    until(stuck, "every buffer to be held")


def hold_by_tunnels(worker: LiveWorker, stack: ExitStack, held: int) -> None:
    """Echo tunnels whose clients send and do not read, until so many small buffers are held."""
    holders = [stack.enter_context(Client(worker.address, receive_buffer_bytes=4096)) for _ in range(16)]
    for holder in holders:
        holder.send(UPGRADE)
        assert holder.read().status == 101

    def pushed() -> bool:
        stuff([holder.sock for holder in holders], b"f" * 65536)
        return worker.gauge("buffers_small") >= held

    until(pushed, "the tunnels to hold their buffers")


def open_tunnel(client: Client) -> None:
    client.send(UPGRADE)
    assert client.read().status == 101
    client.send(b"first.")
    assert client.read_until(b"first.") == b"first."


def test_a_starved_tunnel_goes_on_when_buffers_are_back() -> None:
    upstream = Upstream()
    with (
        Origin(upstream) as origin,
        LiveWorker(PLAN.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as tunnel,
        ExitStack() as stack,
    ):
        open_tunnel(tunnel)
        holders = hold_by_responses(worker, upstream, stack)
        before = worker.counter("buffers_full")
        tunnel.send(b"ping.")
        until(lambda: worker.counter("buffers_full") > before, "the tunnel to find no buffer")
        assert is_silent(tunnel.sock)
        for holder in holders:
            holder.close()
        assert tunnel.read_until(b"ping.") == b"ping."


def test_a_moment_of_shortage_ends_nothing_that_is_old() -> None:
    """An exchange may have been silent for longer than starving is allowed: only the shortage itself counts. The end of
    an idle connection says that the time has passed."""
    upstream = Upstream()
    plan = PLAN.but(policy={"idle_timeout_ns": 5200 * MS})
    with (
        Origin(upstream) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as tunnel,
        Client(worker.address) as slow,
        Client(worker.address) as clock,
        ExitStack() as stack,
    ):
        open_tunnel(tunnel)
        slow.send(request("GET", "/held"))
        assert clock.get("/").body == b"ok"
        assert clock.expect_end() == "FIN"
        holders = hold_by_responses(worker, upstream, stack)
        before = worker.counter("buffers_full")
        tunnel.send(b"ping.")
        upstream.go_on.set()
        until(lambda: worker.counter("buffers_full") > before + 10, "both to find no buffer, more than once")
        assert is_silent(tunnel.sock)
        assert is_silent(slow.sock)
        for holder in holders:
            holder.close()
        assert slow.read().body == b"ok"
        assert tunnel.read_until(b"ping.") == b"ping."


def test_the_time_for_one_try_holds_while_starved() -> None:
    upstream = Upstream()
    plan = PLAN.but(route={"per_try_timeout_ns": 2 * SECOND})
    with (
        Origin(upstream) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as client,
        ExitStack() as stack,
    ):
        client.send(request("GET", "/held"))
        worker.until_gauge("upstream_connections", 1)
        hold_by_responses(worker, upstream, stack)
        assert is_silent(client.sock), "too late to starve it"
        upstream.go_on.set()
        assert client.read().status == 504
        until(lambda: worker.report().faults.get("per_try_timeout"), "the fault to be counted")


def test_uploads_that_fill_every_buffer_do_not_stop_their_responses() -> None:
    """Each upstream answers before it reads on, and reads on only when its answer is taken: without a buffer for
    responses everything would wait for everything."""
    begin = threading.Event()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"z" * 1_000_000

    def script(connection: Connection) -> None:
        connection.sock.setsockopt(1, 7, 65536)  # SO_SNDBUF: the answer does not fit
        while True:
            if connection.head().target == "/new":
                connection.send(OK)
                continue
            assert begin.wait(DEADLINE_S)
            connection.send(answer)
            connection.wait_end()

    with (
        Origin(script) as origin,
        LiveWorker(PLAN.but(upstreams=[origin.address])) as worker,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(worker.address)) for _ in range(30)]
        for i, client in enumerate(clients):
            client.send(request("POST", "/", "Content-Length: 500000000") + b"u" * 50_000)
            assert origin.connection(i).head_seen.wait(DEADLINE_S)
            until(lambda: worker.gauge("buffers_small") + worker.gauge("buffers_large") == 0, "the upload to go on")

        def pushed() -> bool:
            stuff([client.sock for client in clients], b"u" * 65536)
            return worker.gauge("buffers_small") + worker.gauge("buffers_large") >= (SMALL + LARGE) * 3 // 4

        until(pushed, "the uploads to hold all they may")
        assert worker.gauge("exchanges") == 30
        begin.set()
        assert [len(client.read("POST").body) for client in clients] == [1_000_000] * 30
        for client in clients:
            client.close()
        with Client(worker.address) as new:
            until(lambda: worker.gauge("buffers_small") == 0, "the buffers to come back")
            assert new.get("/new").body == b"ok"


def test_tunnels_whose_clients_do_not_read_cannot_hold_what_others_need() -> None:
    """They leave the reserve alone, so answers go on meanwhile; stuck for too long they are ended. Silent ones stay."""
    upstream = Upstream()
    plan = PLAN.but(policy={"stream_timeout_ns": 1500 * MS})
    with (
        Origin(upstream) as origin,
        LiveWorker(plan.but(upstreams=[origin.address])) as worker,
        Client(worker.address) as silent,
        Client(worker.address) as waiting,
        ExitStack() as stack,
    ):
        open_tunnel(silent)
        waiting.send(request("GET", "/held"))
        worker.until_gauge("exchanges", 2)
        hold_by_tunnels(worker, stack, held=SMALL - RESERVE)
        assert worker.gauge("buffers_small") == SMALL - RESERVE, "tunnels took from the reserve"
        upstream.go_on.set()
        assert waiting.read().body == b"ok"
        assert worker.counter("tunnels") == 17
        assert worker.gauge("tunnels") == 17, "answered only once the tunnels were gone"
        until(lambda: worker.gauge("tunnels") == 1, "stuck tunnels to be ended")
        silent.send(b"ping.")
        assert silent.read_until(b"ping.") == b"ping."
