"""gRPC over HTTP/2 as fields and bytes (grpc.io, "gRPC over HTTP2")."""

from tests.support import http2_frames as h2
from tests.support.http2 import OriginConnection, RawClient
from tests.support.http2_frames import Field
from tests.support.http2_watch import Stream

CONTENT_TYPE = ("content-type", "application/grpc")
OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = (
    0, 1, 2, 4, 8, 12, 13, 14,
)  # fmt: skip
OTHER = 17  # how the core counts a response with another status, or none


def message(data: bytes, *, compressed: bool = False) -> bytes:
    """One length-prefixed message."""
    return bytes([compressed]) + len(data).to_bytes(4, "big") + data


def call_fields(*fields: Field, path: str = "/t.Echo/Call") -> list[Field]:
    return h2.request_fields("POST", path, CONTENT_TYPE, ("te", "trailers"), *fields)


def call(client: RawClient, *fields: Field, body: bytes | None = message(b"hello"), end: bool = True) -> int:
    """Begins a call and answers its stream. `end`: and half-closes it."""
    return client.request(call_fields(*fields), body, end=end)


def status_of(stream: Stream) -> int | None:
    """grpc-status, of the trailers or of a trailers-only answer; None: there is none."""
    found = stream.trailers.get("grpc-status") or stream.fields.get("grpc-status")
    return None if found is None else int(found)


def trailers_only(connection: OriginConnection, stream: Stream | int, status: int, *fields: Field) -> None:
    """An answer that is a head alone."""
    number = stream if isinstance(stream, int) else stream.number
    head = h2.response_fields(200, CONTENT_TYPE, ("grpc-status", str(status)), *fields)
    connection.send(h2.headers(number, h2.block(head), end=True))


def reply(connection: OriginConnection, stream: Stream | int, body: bytes, status: int, *fields: Field) -> None:
    """Head, body and trailers."""
    number = stream if isinstance(stream, int) else stream.number
    connection.send(
        h2.headers(number, h2.block(h2.response_fields(200, CONTENT_TYPE))),
        h2.data(number, body) if body else b"",
        h2.headers(number, h2.block([("grpc-status", str(status)), *fields]), end=True),
    )
