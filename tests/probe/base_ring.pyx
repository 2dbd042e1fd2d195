"""The ring, shown to Python tests: single calls, and a whole transfer between two threads that hold no GIL.

A record of the transfer is u32 length (of it all), u32 number, and bytes that follow from the number.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.ring cimport Ring, ring_consume, ring_free, ring_init, ring_peek, ring_read, ring_write
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport i64, u8, u32, u64
from fastmesh._core.ffi.atomic cimport atomic_load_u64, atomic_store_u64, meter_read
from fastmesh._core.ffi.linux cimport sys_monotonic_ns

cdef extern from "sched.h" nogil:
    int sched_yield()

cdef enum:
    PREFIX = 8          # length and number
    LONGEST = 4096
    SPINS = 2000        # empty looks before the other thread is let run


cdef u32 record_make(u8* out, u32 number, u32 longest) noexcept nogil:
    cdef u32 n = PREFIX + (number * <u32>2654435761 >> 7) % (longest - PREFIX + 1 if longest >= PREFIX else 1)
    cdef u32 i
    memcpy(out, &n, 4)
    memcpy(out + 4, &number, 4)
    for i in range(PREFIX, n):
        out[i] = <u8>(number * 31 + i)
    return n


cdef class RingProbe:
    """A ring. at: its bytes lie there (in memory of the caller's, which outlives this), else where ring_init says."""
    cdef Ring ring
    cdef u8* own
    cdef u64 done       # the writer of a transfer has written its last
    cdef u64 stop       # the reader of a transfer has seen enough

    def __cinit__(self, u64 size, size_t at=0):
        if size & (size - 1):
            raise ValueError(size)
        if ring_init(&self.ring, size) != OK:
            raise MemoryError
        self.own = self.ring.base
        if at:
            self.ring.base = <u8*>at

    def __dealloc__(self):
        self.ring.base = self.own
        ring_free(&self.ring)

    @property
    def base(self):
        return <size_t>self.ring.base

    def counts(self):
        """(written, dropped) records."""
        return meter_read(&self.ring.written), meter_read(&self.ring.dropped)

    def write_at(self, size_t address, u64 n):
        return ring_write(&self.ring, <const u8*>address, n)

    def peek(self):
        """Everything unread, as its two pieces."""
        cdef u8* a
        cdef u8* b
        cdef u64 an, bn
        cdef u64 n = ring_peek(&self.ring, &a, &an, &b, &bn)
        assert n == an + bn
        return (<char*>a)[:an], (<char*>b)[:bn]

    def consume(self, u64 n):
        ring_consume(&self.ring, n)

    def read_at(self, size_t address, u64 n):
        return ring_read(&self.ring, <u8*>address, n)

    def produce(self, u32 count, u32 longest, i64 patience_ns):
        """Writes records 0..count-1; one that finds no room is tried again for patience_ns, then left out.
        (how many were left out, how many calls answered FULL)."""
        cdef u8[LONGEST] record
        cdef u32 number, n
        cdef u64 lost = 0, full = 0
        cdef i64 end
        if longest < PREFIX or longest > LONGEST:
            raise ValueError(longest)
        with nogil:
            for number in range(count):
                n = record_make(record, number, longest)
                end = 0
                while ring_write(&self.ring, record, n) != OK:
                    full += 1
                    if patience_ns and end == 0:
                        end = sys_monotonic_ns() + patience_ns
                    if atomic_load_u64(&self.stop) or sys_monotonic_ns() >= end:
                        lost += 1
                        break
                    sched_yield()
            atomic_store_u64(&self.done, 1)
        return lost, full

    cdef i64 check(self, const u8* a, u64 an, const u8* b, u64 bn, u64* wanted, u64* missed) noexcept nogil:
        """Length of the record at the front of the two pieces; -1: it is not whole, -2: not as it was written."""
        cdef u8[LONGEST] record
        cdef u8[LONGEST] made
        cdef u32 length, number, i
        cdef u64 first = an if an < LONGEST else LONGEST
        cdef u64 rest = bn if bn < LONGEST - first else LONGEST - first
        if an + bn < PREFIX:
            return -1
        memcpy(record, a, first)
        memcpy(record + first, b, rest)
        memcpy(&length, record, 4)
        memcpy(&number, record + 4, 4)
        if length < PREFIX or length > first + rest:
            return -1
        if number < wanted[0]:
            return -2
        for i in range(PREFIX, length):
            if record[i] != <u8>(number * 31 + i):
                return -2
        missed[0] += number - wanted[0]
        wanted[0] = <u64>number + 1
        return length

    def drain(self, u32 count, bint piecewise):
        """Reads what produce(count) writes until it is done. piecewise: each record is consumed by itself, else
        everything that was seen at once. (records, numbers left out, failure: 0, or what `check` says)."""
        cdef u8* a
        cdef u8* b
        cdef u64 an, bn, seen, unread, skip
        cdef u64 wanted = 0, missed = 0, records = 0
        cdef i64 n = 0
        cdef u32 idle = 0
        cdef bint finished
        with nogil:
            while True:
                finished = atomic_load_u64(&self.done) != 0
                seen = unread = ring_peek(&self.ring, &a, &an, &b, &bn)
                if unread == 0:
                    if finished:
                        break
                    # Spinning sees a record in the very moment that it is published.
                    idle += 1
                    if idle % SPINS == 0:
                        sched_yield()
                while unread:
                    n = self.check(a, an, b, bn, &wanted, &missed)
                    if n < 0:
                        break
                    records += 1
                    unread -= <u64>n
                    skip = <u64>n if <u64>n < an else an
                    a += skip
                    an -= skip
                    b += <u64>n - skip
                    bn -= <u64>n - skip
                    if piecewise:
                        ring_consume(&self.ring, <u64>n)
                    elif unread == 0:
                        ring_consume(&self.ring, seen)
                if n < 0:
                    atomic_store_u64(&self.stop, 1)
                    break
        missed += count - wanted
        return records, missed, n if n < 0 else 0

    def spin(self, u32 n, long rounds):
        """Bench: `rounds` records of n bytes are written, everything is consumed when the ring is full; records."""
        cdef u8* a
        cdef u8* b
        cdef u64 an, bn
        cdef long i
        cdef u8* record = <u8*>malloc(n + 1)
        if record == NULL:
            raise MemoryError
        memset(record, 0x61, n)
        for i in range(rounds):
            if ring_write(&self.ring, record, n) != OK:
                ring_consume(&self.ring, ring_peek(&self.ring, &a, &an, &b, &bn))
        free(record)
        return self.ring.written
