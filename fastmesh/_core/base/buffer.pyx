from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from fastmesh._core.base.status cimport FULL, OK
from fastmesh._core.ffi.linux cimport sys_release, sys_reserve


cdef int pool_init(Pool* p, u32 size, u32 count) noexcept nogil:
    memset(p, 0, sizeof(Pool))
    p.size = size
    p.count = count
    p.free = <u32*>malloc(<size_t>(count + 1) * sizeof(u32))
    p.base = <u8*>sys_reserve(<size_t>size * count + 1)
    return OK if p.free != NULL and p.base != NULL else FULL


cdef void pool_free(Pool* p) noexcept nogil:
    if p.base != NULL:
        mem_unpoison(p.base, <size_t>p.size * p.count)
    sys_release(p.base, <size_t>p.size * p.count + 1); p.base = NULL
    free(p.free); p.free = NULL


cdef int pools_init(Pools* p, u32 small, u32 large) noexcept nogil:
    memset(p, 0, sizeof(Pools))
    if (pool_init(&p.small, BUFFER_SMALL, small) != OK or pool_init(&p.large, BUFFER_LARGE, large) != OK
            or pool_init(&p.huge, BUFFER_HUGE, large // HUGE_SHARE) != OK):
        pools_free(p)
        return FULL
    return OK


cdef void pools_free(Pools* p) noexcept nogil:
    pool_free(&p.small)
    pool_free(&p.large)
    pool_free(&p.huge)


cdef u8* pool_take(Pool* p) noexcept nogil:
    cdef u32 index
    cdef u8* data
    if p.top > 0:
        p.top -= 1
        index = p.free[p.top]
    elif p.high < p.count:
        index = p.high
        p.high += 1
    else:
        return NULL
    p.takes += 1
    data = p.base + <size_t>index * p.size
    mem_unpoison(data, p.size)
    return data


cdef void pool_give(Pool* p, u8* data) noexcept nogil:
    p.free[p.top] = <u32>(<size_t>(data - p.base) // p.size) if p.size else 0
    p.top += 1
    p.gives += 1
    mem_poison(data, p.size)


cdef int buf_take(Pools* p, Buf* b, size_t n) noexcept nogil:
    cdef bint small = n <= BUFFER_SMALL
    if n > BUFFER_LARGE:
        return FULL
    b.data = pool_take(&p.small) if small else pool_take(&p.large)
    if b.data == NULL:
        return FULL
    b.cap = <u32>BUFFER_SMALL if small else <u32>BUFFER_LARGE
    b.r = 0
    b.w = 0
    return OK


cdef inline Pool* pool_of(Pools* p, u32 cap) noexcept nogil:
    return &p.small if cap == BUFFER_SMALL else &p.large if cap == BUFFER_LARGE else &p.huge


cdef void buf_give(Pools* p, Buf* b) noexcept nogil:
    if b.data != NULL:
        pool_give(pool_of(p, b.cap), b.data); b.data = NULL
    b.cap = 0
    b.r = 0
    b.w = 0


# Moves what b holds into a larger one.
cdef void move_into(Pools* p, Buf* b, Buf* larger) noexcept nogil:
    cdef u32 n = b.w - b.r
    if n:
        memcpy(larger.data, b.data + b.r, n)
    larger.w = n
    buf_give(p, b)
    b[0] = larger[0]


cdef int buf_grow(Pools* p, Buf* b) noexcept nogil:
    cdef Buf larger
    if b.cap >= BUFFER_LARGE or buf_take(p, &larger, BUFFER_LARGE) != OK:
        return FULL
    move_into(p, b, &larger)
    return OK


cdef int buf_widen(Pools* p, Buf* b) noexcept nogil:
    cdef Buf larger
    if b.cap != BUFFER_LARGE:
        return FULL
    larger.data = pool_take(&p.huge)
    if larger.data == NULL:
        return FULL
    larger.cap = BUFFER_HUGE
    larger.r = 0
    move_into(p, b, &larger)
    return OK


cdef void buf_compact(Buf* b) noexcept nogil:
    cdef u32 n = b.w - b.r
    if b.r == 0:
        return
    if n:
        memmove(b.data, b.data + b.r, n)
    b.r = 0
    b.w = n


cdef int buf_append(Buf* b, const u8* data, size_t n) noexcept nogil:
    if n > <size_t>(b.cap - b.w):
        return FULL
    # A Buf that holds no buffer takes 0 bytes: NULL is no argument for memcpy even then.
    if n:
        memcpy(b.data + b.w, data, n)
        b.w += <u32>n
    return OK


cdef void buf_cut(Buf* b, u32 offset, u32 n) noexcept nogil:
    cdef u32 held = b.w - b.r
    if n == 0 or offset > held or n > held - offset:
        return
    memmove(b.data + b.r + offset, b.data + b.r + offset + n, held - offset - n)
    b.w -= n


cdef int buf_insert(Buf* b, u32 offset, u32 n) noexcept nogil:
    cdef u32 held = b.w - b.r
    if offset > held or n > b.cap - b.w:
        return FULL
    if n:
        memmove(b.data + b.r + offset + n, b.data + b.r + offset, held - offset)
        b.w += n
    return OK


cdef int buf_overwrite(Buf* b, u32 offset, const u8* data, size_t n) noexcept nogil:
    cdef u32 held = b.w - b.r
    if offset > held or n > <size_t>(held - offset):
        return FULL
    if n:
        memcpy(b.data + b.r + offset, data, n)
    return OK
