"""Runs wire functions in a loop without the GIL, for the micro benchmarks: nanoseconds per call, no Python between."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastmesh._core.base.types cimport u8, u32, u64, i64
from fastmesh._core.wire.http1_chunked cimport Chunked, chunked_init, chunked_scan
from fastmesh._core.wire.http1_fields cimport field_find
from fastmesh._core.wire.http1_head cimport (
    Http1Head, Http1Limits, Http1Resume, http1_request_parse, http1_response_parse,
)
from fastmesh._core.wire.http1_write cimport HeadEdit, http1_request_write, http1_response_write


cdef i64 now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <i64>t.tv_sec * 1000000000 + <i64>t.tv_nsec


cdef class HeadBench:
    """One head, parsed or written again and again."""
    cdef Http1Head* head
    cdef Http1Limits limits
    cdef bytes data
    cdef bint request

    def __cinit__(self, bytes data, bint request=True):
        self.head = <Http1Head*>malloc(sizeof(Http1Head))
        self.limits.head_bytes = 65536
        self.limits.line_bytes = 16384
        self.limits.field_line_bytes = 65536
        self.limits.fields = 128
        self.data = data
        self.request = request
        assert self.parse(1) >= 0

    def __dealloc__(self):
        free(self.head)

    def parse(self, int times):
        """Nanoseconds for so many parses; -1 when one fails."""
        cdef const u8* data = <const u8*>self.data
        cdef size_t n = <size_t>len(self.data)
        cdef Http1Resume resume
        cdef int i, rc = 0
        cdef i64 start
        with nogil:
            start = now_ns()
            for i in range(times):
                memset(&resume, 0, sizeof(resume))
                if self.request:
                    rc |= http1_request_parse(self.head, &resume, data, n, &self.limits)
                else:
                    rc |= http1_response_parse(self.head, &resume, data, n, &self.limits)
            start = now_ns() - start
        return -1 if rc else start

    def find(self, int times, bytes name):
        """Nanoseconds for so many look-ups of a field by its name (lower case)."""
        cdef const u8* data = <const u8*>self.data
        cdef const char* wanted = name
        cdef i64 start
        cdef i64 found = 0
        cdef int i
        with nogil:
            start = now_ns()
            for i in range(times):
                found += field_find(self.head, data, wanted)
            start = now_ns() - start
        assert found >= -times
        return start

    def dribble(self, int times):
        """Nanoseconds for so many heads that come byte by byte, one call for each byte; -1 when one fails."""
        cdef const u8* data = <const u8*>self.data
        cdef size_t n = <size_t>len(self.data), have
        cdef Http1Resume resume
        cdef int i, rc = 0
        cdef i64 start
        with nogil:
            start = now_ns()
            for i in range(times):
                memset(&resume, 0, sizeof(resume))
                for have in range(1, n + 1):
                    rc = http1_request_parse(self.head, &resume, data, have, &self.limits)
            start = now_ns() - start
        return -1 if rc else start

    def write(self, int times, int flags=0, bint via=False):
        """Nanoseconds for so many writes; -1 when one fails."""
        cdef const u8* data = <const u8*>self.data
        cdef u8 out[16384]
        cdef HeadEdit edit
        cdef i64 start, rc = 0
        cdef int i
        memset(&edit, 0, sizeof(edit))
        edit.flags = <u32>flags
        if via:
            edit.via = b"fastmesh"
            edit.via_len = 8
        edit.client = b"10.1.2.3"
        edit.client_len = 8
        edit.date = b"Sun, 06 Nov 1994 08:49:37 GMT"
        with nogil:
            start = now_ns()
            for i in range(times):
                if self.request:
                    rc |= http1_request_write(out, sizeof(out), self.head, data, &edit)
                else:
                    rc |= http1_response_write(out, sizeof(out), self.head, data, &edit)
            start = now_ns() - start
        return -1 if rc < 0 else start


def scan_chunks(bytes body, int times):
    """Nanoseconds for so many scans of a chunked body; -1 when one fails."""
    cdef const u8* data = <const u8*>body
    cdef size_t n = <size_t>len(body), used = 0, payload = 0
    cdef Chunked state
    cdef i64 start
    cdef int i, rc = 0
    with nogil:
        start = now_ns()
        for i in range(times):
            chunked_init(&state)
            rc |= chunked_scan(&state, data, n, &used, &payload)
        start = now_ns() - start
    return -1 if rc else start
