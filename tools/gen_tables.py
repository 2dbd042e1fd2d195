"""Writes fastmesh/_core/ffi/tables.h: byte classes, the field-name table and the reason phrases of the wire layer.

Run it after a change here; tests/unit/test_wire_tables.py fails when the header is not what this prints.

    python tools/gen_tables.py            print the header
    python tools/gen_tables.py --write    write it
"""

import itertools
import string
import sys
from collections.abc import Iterable
from pathlib import Path

HEADER = Path(__file__).resolve().parent.parent / "fastmesh" / "_core" / "ffi" / "tables.h"

# Byte classes, one bit each.
TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())  # RFC 9110 5.6.2
TARGET = frozenset(range(0x21, 0x7F)) - frozenset(b"#")  # a request target: visible ASCII without a fragment
HOST = frozenset((string.ascii_letters + string.digits + "-._~!$&'()*+,;=").encode())  # RFC 3986 3.2.2 reg-name, no "%"
QUOTED = (frozenset(range(0x20, 0x7F)) | frozenset(b"\t") | frozenset(range(0x80, 0x100))) - frozenset(b'"\\')  # qdtext
ESCAPED = frozenset(range(0x20, 0x7F)) | frozenset(b"\t") | frozenset(range(0x80, 0x100))  # after a backslash
CLASSES = (("TOKEN", TOKEN), ("TARGET", TARGET), ("HOST", HOST), ("QUOTED", QUOTED), ("ESCAPED", ESCAPED))

# In the order of FieldId in wire/headers.pxd; FIELD_OTHER is 0.
FIELDS = (
    "connection", "content-length", "transfer-encoding", "host", "te", "trailer", "upgrade", "keep-alive",
    "proxy-connection", "expect", "date", "via", "max-forwards", "forwarded", "x-forwarded-for", "x-forwarded-proto",
    "user-agent", "referer", "content-type", "grpc-timeout", "cookie", "authorization", "proxy-authorization",
    "http2-settings",
)  # fmt: skip
SLOTS = 64
NAME_ROOM = 30  # a slot is 32 bytes

# IANA HTTP status code registry, "Unassigned" and "Unused" left out.
REASONS = {
    100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
    104: "Upload Resumption Supported",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
    205: "Reset Content", 206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    305: "Use Proxy", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large",
    414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed",
    421: "Misdirected Request", 422: "Unprocessable Content", 423: "Locked", 424: "Failed Dependency",
    425: "Too Early", 426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported", 506: "Variant Also Negotiates",
    507: "Insufficient Storage", 508: "Loop Detected", 510: "Not Extended", 511: "Network Authentication Required",
}  # fmt: skip


def mix(name: str, a: int, b: int, c: int) -> int:
    """The hash of the core's field lookup: length, first and last byte, folded to lower case."""
    return (len(name) * a + ord(name[0]) * b + ord(name[-1]) * c) % SLOTS


def multipliers() -> tuple[int, int, int]:
    """The first multipliers that give every known name its own slot."""
    for a, b, c in itertools.product(range(1, 64), repeat=3):
        if len({mix(name, a, b, c) for name in FIELDS}) == len(FIELDS):
            return a, b, c
    raise SystemExit("no perfect hash: raise SLOTS")


def rows(values: Iterable[str], per_row: int) -> str:
    """Comma-separated values, so many on a line."""
    items = list(values)
    parts = (items[i : i + per_row] for i in range(0, len(items), per_row))
    return ",\n".join("    " + ", ".join(part) for part in parts)


def class_tables() -> list[str]:
    bits = [sum(1 << bit for bit, (_, members) in enumerate(CLASSES) if byte in members) for byte in range(256)]
    hexes = [int(chr(byte), 16) if chr(byte) in string.hexdigits else 255 for byte in range(256)]
    lines = [f"#define FM_CLASS_{name} {1 << bit}" for bit, (name, _) in enumerate(CLASSES)]
    lines += ["static const uint8_t fm_class[256] = {", rows(map(str, bits), 16), "};"]
    lines += ["/* Value of a hexadecimal digit, 255 for any other byte. */"]
    return [*lines, "static const uint8_t fm_hex[256] = {", rows(map(str, hexes), 16), "};"]


def field_tables() -> list[str]:
    a, b, c = multipliers()
    slot_of = {mix(name, a, b, c): (i + 1, name) for i, name in enumerate(FIELDS)}
    slots = [slot_of.get(slot, (0, "")) for slot in range(SLOTS)]
    entries = [f'{{{len(name)}, {number}, "{name}"}}' for number, name in slots]
    return [
        "typedef struct { uint8_t len; uint8_t id; char name[%d]; } fm_field_slot;" % NAME_ROOM,
        "/* Slot of a name: its length, first and last byte in lower case. */",
        f"#define FM_FIELD_SLOT(n, first, last) (((n) * {a}u + (first) * {b}u + (last) * {c}u) % {SLOTS}u)",
        "static const fm_field_slot fm_fields[%d] = {" % SLOTS, rows(entries, 4), "};",
    ]  # fmt: skip


def reason_tables() -> list[str]:
    known, blob = REASONS, ""
    offsets = {}
    for code, text in known.items():
        offsets[code] = len(blob)
        blob += text
    pairs = [f"{{{offsets.get(code, 0)}, {len(known.get(code, ''))}}}" for code in range(100, 600)]
    chunks = [blob[i : i + 100] for i in range(0, len(blob), 100)]
    return [
        "/* Reason phrases: {offset, length} in fm_reason_text by status - 100. */",
        "static const uint16_t fm_reasons[500][2] = {", rows(pairs, 10), "};",
        "static const char fm_reason_text[] =", "\n".join(f'    "{chunk}"' for chunk in chunks) + ";",
    ]  # fmt: skip


def header() -> str:
    """The whole header."""
    lines = ["/* Written by tools/gen_tables.py; change that. */", "#ifndef FM_TABLES_H", "#define FM_TABLES_H",
             "#include <stdint.h>", ""]  # fmt: skip
    for part in (class_tables(), field_tables(), reason_tables()):
        lines += [*part, ""]
    return "\n".join([*lines, "#endif", ""])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        HEADER.write_text(header())
    else:
        print(header(), end="")
