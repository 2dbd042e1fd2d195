"""Plays one case of the HTTP/2 corpus and judges what everyone saw."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from tests.support import http2_frames as h2
from tests.support import judge
from tests.support.client import Client, Ended, request
from tests.support.fastmesh import Fastmesh
from tests.support.http1 import Request, Response
from tests.support.http2 import OriginConnection, RawClient, RawOrigin
from tests.support.http2_corpus import Case
from tests.support.http2_frames import Error, Setting
from tests.support.http2_origins import Origins, Seen, serve_http2
from tests.support.http2_script import Player
from tests.support.http2_wants import tell
from tests.support.metrics import Metrics
from tests.support.origin import Gone
from tests.support.wait import DEADLINE_S, until

BYSTANDER = "/bystander"
PAUSE_S = 0.002  # between its requests
AT_ONCE_S = 2.0  # a bystander's answer takes no longer, on a machine that may be busy


def _settings(case: Case) -> dict[int, int]:
    return {int(Setting[name]): value for name, value in case.more.get("settings", {}).items()}


def _metric(name: str) -> str:
    return name if name.startswith("fastmesh_") else f"fastmesh_http2_{name}_total"


@dataclass
class Books:
    """Counters before and after."""

    proxy: Fastmesh
    case: Case
    before: Metrics

    def expected(self) -> dict[str, str]:
        """What the case says, and what its wants imply."""
        found = {name: str(value) for name, value in self.case.more.get("counts", {}).items()}
        words = self.case.wants.words()
        if "calm" in words:
            found.setdefault("floods", "1")
        if "dies" in words:
            found.setdefault("protocol_errors", "1")
        if "reset" in words:
            found.setdefault("resets_sent", ">=1")
        return found

    def check(self) -> None:
        for name, text in self.expected().items():
            wanted, least = int(text.removeprefix(">=")), text.startswith(">=")

            def grown(name: str = name) -> float:
                now = self.proxy.metrics()
                assert now.has(_metric(name)), f"no metric {_metric(name)}"
                return now.sum(_metric(name)) - self.before.sum(_metric(name))

            until(lambda grown=grown, wanted=wanted: grown() >= wanted, f"{name} to grow by {wanted}")  # type: ignore[misc]
            assert least or grown() == wanted, f"{name} grew by {grown():g} instead of {wanted}"

    def gauges(self) -> None:
        limits: Mapping[str, int] = self.case.more.get("gauges", {})
        if limits:
            now = self.proxy.metrics()
            over = {name: now.sum(f"fastmesh_{name}") for name in limits if now.sum(f"fastmesh_{name}") > limits[name]}
            assert not over, f"in use: {over}, at most {dict(limits)}"


def _was_idle(client: RawClient) -> bool:
    """Its connection was ended in peace, before its last request was looked at: this thread did not come to ask for the
    idle timeout of `strict`, and any client dials again."""
    last = int.from_bytes(client.goaway.payload[:4], "big") if client.goaway is not None else 0
    return client.goaway_code == Error.NO_ERROR and last < max(client.watch.streams, default=0)


class Bystander(threading.Thread):
    """Another client, on a connection of its own, that asks all the while and must be answered at once."""

    def __init__(self, proxy: Fastmesh) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._leave = threading.Event()
        self.answered = 0
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._leave.is_set():
                with RawClient(self._proxy.address) as client:
                    self._stay(client)
        except BaseException as error:  # kept for the test's thread
            self.problem = error

    def _stay(self, client: RawClient) -> None:
        while not self._leave.wait(PAUSE_S):
            try:
                self._ask(client)
            except Gone:
                if not _was_idle(client):
                    raise
                return
            self.answered += 1

    def _ask(self, client: RawClient) -> None:
        began = time.monotonic()
        answer = client.get(BYSTANDER)
        assert (answer.status, bytes(answer.body)) == (200, b"ok"), f"the bystander got {answer}"
        took = time.monotonic() - began
        assert took < AT_ONCE_S, f"the bystander's answer took {took:.1f} s"

    def check(self) -> None:
        """It is answered now: a request that begins from here on."""
        want = self.answered + 2
        until(lambda: self.problem or self.answered >= want, "the bystander's next answer")
        if self.problem:
            raise self.problem

    def __enter__(self) -> "Bystander":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self.join(DEADLINE_S)


class ClientTrial:
    """A case that attacks fastmesh as a server. A bystander's connection is there before, during and after it."""

    def __init__(self, case: Case, way: str, proxy: Fastmesh, origins: Origins) -> None:
        self.case = case
        self.way = "random" if way.endswith("pieces") else "whole"
        self.proxy = proxy
        self.origins = origins

    def run(self) -> None:
        self.origins.mark()
        books = Books(self.proxy, self.case, self.proxy.metrics())
        with Bystander(self.proxy) as bystander:
            bystander.check()
            self._attack(books, bystander)
            bystander.check()
        for gauge in ("fastmesh_exchanges_in_flight", "fastmesh_open_connections"):
            self.proxy.wait_metric(gauge, 0)
        half = bool(self.case.more.get("half"))
        self._judge_origin(self.origins.settle(lambda seen: seen.request.target != BYSTANDER, half=half))
        books.check()

    def _attack(self, books: Books, bystander: Bystander) -> None:
        handshake = self.case.more.get("handshake", True)
        with RawClient(self.proxy.address, _settings(self.case), handshake=handshake) as attacker:
            player = Player(attacker, self.way, self.case.name)
            try:
                player.play(self.case.script)
            except Gone:
                pass  # whether that was right is judged by what is wanted
            except TimeoutError as error:
                raise AssertionError(f"{error}. Came: {tell(attacker)}") from error
            books.gauges()
            bystander.check()
            self.case.wants.hold(player)
            self.proxy.assert_alive()

    def _judge_origin(self, seen: list[Seen]) -> None:
        whole = [one.request for one in seen if one.request.complete]
        heads = [one.request.start for one in seen]
        low, high = self.case.bounds("origin", 0)
        assert low <= len(whole) <= high, f"{len(whole)} requests reached the origin: {heads[:10]}"
        if not self.case.more.get("half"):
            assert len(whole) == len(seen), f"half a request went upstream: {heads[:10]}"
        problems = [problem for request in whole if (problem := self._problem(request))]
        # Streams that begin together reach an HTTP/1 origin in any order.
        assert not whole or len(problems) < len(whole), problems[0]

    def _problem(self, request: Request) -> str:
        """Why it is not the request that the case speaks of."""
        try:
            judge.hop_fields_gone(request, self.case.lines("up"), "upstream")
            judge.start_and_fields(request, self.case.lines("up"), "upstream")
            judge.body_and_trailers(request, self.case.bytes("body"), self.case.more.get("trailers"), "upstream")
        except AssertionError as error:
            return str(error)
        return ""


@dataclass
class Answer:
    """What one request's client saw."""

    status: int = 0
    whole: bool = False
    response: Response | None = None
    story: str = ""

    def fits(self, word: str) -> bool:
        if word == "deliver":
            return self.whole and self.response is not None and not self.response.get("fastmesh-error")
        if word == "cut":
            return not self.whole
        made = self.response is not None and self.response.get("fastmesh-error")
        return self.whole and self.status == int(word) and bool(made)


class Hostility:
    """Plays the case's script on the first connection (or every one), serves politely on all others."""

    def __init__(self, case: Case, origin: RawOrigin) -> None:
        self.case = case
        self.origin = origin
        self.first = len(origin.connections)
        self.ready = threading.Event()  # the script was played and its wants were seen, or were not
        self.problem: Exception | None = None
        self.played = 0

    def __call__(self, connection: OriginConnection) -> None:
        if self.played and not self.case.more.get("every"):
            serve_http2(connection)
            return
        self.played += 1
        try:
            self._play(connection)
        except Exception as error:  # kept for the test's thread
            self.problem = self.problem or error
        finally:
            self.ready.set()

    def _play(self, connection: OriginConnection) -> None:
        connection.auto_window = True
        if self.case.more.get("handshake", True):
            connection.handshake(_settings(self.case), acked=False)
        else:
            connection.take_preface()
        player = Player(connection)
        try:
            player.play(self.case.script)
        except Gone:
            pass
        if self.case.more.get("up") is not None:
            self.case.wants.hold(player)
        self.ready.set()
        if not connection.ended:
            connection.wait_end(60)

    def streams(self) -> int:
        """Requests that reached the origin."""
        connections = cast(list[OriginConnection], self.origin.connections[self.first :])
        return sum(bool(stream.heads) for peer in connections for stream in list(peer.watch.streams.values()))


@dataclass
class OriginTrial:
    """A case that attacks fastmesh as a client, asked over HTTP/1 or HTTP/2 (`way`)."""

    case: Case
    way: str
    proxy: Fastmesh
    hostility: Hostility
    answers: list[Answer] = field(default_factory=list)

    def run(self) -> None:
        books = Books(self.proxy, self.case, self.proxy.metrics())
        asks = self.case.more.get("asks", 1)
        method, *fields = self.case.more.get("ask", ["GET"])
        self.answers = (
            self._ask_http2(asks, method, fields) if self.way == "http2" else self._ask_http1(asks, method, fields)
        )
        played = self.hostility.ready.wait(DEADLINE_S)
        assert played or "up" not in self.case.more, "the script was not played to its end"
        books.gauges()
        if self.hostility.problem is not None:
            raise AssertionError(f"at the origin: {self.hostility.problem}") from self.hostility.problem
        for answer, word in zip(self.answers, self.case.more["want"], strict=True):
            assert any(answer.fits(one) for one in word.split("/")), f"not {word}: {answer}"
        self._judge_delivered()
        asked, most = self.hostility.streams(), self.case.more.get("streams")
        assert most is None or asked <= most, f"{asked} requests reached the origin"
        self._next()
        books.check()

    def _ask_http1(self, count: int, method: str, fields: list[str]) -> list[Answer]:
        clients = [Client(self.proxy.address) for _ in range(count)]
        try:
            for i, client in enumerate(clients):
                client.send(request(method, f"/{i + 1}", *fields))
            return [_read_http1(client, method) for client in clients]
        finally:
            for client in clients:
                client.close()

    def _ask_http2(self, count: int, method: str, fields: list[str]) -> list[Answer]:
        pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in fields)]
        with RawClient(self.proxy.address) as client:
            client.auto_window = True
            numbers = [client.request(h2.request_fields(method, f"/{i + 1}", *pairs)) for i in range(count)]
            answers = [_read_http2(client, number) for number in numbers]
            client.sync()
            return answers

    def _judge_delivered(self) -> None:
        first = self.answers[0]
        if first.fits("deliver") and first.response is not None:
            lines = self.case.lines("down")
            judge.hop_fields_gone(first.response, lines, "downstream")
            judge.start_and_fields(first.response, lines, "downstream")
            trailers = self.case.more.get("trailers")
            judge.body_and_trailers(first.response, self.case.bytes("body"), trailers, "downstream")

    def _next(self) -> None:
        """The next request is answered, by a polite connection unless every one is hostile."""
        self.proxy.assert_alive()
        if self.case.more.get("every"):
            return
        self.hostility.origin.drop_connections()
        self.proxy.wait_pool_empty()
        with Client(self.proxy.address) as client:
            answer = client.get("/next")
            assert (answer.status, bytes(answer.body)) == (200, b"ok"), f"the next request: {answer.head!r}"
        if self.hostility.played > 1:
            raise AssertionError("the script was played twice")


def _read_http1(client: Client, method: str) -> Answer:
    try:
        response = client.read(method)
    except Ended as ended:
        return Answer(story=str(ended))
    return Answer(response.status, response.complete, response, f"{response.head!r}{bytes(response.body[:200])!r}")


def _read_http2(client: RawClient, number: int) -> Answer:
    stream = client.wait_ended(number)
    whole = stream.ended and stream.reset is None and bool(stream.final)
    response = None
    if stream.final:
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in stream.final[0]]
        response = Response(b"HTTP/1.1 %d " % stream.status, [pair for pair in fields if not pair[0].startswith(b":")])
        response.body = stream.body
        response.trailers = [(name.encode(), value.encode("latin-1")) for name, value in stream.trailers.items()]
    return Answer(stream.status, whole, response, tell(client))
