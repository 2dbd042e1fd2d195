"""Shows the chunked decoder to the tests."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastmesh._core.base.types cimport u8
from fastmesh._core.wire.http1_chunked cimport Chunked, chunked_init, chunked_scan, chunked_strip


cdef class Decoder:
    """One body, fed piece by piece."""
    cdef Chunked state

    def __cinit__(self):
        chunked_init(&self.state)

    def scan(self, bytes data):
        """(status, used, payload)."""
        cdef size_t used = 0, payload = 0, n = <size_t>len(data)
        cdef u8* copy = <u8*>malloc(n if n else 1)
        memcpy(copy, <const u8*>data, n)
        rc = chunked_scan(&self.state, copy, n, &used, &payload)
        same = (<char*>copy)[:n] == data
        free(copy)
        assert same, "scan changed its input"
        return rc, used, payload

    def strip(self, bytes data):
        """(status, used, payload bytes)."""
        cdef size_t used = 0, payload = 0, n = <size_t>len(data)
        cdef u8* copy = <u8*>malloc(n if n else 1)
        memcpy(copy, <const u8*>data, n)
        rc = chunked_strip(&self.state, copy, n, &used, &payload)
        result = (<char*>copy)[:payload]
        free(copy)
        return rc, used, result

    def strip_at(self, size_t address, size_t n):
        """Strip in place at an address the caller guards: (status, used, payload length)."""
        cdef size_t used = 0, payload = 0
        rc = chunked_strip(&self.state, <u8*>address, n, &used, &payload)
        return rc, used, payload

    @property
    def fault(self):
        return self.state.fault

    @property
    def left_bytes(self):
        return self.state.left_bytes

    @property
    def overhead_bytes(self):
        return self.state.overhead_bytes
