"""Runs what looks at a connection's first bytes in a loop without the GIL, for the micro benchmarks."""
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastmesh._core.base.types cimport i64, u8
from fastmesh._core.wire.client_hello cimport ClientHello, client_hello_parse
from fastmesh._core.wire.proxy_protocol cimport ProxyHeader, proxy_parse
from fastmesh._core.wire.sniff cimport sniff


cdef i64 now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <i64>t.tv_sec * 1000000000 + <i64>t.tv_nsec


def sniff_loop(bytes data, int verdict, int times):
    """Nanoseconds for so many looks; -1 when one gives another verdict."""
    cdef const u8* p = <const u8*>data
    cdef size_t n = <size_t>len(data)
    cdef i64 start
    cdef int i, wrong = 0
    with nogil:
        start = now_ns()
        for i in range(times):
            wrong |= sniff(p, n) != verdict
        start = now_ns() - start
    return -1 if wrong else start


def hello_loop(bytes data, int times):
    """Nanoseconds for so many readings; -1 when one fails."""
    cdef const u8* p = <const u8*>data
    cdef size_t n = <size_t>len(data)
    cdef ClientHello hello
    cdef i64 start
    cdef int i, rc = 0
    with nogil:
        start = now_ns()
        for i in range(times):
            rc |= client_hello_parse(&hello, p, n)
        start = now_ns() - start
    return -1 if rc else start


def proxy_loop(bytes data, int times):
    """Nanoseconds for so many readings; -1 when one fails."""
    cdef const u8* p = <const u8*>data
    cdef size_t n = <size_t>len(data)
    cdef ProxyHeader header
    cdef i64 start
    cdef int i, rc = 0
    with nogil:
        start = now_ns()
        for i in range(times):
            rc |= proxy_parse(&header, p, n)
        start = now_ns() - start
    return -1 if rc else start
