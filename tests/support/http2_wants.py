"""What must be seen of the other side after a script, in words.

    answered S [BODY]     200 with that body (`ok`), and no error
    status S CODE/CODE    a whole answer with one of them
    refused S [CODE...]   RST_STREAM PROTOCOL_ERROR or a whole 400 (or one of the codes), and nothing else
    reset S CODE/CODE     RST_STREAM with one of them, no whole answer
    cut S                 any RST_STREAM, no whole answer
    silent S              nothing on the stream
    bytes S N             exactly N bytes of a body have come
    dies CODE/CODE        GOAWAY with one of them, the connection is closed
    calm                  GOAWAY ENHANCE_YOUR_CALM, closed, and counted as a flood
    closed                the connection is closed
    stuck                 it takes nothing more, unread
    lives                 the connection answers a PING; meant wherever none of the four before stands

`a || b` allows either.
"""

from dataclasses import dataclass

from tests.support.http2 import Peer
from tests.support.http2_frames import Error
from tests.support.http2_script import Player
from tests.support.http2_watch import Stream
from tests.support.origin import Gone
from tests.support.wait import DEADLINE_S

PATIENCE_S = DEADLINE_S  # until what is wanted is seen

_ENDS = ("dies", "calm", "closed", "stuck")
_CALM = str(int(Error.ENHANCE_YOUR_CALM))


def codes(text: str) -> list[int]:
    """`CANCEL/NO_ERROR`."""
    return [Error[word] for word in text.split("/")]


def _whole(stream: Stream, statuses: list[int]) -> bool:
    return stream.status in statuses and stream.ended and stream.reset in (None, Error.NO_ERROR)


@dataclass(frozen=True)
class Want:
    """One word with what belongs to it."""

    word: str
    rest: tuple[str, ...]

    @property
    def ends(self) -> bool:
        return self.word in _ENDS

    def true(self, player: Player) -> bool:
        peer = player.peer
        if self.word in ("dies", "calm"):
            wanted = codes(self.rest[0]) if self.rest else [Error.ENHANCE_YOUR_CALM]
            # A reset may take the GOAWAY with it, when we still sent; the counters tell then.
            return bool(peer.ended) and (peer.goaway_code in wanted or (peer.goaway is None and peer.ended == "RST"))
        if self.word == "closed":
            return bool(peer.ended)
        if self.word == "stuck":
            return player.stuck
        if self.word == "lives":
            return not peer.ended and peer.goaway is None
        stream = peer.stream(int(self.rest[0]))
        if self.word in ("reset", "cut"):
            wanted = codes(self.rest[1]) if self.word == "reset" else list(Error)
            # At an origin what may have ended is the request.
            return stream.reset in wanted and (peer.watch.client or not stream.ended)
        return self._of_answer(stream, self.rest[1:])

    def _of_answer(self, stream: Stream, rest: tuple[str, ...]) -> bool:
        if self.word == "answered":
            body = " ".join(rest).encode("latin-1") if rest else b"ok"
            return _whole(stream, [200]) and bytes(stream.body) == body
        if self.word == "status":
            return _whole(stream, [int(code) for code in rest[0].split("/")])
        if self.word == "refused":
            allowed = [int(code) for code in rest] or [400]
            return _whole(stream, allowed) or (stream.reset == Error.PROTOCOL_ERROR and stream.status in (0, *allowed))
        if self.word == "bytes":
            return len(stream.body) == int(rest[0])
        if self.word == "silent":
            return not stream.frames
        raise ValueError(f"no such want: {self.word}")


@dataclass(frozen=True)
class Wants:
    """All of them."""

    texts: tuple[str, ...]

    def parsed(self) -> list[list[Want]]:
        found = [[Want(*_cut(one)) for one in text.split(" || ")] for text in self.texts]
        if not any(want.ends for either in found for want in either):
            found.append([Want("lives", ())])
        return found

    def words(self) -> set[str]:
        """Those that are sure: no alternatives."""
        return {either[0].word for either in self.parsed() if len(either) == 1}

    def hold(self, player: Player, seconds: float | None = None) -> None:
        """Reads until all of it can be seen. AssertionError with what came."""
        parsed = self.parsed()

        def seen() -> bool:
            return all(any(want.true(player) for want in either) for either in parsed)

        late = False
        try:
            if not any(want.ends for either in parsed for want in either):
                _settle(player.peer)
            player.peer.wait(seen, "what must be seen", seconds or PATIENCE_S)
            if not player.peer.ended and not player.stuck and not player.deaf:
                _settle(player.peer)
        except (Gone, TimeoutError):
            late = True
        if not seen():
            missing = [text for text, either in zip((*self.texts, "lives"), parsed, strict=False)
                       if not any(want.true(player) for want in either)]  # fmt: skip
            raise AssertionError(f"not seen{' in time' if late else ''}: {missing}. Came: {tell(player.peer)}")


def _settle(peer: Peer) -> None:
    """Twice there and back: acks may overtake what was queued before them (RFC 9113 6.7)."""
    peer.sync()
    peer.sync()


def _cut(text: str) -> tuple[str, tuple[str, ...]]:
    word, *rest = text.split(" ")
    return word, tuple(rest)


def tell(peer: Peer) -> str:
    """The story, its middle left out when it is long."""
    story = peer.story()
    return story if len(story) < 1500 else f"{story[:700]} ... {story[-700:]}"
