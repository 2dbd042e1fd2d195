"""A strict, small HTTP/1 reader that knows nothing of fastmesh: what the tests believe about bytes on a wire.

It accepts only what RFC 9112 says a sender must generate; anything else raises Malformed. The proxy's output has to
pass it on both sides.
"""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01])")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")

Fields = list[tuple[bytes, bytes]]


class Malformed(Exception):
    """Bytes that no strict sender generates."""


@dataclass
class Message:
    """A request or response as it came over the wire. `complete` only when its framing said so."""

    start: bytes
    fields: Fields
    head: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    framing: str = "none"  # none | length | chunked | close | tunnel
    trailers: Fields = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    complete: bool = False

    def all(self, name: str) -> list[bytes]:
        """Values of every field of that name, in order."""
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def get(self, name: str) -> bytes | None:
        """The only value of a field, None when absent; Malformed when it is repeated."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} is repeated: {values}")
        return values[0] if values else None

    def names(self) -> list[str]:
        return [key.decode("latin-1").lower() for key, _ in self.fields]

    def tokens(self, name: str) -> list[str]:
        """Comma-separated members of a field over all its lines, lower case."""
        joined = b",".join(self.all(name)).decode("latin-1").lower()
        return [token.strip() for token in joined.split(",") if token.strip()]


class Request(Message):
    """`start` is `METHOD target HTTP/x.y`."""

    @property
    def method(self) -> str:
        return self.start.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.start.split(b" ")[1].decode("latin-1")

    @property
    def version(self) -> str:
        return self.start.rsplit(b" ", 1)[1].decode()


class Response(Message):
    """`start` is `HTTP/x.y status reason`."""

    @property
    def status(self) -> int:
        return int(self.start[9:12])

    @property
    def version(self) -> str:
        return self.start[:8].decode()

    @property
    def reason(self) -> str:
        return self.start[13:].decode("latin-1")

    @property
    def closes(self) -> bool:
        """Whether the sender says that the connection ends with this message (RFC 9112 9.3)."""
        options = self.tokens("connection")
        return "close" in options or (self.version == "HTTP/1.0" and "keep-alive" not in options)


def parse_fields(lines: list[bytes]) -> Fields:
    """Field lines without their CRLF. Malformed on anything but `token:OWS value OWS`."""
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Malformed(f"field line {line[:80]!r}")
        if not _VALUE.fullmatch(value):
            raise Malformed(f"field value {line[:80]!r}")
        fields.append((name, value.strip(b" \t")))
    return fields


def take_head(buffer: bytearray, limit_bytes: int = 1 << 20) -> tuple[bytes, bytes, Fields] | None:
    """Removes a head from the front: (all its bytes, start line, fields); None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    head = bytes(buffer[: end + 4 if end >= 0 else len(buffer)])
    if _BARE.search(head):
        raise Malformed(f"bare CR or LF in {head[:200]!r}")
    if end < 0:
        if len(buffer) > limit_bytes:
            raise Malformed("endless head")
        return None
    lines = head[:-4].split(b"\r\n")
    del buffer[: end + 4]
    return head, lines[0], parse_fields(lines[1:])


def content_length(message: Message) -> int | None:
    """None when absent; Malformed unless it is one line of digits and no Transfer-Encoding is there."""
    value = message.get("content-length")
    coding = message.get("transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":
        raise Malformed(f"transfer coding {coding!r}")
    if value is None:
        return None
    if coding is not None:
        raise Malformed("Content-Length beside Transfer-Encoding")
    if not re.fullmatch(rb"[0-9]{1,19}", value):
        raise Malformed(f"content-length {value!r}")
    return int(value)


class BodyReader:
    """Takes the body of one message off the front of a buffer, piece by piece."""

    def __init__(self, message: Message, left_bytes: int | None) -> None:
        self.message = message
        self._left = left_bytes or 0
        self._state = "size" if message.framing == "chunked" else "data"
        if message.framing == "none" or (message.framing == "length" and not self._left):
            message.complete = True

    def take(self, buffer: bytearray) -> None:
        """Moves what belongs to this message out of the buffer; sets message.complete at its end."""
        if self.message.complete:
            return
        if self.message.framing == "chunked":
            self._take_chunked(buffer)
        elif self.message.framing in ("close", "tunnel"):
            self.message.body += buffer
            buffer.clear()
        else:
            self._take_data(buffer)
            self.message.complete = self._left == 0

    def _take_data(self, buffer: bytearray) -> None:
        n = min(self._left, len(buffer))
        self.message.body += buffer[:n]
        del buffer[:n]
        self._left -= n

    def _take_chunked(self, buffer: bytearray) -> None:
        while not self.message.complete:
            if self._state == "data":
                self._take_data(buffer)
                if self._left:
                    return
                self._state = "data-end"
            line = self._line(buffer)
            if line is None:
                return
            self._chunk_line(line)

    @staticmethod
    def _line(buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\r\n")
        line = bytes(buffer[:end]) if end >= 0 else bytes(buffer[: len(buffer) - buffer.endswith(b"\r")])
        if b"\n" in line or b"\r" in line:
            raise Malformed(f"bare CR or LF in {line[:80]!r}")
        if end < 0:
            return None
        del buffer[: end + 2]
        return line

    def _chunk_line(self, line: bytes) -> None:
        if self._state == "data-end":
            if line:
                raise Malformed(f"no CRLF after chunk data: {line[:80]!r}")
            self._state = "size"
        elif self._state == "size":
            match = _CHUNK_LINE.fullmatch(line)
            if not match:
                raise Malformed(f"chunk size line {line[:80]!r}")
            self._left = int(match[1], 16)
            self._state = "data" if self._left else "trailers"
            if self._left:
                self.message.chunks.append(self._left)
        elif line:
            self.message.trailers += parse_fields([line])
        else:
            self.message.complete = True


class RequestStream:
    """Cuts the bytes a server receives into requests. After `tunnel()` the rest is `raw`."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.messages: list[Request] = []
        self.raw = bytearray()
        self._body: BodyReader | None = None
        self._tunnel = False

    def feed(self, data: bytes) -> list[Request]:
        """Requests that became complete by these bytes."""
        self.buffer += data
        done: list[Request] = []
        while not self._tunnel:
            if self._body is None and not self._begin():
                return done
            assert self._body is not None
            self._body.take(self.buffer)
            message = self._body.message
            if not message.complete:
                return done
            assert isinstance(message, Request)
            done.append(message)
            self._body = None
        self.raw += self.buffer
        self.buffer.clear()
        return done

    def tunnel(self) -> None:
        """From here on the connection is no longer HTTP."""
        self._tunnel = True
        self.raw += self.buffer
        self.buffer.clear()

    def _begin(self) -> bool:
        if self.buffer and not _TOKEN.match(self.buffer):
            raise Malformed(f"no request begins like {bytes(self.buffer[:40])!r}")
        taken = take_head(self.buffer)
        if taken is None:
            return False
        head, start, fields = taken
        if not _REQUEST_LINE.fullmatch(start):
            raise Malformed(f"request line {start[:200]!r}")
        request = Request(start, fields, head)
        if request.get("host") is None:
            raise Malformed(f"no Host in {head[:200]!r}")
        length = content_length(request)
        if request.get("transfer-encoding") is not None:
            request.framing = "chunked"
        elif length is not None:
            request.framing = "length"
        self.messages.append(request)
        self._body = BodyReader(request, length)
        return True


class ResponseStream:
    """Cuts the bytes a client receives into responses. Say `expect(method)` for each request sent."""

    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient  # what was not announced waits in `buffer` instead of being an error
        self.buffer = bytearray()
        self.messages: list[Response] = []
        self.raw = bytearray()  # what came after a 101 or a 2xx to CONNECT
        self.eof = False
        self.spare = 0  # this many responses may come that were not announced; they are read as answers to GET
        self._methods: list[str] = []
        self._body: BodyReader | None = None
        self._tunnel = False

    def expect(self, method: str) -> None:
        self._methods.append(method)

    def feed(self, data: bytes, how: str = "FIN") -> list[Response]:
        """Responses (interim ones too) that these bytes complete; b"" is the end of the connection by `how`."""
        if not data:
            return self._end(how)
        self.buffer += data
        return self.advance()

    def advance(self) -> list[Response]:
        """Responses that the bytes there complete, now that more of them may be announced."""
        done: list[Response] = []
        while not self._tunnel:
            if self._body is None and not self._begin():
                return done
            assert self._body is not None
            self._body.take(self.buffer)
            message = self._body.message
            if not message.complete:
                return done
            assert isinstance(message, Response)
            done.append(message)
            self._body = None
            self._tunnel = message.framing == "tunnel"
        self.raw += self.buffer
        self.buffer.clear()
        return done

    @property
    def current(self) -> Response | None:
        """The response whose body is still incomplete."""
        message = self._body.message if self._body else None
        assert message is None or isinstance(message, Response)
        return message

    def _end(self, how: str) -> list[Response]:
        self.eof = True
        message = self.current
        if message is not None and message.framing == "close" and how == "FIN":
            message.complete = True
            self._body = None
            return [message]
        return []

    def _begin(self) -> bool:
        if self.patient and not self._methods:
            return False
        if self.buffer and not b"HTTP/1.".startswith(self.buffer[:7]):
            raise Malformed(f"no response begins like {bytes(self.buffer[:40])!r}")
        taken = take_head(self.buffer)
        if taken is None:
            return False
        head, start, fields = taken
        if not _STATUS_LINE.fullmatch(start):
            raise Malformed(f"status line {start[:200]!r}")
        response = Response(start, fields, head)
        length = self._frame(response)
        self.messages.append(response)
        self._body = BodyReader(response, length)
        return True

    def _frame(self, response: Response) -> int | None:
        """RFC 9112 6.3, in its order."""
        length = content_length(response)
        interim = 100 <= response.status < 200 and response.status != 101
        method = "GET"
        if not interim:
            method = self._next_method(response)
        if response.status == 101 or (method == "CONNECT" and 200 <= response.status < 300):
            response.framing = "tunnel"
            response.complete = True
        elif interim or method == "HEAD" or response.status in (204, 304):
            response.framing = "none"
        elif response.get("transfer-encoding") is not None:
            response.framing = "chunked"
        else:
            response.framing = "close" if length is None else "length"
        if (response.status < 200 or response.status == 204) and (
            response.get("transfer-encoding") is not None or length is not None
        ):
            raise Malformed(f"a {response.status} must not carry framing: {response.head[:200]!r}")
        return length

    def _next_method(self, response: Response) -> str:
        if self._methods:
            return self._methods.pop(0)
        if not self.spare:
            raise Malformed(f"a response nobody asked for: {response.head[:200]!r}")
        self.spare -= 1
        return "GET"


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """The pieces as chunks, the last-chunk and a trailer section (each line with its CRLF)."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n" + trailers + b"\r\n"
