"""HTTP/1 heads and the chunked coding, slow and plain: what the core must equal.

Written from RFC 9110 and RFC 9112 byte by byte with regular expressions for whole lines, so that a verdict's place (the
shortest prefix that shows it) is where the loop stands. Shares no table and no code with the core.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from tests.model.wire_enums import AGAIN, BAD, LIMIT, OK, Fault, FieldId, Flag, Form, Framing, Method

TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN = re.compile(TCHAR + rb"+")
FIELD_LINE = re.compile(rb"(" + TCHAR + rb"+):[ \t]*((?:[^ \t](?:.*[^ \t])?)?)[ \t]*", re.DOTALL)
REG_NAME = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
TRANSFER_CODING = re.compile(
    rb"(" + TCHAR + rb"+)((?:[ \t]*;[ \t]*" + TCHAR + rb"+[ \t]*=[ \t]*" + TCHAR + rb"+)*)"
)
CHUNK_EXT = re.compile(
    rb"(?:[ \t]*;[ \t]*" + TCHAR + rb"+(?:[ \t]*=[ \t]*(?:" + TCHAR
    + rb'+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*'
)  # fmt: skip
HEX = b"0123456789abcdefABCDEF"
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings"}
END_TO_END = {
    b"host", b"content-length", b"transfer-encoding", b"expect", b"date", b"via", b"max-forwards", b"forwarded",
    b"x-forwarded-for", b"x-forwarded-proto", b"cookie", b"authorization", b"cache-control",
}  # fmt: skip
NOT_IN_TRAILERS = HOP_BY_HOP | END_TO_END | {
    b"trailer", b"proxy-authorization", b"proxy-authenticate", b"proxy-authentication-info", b"set-cookie", b"pragma",
    b"range", b"www-authenticate", b"age", b"expires", b"location", b"retry-after", b"vary",
}  # fmt: skip
FIELD_IDS = {member.name[6:].lower().replace("_", "-").encode(): member for member in FieldId if member}


class Refused(Exception):
    """Carries the Http1Fault."""


@dataclass
class Limits:
    head_bytes: int = 65536
    line_bytes: int = 16384
    field_line_bytes: int = 65536
    fields: int = 128


@dataclass
class Verdict:
    """What the first `at` bytes decide; `at` is the length of the data when it is AGAIN."""

    status: int
    fault: int = 0
    at: int = 0
    head: dict[str, Any] = field(default_factory=dict)
    fields: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)


def split_list(value: bytes) -> list[bytes]:
    return [part.strip(b" \t") for part in value.split(b",")]


def parse_authority(text: bytes) -> tuple[bytes, int | None] | None:
    """(host as written, port) of host[":" port]; None when it is none."""
    match = re.fullmatch(rb"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?", text)
    if not match:
        return None
    host, port = match[1], int(match[2]) if match[2] else None
    if host.startswith(b"["):
        try:
            ipaddress.IPv6Address(host[1:-1].decode())
        except ValueError:
            return None
    elif not REG_NAME.fullmatch(host):
        return None
    return None if port is not None and port > 65535 else (host, port)


class Head:
    """One message, fed with whole lines."""

    def __init__(self, kind: str, data: bytes) -> None:
        self.kind, self.data = kind, data
        self.h: dict[str, Any] = dict.fromkeys(
            ("head_bytes", "line_bytes", "line_off", "target_off", "target_len", "path_off", "path_len", "query_off",
             "authority_off", "authority_len", "host_len", "upgrade_off", "upgrade_len", "method_len", "status",
             "flags", "method", "form", "minor", "framing", "max_forwards", "content_length"), 0)  # fmt: skip
        self.lines: list[tuple[int, int, int, int]] = []  # name_off, name_len, value_off, value_len
        self.target_authority: tuple[bytes, int | None] | None = None

    # Lines

    def version(self, text: bytes) -> None:
        match = re.fullmatch(rb"HTTP/([0-9])\.([0-9])", text)
        if not match:
            raise Refused(Fault.FAULT_VERSION)
        if match[1] != b"1":
            raise Refused(Fault.FAULT_VERSION_UNSUPPORTED)
        self.h["minor"] = int(match[2] != b"0")

    def start_line(self, off: int, line: bytes) -> None:
        self.h["line_off"], self.h["line_bytes"] = off, len(line) + 2
        if self.kind == "request":
            self.request_line(off, line)
        else:
            self.status_line(off, line)

    def request_line(self, off: int, line: bytes) -> None:
        parts = line.split(b" ")
        if len(parts) != 3 or not parts[0] or not parts[1]:
            raise Refused(Fault.FAULT_REQUEST_LINE)
        method, target, version = parts
        if not TOKEN.fullmatch(method):
            raise Refused(Fault.FAULT_METHOD)
        self.version(version)
        if not re.fullmatch(rb"[\x21-\x22\x24-\x7e]+", target):
            raise Refused(Fault.FAULT_TARGET)
        names = {member.name[7:].encode(): member for member in Method if member}
        self.h |= {"method_len": len(method), "method": names.get(method, 0)}
        self.h |= {"target_off": off + len(method) + 1, "target_len": len(target)}
        self.target(self.h["target_off"], target)

    def target(self, off: int, target: bytes) -> None:
        if self.h["method"] == Method.METHOD_CONNECT:
            found = parse_authority(target)
            if not found or not found[1]:
                raise Refused(Fault.FAULT_TARGET)
            self.authority(Form.TARGET_AUTHORITY, off, target, found)
        elif target.startswith(b"/"):
            self.path(off, target)
        elif target == b"*":
            if self.h["method"] != Method.METHOD_OPTIONS:
                raise Refused(Fault.FAULT_TARGET)
            self.h["form"] = Form.TARGET_ASTERISK
            self.path(off, target)
        else:
            match = re.fullmatch(rb"(https?://)([^/?]*)(.*)", target, re.IGNORECASE | re.DOTALL)
            if not match:
                raise Refused(Fault.FAULT_TARGET)
            found = parse_authority(match[2])
            if not found:
                raise Refused(Fault.FAULT_HOST)
            self.authority(Form.TARGET_ABSOLUTE, off + match.start(2), match[2], found)
            self.path(off + match.start(3), match[3])

    def authority(self, form: int, off: int, text: bytes, found: tuple[bytes, int | None]) -> None:
        self.target_authority = found
        self.h |= {"form": form, "authority_off": off, "authority_len": len(text), "host_len": len(found[0])}

    def path(self, off: int, text: bytes) -> None:
        self.h |= {"path_off": off, "path_len": len(text)}
        if b"?" in text:
            self.h["query_off"] = off + text.index(b"?") + 1

    def status_line(self, off: int, line: bytes) -> None:
        first = line.split(b" ", 1)[0]
        self.version(first)
        match = re.fullmatch(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: (.*))?", line, re.DOTALL)
        if not match:
            raise Refused(Fault.FAULT_STATUS_LINE)
        reason = match[2] or b""
        self.h |= {"status": int(match[1]), "target_off": off + len(line) - len(reason), "target_len": len(reason)}

    def field_line(self, off: int, line: bytes) -> None:
        if line[:1] in (b" ", b"\t"):
            raise Refused(Fault.FAULT_OBS_FOLD)
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise Refused(Fault.FAULT_FIELD_NAME)
        value_off = off + match.start(2) if match[2] else off + len(line)
        self.lines.append((off, len(match[1]), value_off, len(match[2])))

    # Meaning

    def values(self, name: bytes) -> list[bytes]:
        return [self.data[v : v + vn] for n, nn, v, vn in self.lines if self.data[n : n + nn].lower() == name]

    def elements(self, name: bytes) -> list[bytes]:
        return [part for value in self.values(name) for part in split_list(value)]

    def flag(self, flag: int) -> None:
        self.h["flags"] |= flag

    def framing(self) -> None:
        lengths, codings = self.values(b"content-length"), self.values(b"transfer-encoding")
        self.h["framing"] = Framing.FRAMING_NONE if self.kind == "request" else Framing.FRAMING_CLOSE
        if lengths:
            if len(lengths) > 1 or not re.fullmatch(rb"[0-9]+", lengths[0]) or int(lengths[0]) >= 1 << 63:
                raise Refused(Fault.FAULT_CONTENT_LENGTH)
            if codings:
                raise Refused(Fault.FAULT_LENGTH_AND_CODING)
            self.flag(Flag.HEAD_HAS_LENGTH)
            self.h["content_length"] = int(lengths[0])
            self.h["framing"] = Framing.FRAMING_LENGTH if int(lengths[0]) else Framing.FRAMING_NONE
        if codings:
            self.coding()
        if self.kind == "request" and self.h["method"] == Method.METHOD_CONNECT:
            if self.h["framing"] == Framing.FRAMING_CHUNKED:
                raise Refused(Fault.FAULT_CODING)
            if self.h["framing"] == Framing.FRAMING_LENGTH:
                raise Refused(Fault.FAULT_CONTENT_LENGTH)

    def coding(self) -> None:
        matches = [TRANSFER_CODING.fullmatch(part) for part in self.elements(b"transfer-encoding")]
        names = [match[1].lower() if match else b"" for match in matches]
        if not self.h["minor"] or not all(matches) or b"chunked" in names[:-1]:
            raise Refused(Fault.FAULT_CODING)
        if any(match and match[1].lower() == b"chunked" and match[2] for match in matches):
            raise Refused(Fault.FAULT_CODING)
        if set(names) != {b"chunked"}:
            raise Refused(Fault.FAULT_CODING_UNKNOWN)
        self.h["framing"] = Framing.FRAMING_CHUNKED

    def host(self) -> None:
        hosts = self.values(b"host")
        if not hosts:
            if self.h["minor"]:
                raise Refused(Fault.FAULT_HOST_MISSING)
            return
        if len(hosts) > 1:
            raise Refused(Fault.FAULT_HOST_REPEATED)
        said = parse_authority(hosts[0])
        if not said:
            raise Refused(Fault.FAULT_HOST)
        if self.target_authority:
            if not self.same_host(said, self.target_authority):
                raise Refused(Fault.FAULT_HOST_MISMATCH)
            return
        off = next(v for n, nn, v, _ in self.lines if self.data[n : n + nn].lower() == b"host")
        self.h |= {"authority_off": off, "authority_len": len(hosts[0]), "host_len": len(said[0])}

    def same_host(self, said: tuple[bytes, int | None], wanted: tuple[bytes, int | None]) -> bool:
        if said[0].lower() != wanted[0].lower():
            return False
        if self.h["form"] == Form.TARGET_AUTHORITY:
            return said[1] in (None, wanted[1])
        target = self.data[self.h["target_off"] :][:5].lower()
        default = 443 if target == b"https" else 80
        return (default if said[1] is None else said[1]) == (default if wanted[1] is None else wanted[1])

    def connection(self) -> set[bytes]:
        names = [part for part in self.elements(b"connection") if part]
        options = {name.lower() for name in names}
        if len(names) > 64 or not all(TOKEN.fullmatch(name) for name in names):
            raise Refused(Fault.FAULT_CONNECTION)
        if any(name in END_TO_END or name.startswith(b"content-") for name in options):
            raise Refused(Fault.FAULT_CONNECTION)
        if b"close" in options:
            self.flag(Flag.HEAD_CLOSE)
        elif self.h["minor"] or b"keep-alive" in options:
            self.flag(Flag.HEAD_KEEP_ALIVE)
        return options

    def upgrade(self, options: set[bytes]) -> None:
        values = self.values(b"upgrade")
        if b"upgrade" not in options or not values or not self.h["minor"]:
            return
        protocols = [part for part in split_list(values[0]) if part]
        shape = re.compile(TOKEN.pattern + rb"(/" + TOKEN.pattern + rb")?")
        if len(values) > 1 or not all(shape.fullmatch(part) for part in protocols):
            raise Refused(Fault.FAULT_UPGRADE)
        if all(part.split(b"/")[0].lower() == b"h2c" for part in protocols):
            return
        connects = self.h["method"] == Method.METHOD_CONNECT
        if self.kind == "request" and (self.h["framing"] != Framing.FRAMING_NONE or connects):
            raise Refused(Fault.FAULT_UPGRADE)
        self.flag(Flag.HEAD_UPGRADE)
        self.h["upgrade_off"] = next(v for n, nn, v, _ in self.lines if self.data[n : n + nn].lower() == b"upgrade")
        self.h["upgrade_len"] = len(values[0])

    def hints(self) -> None:
        if self.values(b"date"):
            self.flag(Flag.HEAD_HAS_DATE)
        if self.values(b"via"):
            self.flag(Flag.HEAD_HAS_VIA)
        if b"trailers" in [part.lower() for part in self.elements(b"te")]:
            self.flag(Flag.HEAD_TE_TRAILERS)
        expects = self.values(b"expect")
        if self.h["minor"] and expects and expects[-1].lower() == b"100-continue":
            self.flag(Flag.HEAD_EXPECT_CONTINUE)
        forwards = self.values(b"max-forwards")
        if len(forwards) == 1 and re.fullmatch(rb"[0-9]+", forwards[0]) and int(forwards[0]) < 1 << 63:
            self.flag(Flag.HEAD_MAX_FORWARDS)
            self.h["max_forwards"] = min(255, int(forwards[0]))

    def field_table(self, drops: set[bytes]) -> list[tuple[int, int, int, int, int, int]]:
        table = []
        for n, nn, v, vn in self.lines:
            name = self.data[n : n + nn].lower()
            table.append((n, nn, v, vn, int(FIELD_IDS.get(name, 0)), int(name in drops)))
        if any(row[5] for row in table):
            self.flag(Flag.HEAD_DROPS)
        return table

    def settle(self) -> list[tuple[int, int, int, int, int, int]]:
        if self.kind == "trailers":
            names = {self.data[n : n + nn].lower() for n, nn, _, _ in self.lines}
            banned = {name for name in names if name.startswith((b"content-", b"if-", b"proxy-auth"))}
            return self.field_table(NOT_IN_TRAILERS | banned)
        self.framing()
        if self.kind == "request":
            self.host()
        options = self.connection()
        self.upgrade(options)
        self.hints()
        return self.field_table(HOP_BY_HOP | options)


def control_fault(kind: str, started: bool, line: bytes) -> Any:
    """Why a control byte at the end of `line` is refused."""
    if line.endswith(b"\n"):
        return Fault.FAULT_BARE_LF
    if started:
        return Fault.FAULT_FIELD_VALUE if b":" in line else Fault.FAULT_FIELD_NAME
    if kind == "response":
        return Fault.FAULT_STATUS_LINE
    return [Fault.FAULT_METHOD, Fault.FAULT_TARGET, Fault.FAULT_VERSION][min(2, line.count(b" "))]


def judge(kind: str, data: bytes, limits: Limits) -> Verdict:
    """Byte by byte; every return names the prefix that decides."""
    head = Head(kind, data)
    started, start = kind == "trailers", 0
    for i, byte in enumerate(data):
        own = start + (limits.field_line_bytes if started else limits.line_bytes)
        if i >= min(own, limits.head_bytes):
            long_line = not started and own < limits.head_bytes
            return Verdict(LIMIT, Fault.FAULT_LINE_TOO_LONG if long_line else Fault.FAULT_HEAD_TOO_LONG, i + 1)
        if i > start and data[i - 1] == 13:
            if byte != 10:
                return Verdict(BAD, Fault.FAULT_BARE_CR, i + 1)
            line = data[start : i - 1]
            try:
                if not started and not line:
                    if kind == "response" or start >= 8:
                        fault = Fault.FAULT_STATUS_LINE if kind == "response" else Fault.FAULT_REQUEST_LINE
                        raise Refused(fault)
                elif not started:
                    head.start_line(start, line)
                    started = True
                elif not line:
                    head.h["head_bytes"] = i + 1
                    table = head.settle()
                    return Verdict(OK, 0, i + 1, head.h, table)
                else:
                    if len(head.lines) >= limits.fields:
                        return Verdict(LIMIT, Fault.FAULT_TOO_MANY_FIELDS, i + 1)
                    head.field_line(start, line)
            except Refused as refused:
                return Verdict(BAD, refused.args[0], i + 1)
            start = i + 1
        elif byte == 127 or (byte < 32 and byte not in (9, 13)):
            return Verdict(BAD, control_fault(kind, started, data[start : i + 1]), i + 1)
    return Verdict(AGAIN, 0, len(data))


@dataclass
class Body:
    """What a chunked body decodes to: lawful bytes before the end or the fault, their data, and the verdict."""

    status: int
    fault: int
    used: int
    payload: bytes


def size_line_prefix(line: bytes) -> Any:
    """FAULT_NONE when the bytes may begin a size line (without CRLF), else the fault. Used byte by byte."""
    digits = re.match(rb"[0-9A-Fa-f]*", line)
    assert digits
    size, rest = digits[0], line[digits.end() :]
    if len(size) > 16 or (size and int(size, 16) >= 1 << 63):
        return Fault.FAULT_CHUNK_SIZE
    if rest and (not size or rest[0] not in b" \t;\r"):
        return Fault.FAULT_CHUNK_SIZE
    if rest and not could_begin_extensions(rest):
        return Fault.FAULT_CHUNK_EXTENSION
    return 0


def could_begin_extensions(rest: bytes) -> bool:
    """Whether some continuation makes `rest` *( BWS ";" ... ) and, after its last CR, the line's end."""
    if rest.endswith(b"\r"):
        return CHUNK_EXT.fullmatch(rest[:-1]) is not None
    # Whatever is open can be closed by one of these, so a prefix is lawful when one of them completes it.
    closers = (b"", b";a", b"a", b"=a", b'"', b' "', b'a"')
    return any(CHUNK_EXT.fullmatch(rest + closer) for closer in closers)


def decode_chunked(data: bytes, line_max: int = 4096, overhead_max: int = 65536) -> Body:
    at, payload, overhead = 0, bytearray(), 0
    while True:
        start = at
        while True:  # one size line
            if at == len(data):
                return Body(AGAIN, 0, at, bytes(payload))
            line = data[start : at + 1]
            if len(line) > line_max:
                return Body(BAD, Fault.FAULT_CHUNK_EXTENSION, at, bytes(payload))
            if data[start:at].endswith(b"\r"):
                if data[at] != 10:
                    return Body(BAD, Fault.FAULT_CHUNK_SIZE, at, bytes(payload))
                at += 1
                break
            extra = len(line.rstrip(b"\r").lstrip(HEX)) if line[0] in HEX else 1
            if overhead + extra > overhead_max:
                return Body(BAD, Fault.FAULT_CHUNK_EXTENSION, at, bytes(payload))
            fault = size_line_prefix(line)
            if fault:
                return Body(BAD, fault, at, bytes(payload))
            at += 1
        digits = re.match(rb"[0-9A-Fa-f]+", data[start:at])
        assert digits
        overhead += at - 2 - start - digits.end()
        size = int(digits[0], 16)
        if size == 0:
            return Body(OK, 0, at, bytes(payload))
        take = data[at : at + size]
        payload += take
        at += len(take)
        for expected in b"\r\n":
            if at == len(data):
                return Body(AGAIN, 0, at, bytes(payload))
            if data[at] != expected:
                return Body(BAD, Fault.FAULT_CHUNK_END, at, bytes(payload))
            at += 1
