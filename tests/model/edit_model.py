"""What an edit means for any head, whichever form it goes out in, and edits to try."""

from typing import Any

from hypothesis import strategies as st

from tests.model.wire_enums import Edit

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


@st.composite
def edits(draw: st.DrawFn) -> dict[str, Any]:
    flags = 0
    for flag in Edit:
        flags |= flag if draw(st.integers(0, 3)) == 0 else 0
    return {
        "flags": flags,
        "via": draw(st.sampled_from([None, b"fm", b""])),
        "client": draw(st.sampled_from([None, b"10.1.2.3", b"2001:db8::1"])),
        "date": draw(st.sampled_from([None, DATE])),
        "https": draw(st.booleans()),
        "max_forwards": draw(st.integers(0, 255)),
        "host": draw(st.sampled_from([None, b"10.0.0.1:9000"])),
        "received_http2": draw(st.booleans()),
    }


def wanted_dropped(flags: int, new_host: bool) -> set[bytes]:
    """Names that an edit leaves out or writes anew."""
    names: set[bytes] = {b"host"} if new_host else set()
    rules = (
        (Edit.EDIT_DROP_CODING, {b"transfer-encoding", b"trailer"}), (Edit.EDIT_DROP_LENGTH, {b"content-length"}),
        (Edit.EDIT_DROP_EXPECT, {b"expect"}), (Edit.EDIT_MAX_FORWARDS, {b"max-forwards"}),
        (Edit.EDIT_XFF, {b"x-forwarded-for"}), (Edit.EDIT_CHUNKED, {b"transfer-encoding", b"content-length"}),
    )  # fmt: skip
    for flag, dropped in rules:
        names |= dropped if flags & flag else set()
    if flags & Edit.EDIT_XFF_REPLACE:
        names |= {b"x-forwarded-proto"} if flags & Edit.EDIT_XFF else set()
        names |= {b"forwarded"} if flags & Edit.EDIT_FORWARDED else set()
    return names


def wanted_forwarding(lines: list[tuple[bytes, bytes]], edit: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Fields added for the client, given the (lower-case name, value) of those that came and stay."""
    flags, client = edit["flags"], edit["client"]
    proto = b"https" if edit["https"] else b"http"
    out: list[tuple[bytes, bytes]] = []
    if flags & Edit.EDIT_FORWARDED:
        node = b"unknown" if client is None else b'"[%s]"' % client if b":" in client else client
        out.append((b"Forwarded", b"for=%s;proto=%s" % (node, proto)))
    if flags & Edit.EDIT_XFF:
        came = [] if flags & Edit.EDIT_XFF_REPLACE else lines
        chain = [value for name, value in came if name == b"x-forwarded-for" and value]
        chain += [client] if client else []
        if chain:
            out.append((b"X-Forwarded-For", b", ".join(chain)))
        if not any(name == b"x-forwarded-proto" for name, _ in came):
            out.append((b"X-Forwarded-Proto", proto))
    return out


def wanted_via(head: dict[str, Any], edit: dict[str, Any]) -> bytes:
    """The value of Via that is added (RFC 9110 7.6.3)."""
    return b"%s %s" % (b"2.0" if edit["received_http2"] else b"1.%d" % head["minor"], edit["via"])
