"""HTTP/2 header blocks as HTTP/1.1 heads, slow and plain: what the core must equal.

Written from RFC 9113 8 and RFC 8441 over the list of fields, with a bytes object for every line. A list is judged field
by field in the order of the core's checks, so that the first of two faults is the verdict. `KEY` stands for the
Sec-WebSocket-Key that is made up.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from tests.model.wire_enums import BAD, LIMIT, OK, Block, Fault
from tests.model.wire_model import TOKEN, parse_authority

KEY = b"<key>"
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
VALUE = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
TARGET = re.compile(rb"[\x21-\x22\x24-\x7e]+")
STATUS = re.compile(rb"[1-9][0-9][0-9]")
GRPC = re.compile(rb"application/grpc(?:[+; \t].*)?", re.IGNORECASE | re.DOTALL)
FORBIDDEN = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
REQUEST = {b":method", b":scheme", b":authority", b":path", b":protocol"}
REASONS = {100: b"Continue", 103: b"Early Hints", 200: b"OK", 204: b"No Content", 304: b"Not Modified",
           404: b"Not Found", 500: b"Internal Server Error"}  # fmt: skip


class Refused(Exception):
    """Carries the status and the Http1Fault."""


@dataclass
class Judged:
    status: int
    fault: int = 0
    flags: int = 0
    code: int = 0
    text: bytes = b""


@dataclass
class Message:
    kind: str
    extended: bool
    fields_max: int
    pseudo: dict[bytes, bytes] = field(default_factory=dict)
    lines: list[list[bytes]] = field(default_factory=list)  # name, value
    start: bytes = b""
    flags: int = 0
    code: int = 0
    started: bool = False
    host: bool = False
    length: bool = False

    def refuse(self, fault: Any, status: int = BAD) -> None:
        raise Refused(status, int(fault))

    def add(self, *lines: tuple[bytes, bytes]) -> None:
        self.lines += [list(line) for line in lines]
        if len(self.lines) > self.fields_max:
            self.refuse(Fault.FAULT_TOO_MANY_FIELDS, LIMIT)

    def read(self, name: bytes, value: bytes) -> None:
        if name.startswith(b":"):
            known = {"request": REQUEST, "response": {b":status"}, "trailers": set()}[self.kind]
            if name not in known or name in self.pseudo or self.started:
                self.refuse(Fault.FAULT_PSEUDO)
            if name == b":protocol" and not self.extended:
                self.refuse(Fault.FAULT_PSEUDO)
            self.pseudo[name] = value
            return
        self.begin()
        self.regular(name, value)

    def begin(self) -> None:
        if not self.started:
            self.started = True
            if self.kind == "request":
                self.request()
            elif self.kind == "response":
                self.response()

    def request(self) -> None:
        pseudo = self.pseudo
        method = pseudo.get(b":method")
        if method is None or (method != b"CONNECT" and not {b":scheme", b":path"} <= pseudo.keys()):
            self.refuse(Fault.FAULT_PSEUDO)
        assert method is not None
        if not TOKEN.fullmatch(method):
            self.refuse(Fault.FAULT_METHOD)
        if method == b"CONNECT":
            self.connect()
        elif b":protocol" in pseudo:
            self.refuse(Fault.FAULT_PSEUDO)
        target = pseudo.get(b":path", b"")
        if self.flags & Block.BLOCK_CONNECT:
            target = pseudo[b":authority"]
        else:
            self.target(method, target)
        shown = b"GET" if self.flags & Block.BLOCK_EXTENDED else method
        self.start = shown + b" " + target + b" HTTP/1.1"
        if b":authority" in pseudo:
            self.add((b"Host", pseudo[b":authority"]))
        if self.flags & Block.BLOCK_EXTENDED:
            self.add((b"Connection", b"Upgrade"), (b"Upgrade", pseudo[b":protocol"]))

    def connect(self) -> None:
        pseudo = self.pseudo
        if b":authority" not in pseudo:
            self.refuse(Fault.FAULT_PSEUDO)
        if b":protocol" in pseudo:
            self.flags |= Block.BLOCK_EXTENDED
            if not {b":scheme", b":path"} <= pseudo.keys():
                self.refuse(Fault.FAULT_PSEUDO)
            if not TOKEN.fullmatch(pseudo[b":protocol"]) or pseudo[b":protocol"].lower() == b"h2c":
                self.refuse(Fault.FAULT_UPGRADE)
            return
        self.flags |= Block.BLOCK_CONNECT
        if {b":scheme", b":path"} & pseudo.keys():
            self.refuse(Fault.FAULT_PSEUDO)
        authority = parse_authority(pseudo[b":authority"])
        if not authority or not authority[1]:
            self.refuse(Fault.FAULT_TARGET)

    def target(self, method: bytes, path: bytes) -> None:
        if self.pseudo[b":scheme"].lower() not in (b"http", b"https"):
            self.refuse(Fault.FAULT_TARGET)
        if not TARGET.fullmatch(path) or not (path.startswith(b"/") or (method, path) == (b"OPTIONS", b"*")):
            self.refuse(Fault.FAULT_TARGET)
        if b":authority" in self.pseudo and not parse_authority(self.pseudo[b":authority"]):
            self.refuse(Fault.FAULT_HOST)

    def response(self) -> None:
        status = self.pseudo.get(b":status")
        if status is None:
            self.refuse(Fault.FAULT_PSEUDO)
        assert status is not None
        if not STATUS.fullmatch(status):
            self.refuse(Fault.FAULT_STATUS_LINE)
        self.code = int(status)
        if self.code == 101:
            self.refuse(Fault.FAULT_STATUS_LINE)
        if self.code < 200:
            self.flags |= Block.BLOCK_INTERIM
        self.start = b"HTTP/1.1 %d %s" % (self.code, REASONS.get(self.code, b""))

    def regular(self, name: bytes, value: bytes) -> None:
        if not NAME.fullmatch(name):
            self.refuse(Fault.FAULT_FIELD_NAME)
        if not VALUE.fullmatch(value):
            self.refuse(Fault.FAULT_FIELD_VALUE)
        if name in FORBIDDEN or (name == b"te" and value != b"trailers"):
            self.refuse(Fault.FAULT_CONNECTION_FIELD)
        if name == b"content-length" and self.kind != "trailers":
            self.content_length(value)
        if name == b"content-type" and GRPC.fullmatch(value):
            self.flags |= Block.BLOCK_GRPC
        if self.kind == "request" and name == b"host" and not self.wants_host(value):
            return
        if self.kind == "request" and name == b"cookie":
            for line in self.lines:
                if line[0] == b"cookie":
                    line[1] += b"; " + value
                    return
        self.add((name, value))

    def content_length(self, value: bytes) -> None:
        if self.length or not re.fullmatch(rb"[0-9]+", value) or int(value) >= 1 << 63:
            self.refuse(Fault.FAULT_CONTENT_LENGTH)
        if int(value) and self.pseudo.get(b":method") == b"CONNECT":
            self.refuse(Fault.FAULT_CONTENT_LENGTH)
        self.length = True

    def wants_host(self, value: bytes) -> bool:
        if self.host:
            self.refuse(Fault.FAULT_HOST_REPEATED)
        self.host = True
        said = parse_authority(value)
        if not said:
            self.refuse(Fault.FAULT_HOST)
        if b":authority" not in self.pseudo:
            return True
        wanted = parse_authority(self.pseudo[b":authority"])
        assert said
        assert wanted
        if self.flags & Block.BLOCK_CONNECT:
            agrees = said[1] in (None, wanted[1])
        else:
            default = 443 if self.pseudo[b":scheme"].lower() == b"https" else 80
            ports = [default if port is None else port for port in (said[1], wanted[1])]
            agrees = ports[0] == ports[1]
        if not agrees or said[0].lower() != wanted[0].lower():
            self.refuse(Fault.FAULT_HOST_MISMATCH)
        return False

    def finish(self) -> bytes:
        self.begin()
        if self.kind == "request" and not (self.host or b":authority" in self.pseudo):
            self.refuse(Fault.FAULT_HOST_MISSING)
        names = [line[0] for line in self.lines]
        if self.pseudo.get(b":protocol", b"").lower() == b"websocket" and b"sec-websocket-key" not in names:
            self.add((b"Sec-WebSocket-Key", KEY))
        lines = [name + b": " + value for name, value in self.lines]
        return b"\r\n".join([self.start, *lines, b"", b""] if self.kind != "trailers" else [*lines, b"", b""])


def judge_block(kind: str, fields: list[tuple[bytes, bytes]], extended: bool = False, list_bytes: int = 65536,
                fields_max: int = 128) -> Judged:  # fmt: skip
    message = Message(kind, extended, min(fields_max, 1024))
    size = 0
    try:
        for name, value in fields:
            size += len(name) + len(value) + 32
            if size > list_bytes:
                message.refuse(Fault.FAULT_HEAD_TOO_LONG, LIMIT)
            message.read(name, value)
        text = message.finish() or b"\r\n"
    except Refused as refused:
        return Judged(*refused.args)
    return Judged(OK, 0, message.flags, message.code, text)
