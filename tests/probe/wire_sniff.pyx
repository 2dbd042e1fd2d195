"""Shows what looks at a connection's first bytes to the tests: the verdict and the ClientHello.

Input lies in a heap block exactly as long as it is, so that a sanitizer sees a byte too far; the *_at forms take an
address between forbidden pages (wire_guard).
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.types cimport u8
from fastmesh._core.wire.client_hello cimport ClientHello, alpn_has, alpn_next, client_hello_begins, client_hello_parse
from fastmesh._core.wire.sniff cimport sniff as core_sniff, sniff_http2_server


cdef u8* exact(bytes data) except NULL:
    cdef size_t n = <size_t>len(data)
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const u8*>data, n)
    return copy


def sniff_at(size_t at, size_t n):
    return core_sniff(<const u8*>at, n)


def sniff(bytes data):
    """The verdict."""
    cdef u8* copy = exact(data)
    cdef int rc = core_sniff(copy, <size_t>len(data))
    free(copy)
    return rc


def is_http2_server(bytes data):
    """Whether a server of HTTP/2 may begin so."""
    cdef u8* copy = exact(data)
    cdef bint found = sniff_http2_server(copy, <size_t>len(data))
    free(copy)
    return found


cdef object hello_of(int rc, const ClientHello* hello):
    cdef size_t at = 0, n = 0
    cdef const u8* p = NULL
    if rc != 0:
        return rc
    protocols = []
    while alpn_next(hello, &at, &p, &n):
        protocols.append((<const char*>p)[:n])
        assert alpn_has(hello, p, n)
    return {
        "bytes": hello.bytes, "name": (<const char*>hello.name)[:hello.name_len], "alpn": protocols,
        "version": hello.version, "legacy": hello.legacy_version, "flags": hello.flags,
    }


def client_hello_at(size_t at, size_t n):
    """The hello as a dict, or the status."""
    cdef ClientHello hello
    memset(&hello, 0xA5, sizeof(hello))
    return hello_of(client_hello_parse(&hello, <const u8*>at, n), &hello)


def client_hello(bytes data):
    cdef u8* copy = exact(data)
    found = client_hello_at(<size_t>copy, <size_t>len(data))
    free(copy)
    return found


def begins(bytes data):
    cdef u8* copy = exact(data)
    cdef int rc = client_hello_begins(copy, <size_t>len(data))
    free(copy)
    return rc
