"""The small language of the HTTP/2 corpus: a step a line, each a frame to send or something to wait for.

    head STREAM [METHOD PATH | STATUS] [open] [part] [pad=N] [prio=N] [cut=N] [bare]
                                        HEADERS, ends the stream unless open
    cont STREAM [part]                  CONTINUATION, ends the block unless part
    tail STREAM [open]                  HEADERS without pseudo-header fields: trailers
    data STREAM [TEXT] [end] [pad=N]    frame TYPE FLAGS STREAM [TEXT] [size=N]
    reset STREAM CODE                   window STREAM N                     priority STREAM [on N]
    settings [NAME=N ...] | settings ack                ping | pong         goaway LAST CODE [TEXT]
    push STREAM PROMISED                raw TEXT                            preface
    sync    acks N    end STREAM    came STREAM [BYTES]    closed           wait until the peer has done that
    request N                           (an origin's) wait until N requests came
    deaf    hear    grant               stop reading, read again, give windows back from here on
    half-close    drop                  FIN, RST

STREAM is a number, `+` (the next one) or `.` (the one before). Behind ` | ` stand fields of a block, in order:
`name: value` as a literal, `+name: value` with indexing, `~name: value` in Huffman code, `!name: value` never indexed,
`-name` leaves a field out that `head` would send, `@iN` is an index, `@uN` a table size update, `@xHEX` any bytes; `*N`
behind one of these three repeats it. The first field with a name that `head` sends by itself takes the place of that.
A list whose first item is `N times` repeats the others. `<<text*N>>` is written out as in the corpus of HTTP/1.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.support import http2_frames as h2
from tests.support.corpus import expand, pieces
from tests.support.http2 import OriginConnection, Peer, RawClient
from tests.support.http2_frames import Error, Field, Kind, Setting
from tests.support.wait import DEADLINE_S

STUCK_S = 0.5  # a peer that takes nothing this long will not, until it is read
_FLAGS = re.compile(r"open|part|bare|end|(pad|prio|cut|size)=\d+")
_MODES = {"+": "index", "!": "never"}


@dataclass(frozen=True)
class Frames:
    """What a step sends. `stream`: the token that decides the number in every frame, None when they are as they are."""

    stream: str | None
    frames: tuple[bytes, ...]

    def on(self, number: int) -> bytes:
        if self.stream is None:
            return b"".join(self.frames)
        place = number.to_bytes(4, "big")
        return b"".join(frame[:5] + place + frame[9:] for frame in self.frames)


def _piece(item: str) -> bytes:
    """One item of a block that does not take a lawful field's place."""
    raw = re.fullmatch(r"@([iux])([0-9a-f]+)(?:\*(\d+))?", item)
    if raw:
        kind, text, times = raw[1], raw[2], int(raw[3] or 1)
        if kind == "x":
            return bytes.fromhex(text) * times
        return (h2.indexed(int(text)) if kind == "i" else h2.size_update(int(text))) * times
    mode = _MODES.get(item[:1], "plain")
    huffman = item.startswith("~")
    name, colon, value = (item[1:] if huffman or mode != "plain" else item).partition(": ")
    if not colon:
        raise ValueError(f"no field: {item!r}")
    return h2.literal(name, value, mode, huffman=huffman)


def block(items: list[str], lawful: list[Field]) -> bytes:
    """The header block of these items and of the fields that were not replaced or left out."""
    rest = list(items)
    out = b""
    for name, value in lawful:
        if f"-{name}" in rest:
            rest.remove(f"-{name}")
            continue
        own = next((item for item in rest if item.startswith(f"{name}: ")), None)
        if own is None:
            out += h2.literal(name, value)
        else:
            rest.remove(own)
            out += _piece(own)
    return out + b"".join(map(_piece, rest))


def _number(text: str, names: Any) -> int:
    """A number, or one of the enumeration's names."""
    return int(names[text]) if text in names.__members__ else int(text, 0)


@dataclass
class Words:
    """A step in its parts."""

    words: list[str]
    flags: dict[str, int]
    items: list[str]

    def numbers(self) -> list[int]:
        return [int(word, 0) for word in self.words]


def _split(step: str) -> Words:
    first, *items = expand(step).split(" | ")
    words = first.split(" ")[1:]
    flags = {word.partition("=")[0]: int(word.partition("=")[2] or 1) for word in words if _FLAGS.fullmatch(word)}
    return Words([word for word in words if not _FLAGS.fullmatch(word)], flags, items)


def _head(w: Words) -> Frames:
    stream, *rest = w.words
    lawful: list[Field] = []
    if rest and rest[0].isdigit():
        lawful = h2.response_fields(int(rest[0]))
    elif "bare" not in w.flags:
        lawful = h2.request_fields(*rest)
    payload = block(w.items, lawful)
    size = w.flags.get("cut", h2.FRAME_MAX - 300)
    parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    whole = "part" not in w.flags
    prio = h2.priority_fields(w.flags["prio"]) if "prio" in w.flags else b""
    end = "open" not in w.flags
    first = h2.headers(1, parts[0], end=end, whole=whole and len(parts) == 1, pad=w.flags.get("pad"), priority=prio)
    more = [h2.continuation(1, part, whole=whole and i == len(parts) - 2) for i, part in enumerate(parts[1:])]
    return Frames(stream, (first, *more))


def _cont(w: Words) -> Frames:
    return Frames(w.words[0], (h2.continuation(1, block(w.items, []), whole="part" not in w.flags),))


def _tail(w: Words) -> Frames:
    return Frames(w.words[0], (h2.headers(1, block(w.items, []), end="open" not in w.flags),))


def _data(w: Words) -> Frames:
    body = " ".join(w.words[1:]).encode("latin-1")
    return Frames(w.words[0], (h2.data(1, body, end="end" in w.flags, pad=w.flags.get("pad")),))


def _frame(w: Words) -> Frames:
    kind, flags, stream, *text = w.words
    payload = " ".join(text).encode("latin-1")
    return Frames(stream, (h2.frame(_number(kind, Kind), int(flags, 0), 1, payload, size=w.flags.get("size")),))


def _reset(w: Words) -> Frames:
    return Frames(w.words[0], (h2.rst_stream(1, _number(w.words[1], Error)),))


def _window(w: Words) -> Frames:
    return Frames(w.words[0], (h2.window_update(1, int(w.words[1])),))


def _priority(w: Words) -> Frames:
    return Frames(w.words[0], (h2.priority(1, int(w.words[2]) if len(w.words) > 2 else 0),))


def _settings(w: Words) -> Frames:
    if w.words == ["ack"]:
        return Frames(None, (h2.SETTINGS_ACK,))
    pairs = [word.partition("=") for word in w.words]
    return Frames(None, (h2.settings([(_number(name, Setting), int(value)) for name, _, value in pairs]),))


def _goaway(w: Words) -> Frames:
    last, code, *debug = w.words
    return Frames(None, (h2.goaway(int(last), _number(code, Error), " ".join(debug).encode("latin-1")),))


def _push(w: Words) -> Frames:
    return Frames(w.words[0], (h2.push_promise(1, int(w.words[1]), block(w.items, h2.request_fields())),))


_BUILDERS: dict[str, Callable[[Words], Frames]] = {
    "head": _head, "cont": _cont, "tail": _tail, "data": _data, "frame": _frame, "reset": _reset, "window": _window,
    "priority": _priority, "settings": _settings, "goaway": _goaway, "push": _push,
    "ping": lambda w: Frames(None, (h2.ping(b"pingping"),)), "pong": lambda w: Frames(None, (h2.ping(ack=True),)),
    "preface": lambda w: Frames(None, (h2.PREFACE,)),
    "raw": lambda w: Frames(None, (" ".join(w.words).encode("latin-1"),)),
}  # fmt: skip
_WAITS = ("sync", "acks", "end", "came", "closed", "request", "deaf", "hear", "grant", "half-close", "drop")
VERBS = (*_BUILDERS, *_WAITS)


@lru_cache(maxsize=4096)
def frames(step: str) -> Frames:
    """The frames of a step that sends."""
    return _BUILDERS[step.partition(" ")[0]](_split(step))


def flatten(steps: list[Any]) -> Iterator[str]:
    """Every step in order, repetitions written out."""
    for step in steps:
        if isinstance(step, str):
            yield step
        else:
            for _ in range(int(step[0].removesuffix(" times"))):
                yield from flatten(step[1:])


class Player:
    """Plays steps on one connection; what comes is read meanwhile. Gone when the peer ended it before a wait."""

    def __init__(self, peer: Peer, way: str = "whole", seed: str = "") -> None:
        self.peer = peer
        self.way = way
        self.seed = seed
        self.current = -1 if isinstance(peer, RawClient) else 0
        self.deaf = False
        self.stuck = False  # the peer took no more, and we did not read
        self._out: list[bytes] = []

    def play(self, steps: list[Any]) -> None:
        for step in flatten(steps):
            verb = step.partition(" ")[0]
            if verb in _BUILDERS:
                found = frames(step)
                self._out.append(found.on(self._stream(found.stream or "0")))
            else:
                self._flush()
                self._do(verb, step.split(" ")[1:])
        self._flush()

    def _stream(self, token: str) -> int:
        if token == "+":
            self.current += 2
        return self.current if token in "+." else int(token)

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if self.stuck:
            return
        cut = pieces(data, self.way, self.seed) if len(data) < 1 << 14 else [data]
        self.stuck = not self.peer.send_reading(cut, deaf=self.deaf, patience=STUCK_S if self.deaf else DEADLINE_S)

    def _do(self, verb: str, words: list[str]) -> None:
        peer = self.peer
        if verb == "sync":
            peer.sync()
            peer.sync()  # acks may overtake what was queued before them (RFC 9113 6.7)
        elif verb == "acks":
            peer.wait_acks(int(words[0]))
        elif verb == "end":
            peer.wait_ended(self._stream(words[0]))
        elif verb == "came":
            stream, size = peer.stream(self._stream(words[0])), int(words[1]) if len(words) > 1 else 0
            peer.wait(lambda: stream.heads and len(stream.body) >= size, f"{size} bytes on stream {stream.number}")
        elif verb == "closed":
            peer.wait_end()
        elif verb == "request":
            self._await_requests(int(words[0]))
        elif verb in ("deaf", "hear"):
            self.deaf = verb == "deaf"
        elif verb == "grant":
            peer.auto_window = True
        elif verb == "half-close":
            peer.half_close()
        elif verb == "drop":
            peer.reset()
            peer.ended = "by us"
        else:
            raise ValueError(f"no step: {verb}")

    def _await_requests(self, count: int) -> None:
        peer = self.peer
        assert isinstance(peer, OriginConnection)
        whole = peer.watch.streams
        peer.wait(
            lambda: sum(stream.ended and bool(stream.heads) for stream in whole.values()) >= count, f"{count} requests"
        )
        self.current = max(whole)
