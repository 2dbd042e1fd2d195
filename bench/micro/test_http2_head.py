"""What a header block costs as an HTTP/1 head and back, HPACK included.

    .venv/bin/python -m pytest bench/micro/test_http2_head.py --benchmark-enable --benchmark-columns=min,median,ops

extra_info says nanoseconds of one block in the best round, looped inside the probe without the interpreter. A proxied
request pays read, parse and write of its kind, its response the same. bench/micro/test_hpack.py has HPACK's own part.
"""

from typing import Any

import pytest

from bench.micro.test_hpack import LISTS, never, per_block
from tests.probe.wire_hpack import Encoder
from tests.probe.wire_http2_bench import BlockBench


def indexed(name: str) -> BlockBench:
    """As on a connection that has carried the same fields before."""
    encoder = Encoder()
    blocks = [encoder.write(LISTS[name]) for _ in range(3)]
    return BlockBench(blocks[:-1], blocks[-1], name != "response")


@pytest.mark.parametrize("name", LISTS)
def test_read_indexed_c(benchmark: Any, name: str) -> None:
    per_block(benchmark, indexed(name).read)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("huffman", [False, True], ids=["plain", "huffman"])
def test_read_literals_c(benchmark: Any, huffman: bool, name: str) -> None:
    per_block(benchmark, BlockBench([], never(LISTS[name], huffman), name != "response").read)


@pytest.mark.parametrize("name", LISTS)
def test_parse_c(benchmark: Any, name: str) -> None:
    per_block(benchmark, indexed(name).parse)


@pytest.mark.parametrize("name", LISTS)
def test_write_indexed_c(benchmark: Any, name: str) -> None:
    per_block(benchmark, indexed(name).write)


@pytest.mark.parametrize("name", LISTS)
def test_write_first_block_c(benchmark: Any, name: str) -> None:
    bench = indexed(name)
    per_block(benchmark, lambda loops: bench.write(loops, True))
