"""What no HTTP/2 peer may send, whatever it is sent: every frame the program under test sends is held against RFC 9113.

Law: a Breach is the peer's fault even when the script's own bytes were wrong.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.support import http2_frames as h2
from tests.support.http2_frames import ACK, FRAME_MAX, WINDOW, WINDOW_MAX, Error, Frame, Kind, Setting

Fields = list[tuple[str, str]]
_FLAGS = {
    Kind.DATA: h2.END_STREAM | h2.PADDED,
    Kind.HEADERS: h2.END_STREAM | h2.END_HEADERS | h2.PADDED | h2.PRIORITY_FLAG,
    Kind.SETTINGS: ACK, Kind.PING: ACK, Kind.CONTINUATION: h2.END_HEADERS,
}  # fmt: skip
_SIZES = {Kind.PRIORITY: 5, Kind.RST_STREAM: 4, Kind.PING: 8, Kind.WINDOW_UPDATE: 4}
_ON_CONNECTION = (Kind.SETTINGS, Kind.PING, Kind.GOAWAY)
_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile("[^\x00\r\n]*")
_HOP = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
_REQUEST = (":method", ":scheme", ":authority", ":path", ":protocol")


class Breach(AssertionError):
    """The peer sent what it must not."""


def demand(fact: object, section: str, text: str) -> None:
    if not fact:
        raise Breach(f"RFC 9113 {section}: {text}")


@dataclass
class Window:
    """How many bytes one side may send. Of the peer's: a grant counts at once, a setting when it is acked."""

    size: int = WINDOW


def _is_interim(head: Fields) -> bool:
    return any(name == ":status" and value.startswith("1") for name, value in head)


@dataclass
class Stream:
    """What one stream has brought."""

    number: int
    heads: list[Fields] = field(default_factory=list)  # every header section in order, interim ones and trailers too
    body: bytearray = field(default_factory=bytearray)
    frames: list[Frame] = field(default_factory=list)
    ended: bool = False  # END_STREAM came
    reset: int | None = None  # the code of RST_STREAM
    never: set[str] = field(default_factory=set)  # names whose fields were never-indexed
    window: Window = field(default_factory=Window)
    granted: Window = field(default_factory=Window)  # what the peer lets us send
    sent_end: bool = False  # by us
    sent_reset: bool = False
    method: str = ""  # of the request, where we sent it

    @property
    def settled(self) -> bool:
        """It does not count against MAX_CONCURRENT_STREAMS."""
        return self.reset is not None or self.sent_reset or (self.ended and self.sent_end)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def interim(self) -> list[Fields]:
        return [head for head in self.heads if _is_interim(head)]

    @property
    def final(self) -> list[Fields]:
        """The head, and the trailers if there are any."""
        return [head for head in self.heads if not _is_interim(head)]

    @property
    def fields(self) -> dict[str, str]:
        """The head's, the last of each name; empty while there is none."""
        return dict(self.final[0]) if self.final else {}

    @property
    def status(self) -> int:
        """0 while there is no final head."""
        return int(self.fields.get(":status", 0))

    @property
    def trailers(self) -> dict[str, str]:
        return dict(self.final[1]) if len(self.final) > 1 else {}


class Watch:
    """Holds one connection's frames against the rules. `client`: the peer under test is the client."""

    def __init__(self, client: bool) -> None:
        self.client = client
        self.streams: dict[int, Stream] = {}
        self.window = Window()
        self.granted = Window()
        self.frame_max = FRAME_MAX
        self.concurrent_max: int | None = None  # ours, acked
        self.connect_protocol = False  # we said that extended CONNECT is welcome
        self.settings: dict[int, int] = {}  # the peer's
        self.header_table_max = 4096  # ours, acked
        self.highest = 0  # of the streams the peer opened
        self.goaway_last: int | None = None  # of the peer's GOAWAY
        self._initial = WINDOW
        self._initial_granted = WINDOW
        self._owed: list[list[tuple[int, int]]] = []  # our SETTINGS that are not acked
        self._pings: list[bytes] = []
        self._block: Frame | None = None  # the frame whose header block is open
        self._first = True

    def stream(self, number: int) -> Stream:
        if number not in self.streams:
            self.streams[number] = Stream(number, window=Window(self._initial), granted=Window(self._initial_granted))
        return self.streams[number]

    # --- what we sent

    def sent(self, frame: Frame) -> None:
        if frame.kind == Kind.SETTINGS and not frame.has(ACK) and len(frame.payload) % 6 == 0:
            self._owed.append(frame.pairs)
        elif frame.kind == Kind.PING and not frame.has(ACK):
            self._pings.append(frame.payload)
        elif frame.kind == Kind.WINDOW_UPDATE and len(frame.payload) == 4:
            window = self.stream(frame.stream).window if frame.stream else self.window
            window.size += frame.number & WINDOW_MAX
        elif frame.kind in (Kind.HEADERS, Kind.DATA, Kind.RST_STREAM) and frame.stream:
            stream = self.stream(frame.stream)
            stream.sent_reset |= frame.kind == Kind.RST_STREAM
            stream.sent_end |= frame.kind != Kind.RST_STREAM and frame.has(h2.END_STREAM)
            if frame.kind == Kind.DATA:
                stream.granted.size -= len(frame.payload)
                self.granted.size -= len(frame.payload)

    def _acked(self) -> None:
        demand(self._owed, "6.5", "a SETTINGS ack that nothing asked for")
        for key, value in self._owed.pop(0):
            if key == Setting.INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window.size += value - self._initial
                self._initial = value
            elif key == Setting.MAX_FRAME_SIZE:
                self.frame_max = value
            elif key == Setting.MAX_CONCURRENT_STREAMS:
                self.concurrent_max = value
            elif key == Setting.HEADER_TABLE_SIZE:
                self.header_table_max = value
            elif key == Setting.ENABLE_CONNECT_PROTOCOL:
                self.connect_protocol = bool(value)

    # --- what came

    def came(self, frame: Frame) -> None:
        """A whole frame, before its header block is decoded."""
        if self._first:
            demand(frame.kind == Kind.SETTINGS and not frame.has(ACK), "3.4", f"{frame} instead of SETTINGS came first")
            self._first = False
        self._came_form(frame)
        if self._block is not None:
            same = frame.kind == Kind.CONTINUATION and frame.stream == self._block.stream
            demand(same, "6.10", f"{frame} in the middle of a header block of stream {self._block.stream}")
        elif frame.kind == Kind.CONTINUATION:
            raise Breach(f"RFC 9113 6.10: {frame} without an open header block")
        if frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
            if self._block is None:
                self._came_headers(frame)
            self._block = None if frame.has(h2.END_HEADERS) else (self._block or frame)
        elif frame.kind == Kind.DATA:
            self._came_data(frame)
        elif frame.kind in (Kind.RST_STREAM, Kind.WINDOW_UPDATE):
            self._came_control(frame)
        elif frame.kind in _ON_CONNECTION:
            self._came_connection(frame)
        if frame.stream:
            stream = self.stream(frame.stream)
            stream.frames.append(frame)
            if frame.kind in (Kind.DATA, Kind.HEADERS) and frame.has(h2.END_STREAM):
                stream.ended = True

    def _came_form(self, frame: Frame) -> None:
        demand(len(frame.payload) <= self.frame_max, "4.2", f"{frame} is over the maximum frame size")
        demand(not frame.reserved, "4.1", f"{frame} has the reserved bit set")
        demand(frame.kind in Kind.__members__.values(), "4.1", f"{frame}, which we do not know")
        demand(frame.kind != Kind.PUSH_PROMISE, "8.4", "a push")
        demand(not frame.flags & ~_FLAGS.get(Kind(frame.kind), 0), "4.1", f"{frame} has flags that mean nothing")
        if frame.kind in _SIZES:
            demand(len(frame.payload) == _SIZES[Kind(frame.kind)], "4.2", f"{frame} has a wrong size")
        if frame.kind in _ON_CONNECTION:
            demand(frame.stream == 0, "6", f"{frame} is not on stream 0")
        elif frame.kind != Kind.WINDOW_UPDATE:
            demand(frame.stream != 0, "6", f"{frame} is on stream 0")
        if frame.has(h2.PADDED) and frame.kind in (Kind.DATA, Kind.HEADERS):
            demand(frame.payload and frame.payload[0] < len(frame.payload), "6.1", f"{frame} is all padding")

    def _came_headers(self, frame: Frame) -> None:
        known = self.streams.get(frame.stream)
        if known is None or (self.client and not known.frames):
            demand(self.client, "5.1.1", f"{frame}: no request was on that stream")
            demand(frame.stream % 2 == 1 and frame.stream > self.highest, "5.1.1", f"{frame} after {self.highest}")
            self.highest = frame.stream
            known = self.stream(frame.stream)
            alive = [stream for stream in self.streams.values() if stream.frames and not stream.settled]
            if self.concurrent_max is not None:
                demand(len(alive) < self.concurrent_max, "5.1.2", f"{frame} is one stream too many")
        demand(not known.over, "5.1", f"{frame} after its end")

    def _came_data(self, frame: Frame) -> None:
        stream = self.streams.get(frame.stream)
        demand(stream and stream.heads, "5.1", f"{frame} before HEADERS")
        assert stream is not None
        demand(not stream.over, "5.1", f"{frame} after its end")
        size = len(frame.payload)
        for window, whose in ((stream.window, "the stream's"), (self.window, "the connection's")):
            demand(size <= max(window.size, 0) or not size, "6.9.1", f"{frame}: {whose} window is {window.size}")
            window.size -= size
        stream.body += frame.content

    def _came_control(self, frame: Frame) -> None:
        if frame.stream:
            known = self.streams.get(frame.stream)
            demand(known, "5.1", f"{frame} on an idle stream")
            assert known is not None
            if frame.kind == Kind.RST_STREAM:
                known.reset = frame.number  # more than one may be sent (5.4.2)
            demand(frame.kind == Kind.RST_STREAM or known.reset is None, "5.1", f"{frame} after RST_STREAM")
        if frame.kind == Kind.WINDOW_UPDATE:
            demand(frame.number & WINDOW_MAX, "6.9", f"{frame} with increment 0")
            granted = self.stream(frame.stream).granted if frame.stream else self.granted
            granted.size += frame.number
            demand(granted.size <= WINDOW_MAX, "6.9.1", f"{frame} makes the window {granted.size}")

    def _came_connection(self, frame: Frame) -> None:
        if frame.kind == Kind.SETTINGS:
            if frame.has(ACK):
                demand(not frame.payload, "6.5", "a SETTINGS ack with a payload")
                self._acked()
                return
            demand(len(frame.payload) % 6 == 0, "6.5", f"{frame} is not whole")
            self._came_settings(frame.pairs)
        elif frame.kind == Kind.PING and frame.has(ACK):
            demand(frame.payload in self._pings, "6.7", f"a PING ack for {frame.payload!r}, which nothing sent")
            self._pings.remove(frame.payload)
        elif frame.kind == Kind.GOAWAY:
            demand(len(frame.payload) >= 8, "6.8", "GOAWAY is too short")
            last = frame.number & WINDOW_MAX
            demand(self.goaway_last is None or last <= self.goaway_last, "6.8", "GOAWAY's last stream grew")
            self.goaway_last = last

    def _came_settings(self, pairs: Iterable[tuple[int, int]]) -> None:
        for key, value in pairs:
            if key == Setting.ENABLE_PUSH:
                demand(value <= (1 if self.client else 0), "6.5.2", f"ENABLE_PUSH {value}")
            elif key == Setting.INITIAL_WINDOW_SIZE:
                demand(value <= WINDOW_MAX, "6.5.2", f"INITIAL_WINDOW_SIZE {value}")
                for stream in self.streams.values():
                    stream.granted.size += value - self._initial_granted
                self._initial_granted = value
            elif key == Setting.MAX_FRAME_SIZE:
                demand(FRAME_MAX <= value < 1 << 24, "6.5.2", f"MAX_FRAME_SIZE {value}")
            elif key == Setting.ENABLE_CONNECT_PROTOCOL:
                demand(value in (0, 1), "RFC 8441 3", f"ENABLE_CONNECT_PROTOCOL {value}")
            self.settings[key] = value

    # --- messages

    def head(self, number: int, fields: Fields) -> None:
        """A decoded header section of a stream."""
        stream = self.stream(number)
        trailers = bool(stream.final)
        demand(not trailers or stream.ended, "8.1", f"a second head on stream {number} without END_STREAM")
        self._check_names(fields, trailers)
        if trailers:
            demand(len(stream.final) == 1, "8.1", f"fields after the trailers of stream {number}")
        elif self.client:
            self._check_request(dict(fields))
        else:
            pseudo = [name for name, _ in fields if name.startswith(":")]
            demand(pseudo == [":status"], "8.3.2", f"a response with {pseudo}")
            status = dict(fields)[":status"]
            demand(re.fullmatch("[1-9][0-9][0-9]", status) and status != "101", "8.6", f"status {status}")
            demand(status[0] != "1" or not stream.ended, "8.1", "an interim response with END_STREAM")
        stream.heads.append(fields)

    def _check_names(self, fields: Fields, trailers: bool) -> None:
        regular = False
        seen: set[str] = set()
        for name, value in fields:
            demand(_NAME.fullmatch(name), "8.2.1", f"field name {name!r}")
            demand(_VALUE.fullmatch(value) and value == value.strip(" \t"), "8.2.1", f"value {value!r} of {name}")
            demand(name not in _HOP, "8.2.2", f"{name}: {value}")
            demand(name != "te" or value == "trailers", "8.2.2", f"te: {value}")
            if name.startswith(":"):
                demand(not trailers and not regular and name not in seen, "8.3", f"{name} where it must not be")
                demand(name in (_REQUEST if self.client else (":status",)), "8.3", f"{name}, which we do not know")
                seen.add(name)
            else:
                regular = True

    def _check_request(self, fields: dict[str, str]) -> None:
        method = fields.get(":method")
        demand(method, "8.3.1", "no :method")
        if method == "CONNECT" and ":protocol" not in fields:
            demand(":scheme" not in fields and ":path" not in fields, "8.5", "CONNECT with :scheme or :path")
            demand(fields.get(":authority"), "8.5", "CONNECT without :authority")
            return
        demand(fields.get(":scheme") and fields.get(":path"), "8.3.1", f"{method} without :scheme or :path")
        path = fields[":path"]
        demand(path.startswith("/") or (path == "*" and method == "OPTIONS"), "8.3.1", f":path {path}")
        if ":protocol" in fields:
            demand(method == "CONNECT" and self.connect_protocol, "RFC 8441 3", f":protocol {fields[':protocol']}")

    def end(self, number: int) -> None:
        """A message is complete: Content-Length counts its DATA (8.1.1)."""
        stream = self.stream(number)
        length = stream.fields.get("content-length")
        empty = stream.method == "HEAD" or stream.status in (204, 304) or stream.fields.get(":method") == "CONNECT"
        if length is not None and stream.final and not (empty and not stream.body):
            size = len(stream.body)
            demand(int(length) == size, "8.1.1", f"content-length {length}, {size} bytes of DATA")


def code_name(code: int | None) -> str:
    return "none" if code is None else Error(code).name if code in Error.__members__.values() else hex(code)


def names(codes: Sequence[int]) -> str:
    return " or ".join(code_name(code) for code in codes)
