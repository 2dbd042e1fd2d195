"""Runs one corpus case between a raw client and a recording origin, and judges what both saw."""

import socket
from dataclasses import dataclass

from tests.support import judge
from tests.support.corpus import Case, pieces
from tests.support.http1 import Request, Response
from tests.support.stage import Answer, ClientWire, OriginWire, Stage

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
HEAD_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: next.test\r\n\r\n"


@dataclass(frozen=True)
class Place:
    """A proxy and the origin it forwards to."""

    front: str
    listener: socket.socket

    @property
    def is_unix(self) -> bool:
        return self.front.startswith("unix:")


class RequestTrial:
    """One request case, cut `how`."""

    def __init__(self, case: Case, how: str, place: Place) -> None:
        self.case = case
        self.stage = Stage(place.front, place.listener, self._answer)
        self.words = case.want
        self.forwards = sum(word in ("forward", "tunnel") for word in self.words)
        self.pieces = pieces(case.raw, how, case.name)

    def _answer(self, request: Request) -> Answer:
        if request.target == "/next":
            return Answer([OK])
        reply = self.case.text("reply")
        if reply is not None:
            return Answer([reply])
        return Answer([HEAD_OK if request.method == "HEAD" else OK])

    def run(self) -> None:
        try:
            self._run()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stage.describe()}") from None
        finally:
            self.stage.close()

    def _run(self) -> None:
        client = self.stage.client(self.pieces, "half-close" if self.case.more.get("eof") else "keep")
        client.stream.spare = len(self.words) - self.forwards
        last = self.words[-1]
        keep = self.case.more.get("keep", last == "forward" or last.startswith("own:"))
        if last == "tunnel":
            self.stage.run(lambda: bool(client.finals), "the tunnel")
            use_tunnel(self.stage, client)
        elif keep:
            self.stage.run(lambda: len(client.finals) == len(self.words) or bool(client.ended), "every answer")
            self._next_on(client)
        else:
            self.stage.run(lambda: bool(client.ended), "the end of the connection")
            self._next_on(self.stage.client([]))
        self._judge_answers(client, keep)
        self._judge_origin()

    def _next_on(self, client: ClientWire) -> None:
        """One more request. All bytes of the case went upstream before it, so what the origin saw is all there is."""
        seen = len(client.finals)
        assert not client.ended, "the connection should have stayed open"
        client.queue([NEXT])
        self.stage.run(lambda: len(client.finals) > seen or bool(client.ended), "the answer to the next request")
        assert not client.ended, "the connection should have stayed open"
        answer = client.finals.pop()
        assert (answer.status, bytes(answer.body)) == (200, b"ok"), f"next request: {answer.head!r}"
        assert self.stage.requests.pop().target == "/next", "the next request is not the last that came"

    def _judge_answers(self, client: ClientWire, keep: bool) -> None:
        finals = list(client.finals)
        allowed = ("", "FIN", "RST") if self.case.more.get("reset") else ("", "FIN")
        assert client.ended in allowed, "the connection was reset: the answer may be lost"
        assert not client.interim, f"interim responses nobody sent: {client.interim}"
        assert not client.stream.buffer, f"bytes behind the last answer: {bytes(client.stream.buffer)!r}"
        for word in self.words:
            if word == "cut":
                assert len(finals) <= 1, f"answers to a request that never ended: {finals}"
                assert not finals or finals.pop(0).status in (400, 408, 499), "an answer to a request that never ended"
                continue
            assert finals, f"no answer for {word!r}"
            self._judge_answer(word, finals.pop(0), keep)
        assert not finals, f"more answers than requests: {[final.head for final in finals]}"

    def _judge_answer(self, word: str, final: Response, keep: bool) -> None:
        if word in ("forward", "tunnel"):
            reply = self.case.text("reply") or OK
            assert final.start.startswith(reply[:12]), f"answered {final.head!r}"
            assert not final.get("fastmesh-error"), f"made by the proxy: {final.head!r}"
            if word is self.words[-1] and word == "forward" and not keep and not self.case.more.get("eof"):
                assert final.closes, f"the last answer must announce the end: {final.head!r}"
        else:
            kind, _, statuses = word.rpartition(":")
            allowed = [int(status) for status in statuses.split("/")]
            if kind == "own":
                assert final.status in allowed, f"answered {final.head!r}"
            else:
                judge.refusal(final, allowed)

    def _judge_origin(self) -> None:
        done = self.stage.requests
        assert len(done) == self.forwards, f"{len(done)} requests reached the origin: {[r.head for r in done]}"
        for i, request in enumerate(done):
            judge.forwarded(request, self.case.lines("up" if i == 0 else f"up{i + 1}"))
        if done:
            judge.body_and_trailers(done[0], self.case.text("body"), self.case.more.get("trailers"), "upstream")
        open_ones = [wire for wire in self.stage.origins if wire.holds_half]
        if not any(word == "cut" or word.startswith("abort") for word in self.words):
            assert not open_ones, f"half a request went upstream: {bytes(open_ones[0].received)!r}"
        assert len(open_ones) <= 1, "several half requests went upstream"
        self.stage.run(self.stage.no_half_request, "the end of the half request's connection")


def use_tunnel(stage: Stage, client: ClientWire) -> None:
    """Bytes both ways, then half-close both ways."""
    origin = next(wire for wire in stage.origins if wire.answered)
    origin.stream.tunnel()
    client.queue([b"ping\r\n\0\xff"])
    stage.run(lambda: b"ping\r\n\0\xff" in origin.stream.raw, "bytes to the origin")
    origin.queue([b"pong\0"])
    stage.run(lambda: b"pong\0" in client.stream.raw, "bytes to the client")
    client.queue([], "half-close")
    stage.run(lambda: bool(origin.ended), "the client's half-close at the origin")
    origin.queue([b"last words"], "close")
    stage.run(lambda: bool(client.ended), "the origin's end at the client")
    assert client.stream.raw.endswith(b"last words"), f"lost after the half-close: {bytes(client.stream.raw)!r}"
    assert (origin.ended, client.ended) == ("FIN", "FIN"), "a tunnel that ends well is not reset"


class ResponseTrial:
    """One response case, cut `how`."""

    def __init__(self, case: Case, how: str, place: Place) -> None:
        self.case = case
        self.place = place
        self.stage = Stage(place.front, place.listener, self._answer)
        self.first = Answer(pieces(case.raw, how, case.name), case.more.get("then", "keep"))
        ask = case.more.get("ask", "GET")
        self.ask = (ask if " " in ask else f"{ask} / HTTP/1.1\r\nHost: a.test\r\n\r\n").encode()

    def _answer(self, request: Request) -> Answer:
        return Answer([SECOND]) if request.target == "/next" else self.first

    def run(self) -> None:
        try:
            self._run()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stage.describe()}") from None
        finally:
            self.stage.close()

    def _run(self) -> None:
        client = self.stage.client([self.ask])
        client.stream.spare = 1  # an answer of the proxy's own may come before the request is whole
        self.stage.run(lambda: bool(client.finals or client.ended), "the answer")
        client.stream.spare = 0
        want = self.case.want[0]
        if "502" in want and client.finals and client.finals[0].status == 502:
            self._judge_502(client)
        elif want.startswith("deliver"):
            self._judge_delivered(client)
        elif want == "tunnel":
            self._judge_tunnel(client)
        elif want == "cut":
            self._judge_cut(client)
        else:
            assert not client.finals, f"delivered: {client.finals[0].head!r}"
            raise AssertionError("neither delivered nor refused")

    def _judge_502(self, client: ClientWire) -> None:
        final = client.finals[0]
        assert final.get("fastmesh-error"), f"no reason in fastmesh-error: {final.head!r}"
        leaked = [word for word in (b"evil", b"hello") if word in client.received]
        assert not leaked, f"bytes of a refused response got through: {leaked}"
        self._next_elsewhere()

    def _judge_cut(self, client: ClientWire) -> None:
        if client.finals and client.finals[0].status == 502:
            return self._judge_502(client)
        if not (self.place.is_unix and client.finals and client.finals[0].framing == "close"):
            # A Unix socket cannot be reset, so there the end of an HTTP/1.0 body says nothing.
            assert not client.finals, f"what was cut looks complete: {client.finals[0].head!r}"
        assert client.ended, "the connection of a cut response goes on"
        return self._next_elsewhere()

    def _judge_tunnel(self, client: ClientWire) -> None:
        self._judge_head(client)
        body = self.case.text("body") or b""
        self.stage.run(lambda: len(client.stream.raw) >= len(body), "the bytes behind the head")
        assert client.stream.raw.startswith(body), f"tunnel begins with {bytes(client.stream.raw)!r}"
        use_tunnel(self.stage, client)

    def _judge_head(self, client: ClientWire) -> Response:
        assert client.finals, "no answer"
        final, lines = client.finals[0], self.case.lines("down")
        assert final.version == "HTTP/1.1", f"{final.start!r}"
        assert not final.get("fastmesh-error"), f"made by the proxy: {final.head!r}{bytes(final.body)!r}"
        if final.status != 101:
            judge.hop_fields_gone(final, lines, "downstream")
        judge.start_and_fields(final, lines, "downstream")
        if "interim" in self.case.more:
            found = [str(response.status) for response in client.interim]
            assert found == self.case.more["interim"], f"interim responses {found}"
        return final

    def _judge_delivered(self, client: ClientWire) -> None:
        final = self._judge_head(client)
        judge.body_and_trailers(final, self.case.text("body"), self.case.more.get("trailers"), "downstream")
        keep = not final.closes and final.framing != "close"
        if "keep" in self.case.more:
            assert keep == self.case.more["keep"], f"persistence is {keep}: {final.head!r}"
        if not self.case.more.get("reuse", self.first.then == "keep"):
            return self._next_elsewhere(client if keep else None)
        answered = self._next(client if keep else self.stage.client([]))
        assert answered is self.stage.origins[0], "the connection was not reused"
        return None

    def _next_elsewhere(self, client: ClientWire | None = None) -> None:
        """The origin's connection is ended by the proxy, and the next request takes another."""
        first = self.stage.origins[0]
        self.stage.run(lambda: bool(first.ended) or first.closed, "the end of the origin's connection")
        answered = self._next(client or self.stage.client([]))
        assert answered is not first, "the connection was reused"

    def _next(self, client: ClientWire) -> OriginWire:
        """One more request must get its own answer; the connection it took."""
        seen = len(client.finals)
        client.queue([NEXT])
        self.stage.run(lambda: len(client.finals) > seen or bool(client.ended), "the answer to the next request")
        assert len(client.finals) > seen, "the connection should have stayed open"
        assert bytes(client.finals[-1].body) == b"second", f"another answer: {client.finals[-1].head!r}"
        return next(w for w in self.stage.origins if any(r.target == "/next" for r in w.stream.messages))
