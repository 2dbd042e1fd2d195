"""The answer to a WebSocket key, and keys that are made up (RFC 6455 4)."""

import base64
import hashlib

from hypothesis import example, given
from hypothesis import strategies as st

from tests.probe.wire_http2 import accept, key


@given(st.binary(max_size=300))
@example(b"dGhlIHNhbXBsZSBub25jZQ==")
@example(b"k" * 19)  # with the GUID: the padding just fits a block
@example(b"k" * 20)  # and just does not
def test_accept_is_sha1_and_base64(text: bytes) -> None:
    digest = hashlib.sha1(text + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    assert accept(text) == base64.b64encode(digest)


def test_accept_of_the_rfc_s_example() -> None:
    assert accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keys_are_16_bytes_and_differ() -> None:
    keys = {key(seed) for seed in range(500)} | {key(7) for _ in range(500)}
    assert len(keys) == 1000
    assert all(len(base64.b64decode(text, validate=True)) == 16 for text in keys)
