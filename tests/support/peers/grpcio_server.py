"""grpcio as a server of bytes: /t.Test/ Unary, Collect, Count, Chat and what fails, waits and measures."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from tests.support.client import digest, pattern
from tests.support.peers.obey import Events, obey, say

LIMIT_BYTES = 70 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", LIMIT_BYTES), ("grpc.max_send_message_length", LIMIT_BYTES),
    ("grpc.so_reuseport", 0),
]  # fmt: skip


class Service(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self.events = Events()
        self._methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Wait": grpc.unary_stream_rpc_method_handler(self.wait),
            "Deadline": grpc.unary_unary_rpc_method_handler(self.deadline),
        }

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._methods.get(details.method.removeprefix("/t.Test/"))

    async def unary(self, request: bytes, context: Any) -> bytes:
        """The request; what came as x-ask comes back as x-head before it and as x-tail behind it, binary too."""
        asked = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-ask")]
        await context.send_initial_metadata([(key.replace("ask", "head"), value) for key, value in asked])
        context.set_trailing_metadata([(key.replace("ask", "tail"), value) for key, value in asked])
        return request

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        whole = b"".join([request async for request in requests])
        return f"{len(whole)} {digest(whole)}".encode()

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """N messages of SIZE bytes."""
        number, size = map(int, request.split())
        for _ in range(number):
            yield pattern(size)

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def fail(self, request: bytes, context: Any) -> bytes:
        """The request is the status's number and its message. No message before it: trailers only."""
        code, _, message = request.decode().partition(" ")
        status = next(status for status in grpc.StatusCode if status.value[0] == int(code))
        await context.abort(status, message, (("x-why-bin", b"\x00\xff\x80"),))
        raise AssertionError

    async def fail_late(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"
        await self.fail(request, context)

    async def wait(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """One message, then nothing until the client gives up. The request is the name under which that is noted."""
        name = request.decode()
        self.events.note("begun", name)
        try:  # a client may give up before the message has left
            yield b"first"
            await asyncio.Event().wait()
        finally:
            self.events.note("abandoned", name)

    async def deadline(self, request: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()


async def main() -> None:
    service = Service()
    server = grpc.aio.server(handlers=(service,), options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(0, value=f"127.0.0.1:{port}")
    await obey({"happened": service.events.happened})
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
