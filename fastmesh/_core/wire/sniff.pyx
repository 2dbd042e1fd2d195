from fastmesh._core.base.status cimport AGAIN, BAD, OK
from fastmesh._core.base.types cimport u8
from fastmesh._core.ffi.simd cimport FM_CLASS_HOST, fm_class
from fastmesh._core.wire.client_hello cimport client_hello_begins
from fastmesh._core.wire.http2_frame cimport (
    FRAME_HEADER_BYTES, FRAME_PAYLOAD_LEAST, FRAME_SETTINGS, Frame, frame_read, preface_match,
)
from fastmesh._core.wire.token cimport fold

cdef enum:
    SETTING_BYTES = 6       # RFC 9113 6.5.1


cdef int word_match(const u8* p, size_t n, const char* word, bint any_case) noexcept nogil:
    """Whether p begins with the lower-case (any_case) or exact word: OK all of it, AGAIN so far, BAD not."""
    cdef size_t i = 0
    while word[i] != 0:
        if i == n:
            return AGAIN
        if (fold(p[i]) if any_case else p[i]) != <u8>word[i]:
            return BAD
        i += 1
    return OK


cdef inline bint method_byte(u8 b, size_t at) noexcept nogil:
    return 0x41 <= b <= 0x5A or (at > 0 and (b == 0x2D or b == 0x5F))


cdef int method_read(const u8* p, size_t n, size_t* after) noexcept nogil:
    """A method and its SP; *after: what follows."""
    cdef size_t i = 0
    while i < n and method_byte(p[i], i):
        i += 1
        if i > SNIFF_METHOD_MOST:
            return BAD
    if i == n:
        return AGAIN
    if p[i] != 0x20 or i < SNIFF_METHOD_LEAST:
        return BAD
    after[0] = i + 1
    return OK


cdef int target_begins(const u8* p, size_t n, bint connect) noexcept nogil:
    """Whether a request target begins like p (RFC 9112 3.2)."""
    cdef int rc
    if n == 0:
        return AGAIN
    if connect:
        return OK if fm_class[p[0]] & FM_CLASS_HOST or p[0] == 0x5B else BAD
    if p[0] == 0x2F:
        return OK
    if p[0] == 0x2A:
        return AGAIN if n == 1 else OK if p[1] == 0x20 else BAD
    rc = word_match(p, n, b"http://", True)
    return rc if rc != BAD else word_match(p, n, b"https://", True)


cdef int version_follows(const u8* p, size_t n) noexcept nogil:
    """Whether p is the rest of a target, SP and "HTTP/"."""
    cdef size_t i = 0
    while i < n and p[i] > 0x20 and p[i] != 0x7F:
        i += 1
    if i == n:
        return AGAIN
    return word_match(p + i, n - i, b" HTTP/", False)


cdef int request_line_match(const u8* p, size_t n) noexcept nogil:
    cdef size_t seen = n if n < SNIFF_MOST else <size_t>SNIFF_MOST, after = 0
    cdef int rc = method_read(p, seen, &after)
    if rc == OK:
        rc = target_begins(p + after, seen - after, word_match(p, seen, b"CONNECT ", False) == OK)
    if rc == OK:
        rc = version_follows(p + after, seen - after)
    return OK if rc == AGAIN and n >= SNIFF_MOST else rc


cdef int sniff(const u8* p, size_t n) noexcept nogil:
    cdef int rc
    if n == 0:
        return SNIFF_MORE
    rc = preface_match(p, n)
    if rc != BAD:
        return SNIFF_HTTP2 if rc == OK else SNIFF_MORE
    rc = client_hello_begins(p, n)
    if rc != BAD:
        return SNIFF_TLS if rc == OK else SNIFF_MORE
    rc = request_line_match(p, n)
    if rc != BAD:
        return SNIFF_HTTP1 if rc == OK else SNIFF_MORE
    return SNIFF_OPAQUE


cdef bint sniff_http2_server(const u8* p, size_t n) noexcept nogil:
    cdef Frame f
    if n < FRAME_HEADER_BYTES:
        return 0
    frame_read(p, &f)
    return f.type == FRAME_SETTINGS and f.flags == 0 and f.stream == 0 and f.n % SETTING_BYTES == 0 and f.n <= FRAME_PAYLOAD_LEAST
