"""Shows gRPC-Web's media types, messages and text to the tests. Inputs and outputs lie in heap blocks of their exact length."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport i32, u8
from fastmesh._core.wire.grpc_web cimport (
    WEB_FRAME_BYTES, WebFrames, web_between, web_frame_write, web_frames_pass, web_grpc_type, web_media, web_text_decode,
    web_text_encode, web_text_scan, web_wants_text,
)
from fastmesh._core.wire.http1_head cimport Http1Head, Http1Limits, Http1Resume, http1_request_parse

cdef Http1Head head


cdef u8* block(bytes data, size_t n):
    cdef u8* copy = <u8*>malloc(n if n else 1)
    memcpy(copy, <const u8*>data, n)
    return copy


cdef class Messages:
    """Where a stream of messages stands, fed piece by piece."""
    cdef WebFrames frames

    def __cinit__(self):
        memset(&self.frames, 0, sizeof(WebFrames))

    def skip(self, bytes data):
        """Whether it is between two messages after these bytes."""
        cdef u8* copy = block(data, <size_t>len(data))
        web_frames_pass(&self.frames, copy, <size_t>len(data))
        free(copy)
        return web_between(&self.frames)

    def encode(self, bytes data, bint last, size_t room):
        """(bytes taken, text)."""
        cdef size_t used = 0, n
        cdef u8* copy = block(data, <size_t>len(data))
        cdef u8* out = <u8*>malloc(room if room else 1)
        n = web_text_encode(&self.frames, copy, <size_t>len(data), last, out, room, &used)
        text = (<char*>out)[:n]
        free(copy)
        free(out)
        return used, text


cdef class Scan:
    """One body in text, fed piece by piece."""
    cdef u8 state

    def feed(self, bytes text):
        """Whether it is base64 so far."""
        cdef u8* copy = block(text, <size_t>len(text))
        rc = web_text_scan(&self.state, copy, <size_t>len(text))
        free(copy)
        return rc == OK

    @property
    def whole(self):
        return self.state == 0


def decode(bytes text, size_t room):
    """(characters taken, bytes)."""
    cdef size_t used = 0, n
    cdef u8* copy = block(text, <size_t>len(text))
    cdef u8* out = <u8*>malloc(room if room else 1)
    n = web_text_decode(copy, <size_t>len(text), out, room, &used)
    data = (<char*>out)[:n]
    free(copy)
    free(out)
    return used, data


def frame(u8 flags, n):
    cdef u8[WEB_FRAME_BYTES] out
    web_frame_write(out, flags, n)
    return (<char*>out)[:WEB_FRAME_BYTES]


def media(bytes request):
    """(WebMedia of a request's head, whether its answer is to be text, whether its type is gRPC's)."""
    cdef Http1Resume resume
    cdef Http1Limits limits
    cdef i32 type = -1
    memset(&resume, 0, sizeof(resume))
    limits.head_bytes = limits.line_bytes = limits.field_line_bytes = 1 << 16
    limits.fields = 100
    assert http1_request_parse(&head, &resume, request, <size_t>len(request), &limits) == OK
    kind = web_media(&head, request, &type)
    return kind, web_wants_text(&head, request, kind), web_grpc_type(&head, request) >= 0
