from libc.string cimport memcmp

from fastmesh._core.base.status cimport AGAIN, BAD, OK


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef int preface_match(const u8* p, size_t n) noexcept nogil:
    cdef size_t seen = n if n < PREFACE_BYTES else <size_t>PREFACE_BYTES
    if memcmp(p, PREFACE, seen) != 0:
        return BAD
    return OK if n >= PREFACE_BYTES else AGAIN
