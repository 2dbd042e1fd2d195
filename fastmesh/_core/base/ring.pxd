# A byte ring between two threads: one writes whole records, one reads. Law: a record is in it whole or not at all;
# a full ring drops the record and counts it, and never waits.
from fastmesh._core.base.types cimport u8, u64

ctypedef struct Ring:
    u8* base            # owns
    u64 size            # a power of two
    u64 head            # shares release/acquire: bytes ever written
    u64 dropped         # records
    u64 written         # records
    u64 pad[8]          # keeps the two ends on different cache lines
    u64 tail            # shares release/acquire: bytes ever read

cdef int ring_init(Ring* r, u64 size) noexcept nogil
cdef void ring_free(Ring* r) noexcept nogil
# OK, or FULL: dropped and counted.
cdef int ring_write(Ring* r, const u8* record, u64 n) noexcept nogil
# The two pieces that hold everything unread (the second is empty unless the data wraps). Bytes in all.
cdef u64 ring_peek(Ring* r, u8** a, u64* an, u8** b, u64* bn) noexcept nogil
cdef void ring_consume(Ring* r, u64 n) noexcept nogil
# Copies one record of exactly n bytes out; OK or AGAIN. For rings whose records all have one size.
cdef int ring_read(Ring* r, u8* record, u64 n) noexcept nogil
