"""gRPC-Web as bytes (grpc.io, PROTOCOL-WEB.md), over HTTP/1.1 and HTTP/2."""

import base64
import dataclasses
from collections.abc import Iterable, Mapping

from tests.support import http2_frames as h2
from tests.support.client import Client, request
from tests.support.grpc import message
from tests.support.http2 import Peer, RawClient
from tests.support.http2_frames import Field

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a gRPC-Web client understands of a response."""

    status: int
    fields: Mapping[str, str]
    messages: list[bytes]
    trailers: dict[str, str]  # of the last message; empty: there was none

    @property
    def code(self) -> int | None:
        """grpc-status, of the last message or of a trailers-only answer; None: there is none."""
        found = self.trailers.get("grpc-status") or self.fields.get("grpc-status")
        return None if found is None else int(found)

    @property
    def details(self) -> str | None:
        return self.trailers.get("grpc-message") or self.fields.get("grpc-message")


def body_of(messages: Iterable[bytes], kind: str = BINARY) -> bytes:
    """The messages of a request; text is padded behind each."""
    each = [message(data) for data in messages]
    return b"".join(map(base64.b64encode, each) if "text" in kind else each)


def untext(body: bytes) -> bytes:
    """Chunks of base64, each padded for itself."""
    assert len(body) % 4 == 0, "a unit is cut"
    out, begun = b"", 0
    while begun < len(body):
        end = body.find(b"=", begun)
        end = len(body) if end < 0 else end - end % 4 + 4
        out += base64.b64decode(body[begun:end], validate=True)
        begun = end
    return out


def answer(status: int, fields: Mapping[str, str], body: bytes) -> Answer:
    """Holds the whole response against the protocol: nothing is cut and nothing follows the trailers."""
    data = untext(body) if "text" in fields.get("content-type", "") else body
    messages: list[bytes] = []
    trailers: dict[str, str] = {}
    while data:
        flags, size = data[0], int.from_bytes(data[1:5], "big")
        assert not trailers, "a message behind the trailers"
        assert len(data) >= 5 + size, "a message is cut"
        if flags & 0x80:
            lines = data[5 : 5 + size].decode().split("\r\n")
            assert lines.pop() == ""
            trailers = dict(line.split(": ", 1) for line in lines)
            assert list(trailers) == [name.lower() for name in trailers]
        else:
            messages.append(data[5 : 5 + size])
        data = data[5 + size :]
    return Answer(status, fields, messages, trailers)


def http1_request(
    path: str, body: bytes, kind: str = BINARY, *fields: str, chunk: int = 0, version: str = "1.1"
) -> bytes:
    """`chunk`: in chunks of so many bytes."""
    lines = (f"Content-Type: {kind}", "X-Grpc-Web: 1", *fields)
    if not chunk:
        return request("POST", path, *lines, body=body).replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return request("POST", path, *lines, "Transfer-Encoding: chunked") + chunked + b"0\r\n\r\n"


def http1_answer(client: Client) -> Answer:
    response = client.read("POST")
    fields = {name.decode().lower(): value.decode() for name, value in response.fields}
    return answer(response.status, fields, bytes(response.body))


def http2_fields(path: str, kind: str = BINARY, *fields: Field) -> list[Field]:
    return h2.request_fields("POST", path, ("content-type", kind), ("x-grpc-web", "1"), *fields)


def http2_answer(client: RawClient, stream: int) -> Answer:
    ended = client.wait_ended(stream)
    assert ended.reset is None
    assert ended.trailers == {}, "a browser cannot read these"
    fields = dict(ended.fields)
    return answer(int(fields.pop(":status")), fields, bytes(ended.body))


def http2_send(client: Peer, stream: int, body: bytes, *, most: int = h2.FRAME_MAX, end: bool = True) -> None:
    """A body as windows allow, in frames of `most` bytes. `end`: it is the whole."""
    peer, at = client.stream(stream), 0
    while at < len(body):
        client.wait(lambda: min(peer.granted.size, client.watch.granted.size) > 0, "a window")
        take = min(most, peer.granted.size, client.watch.granted.size, len(body) - at)
        client.send(h2.data(stream, body[at : at + take], end=end and at + take == len(body)))
        at += take


class WebClient:
    """One client, of either version of HTTP."""

    def __init__(self, address: str, version: str, kind: str) -> None:
        self.version = version
        self.kind = kind
        self.http1 = Client(address) if version == "http1" else None
        self.http2 = RawClient(address) if version == "http2" else None
        if self.http2:
            self.http2.auto_window = True

    def __enter__(self) -> "WebClient":
        return self

    def __exit__(self, *error: object) -> None:
        for client in (self.http1, self.http2):
            if client:
                client.close()

    def call(self, path: str, *messages: bytes, timeout: str = "", fields: tuple[Field, ...] = ()) -> Answer:
        """The whole request, then the whole response."""
        return self.ask(path, body_of(messages, self.kind), timeout=timeout, fields=fields)

    def begin(self, path: str, *messages: bytes) -> None:
        """The whole request."""
        self._send(path, body_of(messages, self.kind), [])

    def ask(self, path: str, body: bytes, *, timeout: str = "", fields: tuple[Field, ...] = ()) -> Answer:
        stream = self._send(path, body, [*fields, *([("grpc-timeout", timeout)] if timeout else [])])
        return http1_answer(self.http1) if self.http1 else http2_answer(self._http2(), stream)

    def _http2(self) -> RawClient:
        assert self.http2
        return self.http2

    def _send(self, path: str, body: bytes, fields: list[Field]) -> int:
        """Its stream."""
        if self.http1:
            lines = [f"{name}: {value}" for name, value in fields]
            self.http1.send(http1_request(path, body, self.kind, *lines))
            return 0
        stream = self._http2().request(http2_fields(path, self.kind, *fields), end=False)
        http2_send(self._http2(), stream, body)
        return stream
