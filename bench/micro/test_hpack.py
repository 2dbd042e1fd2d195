"""What HPACK costs per block, and what the hpack package costs for the same fields.

    .venv/bin/python -m pytest bench/micro/test_hpack.py --benchmark-enable --benchmark-columns=min,median,ops

extra_info says nanoseconds of one block in the best round, looped inside the probe without the interpreter.
`indexed`: as on a connection that has carried the same fields before. `huffman`, `plain`: literals without indexing.
"""

from collections.abc import Callable
from typing import Any

import hpack
import pytest

from tests.probe.wire_hpack import Encoder
from tests.probe.wire_hpack_bench import DecodeBench, EncodeBench

LOOPS = 1000

GRPC = [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/grpc.testing.TestService/UnaryCall"),
    (b":authority", b"orders.shop.svc.cluster.local:8080"), (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-go/1.60.1"), (b"te", b"trailers"), (b"grpc-timeout", b"5S"),
    (b"grpc-accept-encoding", b"gzip"), (b"x-forwarded-proto", b"http"),
]  # fmt: skip
BROWSER = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/shop/articles/coats.html?size=large&page=3"),
    (b":authority", b"www.example.com"), (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.7,de;q=0.3"), (b"referer", b"https://www.example.com/shop/articles"),
    (b"cookie", b"session=0123456789abcdef0123456789abcdef; consent=essential; theme=dark; region=eu"),
]  # fmt: skip
RESPONSE = [
    (b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"100"), (b"server", b"nginx/1.22.1"),
    (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
]  # fmt: skip
LISTS = {"grpc": GRPC, "browser": BROWSER, "response": RESPONSE}


def per_block(benchmark: Any, run: Callable[[int], int]) -> None:
    taken: list[int] = []
    benchmark.pedantic(lambda: taken.append(run(LOOPS)), rounds=100, warmup_rounds=5)
    assert min(taken) > 0
    benchmark.extra_info["ns"] = round(min(taken) / LOOPS, 1)


def never(fields: list[tuple[bytes, bytes]], huffman: bool) -> bytes:
    """Every field a literal that no table remembers."""
    return bytes(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman))


@pytest.mark.parametrize("name", LISTS)
def test_decode_indexed_c(benchmark: Any, name: str) -> None:
    encoder = Encoder()
    blocks = [encoder.write(LISTS[name]) for _ in range(3)]
    assert len(blocks[-1]) == len(LISTS[name])
    per_block(benchmark, DecodeBench(blocks[:-1], blocks[-1]).run)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("huffman", [False, True], ids=["plain", "huffman"])
def test_decode_literals_c(benchmark: Any, huffman: bool, name: str) -> None:
    per_block(benchmark, DecodeBench([], never(LISTS[name], huffman)).run)


@pytest.mark.parametrize("name", LISTS)
def test_encode_indexed_c(benchmark: Any, name: str) -> None:
    per_block(benchmark, EncodeBench(LISTS[name]).run)


@pytest.mark.parametrize("name", LISTS)
def test_encode_first_block_c(benchmark: Any, name: str) -> None:
    bench = EncodeBench(LISTS[name])
    per_block(benchmark, lambda loops: bench.run(loops, True))


@pytest.mark.parametrize("name", LISTS)
def test_decode_hpack(benchmark: Any, name: str) -> None:
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    decoder.decode(encoder.encode(LISTS[name]), raw=True)
    block = encoder.encode(LISTS[name])
    assert benchmark(lambda: decoder.decode(block, raw=True)) == LISTS[name]


@pytest.mark.parametrize("name", LISTS)
def test_encode_hpack(benchmark: Any, name: str) -> None:
    encoder = hpack.Encoder()
    assert benchmark(lambda: encoder.encode(LISTS[name], huffman=False))
