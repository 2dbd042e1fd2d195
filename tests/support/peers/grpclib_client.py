"""grpclib as a client of bytes, with the operations of `grpcio_client`."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.metadata import Deadline

from tests.support.client import digest, pattern
from tests.support.peers.grpcio_client import KINDS
from tests.support.peers.grpclib_codec import BytesCodec
from tests.support.peers.obey import obey

DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE = 4, 1, 14


def told(metadata: Any) -> list[tuple[str, str]]:
    pairs = metadata.items() if metadata is not None else ()
    return [(key, base64.b64encode(value).decode() if isinstance(value, bytes) else value) for key, value in pairs]


class Client:
    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}

    def _channel(self, address: str) -> Channel:
        if address not in self._channels:
            host, _, port = address.partition(":")
            config = Configuration(http2_connection_window_size=1 << 24, http2_stream_window_size=1 << 22)
            self._channels[address] = Channel(host, int(port), codec=BytesCodec(), config=config)
        return self._channels[address]

    async def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    async def call(
        self, address: str, method: str, messages: list[str], sizes: list[int], metadata: list[list[str]],
        seconds: float | None, gzip: bool, cancel: bool,
    ) -> dict[str, object]:  # fmt: skip
        requests = [*(text.encode() for text in messages), *map(pattern, sizes)]
        sent = [(key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in metadata]
        found: dict[str, object] = {"code": 0, "details": None, "initial": [], "trailing": []}
        deadline = Deadline.from_timeout(seconds) if seconds else None
        kind = Cardinality[KINDS[method].upper()]
        stream = self._channel(address).request(
            f"/t.Test/{method}", kind, bytes, bytes, metadata=sent, deadline=deadline
        )
        got: list[bytes] = []
        try:
            async with stream:
                await self._talk(stream, requests, got, cancel)
        except GRPCError as error:
            found.update(code=error.status.value, details=error.message)
        except TimeoutError:
            found.update(code=DEADLINE_EXCEEDED)
        if cancel:
            found.update(code=CANCELLED)
        return {
            **found,
            "messages": [(len(message), digest(message)) for message in got],
            "texts": [message[:200].decode("latin-1") for message in got],
            "initial": told(stream.initial_metadata),
            "trailing": told(stream.trailing_metadata),
        }

    async def _talk(self, stream: Any, requests: Sequence[bytes], got: list[bytes], cancel: bool) -> None:
        async def send() -> None:
            for request in requests:
                await stream.send_message(request)
            await stream.end()

        await stream.send_request()
        sending = asyncio.ensure_future(send())
        try:
            async for message in stream:
                got.append(message)
                if cancel:
                    await stream.cancel()
                    return
            await sending
            await stream.recv_trailing_metadata()
        finally:
            sending.cancel()


async def main() -> None:
    client = Client()
    await obey({"call": client.call, "close": client.close})
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
