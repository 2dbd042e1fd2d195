"""Reads and writes header blocks in a loop without the GIL, for the micro benchmarks: nanoseconds per block."""
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastmesh._core.base.types cimport u8, u32, i64
from fastmesh._core.wire.edit cimport HeadEdit
from fastmesh._core.wire.hpack cimport (
    HpackDecoder, HpackEncoder, hpack_decoder_init, hpack_encoder_init,
)
from fastmesh._core.wire.http1_head cimport (
    Http1Head, Http1Limits, Http1Resume, http1_request_parse, http1_response_parse,
)
from fastmesh._core.wire.http2_head cimport (
    BLOCK_REQUEST, BLOCK_RESPONSE, BlockLimits, HeadBlock, block_read,
)
from fastmesh._core.wire.http2_write cimport block_request_write, block_response_write

cdef enum:
    ROOM = 1 << 19


cdef i64 now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <i64>t.tv_sec * 1000000000 + <i64>t.tv_nsec


cdef class BlockBench:
    """A block that is read again and again, and the head it becomes, written so."""
    cdef HpackDecoder* d
    cdef HpackEncoder* e
    cdef Http1Head* head
    cdef u8* text
    cdef u8* out
    cdef bytes data
    cdef bint request
    cdef BlockLimits limits
    cdef HeadBlock block

    def __cinit__(self, list before, bytes data, bint request=True):
        self.d = <HpackDecoder*>malloc(sizeof(HpackDecoder))
        self.e = <HpackEncoder*>malloc(sizeof(HpackEncoder))
        self.head = <Http1Head*>malloc(sizeof(Http1Head))
        self.text = <u8*>malloc(ROOM)
        self.out = <u8*>malloc(ROOM)
        self.limits.list_bytes = 65536
        self.limits.fields = 128
        self.request = request
        hpack_decoder_init(self.d, 4096)
        hpack_encoder_init(self.e)
        for block in before:
            self.data = block
            assert self.read(1) >= 0
        self.data = data
        assert self.read(1) >= 0
        assert self.parse(1) >= 0
        assert self.write(3) >= 0

    def __dealloc__(self):
        free(self.d)
        free(self.e)
        free(self.head)
        free(self.text)
        free(self.out)

    def read(self, int times):
        """Nanoseconds for so many blocks; -1 when one is refused."""
        cdef const u8* data = <const u8*>self.data
        cdef size_t n = <size_t>len(self.data)
        cdef u8 kind = BLOCK_REQUEST if self.request else BLOCK_RESPONSE
        cdef int i, rc = 0
        cdef i64 start
        with nogil:
            start = now_ns()
            for i in range(times):
                rc |= block_read(self.d, data, n, kind, False, self.text, ROOM, &self.limits, &self.block)
            start = now_ns() - start
        return -1 if rc else start

    def parse(self, int times):
        """The same for HTTP/1's parser over the text."""
        cdef const u8* data = self.text + self.block.off
        cdef Http1Limits limits
        cdef Http1Resume resume
        cdef int i, rc = 0
        cdef i64 start
        limits.head_bytes = limits.line_bytes = limits.field_line_bytes = 65536
        limits.fields = 128
        with nogil:
            start = now_ns()
            for i in range(times):
                memset(&resume, 0, sizeof(resume))
                if self.request:
                    rc |= http1_request_parse(self.head, &resume, data, self.block.n, &limits)
                else:
                    rc |= http1_response_parse(self.head, &resume, data, self.block.n, &limits)
            start = now_ns() - start
        return -1 if rc else start

    def write(self, int times, bint cold=False):
        """The same for blocks written; cold: with a new table each time."""
        cdef const u8* data = self.text + self.block.off
        cdef HeadEdit edit
        cdef i64 start, rc = 0
        cdef int i
        memset(&edit, 0, sizeof(edit))
        with nogil:
            start = now_ns()
            for i in range(times):
                if cold:
                    hpack_encoder_init(self.e)
                if self.request:
                    rc |= block_request_write(self.e, self.out, ROOM, self.head, data, &edit)
                else:
                    rc |= block_response_write(self.e, self.out, ROOM, self.head, data, &edit)
            start = now_ns() - start
        return -1 if rc < 0 else start
