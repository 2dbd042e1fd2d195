from libc.string cimport memcpy, memset

from fastmesh._core.base.status cimport AGAIN, FULL, OK
from fastmesh._core.ffi.atomic cimport atomic_load_u64, atomic_store_u64, meter_add
from fastmesh._core.ffi.linux cimport sys_release, sys_reserve


cdef int ring_init(Ring* r, u64 size) noexcept nogil:
    memset(r, 0, sizeof(Ring))
    r.size = size
    r.base = <u8*>sys_reserve(size)
    return OK if r.base != NULL else FULL


cdef void ring_free(Ring* r) noexcept nogil:
    sys_release(r.base, r.size); r.base = NULL
    r.size = 0


cdef int ring_write(Ring* r, const u8* record, u64 n) noexcept nogil:
    cdef u64 at, first
    cdef u64 used = r.head - atomic_load_u64(&r.tail)
    if n > r.size - used:
        meter_add(&r.dropped, 1)
        return FULL
    at = r.head & (r.size - 1)
    first = r.size - at if n > r.size - at else n
    memcpy(r.base + at, record, first)
    memcpy(r.base, record + first, n - first)
    meter_add(&r.written, 1)
    atomic_store_u64(&r.head, r.head + n)
    return OK


cdef u64 ring_peek(Ring* r, u8** a, u64* an, u8** b, u64* bn) noexcept nogil:
    cdef u64 n = atomic_load_u64(&r.head) - r.tail
    cdef u64 at = r.tail & (r.size - 1) if r.size else 0
    a[0] = r.base + at
    b[0] = r.base
    an[0] = r.size - at if n > r.size - at else n
    bn[0] = n - an[0]
    return n


cdef void ring_consume(Ring* r, u64 n) noexcept nogil:
    atomic_store_u64(&r.tail, r.tail + n)


cdef int ring_read(Ring* r, u8* record, u64 n) noexcept nogil:
    cdef u8* a
    cdef u8* b
    cdef u64 an, bn, first
    if ring_peek(r, &a, &an, &b, &bn) < n:
        return AGAIN
    first = an if an < n else n
    memcpy(record, a, first)
    memcpy(record + first, b, n - first)
    ring_consume(r, n)
    return OK
