"""grpclib as a server of bytes, with the methods of `grpcio_server`."""

import asyncio
import socket

import grpclib
from grpclib.const import Cardinality, Handler, Status
from grpclib.server import Server, Stream

from tests.support.client import digest, pattern
from tests.support.peers.grpclib_codec import BytesCodec
from tests.support.peers.obey import Events, obey, say

Call = Stream[bytes, bytes]


class Service:
    def __init__(self) -> None:
        self.events = Events()

    def __mapping__(self) -> dict[str, Handler]:
        kinds = {
            "Unary": (self.unary, Cardinality.UNARY_UNARY),
            "Collect": (self.collect, Cardinality.STREAM_UNARY),
            "Count": (self.count, Cardinality.UNARY_STREAM),
            "Chat": (self.chat, Cardinality.STREAM_STREAM),
            "Fail": (self.fail, Cardinality.UNARY_UNARY),
            "FailLate": (self.fail_late, Cardinality.UNARY_STREAM),
            "Wait": (self.wait, Cardinality.UNARY_STREAM),
            "Deadline": (self.deadline, Cardinality.UNARY_UNARY),
        }
        return {f"/t.Test/{name}": Handler(call, kind, bytes, bytes) for name, (call, kind) in kinds.items()}

    async def _request(self, stream: Call) -> bytes:
        request = await stream.recv_message()
        assert request is not None
        return request

    async def unary(self, stream: Call) -> None:
        assert stream.metadata is not None
        asked = [(key, value) for key, value in stream.metadata.items() if key.startswith("x-ask")]
        await stream.send_initial_metadata(metadata=[(key.replace("ask", "head"), value) for key, value in asked])
        await stream.send_message(await self._request(stream))
        await stream.send_trailing_metadata(metadata=[(key.replace("ask", "tail"), value) for key, value in asked])

    async def collect(self, stream: Call) -> None:
        whole = b"".join([request async for request in stream])
        await stream.send_message(f"{len(whole)} {digest(whole)}".encode())

    async def count(self, stream: Call) -> None:
        number, size = map(int, (await self._request(stream)).split())
        for _ in range(number):
            await stream.send_message(pattern(size))

    async def chat(self, stream: Call) -> None:
        async for request in stream:
            await stream.send_message(request)

    async def _end(self, stream: Call, request: bytes) -> None:
        code, _, message = request.decode().partition(" ")
        await stream.send_trailing_metadata(
            status=Status(int(code)), status_message=message, metadata={"x-why-bin": b"\x00\xff\x80"}
        )

    async def fail(self, stream: Call) -> None:
        await self._end(stream, await self._request(stream))

    async def fail_late(self, stream: Call) -> None:
        request = await self._request(stream)
        await stream.send_message(b"one")
        await stream.send_message(b"two")
        await self._end(stream, request)

    async def wait(self, stream: Call) -> None:
        name = (await self._request(stream)).decode()
        self.events.note("begun", name)
        try:  # a client may give up before the message has left
            await stream.send_message(b"first")
            await asyncio.Event().wait()
        finally:
            self.events.note("abandoned", name)

    async def deadline(self, stream: Call) -> None:
        await self._request(stream)
        left = stream.deadline.time_remaining() if stream.deadline else None
        await stream.send_message(str(left).encode())


async def main() -> None:
    service = Service()
    config = grpclib.config.Configuration(http2_connection_window_size=1 << 24, http2_stream_window_size=1 << 22)
    server = Server([service], codec=BytesCodec(), config=config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await server.start(sock=sock)
        say(0, value="{}:{}".format(*sock.getsockname()))
        await obey({"happened": service.events.happened})
        server.close()
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
