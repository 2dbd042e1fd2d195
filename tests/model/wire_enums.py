"""Numbers of the wire layer's enums, read from the .pxd files that define them."""

import re
from enum import IntEnum
from pathlib import Path
from typing import Any

WIRE = Path(__file__).resolve().parents[2] / "fastmesh" / "_core" / "wire"


def enum_of(file: str, name: str) -> Any:
    """The enum as Python's, e.g. enum_of("http1_types.pxd", "Http1Fault")."""
    text = re.sub(r"#.*", "", (WIRE / file).read_text())
    found = re.search(rf"cdef enum {name}:\n((?:[ ]+\w+.*\n|\s*\n)+)", text)
    assert found, f"no enum {name} in {file}"
    members: list[tuple[str, int]] = []
    for member, value in re.findall(r"^\s+(\w+)(?: = (\d+))?\s*$", found[1], re.MULTILINE):
        members.append((member, int(value) if value else members[-1][1] + 1))
    return IntEnum(name, members)


Fault = enum_of("http1_types.pxd", "Http1Fault")
Method = enum_of("http1_types.pxd", "Method")
Form = enum_of("http1_types.pxd", "TargetForm")
Framing = enum_of("http1_types.pxd", "Framing")
Flag = enum_of("http1_types.pxd", "Http1Flag")
FieldId = enum_of("headers.pxd", "FieldId")
Edit = enum_of("edit.pxd", "EditFlag")
Policy = enum_of("hpack.pxd", "HpackPolicy")
Block = enum_of("http2_head.pxd", "BlockFlag")
OK, AGAIN, BAD, LIMIT, FULL, CLOSED = 0, -1, -4, -5, -3, -6
