"""Runs HPACK in a loop without the GIL, for the micro benchmarks: nanoseconds per block, no Python between."""
from libc.stdlib cimport free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastmesh._core.base.status cimport CLOSED, OK
from fastmesh._core.base.types cimport u8, u32, i64
from fastmesh._core.wire.hpack cimport (
    HpackDecoder, HpackEncoder, HpackField, HpackOut, HpackReader, hpack_begin, hpack_decoder_init, hpack_encoder_init,
    hpack_read, hpack_write,
)

cdef enum:
    FIELDS_MAX = 64


cdef i64 now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <i64>t.tv_sec * 1000000000 + <i64>t.tv_nsec


cdef class DecodeBench:
    """One block, read again and again, with the table that the blocks before it left."""
    cdef HpackDecoder* d
    cdef bytes data

    def __cinit__(self, list before, bytes data):
        self.d = <HpackDecoder*>malloc(sizeof(HpackDecoder))
        hpack_decoder_init(self.d, 4096)
        for block in before:
            self.data = block
            assert self.run(1) >= 0
        self.data = data
        assert self.run(1) >= 0

    def __dealloc__(self):
        free(self.d)

    def run(self, int times):
        """Nanoseconds for so many blocks; -1 when one is refused."""
        cdef u8 space[16384]
        cdef const u8* data = <const u8*>self.data
        cdef size_t n = <size_t>len(self.data)
        cdef HpackReader r
        cdef HpackField f
        cdef int i, rc = CLOSED
        cdef i64 start
        with nogil:
            start = now_ns()
            for i in range(times):
                r.data = data
                r.n = n
                r.at = 0
                r.space = space
                r.room = sizeof(space)
                r.begun = 0
                while True:
                    rc = hpack_read(self.d, &r, &f)
                    if rc != OK:
                        break
                if rc != CLOSED:
                    break
            start = now_ns() - start
        return -1 if rc != CLOSED else start


cdef class EncodeBench:
    """One list of (name, value), written again and again; cold: with a new table each time."""
    cdef HpackEncoder* e
    cdef list kept
    cdef HpackField fields[FIELDS_MAX]
    cdef u32 count

    def __cinit__(self, list fields):
        assert len(fields) <= FIELDS_MAX
        self.e = <HpackEncoder*>malloc(sizeof(HpackEncoder))
        hpack_encoder_init(self.e)
        self.kept = fields
        self.count = 0
        for name, value in fields:
            self.fields[self.count].name = <const u8*>name
            self.fields[self.count].name_len = <u32>len(name)
            self.fields[self.count].value = <const u8*>value
            self.fields[self.count].value_len = <u32>len(value)
            self.count += 1
        assert self.run(3) >= 0

    def __dealloc__(self):
        free(self.e)

    def run(self, int times, bint cold=False):
        """Nanoseconds for so many blocks; -1 when one does not fit."""
        cdef u8 space[16384]
        cdef HpackOut out
        cdef HpackField* f
        cdef int i
        cdef u32 k
        cdef i64 start
        out.full = 0
        with nogil:
            start = now_ns()
            for i in range(times):
                if cold:
                    hpack_encoder_init(self.e)
                out.p = space
                out.end = space + sizeof(space)
                hpack_begin(self.e, &out)
                for k in range(self.count):
                    f = &self.fields[k]
                    hpack_write(self.e, &out, f.name, f.name_len, f.value, f.value_len, 0)
            start = now_ns() - start
        return -1 if out.full else start
