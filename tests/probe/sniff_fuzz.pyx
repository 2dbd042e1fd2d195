"""The laws of what looks at a connection's first bytes, on any input; see wire_fuzz."""
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.status cimport AGAIN, BAD, FULL, LIMIT, OK
from fastmesh._core.base.types cimport i64, u8, u16, u32
from fastmesh._core.wire.client_hello cimport (
    HELLO_LEAST, HELLO_MOST, HELLO_NAME_ODD, ClientHello, alpn_next, client_hello_begins, client_hello_parse,
)
from fastmesh._core.wire.http1_head cimport Http1Head, Http1Limits, Http1Resume, http1_request_parse
from fastmesh._core.wire.http2_frame cimport preface_match
from fastmesh._core.wire.proxy_protocol cimport (
    PROXY_NONE, PROXY_V2_MOST, PROXY_WRITE_MOST, ProxyHeader, proxy_parse, proxy_v1_write, proxy_v2_write,
)
from fastmesh._core.wire.sniff cimport (
    SNIFF_HTTP1, SNIFF_HTTP2, SNIFF_METHOD_LEAST, SNIFF_METHOD_MOST, SNIFF_MORE, SNIFF_MOST, SNIFF_OPAQUE, SNIFF_TLS, sniff,
)

cdef enum:
    INPUT_MAX = 4096
    CUT_ROOM = 6 * INPUT_MAX + 64       # a record header for every byte
    EVERY_PREFIX = 64                   # longer ones are sampled
    KIND_SNIFF = 0
    KIND_HELLO
    KIND_PROXY

# A request head is far too large for a stack.
cdef Http1Head* head = <Http1Head*>malloc(sizeof(Http1Head))


cdef u8* own(const u8* data, size_t n) noexcept nogil:
    """A heap block of exactly n bytes."""
    cdef u8* copy = <u8*>malloc(n + (n == 0))
    if copy == NULL:
        abort()
    return <u8*>memcpy(copy, data, n)


# One answer, whatever was asked. Only the part that belongs to the kind is set.
ctypedef struct Answer:
    int rc
    ClientHello hello
    ProxyHeader proxy


cdef void ask(Answer* answer, int kind, const u8* data, size_t n) noexcept nogil:
    """sniff's SNIFF_MORE is given as AGAIN."""
    cdef u8* copy = own(data, n)
    memset(answer, 0, sizeof(Answer))
    if kind == KIND_SNIFF:
        answer.rc = sniff(copy, n)
        if answer.rc == SNIFF_MORE:
            answer.rc = AGAIN
    elif kind == KIND_HELLO:
        answer.rc = client_hello_parse(&answer.hello, copy, n)
    else:
        answer.rc = proxy_parse(&answer.proxy, copy, n)
    free(copy)
    if answer.rc < 0:
        memset(&answer.hello, 0, sizeof(ClientHello))
        memset(&answer.proxy, 0, sizeof(ProxyHeader))


cdef bint answers_equal(const Answer* a, const Answer* b) noexcept nogil:
    return (a.rc == b.rc and memcmp(&a.hello, &b.hello, sizeof(ClientHello)) == 0
            and memcmp(&a.proxy, &b.proxy, sizeof(ProxyHeader)) == 0)


cdef int prefixes_check(Answer* last, int kind, const u8* data, size_t n) noexcept nogil:
    """AGAIN until an answer, which then stays. *last: the answer to all of it."""
    cdef Answer now
    cdef size_t at = 0, step
    cdef u32 seed = <u32>n
    last.rc = AGAIN
    while True:
        ask(&now, kind, data, at)
        if last.rc != AGAIN and not answers_equal(last, &now):
            return 1
        last[0] = now
        if at == n:
            return 0
        seed = seed * 1664525 + 1013904223
        step = 1 if at < EVERY_PREFIX else 1 + (seed >> 16) % 97
        at = at + step if step < n - at else n


cdef bint method_plausible(const u8* p, size_t n) noexcept nogil:
    cdef size_t i = 0
    while i < n and (0x41 <= p[i] <= 0x5A or (i and (p[i] == 0x2D or p[i] == 0x5F))):
        i += 1
    return SNIFF_METHOD_LEAST <= i <= SNIFF_METHOD_MOST and i < n and p[i] == 0x20


cdef int request_parse(const u8* data, size_t n) noexcept nogil:
    cdef Http1Limits limits
    cdef Http1Resume resume
    cdef u8* copy = own(data, n)
    cdef int rc
    memset(&resume, 0, sizeof(resume))
    memset(&limits, 0, sizeof(limits))
    limits.head_bytes = 1 << 20
    limits.line_bytes = 1 << 20
    limits.field_line_bytes = 1 << 20
    limits.fields = 128
    rc = http1_request_parse(head, &resume, copy, n, &limits)
    free(copy)
    return rc


cdef int fuzz_wire_sniff(const u8* data, size_t n) noexcept nogil:
    """Bytes: an opening."""
    cdef Answer last
    cdef ClientHello hello
    cdef size_t i
    cdef int broken
    if n > INPUT_MAX:
        return 0
    broken = prefixes_check(&last, KIND_SNIFF, data, n)
    if broken:
        return broken
    if n >= SNIFF_MOST and last.rc == AGAIN:
        return 2
    if (last.rc == SNIFF_HTTP2) != (preface_match(data, n) == OK):
        return 3
    if (last.rc == SNIFF_TLS) != (n > 0 and client_hello_begins(data, n) == OK):
        return 4
    if last.rc != SNIFF_TLS and client_hello_parse(&hello, data, n) == OK:
        return 5
    if last.rc != SNIFF_HTTP1 and method_plausible(data, n) and request_parse(data, n) == OK:
        return 6
    if last.rc == AGAIN and preface_match(data, n) == BAD and data[0] != 22:
        for i in range(n):
            if data[i] <= 0x1F:
                return 7
    return 0


cdef size_t records_write(u8* out, const u8* message, size_t n, u32 seed) noexcept nogil:
    """A handshake message in records of sizes by seed (0: one)."""
    cdef size_t at = 0, written = 0, take
    while at < n:
        seed = seed * 1664525 + 1013904223 if seed else 0
        take = 1 + (seed >> 16) % 200 if seed else n
        if take > n - at:
            take = n - at
        out[written] = 22
        out[written + 1] = 3
        out[written + 2] = 1
        out[written + 3] = <u8>(take >> 8)
        out[written + 4] = <u8>(take & 0xFF)
        memcpy(out + written + 5, message + at, take)
        written += 5 + take
        at += take
    return written


cdef size_t records_read(u8* out, const u8* data, size_t n) noexcept nogil:
    """The handshake message in whole records."""
    cdef size_t at = 0, written = 0, take
    while at < n:
        take = <size_t>data[at + 3] << 8 | data[at + 4]
        memcpy(out + written, data + at + 5, take)
        written += take
        at += 5 + take
    return written


cdef int hello_check(const ClientHello* hello, size_t n) noexcept nogil:
    """What is given is within its bounds."""
    cdef size_t at = 0, length = 0, sum_ = 0
    cdef const u8* p = NULL
    if hello.bytes > n or hello.bytes > HELLO_MOST or hello.bytes < HELLO_LEAST + 9:
        return 10
    if hello.name_len > sizeof(hello.name) or (hello.name_len and hello.flags & HELLO_NAME_ODD):
        return 11
    while alpn_next(hello, &at, &p, &length):
        if length == 0 or at > sizeof(hello.alpn):
            return 12
        sum_ += length + 1
    if sum_ != hello.alpn_len or (hello.version != 0 and hello.version >> 8 != 3):
        return 13
    return 0


cdef int recut_check(Answer* last, const u8* data, u32 seed) noexcept nogil:
    """The same message in other records gives the same hello."""
    cdef u8* message = <u8*>malloc(CUT_ROOM)
    cdef u8* cut = <u8*>malloc(CUT_ROOM)
    cdef size_t size = records_read(message, data, last.hello.bytes), n
    cdef Answer again
    cdef int broken = 0, i
    for i in range(2):
        n = records_write(cut, message, size, seed * <u32>i)
        ask(&again, KIND_HELLO, cut, n)
        if again.rc != LIMIT and (again.rc != OK or again.hello.bytes != n):
            broken = 14
        again.hello.bytes = last.hello.bytes
        if again.rc == OK and not answers_equal(last, &again):
            broken = 15
    free(message)
    free(cut)
    return broken


cdef int fuzz_wire_client_hello(const u8* data, size_t n) noexcept nogil:
    """Bytes: even for a connection's bytes, odd for the body of a hello; seed of the cuts; those bytes."""
    cdef Answer last
    cdef u8* message
    cdef u8* cut
    cdef const u8* from_ = data + 2
    cdef size_t size
    cdef int broken
    if n < 2 or n > INPUT_MAX:
        return 0
    cut = <u8*>malloc(CUT_ROOM)
    message = <u8*>malloc(n + 4)
    size = n - 2
    if data[0] & 1:
        message[0] = 1
        message[1] = 0
        message[2] = <u8>(size >> 8)
        message[3] = <u8>(size & 0xFF)
        memcpy(message + 4, data + 2, size)
        size = records_write(cut, message, size + 4, data[1])
        from_ = cut
    broken = prefixes_check(&last, KIND_HELLO, from_, size)
    if broken == 0 and last.rc == OK:
        broken = hello_check(&last.hello, size)
        if broken == 0:
            broken = recut_check(&last, from_, <u32>data[1] + 1)
    free(message)
    free(cut)
    return broken


cdef i64 write(u8 version, u8* out, size_t room, const ProxyHeader* header) noexcept nogil:
    return proxy_v1_write(out, room, header) if version == 1 else proxy_v2_write(out, room, header)


cdef int rewrite_check(const Answer* last, u8 version) noexcept nogil:
    """Written and read again it says the same, as far as the version can; a room one byte too small is FULL."""
    cdef ProxyHeader wanted = last.proxy
    cdef Answer again
    cdef u8* out = <u8*>malloc(PROXY_WRITE_MOST)
    cdef i64 length = write(version, out, PROXY_WRITE_MOST, &wanted)
    cdef int broken = 0
    cdef u8* small
    if length <= 0 or length > PROXY_WRITE_MOST:
        abort()
    small = <u8*>malloc(<size_t>length)
    if write(version, small, <size_t>length - 1, &wanted) != FULL:
        broken = 22
    ask(&again, KIND_PROXY, out, <size_t>length)
    if version == 1 and (wanted.local or wanted.datagram or wanted.family < 2):
        memset(&wanted, 0, sizeof(ProxyHeader))
    wanted.version = version
    wanted.bytes = <u32>length
    if again.rc != OK or memcmp(&again.proxy, &wanted, sizeof(ProxyHeader)) != 0:
        broken = 23
    free(small)
    free(out)
    return broken


cdef int fuzz_wire_proxy(const u8* data, size_t n) noexcept nogil:
    """Bytes: a connection's."""
    cdef Answer last
    cdef int broken
    if n > INPUT_MAX:
        return 0
    broken = prefixes_check(&last, KIND_PROXY, data, n)
    if broken or last.rc != OK:
        return broken
    if last.proxy.bytes > n or last.proxy.bytes > PROXY_V2_MOST:
        return 20
    if last.proxy.family == PROXY_NONE and (last.proxy.source_port or last.proxy.source[0]):
        return 21
    broken = rewrite_check(&last, 1)
    return broken if broken else rewrite_check(&last, 2)


TARGETS = ("wire_sniff", "wire_client_hello", "wire_proxy")


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    cdef const u8* p = <const u8*>data
    cdef size_t n = <size_t>len(data)
    if target == "wire_sniff":
        return fuzz_wire_sniff(p, n)
    if target == "wire_client_hello":
        return fuzz_wire_client_hello(p, n)
    if target == "wire_proxy":
        return fuzz_wire_proxy(p, n)
    raise ValueError(target)
