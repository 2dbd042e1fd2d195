"""grpcio as a client of bytes: one operation makes one call of any kind and tells all that came of it."""

import asyncio
import base64
from typing import Any

import grpc
import grpc.aio

from tests.support.client import digest, pattern
from tests.support.peers.obey import obey

LIMIT_BYTES = 70 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", LIMIT_BYTES), ("grpc.max_send_message_length", LIMIT_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
]  # fmt: skip
KINDS = {
    "Unary": "unary_unary", "Collect": "stream_unary", "Count": "unary_stream", "Chat": "stream_stream",
    "Fail": "unary_unary", "FailLate": "unary_stream", "Wait": "unary_stream", "Deadline": "unary_unary",
    "Absent": "unary_unary",
}  # fmt: skip


def told(metadata: Any) -> list[tuple[str, str]]:
    return [
        (key, base64.b64encode(value).decode() if isinstance(value, bytes) else value) for key, value in metadata or ()
    ]


class Client:
    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=OPTIONS)
        return self._channels[address]

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def call(
        self, address: str, method: str, messages: list[str], sizes: list[int], metadata: list[list[str]],
        seconds: float | None, gzip: bool, cancel: bool,
    ) -> dict[str, object]:  # fmt: skip
        """`messages` as text, or patterns of `sizes`; `cancel`: after the first message that came."""
        requests = [*(text.encode() for text in messages), *map(pattern, sizes)]
        sent = tuple((key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in metadata)
        compression = grpc.Compression.Gzip if gzip else None
        kind = KINDS[method]
        make = getattr(self._channel(address), kind)(f"/t.Test/{method}")
        argument = iter(requests) if kind.startswith("stream") else requests[0]
        call = make(argument, metadata=sent, timeout=seconds, compression=compression)
        got: list[bytes] = []
        try:
            if kind.endswith("unary"):
                got.append(await call)
            else:
                async for message in call:
                    got.append(message)
                    if cancel:
                        call.cancel()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            pass
        return {
            "messages": [(len(message), digest(message)) for message in got],
            "texts": [message[:200].decode("latin-1") for message in got],
            "code": (await call.code()).value[0],
            "details": await call.details(),
            "initial": told(await call.initial_metadata()),
            "trailing": told(await call.trailing_metadata()),
        }


async def main() -> None:
    client = Client()
    await obey({"call": client.call, "close": client.close})
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
