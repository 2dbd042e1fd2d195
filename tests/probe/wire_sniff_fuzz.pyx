"""The laws of what looks at a connection's first bytes, on any input: detection, ClientHello and PROXY protocol.

For libFuzzer (tools/fuzz.py) and for the inputs it once found. Every prefix lies in a heap block of its exact length, so
that a sanitizer sees a byte too far. A target answers 0 or the number of the broken law.
"""
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.status cimport AGAIN, BAD, OK
from fastmesh._core.base.types cimport i64, u8, u16, u32
from fastmesh._core.wire.client_hello cimport HELLO_MOST, ClientHello, client_hello_begins, client_hello_parse
from fastmesh._core.wire.proxy_protocol cimport (
    PROXY_PATH_BYTES, PROXY_UNIX, PROXY_V2_MOST, PROXY_WRITE_MOST, ProxyHeader, proxy_parse, proxy_v1_write,
    proxy_v2_write,
)
from fastmesh._core.wire.sniff cimport SNIFF_MORE, SNIFF_MOST, SNIFF_OPAQUE, SNIFF_TLS, sniff

cdef enum:
    RECORD_HEADER = 5
    RECORD_HANDSHAKE = 22


cdef u8* block(const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        abort()
    memcpy(copy, data, n)
    return copy


cdef u32 draw(u32* seed, u32 most) noexcept nogil:
    seed[0] = seed[0] * 1664525 + 1013904223
    return 1 + (seed[0] >> 16) % most


# ---- detection

cdef int sniff_of(const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = block(data, n)
    cdef int verdict = sniff(copy, n)
    free(copy)
    return verdict


cdef int sniff_check(const u8* data, size_t n, u32 seed) noexcept nogil:
    cdef int whole = sniff_of(data, n), early
    cdef size_t at = 0
    if whole < SNIFF_MORE or whole > SNIFF_OPAQUE:
        return 1
    if n >= SNIFF_MOST and whole == SNIFF_MORE:
        return 2
    while at < n:
        early = sniff_of(data, at)
        if early != SNIFF_MORE and early != whole:
            return 3
        at += draw(&seed, 40)
    return 0


# ---- ClientHello

cdef int hello_of(ClientHello* hello, const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = block(data, n)
    cdef int r
    memset(hello, 0, sizeof(ClientHello))
    r = client_hello_parse(hello, copy, n)
    free(copy)
    return r


# The same hello in records cut by seed: bytes at out, which has HELLO_MOST. 0: they would not fit.
cdef size_t recut(u8* out, const u8* data, size_t n, u32 seed) noexcept nogil:
    cdef size_t at = 0, record, written = 0, take, gathered = 0
    cdef u8* body = <u8*>malloc(n if n else 1)
    if body == NULL:
        abort()
    while at < n:
        record = (<size_t>data[at + 3] << 8) | data[at + 4]
        memcpy(body + gathered, data + at + RECORD_HEADER, record)
        gathered += record
        at += RECORD_HEADER + record
    at = 0
    while at < gathered:
        take = draw(&seed, 300)
        take = take if take < gathered - at else gathered - at
        if written + RECORD_HEADER + take > HELLO_MOST:
            written = 0
            break
        out[written] = RECORD_HANDSHAKE
        out[written + 1] = data[1]
        out[written + 2] = data[2]
        out[written + 3] = <u8>(take >> 8)
        out[written + 4] = <u8>(take & 255)
        memcpy(out + written + RECORD_HEADER, body + at, take)
        written += RECORD_HEADER + take
        at += take
    free(body)
    return written


cdef bint is_same_hello(const ClientHello* one, const ClientHello* two) noexcept nogil:
    return (one.version == two.version and one.legacy_version == two.legacy_version and one.flags == two.flags
            and one.name_len == two.name_len and memcmp(one.name, two.name, one.name_len) == 0
            and one.alpn_len == two.alpn_len and memcmp(one.alpn, two.alpn, one.alpn_len) == 0)


cdef int recut_check(const ClientHello* hello, const u8* data, u32 seed) noexcept nogil:
    cdef u8* out = <u8*>malloc(HELLO_MOST)
    cdef ClientHello again
    cdef size_t n
    cdef int broken = 0
    if out == NULL:
        abort()
    n = recut(out, data, hello.bytes, seed)
    if n and (hello_of(&again, out, n) != OK or again.bytes != n or not is_same_hello(hello, &again)):
        broken = 4
    free(out)
    return broken


cdef int hello_check(const u8* data, size_t n, u32 seed) noexcept nogil:
    cdef ClientHello hello, early
    cdef int whole = hello_of(&hello, data, n), r
    cdef size_t at = 0
    if whole == OK and (hello.bytes > n or hello.bytes > HELLO_MOST):
        return 5
    if whole == OK and (client_hello_begins(data, n) != OK or sniff_of(data, n) != SNIFF_TLS):
        return 6
    while at < n:
        r = hello_of(&early, data, at)
        if r != AGAIN and (r != whole or (r == OK and not is_same_hello(&hello, &early))):
            return 7
        at += draw(&seed, 60)
    return recut_check(&hello, data, seed) if whole == OK else 0


# ---- PROXY protocol

cdef int proxy_of(ProxyHeader* header, const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = block(data, n)
    cdef int r
    memset(header, 0, sizeof(ProxyHeader))
    r = proxy_parse(header, copy, n)
    free(copy)
    return r


cdef bint is_same_address(const ProxyHeader* one, const ProxyHeader* two) noexcept nogil:
    return (one.family == two.family and one.source_port == two.source_port
            and one.destination_port == two.destination_port
            and memcmp(one.source, two.source, PROXY_PATH_BYTES) == 0
            and memcmp(one.destination, two.destination, PROXY_PATH_BYTES) == 0)


# What was read is written and read again.
cdef int proxy_write_check(const ProxyHeader* header) noexcept nogil:
    cdef u8[PROXY_WRITE_MOST] out
    cdef ProxyHeader again
    cdef i64 n = proxy_v2_write(out, sizeof(out), header)
    if n <= 0 or proxy_of(&again, out, <size_t>n) != OK or again.bytes != <u32>n:
        return 8
    if not is_same_address(header, &again) or header.local != again.local or header.datagram != again.datagram:
        return 9
    n = proxy_v1_write(out, sizeof(out), header)
    if n <= 0 or proxy_of(&again, out, <size_t>n) != OK or again.bytes != <u32>n or again.version != 1:
        return 10
    if header.family != PROXY_UNIX and not header.datagram and not header.local and not is_same_address(header, &again):
        return 11
    return 0


cdef int proxy_check(const u8* data, size_t n, u32 seed) noexcept nogil:
    cdef ProxyHeader header, early
    cdef int whole = proxy_of(&header, data, n), r
    cdef size_t at = 0
    if whole == OK and (header.bytes > n or header.bytes > PROXY_V2_MOST):
        return 12
    while at < n and at <= PROXY_V2_MOST:
        r = proxy_of(&early, data, at)
        if r != AGAIN and (r != whole or (r == OK and early.bytes != header.bytes)):
            return 13
        at += draw(&seed, 20)
    return proxy_write_check(&header) if whole == OK else 0


cdef int fuzz_wire_sniff(const u8* data, size_t n) noexcept nogil:
    """Bytes: seed of the cuts, a connection's first bytes."""
    cdef u32 seed
    cdef int broken
    if n < 1 or n > HELLO_MOST + 64:
        return 0
    seed = data[0]
    broken = sniff_check(data + 1, n - 1, seed)
    if broken == 0:
        broken = hello_check(data + 1, n - 1, seed)
    if broken == 0:
        broken = proxy_check(data + 1, n - 1, seed)
    return broken


TARGETS = ("wire_sniff",)


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    if target != "wire_sniff":
        raise ValueError(target)
    return fuzz_wire_sniff(<const u8*>data, <size_t>len(data))
