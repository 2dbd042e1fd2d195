"""Shows the wire layer to the tests: heads, trailers, writers, authority and names.

A head is parsed from a heap block exactly as long as it is, so that a sanitizer sees a byte too far; the *_at forms
take an address between forbidden pages (wire_guard).
"""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.types cimport u8, u16, u32, u64, i64
from fastmesh._core.ffi.simd cimport fm_is_token, fm_target_span
from fastmesh._core.wire.authority cimport Authority, authority_parse, ipv6_valid
from fastmesh._core.wire.headers cimport field_id
from fastmesh._core.wire.http1_head cimport (
    Http1Head, Http1Limits, Http1Resume, http1_request_parse, http1_response_framing, http1_response_parse,
    http1_trailers_parse,
)
from fastmesh._core.wire.http1_write cimport (
    HeadEdit, http1_error_write, http1_request_write, http1_response_write, http1_trailers_write,
)

SCALARS = (
    "head_bytes", "line_bytes", "line_off", "target_off", "target_len", "path_off", "path_len", "query_off",
    "authority_off", "authority_len", "host_len", "upgrade_off", "upgrade_len", "method_len", "status", "flags",
    "method", "form", "minor", "framing", "max_forwards", "content_length",
)
KINDS = {"request": 0, "response": 1, "trailers": 2}


cdef int parse(int kind, Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
               const Http1Limits* limits) noexcept nogil:
    if kind == 0:
        return http1_request_parse(head, resume, data, n, limits)
    if kind == 1:
        return http1_response_parse(head, resume, data, n, limits)
    return http1_trailers_parse(head, resume, data, n, limits)


cdef u8* exact(bytes data) except NULL:
    cdef size_t n = <size_t>len(data)
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const u8*>data, n)
    return copy


cdef class Parser:
    """One message read call by call. The head is filled with junk before each call: only Http1Resume may carry over."""
    cdef Http1Head* head
    cdef Http1Resume resume
    cdef Http1Limits limits
    cdef int kind
    cdef bytes last

    def __cinit__(self, str kind, int head_bytes=65536, int line_bytes=16384, int field_line_bytes=65536,
                  int fields=128):
        self.head = <Http1Head*>malloc(sizeof(Http1Head))
        if self.head == NULL:
            raise MemoryError
        self.kind = KINDS[kind]
        memset(&self.resume, 0, sizeof(Http1Resume))
        self.limits.head_bytes = head_bytes
        self.limits.line_bytes = line_bytes
        self.limits.field_line_bytes = field_line_bytes
        self.limits.fields = fields
        self.last = b""

    def __dealloc__(self):
        free(self.head)

    def feed(self, bytes data):
        """Parse all bytes so far; returns (status, fault)."""
        cdef u8* copy = exact(data)
        cdef size_t n = <size_t>len(data)
        cdef int rc
        memset(self.head, 0xA5, sizeof(Http1Head))
        with nogil:
            rc = parse(self.kind, self.head, &self.resume, copy, n, &self.limits)
        free(copy)
        self.last = data
        return rc, self.head.fault if rc in (-4, -5) else 0

    def feed_at(self, size_t address, size_t n):
        """The same for bytes at an address the caller guards."""
        cdef int rc
        memset(self.head, 0xA5, sizeof(Http1Head))
        with nogil:
            rc = parse(self.kind, self.head, &self.resume, <const u8*>address, n, &self.limits)
        return rc, self.head.fault if rc in (-4, -5) else 0

    def scalars(self):
        cdef Http1Head* h = self.head
        return dict(zip(SCALARS, (
            h.head_bytes, h.line_bytes, h.line_off, h.target_off, h.target_len, h.path_off, h.path_len, h.query_off,
            h.authority_off, h.authority_len, h.host_len, h.upgrade_off, h.upgrade_len, h.method_len, h.status, h.flags,
            h.method, h.form, h.minor, h.framing, h.max_forwards, h.content_length,
        )))

    def fields(self):
        """(name_off, name_len, value_off, value_len, id, drop) of every field."""
        cdef Http1Head* h = self.head
        return [(h.fields[i].name_off, h.fields[i].name_len, h.fields[i].value_off, h.fields[i].value_len,
                 h.fields[i].id, h.fields[i].drop) for i in range(h.nfields)]

    def framing(self, int method):
        return http1_response_framing(self.head, <u8>method)

    def write(self, size_t room=1 << 18, int flags=0, via=None, client=None, date=None, bint https=False,
              int max_forwards=0, host=None, size_t out_at=0, bint received_http2=False):
        """The last fed message written again with an edit: bytes, or the Status. out_at: where to, else on the heap."""
        cdef HeadEdit edit
        cdef i64 n
        cdef u8* out
        cdef u8* copy = exact(self.last)
        memset(&edit, 0, sizeof(edit))
        edit.flags = <u32>flags
        edit.type = b"application/x-test"
        if via is not None:
            edit.via = <const u8*>(<bytes>via)
            edit.via_len = <u32>len(via)
        if client is not None:
            edit.client = <const u8*>(<bytes>client)
            edit.client_len = <u32>len(client)
        if date is not None:
            edit.date = <const u8*>(<bytes>date)
        if host is not None:
            edit.host = <const u8*>(<bytes>host)
            edit.host_len = <u32>len(host)
        edit.https = https
        edit.max_forwards = <u8>max_forwards
        edit.received_http2 = received_http2
        out = <u8*>out_at if out_at else <u8*>malloc(room if room else 1)
        if self.kind == 0:
            n = http1_request_write(out, room, self.head, copy, &edit)
        elif self.kind == 1:
            n = http1_response_write(out, room, self.head, copy, &edit)
        else:
            n = http1_trailers_write(out, room, self.head, copy)
        result = (<char*>out)[:n] if n >= 0 else n
        if not out_at:
            free(out)
        free(copy)
        return result


def error(int status, bytes text, date=None, bint close=False, bint head_only=False, size_t room=65536,
          size_t out_at=0):
    """A proxy-made response: bytes, or the Status. out_at: where to, else on the heap."""
    cdef u8* out = <u8*>out_at if out_at else <u8*>malloc(room if room else 1)
    cdef const u8* stamp = NULL
    cdef i64 n
    if date is not None:
        stamp = <const u8*>(<bytes>date)
    n = http1_error_write(out, room, <u16>status, <const u8*>text, <size_t>len(text), stamp, close, head_only)
    result = (<char*>out)[:n] if n >= 0 else n
    if not out_at:
        free(out)
    return result


def name_id_at(size_t address, size_t n):
    return field_id(<const u8*>address, n)


def name_id(bytes name):
    """FieldId of a name."""
    return name_id_at(<size_t><const u8*>name, <size_t>len(name))


def token_at(size_t address, size_t n, size_t room):
    return fm_is_token(<const u8*>address, n, room)


def token(bytes text, size_t slack=0):
    """Whether text is a token; slack: bytes after it that may be read."""
    cdef bytes padded = text + b"\0" * slack
    return token_at(<size_t><const u8*>padded, <size_t>len(text), <size_t>len(padded))


def authority_at(size_t address, size_t n, size_t room=0):
    cdef Authority out
    return (out.host_len, out.port) if authority_parse(<const u8*>address, n, n if room == 0 else room, &out) else None


def authority(bytes text, size_t slack=0):
    """(host_len, port) or None; slack: bytes after it that may be read."""
    cdef bytes padded = text + b"a" * slack
    return authority_at(<size_t><const u8*>padded, <size_t>len(text), <size_t>len(padded))


def ipv6(bytes text):
    """Whether text is an IPv6 address of a URI, without brackets."""
    return ipv6_valid(<const u8*>text, <size_t>len(text))


def target_span_at(size_t address, size_t n):
    """(bytes that may stand in a target, where their first "?" is)."""
    cdef size_t query = 0
    cdef size_t span = fm_target_span(<const u8*>address, n, &query)
    return span, query
