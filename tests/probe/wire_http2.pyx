"""Shows HTTP/2 header blocks to the tests: a Peer reads and writes them with one table for each direction.

A block is read from a heap block exactly as long as it is, so that a sanitizer sees a byte too far.
"""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.types cimport u8, u16, u32, u64, i64
from fastmesh._core.wire.edit cimport EDIT_NEVER, HeadEdit
from fastmesh._core.wire.hpack cimport (
    HpackDecoder, HpackEncoder, hpack_decoder_init, hpack_encoder_init, hpack_encoder_limit,
)
from fastmesh._core.wire.http1_head cimport (
    Http1Head, Http1Limits, Http1Resume, http1_request_parse, http1_response_parse, http1_trailers_parse,
)
from fastmesh._core.wire.http2_head cimport (
    BlockLimits, HeadBlock, block_read,
)
from fastmesh._core.wire.http2_write cimport (
    block_request_write, block_response_write, block_room, block_trailers_write, block_tunnels,
)
from fastmesh._core.wire.websocket cimport websocket_accept, websocket_key

KINDS = {"request": 0, "response": 1, "trailers": 2}


cdef u8* exact(bytes data) except NULL:
    cdef size_t n = <size_t>len(data)
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const u8*>data, n)
    return copy


cdef void edit_fill(HeadEdit* edit, dict values) except *:
    """Borrows the bytes in values."""
    memset(edit, 0, sizeof(HeadEdit))
    edit.flags = <u32>values.get("flags", 0)
    edit.type = b"application/x-test"
    if values.get("via") is not None:
        edit.via = <const u8*>(<bytes>values["via"])
        edit.via_len = <u32>len(values["via"])
    if values.get("client") is not None:
        edit.client = <const u8*>(<bytes>values["client"])
        edit.client_len = <u32>len(values["client"])
    if values.get("date") is not None:
        edit.date = <const u8*>(<bytes>values["date"])
    if values.get("host") is not None:
        edit.host = <const u8*>(<bytes>values["host"])
        edit.host_len = <u32>len(values["host"])
    edit.https = <u8>values.get("https", 0)
    edit.max_forwards = <u8>values.get("max_forwards", 0)
    edit.received_http2 = <u8>values.get("received_http2", 0)


cdef class Peer:
    """One side of a connection."""
    cdef HpackDecoder* decoder
    cdef HpackEncoder* encoder
    cdef Http1Head* head

    def __cinit__(self, int table=4096):
        self.decoder = <HpackDecoder*>malloc(sizeof(HpackDecoder))
        self.encoder = <HpackEncoder*>malloc(sizeof(HpackEncoder))
        self.head = <Http1Head*>malloc(sizeof(Http1Head))
        if self.decoder == NULL or self.encoder == NULL or self.head == NULL:
            raise MemoryError
        hpack_decoder_init(self.decoder, <u32>table)
        hpack_encoder_init(self.encoder)

    def __dealloc__(self):
        free(self.decoder)
        free(self.encoder)
        free(self.head)

    def encoder_limit(self, int size):
        hpack_encoder_limit(self.encoder, <u32>size)

    def decoder_entries(self):
        """(bytes, entries) of the decoder's table."""
        return self.decoder.table.size, self.decoder.table.count

    def read(self, bytes block, str kind="request", bint extended=False, int list_bytes=65536, int fields=128,
             size_t room=1 << 19):
        """(status, fault, flags, response status, text); text is None unless OK."""
        cdef BlockLimits limits
        cdef HeadBlock result
        cdef u8* copy = exact(block)
        cdef u8* out = <u8*>malloc(room)
        cdef size_t n = <size_t>len(block)
        cdef int rc
        limits.list_bytes = <u32>list_bytes
        limits.fields = <u32>fields
        memset(&result, 0xA5, sizeof(result))
        memset(out, 0xA5, room)
        rc = block_read(self.decoder, copy, n, <u8>KINDS[kind], extended, out, room, &limits, &result)
        text = (<char*>out)[result.off:result.off + result.n] if rc == 0 else None
        free(copy)
        free(out)
        return rc, result.fault, result.flags, result.status, text

    cdef int parse(self, str kind, const u8* data, size_t n) except *:
        cdef Http1Limits limits
        cdef Http1Resume resume
        memset(&resume, 0, sizeof(resume))
        limits.head_bytes = limits.line_bytes = limits.field_line_bytes = 1 << 20
        limits.fields = 1024
        if kind == "request":
            return http1_request_parse(self.head, &resume, data, n, &limits)
        if kind == "response":
            return http1_response_parse(self.head, &resume, data, n, &limits)
        return http1_trailers_parse(self.head, &resume, data, n, &limits)

    def write(self, bytes text, str kind="request", size_t room=1 << 19, **values):
        """The block of an HTTP/1 head with an edit, or the Status; ValueError when it is no head."""
        cdef HeadEdit edit
        cdef i64 n = 0
        cdef u8* out
        cdef u8* copy = exact(text)
        edit_fill(&edit, values)
        if self.parse(kind, copy, <size_t>len(text)) != 0:
            free(copy)
            raise ValueError(text)
        out = <u8*>malloc(room if room else 1)
        if kind == "request":
            n = block_request_write(self.encoder, out, room, self.head, copy, &edit)
        elif kind == "response":
            n = block_response_write(self.encoder, out, room, self.head, copy, &edit)
        else:
            n = block_trailers_write(self.encoder, out, room, self.head, copy, edit.flags & EDIT_NEVER)
        result = (<char*>out)[:n] if n >= 0 else n
        free(out)
        free(copy)
        return result

    def room(self, bytes text, str kind="request"):
        """Bytes with which no write of this head is FULL."""
        if self.parse(kind, <const u8*>text, <size_t>len(text)) != 0:
            raise ValueError(text)
        return block_room(self.head)

    def tunnels(self, bytes text, **values):
        """Whether this request is written as an extended CONNECT."""
        cdef HeadEdit edit
        edit_fill(&edit, values)
        if self.parse("request", <const u8*>text, <size_t>len(text)) != 0:
            raise ValueError(text)
        return bool(block_tunnels(self.head, <const u8*>text, &edit))


def accept(bytes key):
    """Sec-WebSocket-Accept of a key."""
    cdef u8[28] out
    websocket_accept(<const u8*>key, <size_t>len(key), out)
    return (<char*>out)[:28]


def key(u64 seed):
    """A Sec-WebSocket-Key."""
    cdef u8[24] out
    websocket_key(seed, out)
    return (<char*>out)[:24]
