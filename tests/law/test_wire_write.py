"""Writers: what goes out is what came in but for what the edit names, and it parses again to the same message."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.edit_model import DATE, edits, wanted_dropped, wanted_forwarding, wanted_via
from tests.model.wire_enums import FULL, OK, Edit, Flag, Form, Framing, Method
from tests.model.wire_messages import messages
from tests.model.wire_model import Limits, Verdict, judge
from tests.probe.wire_http1 import Parser, error

WIDE = Limits(1 << 20, 1 << 20, 1 << 20, 1024)
NEVER = {b"keep-alive", b"proxy-connection", b"http2-settings"}


def parsed(kind: str, data: bytes) -> tuple[Parser, Verdict]:
    parser = Parser(kind, WIDE.head_bytes, WIDE.line_bytes, WIDE.field_line_bytes, WIDE.fields)
    verdict = judge(kind, data, WIDE)
    assert parser.feed(data)[0] == verdict.status
    return parser, verdict


def text(data: bytes, head: dict[str, int], name: str) -> bytes:
    return data[head[f"{name}_off"] :][: head[f"{name}_len"]]


def wanted_start(kind: str, data: bytes, head: dict[str, int]) -> bytes:
    if kind == "response":
        return b"HTTP/1.1 %d %s" % (head["status"], text(data, head, "target"))
    target = text(data, head, "target")
    if head["form"] == Form.TARGET_ABSOLUTE:
        target = text(data, head, "path")
        if not target.startswith(b"/"):
            target = b"*" if head["method"] == Method.METHOD_OPTIONS and not target else b"/" + target
    return data[head["line_off"] :][: head["method_len"]] + b" " + target + b" HTTP/1.1"


def wanted_connection(data: bytes, head: dict[str, int], flags: int) -> list[bytes]:
    out, options = [], []
    if flags & Edit.EDIT_TE_TRAILERS:
        out.append(b"TE: trailers")
    if flags & Edit.EDIT_UPGRADE and head["flags"] & Flag.HEAD_UPGRADE:
        protocols = [part.strip(b" \t") for part in text(data, head, "upgrade").split(b",")]
        kept = [part for part in protocols if part and not re.fullmatch(rb"h2c(/.*)?", part, re.IGNORECASE)]
        out.append(b"Upgrade: " + b", ".join(kept))
        options.append(b"Upgrade")
    options += [b"TE"] if flags & Edit.EDIT_TE_TRAILERS else []
    if flags & Edit.EDIT_CLOSE:
        options.append(b"close")
    elif flags & Edit.EDIT_KEEP_ALIVE:
        options.append(b"keep-alive")
    return [*out, b"Connection: " + b", ".join(options)] if options else out


def wanted_head(kind: str, data: bytes, verdict: Verdict, edit: dict[str, Any]) -> bytes:
    head, flags = verdict.head, edit["flags"]
    raw = data[head["line_off"] + head["line_bytes"] : head["head_bytes"] - 2].split(b"\r\n")[:-1]
    lines = [
        (data[n : n + nn].lower(), data[v : v + vn], line)
        for (n, nn, v, vn, _, drop), line in zip(verdict.fields, raw, strict=True)
        if not drop
    ]
    names = [data[n : n + nn].lower() for n, nn, *_ in verdict.fields]
    absolute = kind == "request" and head["form"] == Form.TARGET_ABSOLUTE
    new_host = absolute or (kind == "request" and not head["minor"] and b"host" not in names)
    dropped = wanted_dropped(flags, new_host)
    dropped |= {b"expect"} if kind == "request" and not head["minor"] else set()
    out = [wanted_start(kind, data, head)]
    if new_host:
        host = text(data, head, "authority") or edit["host"]
        out.append(b"Host: %s" % host if host else b"Host:")
    out += [line for name, _, line in lines if name not in dropped]
    if kind == "response" and edit["date"] and b"date" not in names:
        out.append(b"Date: " + DATE)
    if edit["via"]:
        out.append(b"Via: " + wanted_via(head, edit))
    if flags & Edit.EDIT_MAX_FORWARDS:
        out.append(b"Max-Forwards: %d" % edit["max_forwards"])
    out += [name + b": " + value for name, value in wanted_forwarding([line[:2] for line in lines], edit)]
    out += [b"Content-Type: application/x-test"] if flags & Edit.EDIT_TYPE else []
    out += [b"Transfer-Encoding: chunked"] if flags & Edit.EDIT_CHUNKED else []
    out += wanted_connection(data, head, flags)
    return b"\r\n".join(out) + b"\r\n\r\n"


@settings(max_examples=2000, deadline=None)
@given(messages(), edits())
def test_a_written_head_is_the_model_s(message: tuple[str, bytes], edit: dict[str, Any]) -> None:
    kind, data = message
    parser, verdict = parsed(kind, data)
    if verdict.status != OK or kind == "trailers":
        return
    wanted = wanted_head(kind, data, verdict, edit)
    assert parser.write(**edit) == wanted
    assert parser.write(room=len(wanted), **edit) == wanted


@settings(max_examples=200, deadline=None)
@given(messages(), edits())
def test_every_room_too_small_is_full(message: tuple[str, bytes], edit: dict[str, Any]) -> None:
    kind, data = message
    parser, verdict = parsed(kind, data)
    if verdict.status == OK:
        needed = len(parser.write(**edit))
        assert {parser.write(room=room, **edit) for room in range(needed)} <= {FULL}


@settings(max_examples=1500, deadline=None)
@given(messages())
def test_write_then_parse_is_identity(message: tuple[str, bytes]) -> None:
    kind, data = message
    parser, first = parsed(kind, data)
    if first.status != OK:
        return
    out = parser.write(host=b"10.0.0.1:9000")
    _, second = parsed(kind, out)
    assert (second.status, second.head["head_bytes"]) == (OK, len(out))
    gone = b"expect" if kind == "request" and not first.head["minor"] else b""  # HTTP/1.0: RFC 9110 10.1.1
    kept = [
        (data[n : n + nn], data[v : v + vn])
        for n, nn, v, vn, _, drop in first.fields
        if not drop and data[n : n + nn].lower() != gone
    ]
    again = [(out[n : n + nn], out[v : v + vn]) for n, nn, v, vn, *_ in second.fields]
    if kind == "request":
        new = again[0] if again and again[0] not in kept else None
        again, kept = ([pair for pair in pairs if pair[0].lower() != b"host"] for pairs in (again, kept))
        assert new is None or new[0] == b"Host"
        for name in ("authority", "path"):
            before, after = text(data, first.head, name), text(out, second.head, name)
            if name == "authority" and not before:  # HTTP/1.0 without Host: what the edit says
                before = b"10.0.0.1:9000"
            if name == "path" and first.head["form"] == Form.TARGET_ABSOLUTE and not before.startswith(b"/"):
                before = b"*" if first.head["method"] == Method.METHOD_OPTIONS and not before else b"/" + before
            assert before == after
    assert again == kept
    assert not {name.lower() for name, _ in again} & NEVER
    for key in ("method", "status", "framing", "content_length"):
        assert first.head[key] == second.head[key] or kind == "trailers"


@pytest.mark.parametrize("method", ["GET", "HEAD", "CONNECT"])
@pytest.mark.parametrize(("length", "framing"), [(b"", "CLOSE"), (b"Content-Length: 3\r\n", "LENGTH"),
                                                 (b"Content-Length: 0\r\n", "NONE"),
                                                 (b"Transfer-Encoding: chunked\r\n", "CHUNKED")])  # fmt: skip
@pytest.mark.parametrize("status", [100, 101, 103, 200, 204, 206, 299, 304, 404, 503])
def test_how_a_response_ends(method: str, length: bytes, framing: str, status: int) -> None:
    """RFC 9112 6.3, rule by rule."""
    parser = Parser("response")
    assert parser.feed(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, length)) == (OK, 0)
    if status == 101 or (method == "CONNECT" and 200 <= status < 300):
        framing = "TUNNEL"
    elif method == "HEAD" or status < 200 or status in (204, 304):
        framing = "NONE"
    assert Framing(parser.framing(Method[f"METHOD_{method}"])).name == f"FRAMING_{framing}"


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("head_only", [False, True])
@given(st.integers(100, 599), st.binary(max_size=60), st.sampled_from([None, DATE]))
def test_proxy_made_responses(close: bool, head_only: bool, status: int, cause: bytes, date: bytes | None) -> None:
    out = error(status, cause, date, close, head_only)
    clean = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in cause)
    head, body = out.split(b"\r\n\r\n", 1)
    start, *lines = head.split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines)
    assert start.startswith(b"HTTP/1.1 %d " % status)
    assert fields[b"content-type"] == b"text/plain"
    assert fields[b"content-length"] == b"%d" % (len(cause) + 1)
    assert fields[b"fastmesh-error"] == clean
    assert fields.get(b"date") == date
    assert (fields.get(b"connection") == b"close") is close
    assert body == (b"" if head_only else clean + b"\n")
    assert {error(status, cause, date, close, head_only, room) for room in range(len(out))} == {FULL}
    assert parsed("response", out)[1].status == OK


REASONS = {
    100: b"Continue", 200: b"OK", 400: b"Bad Request", 408: b"Request Timeout", 414: b"URI Too Long",
    431: b"Request Header Fields Too Large", 501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported", 511: b"Network Authentication Required", 599: b"",
}  # fmt: skip


@pytest.mark.parametrize(("status", "reason"), REASONS.items())
def test_reason_phrases(status: int, reason: bytes) -> None:
    assert error(status, b"x").split(b"\r\n")[0] == b"HTTP/1.1 %d %s" % (status, reason)
