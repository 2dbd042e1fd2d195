# Pooled byte buffers of three sizes and a cursor pair over one of them.
# Law: 0 <= r <= w <= cap; only [r, w) is data; every reserve and commit is checked against cap on unsigned sizes.
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.poison cimport mem_poison, mem_unpoison

cdef enum:
    BUFFER_SMALL = 16384
    BUFFER_LARGE = 262144
    BUFFER_HUGE = 1114112       # one stream's widest window (1 MiB) and a trailer section
    HUGE_SHARE = 4              # for so many large buffers there is one of these

ctypedef struct Pool:
    u8* base            # owns
    u32* free           # owns: stack of free indexes; the newest is taken first, it is still in cache
    u32 size            # bytes of one buffer
    u32 count
    u32 top             # entries on the stack
    u32 high            # buffers from here on were never taken
    u64 takes
    u64 gives

ctypedef struct Pools:
    Pool small
    Pool large
    Pool huge           # nobody is given one at first: what outgrows a large buffer may move into it

ctypedef struct Buf:
    u8* data            # owns: a buffer of the pool that `cap` names; NULL: none held
    u32 cap             # BUFFER_SMALL, BUFFER_LARGE or BUFFER_HUGE
    u32 r               # first byte not yet consumed
    u32 w               # one past the last byte received

cdef int pools_init(Pools* p, u32 small, u32 large) noexcept nogil
cdef void pools_free(Pools* p) noexcept nogil
# Takes a buffer that holds at least n bytes. OK, or FULL: none is free or none is that large.
cdef int buf_take(Pools* p, Buf* b, size_t n) noexcept nogil
cdef void buf_give(Pools* p, Buf* b) noexcept nogil
# Moves what is held into a large buffer (data at r = 0). OK, or FULL and nothing changed.
cdef int buf_grow(Pools* p, Buf* b) noexcept nogil
# Moves what a large buffer holds into a huge one (data at r = 0). OK, or FULL and nothing changed.
cdef int buf_widen(Pools* p, Buf* b) noexcept nogil
# Moves [r, w) to the front.
cdef void buf_compact(Buf* b) noexcept nogil
# Copies n bytes behind w. OK, or FULL and nothing changed.
cdef int buf_append(Buf* b, const u8* data, size_t n) noexcept nogil

# Takes n bytes out at `offset` behind r; what follows moves up.
cdef void buf_cut(Buf* b, u32 offset, u32 n) noexcept nogil
# Makes a gap of n bytes at `offset` behind r, whatever they hold; what follows moves back. OK, or FULL and nothing
# changed.
cdef int buf_insert(Buf* b, u32 offset, u32 n) noexcept nogil
# Writes n bytes over those at `offset` behind r. OK, or FULL when they would reach past w.
cdef int buf_overwrite(Buf* b, u32 offset, const u8* data, size_t n) noexcept nogil

cdef inline u32 buf_len(const Buf* b) noexcept nogil:
    return b.w - b.r

cdef inline u32 buf_room(const Buf* b) noexcept nogil:
    return b.cap - b.w

cdef inline u8* buf_head(const Buf* b) noexcept nogil:
    return b.data + b.r

# Buffers that can still be taken.
cdef inline u32 pool_left(const Pool* p) noexcept nogil:
    return p.count - <u32>(p.takes - p.gives)

cdef inline u8* buf_tail(const Buf* b) noexcept nogil:
    return b.data + b.w

# Bytes from `offset` behind r to w; 0 when the offset is past the data.
cdef inline u32 buf_after(const Buf* b, u32 offset) noexcept nogil:
    return b.w - b.r - offset if offset <= b.w - b.r else 0

cdef inline void buf_commit(Buf* b, u32 n) noexcept nogil:
    b.w += n if n <= b.cap - b.w else b.cap - b.w

cdef inline void buf_consume(Buf* b, u32 n) noexcept nogil:
    b.r += n if n <= b.w - b.r else b.w - b.r
    if b.r == b.w:
        b.r = 0
        b.w = 0
