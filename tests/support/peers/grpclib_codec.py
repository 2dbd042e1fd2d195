"""Messages that are bytes already, for grpclib."""

from typing import Any

from grpclib.encoding.base import CodecBase


class BytesCodec(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data
