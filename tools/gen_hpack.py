"""Writes fastmesh/_core/ffi/hpack_tables.h: HPACK's static table and Huffman code (RFC 7541 appendices A and B).

Run it after a change here; tests/unit/test_wire_hpack.py fails when the header is not what this prints.

    python -m tools.gen_hpack             print the header
    python -m tools.gen_hpack --write     write it
"""

import itertools
import sys

from tools.gen_tables import HEADER as TABLES
from tools.gen_tables import rows

HEADER = TABLES.with_name("hpack_tables.h")

# RFC 7541 appendix A, from index 1.
STATIC: tuple[tuple[str, str], ...] = (
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
)  # fmt: skip
NAME_SLOTS = 128

# RFC 7541 appendix B: bits of each byte's code, and of EOS. The code is canonical: codes of one length follow each
# other in the order of their symbols, and the next length goes on where the last one ended. So lengths say it all.
BITS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6,
    12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5,
    6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
    22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23,
    22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21,
    21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27,
    27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip
EOS = 256
FAST_BITS = 11  # two of the five-bit symbols, or a five-bit and a six-bit one, in one look; 8 KiB
LONGEST = 30


def canonical() -> tuple[list[int], list[int]]:
    """The code of every symbol, and the symbols in the order of their codes."""
    order = sorted(range(len(BITS)), key=lambda symbol: (BITS[symbol], symbol))
    codes, code, length = [0] * len(BITS), 0, 0
    for symbol in order:
        code <<= BITS[symbol] - length
        length = BITS[symbol]
        codes[symbol] = code
        code += 1
    return codes, order


def fast_entry(window: int, codes: list[int], order: list[int]) -> int:
    """What FAST_BITS bits begin with: one symbol, two, or (0) only a part of one."""
    found: list[int] = []
    used = 0
    while len(found) < 2:
        left = FAST_BITS - used
        rest = window & ((1 << left) - 1)
        fits = (s for s in order if BITS[s] <= left and rest >> (left - BITS[s]) == codes[s])
        symbol = next(fits, None)
        if symbol is None:
            break
        found.append(symbol)
        used += BITS[symbol]
    if not found:
        return 0
    first, second = found[0], found[1] if len(found) > 1 else 0
    return first | second << 8 | used << 16 | BITS[first] << 20 | len(found) << 24


def long_rows(codes: list[int], order: list[int]) -> list[str]:
    """For each length above FAST_BITS: its last code with ones below, its first with zeros, and where in order."""
    result = []
    for length in range(FAST_BITS + 1, LONGEST + 1):
        symbols = [symbol for symbol in order if BITS[symbol] == length]
        if symbols:
            shift = 32 - length
            last = codes[symbols[-1]] << shift | (1 << shift) - 1
            first = codes[symbols[0]] << shift
            result.append(f"{{{last:#x}u, {first:#x}u, {order.index(symbols[0])}, {length}}}")
    return result


def huffman_tables() -> list[str]:
    codes, order = canonical()
    fast = [str(fast_entry(window, codes, order)) for window in range(1 << FAST_BITS)]
    lengths = long_rows(codes, order)
    return [
        f"#define FM_HUFFMAN_BITS {FAST_BITS}",
        f"#define FM_HUFFMAN_EOS {EOS}",
        "/* By the next bits: first symbol, second << 8, bits of all << 16, bits of the first << 20, symbols << 24;",
        " * 0: a longer code. */",
        f"static const uint32_t fm_huffman_fast[{1 << FAST_BITS}] = {{", rows(fast, 12), "};",
        "/* Longer codes, by 32 bits: the first row whose last is not below them has their length. */",
        "typedef struct { uint32_t last, first; uint16_t order; uint8_t bits; } fm_huffman_row;",
        f"static const fm_huffman_row fm_huffman_long[{len(lengths)}] = {{", rows(lengths, 4), "};",
        "/* Symbols in the order of their codes. */",
        f"static const uint16_t fm_huffman_order[{len(order)}] = {{", rows(map(str, order), 20), "};",
    ]  # fmt: skip


def mix(name: str, a: int, b: int, c: int) -> int:
    """The slot of a name: length, first and last byte."""
    return (len(name) * a + ord(name[0]) * b + ord(name[-1]) * c) % NAME_SLOTS


def multipliers(names: list[str]) -> tuple[int, int, int]:
    """The first multipliers that give every name its own slot."""
    for a, b, c in itertools.product(range(1, NAME_SLOTS), repeat=3):
        if len({mix(name, a, b, c) for name in names}) == len(names):
            return a, b, c
    raise SystemExit("no perfect hash: raise NAME_SLOTS")


def static_tables() -> list[str]:
    names = [name for name, _ in STATIC]
    text, entries = "", ["{0, 0, 0, 0, 0}"]
    for name, value in STATIC:
        first = names.index(name) + 1
        last = first + names.count(name) - 1
        entries.append(f"{{{len(text)}, {len(name)}, {len(value)}, {first}, {last}}}")
        text += name + value
    a, b, c = multipliers(list(dict.fromkeys(names)))
    slots = ["0"] * NAME_SLOTS
    for name in names:
        slots[mix(name, a, b, c)] = str(names.index(name) + 1)
    chunks = [text[i : i + 100] for i in range(0, len(text), 100)]
    return [
        "/* By index, 0 left out. off: of the name in fm_hpack_text, the value follows it; first, last: the indices",
        " * that have the name. */",
        "typedef struct { uint16_t off; uint8_t name_len, value_len, first, last; } fm_hpack_entry;",
        f"static const fm_hpack_entry fm_hpack_static[{len(entries)}] = {{", rows(entries, 5), "};",
        "static const char fm_hpack_text[] =", "\n".join(f'    "{chunk}"' for chunk in chunks) + ";",
        "/* The first index that may have a name, by its length, first and last byte; 0: none has. */",
        f"#define FM_HPACK_SLOT(n, first, last) (((n) * {a}u + (first) * {b}u + (last) * {c}u) % {NAME_SLOTS}u)",
        f"static const uint8_t fm_hpack_slots[{NAME_SLOTS}] = {{", rows(slots, 32), "};",
    ]  # fmt: skip


def header() -> str:
    """The whole header."""
    lines = ["/* Written by tools/gen_hpack.py; change that. */", "#ifndef FM_HPACK_TABLES_H"]
    lines += ["#define FM_HPACK_TABLES_H", "#include <stdint.h>", ""]
    return "\n".join([*lines, *static_tables(), "", *huffman_tables(), "", "#endif", ""])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        HEADER.write_text(header())
    else:
        print(header(), end="")
