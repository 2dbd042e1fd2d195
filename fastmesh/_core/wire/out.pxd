# Text written into a fixed space. Law: once something did not fit, nothing more is written and `full` stays set.
from libc.string cimport memcpy, strlen
from fastmesh._core.base.status cimport FULL
from fastmesh._core.base.types cimport u8, u64, i64

ctypedef struct Out:
    u8* p               # where the next byte goes
    u8* end
    bint full

cdef inline void out_init(Out* out, u8* start, size_t room) noexcept nogil:
    out.p = start
    out.end = start + room
    out.full = False

cdef inline void put(Out* out, const u8* text, size_t n) noexcept nogil:
    if n > <size_t>(out.end - out.p) or out.full:
        out.full = True
        return
    memcpy(out.p, text, n)
    out.p += n

cdef inline void put_text(Out* out, const char* text) noexcept nogil:
    put(out, <const u8*>text, strlen(text))

cdef inline void put_number(Out* out, u64 value) noexcept nogil:
    cdef u8 digits[20]
    cdef size_t at = 20
    while True:
        at -= 1
        digits[at] = <u8>(0x30 + value % 10)
        value //= 10
        if value == 0:
            break
    put(out, digits + at, 20 - at)

# Bytes since `start`, or FULL.
cdef inline i64 written(const Out* out, const u8* start) noexcept nogil:
    return FULL if out.full else <i64>(out.p - start)
