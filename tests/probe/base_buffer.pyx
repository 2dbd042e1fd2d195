"""Pools and some Bufs over them, shown to Python tests."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastmesh._core.base.buffer cimport (
    BUFFER_HUGE, BUFFER_LARGE, BUFFER_SMALL, Buf, Pool, Pools, buf_after, buf_append, buf_commit, buf_compact, buf_consume, buf_cut,
    buf_give, buf_grow, buf_head, buf_insert, buf_len, buf_overwrite, buf_room, buf_tail, buf_take, buf_widen, pools_free,
    pools_init,
)
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.poison cimport mem_unpoison

SMALL = BUFFER_SMALL
LARGE = BUFFER_LARGE
HUGE = BUFFER_HUGE


cdef class PoolsProbe:
    """Pools of `small` and `large` buffers and `bufs` Bufs, by number. small_at, large_at: the buffers of a pool lie there
    (in memory of the caller's, which outlives this), else where pools_init says."""
    cdef Pools pools
    cdef Buf* bufs
    cdef u32 count
    cdef u8* own_small
    cdef u8* own_large

    def __cinit__(self, u32 small, u32 large, u32 bufs, size_t small_at=0, size_t large_at=0):
        if pools_init(&self.pools, small, large) != OK:
            raise MemoryError
        self.own_small = self.pools.small.base
        self.own_large = self.pools.large.base
        self.bufs = <Buf*>calloc(bufs, sizeof(Buf))
        if self.bufs == NULL:
            raise MemoryError
        self.count = bufs
        if small_at:
            self.pools.small.base = <u8*>small_at
        if large_at:
            self.pools.large.base = <u8*>large_at

    def __dealloc__(self):
        self.close()

    def close(self):
        if self.bufs == NULL:
            return
        self.restore(&self.pools.small, self.own_small)
        self.restore(&self.pools.large, self.own_large)
        pools_free(&self.pools)
        free(self.bufs); self.bufs = NULL
        self.count = 0

    cdef void restore(self, Pool* pool, u8* own) noexcept:
        if pool.base != own:
            mem_unpoison(pool.base, <size_t>pool.size * pool.count)
            pool.base = own

    cdef Buf* at(self, u32 i) except NULL:
        if i >= self.count:
            raise IndexError(i)
        return &self.bufs[i]

    def counts(self):
        """(takes, gives) of the small pool, then of the large one."""
        return (self.pools.small.takes, self.pools.small.gives), (self.pools.large.takes, self.pools.large.gives)

    def bases(self):
        return <size_t>self.pools.small.base, <size_t>self.pools.large.base

    def address(self, u32 i):
        return <size_t>self.at(i).data or None

    def view(self, u32 i):
        """(cap, r, w) as they are, and (len, room, head - data, tail - data) as the inlines say."""
        cdef Buf* b = self.at(i)
        inlines = buf_len(b), buf_room(b), <size_t>(buf_head(b) - b.data), <size_t>(buf_tail(b) - b.data)
        return (b.cap, b.r, b.w), inlines

    def data(self, u32 i):
        cdef Buf* b = self.at(i)
        return (<char*>buf_head(b))[:buf_len(b)] if b.data != NULL else b""

    def take(self, u32 i, size_t n):
        if self.at(i).data != NULL:
            raise ValueError("held")
        return buf_take(&self.pools, self.at(i), n)

    def give(self, u32 i):
        buf_give(&self.pools, self.at(i))

    def grow(self, u32 i):
        return buf_grow(&self.pools, self.at(i))

    def widen(self, u32 i):
        return buf_widen(&self.pools, self.at(i))

    def huge(self):
        """(count, takes, gives) of the huge pool."""
        return self.pools.huge.count, self.pools.huge.takes, self.pools.huge.gives

    def compact(self, u32 i):
        buf_compact(self.at(i))

    def append_at(self, u32 i, size_t address, size_t n):
        return buf_append(self.at(i), <const u8*>address, n)

    def receive(self, u32 i, bytes data, u32 claimed):
        """Puts data (as much as has room) behind w, as a read from a socket does, and commits `claimed` bytes."""
        cdef Buf* b = self.at(i)
        cdef size_t n = <size_t>len(data)
        n = n if n < buf_room(b) else buf_room(b)
        if n:
            memcpy(buf_tail(b), <const u8*>data, n)
        buf_commit(b, claimed)

    def consume(self, u32 i, u32 n):
        buf_consume(self.at(i), n)

    def cut(self, u32 i, u32 offset, u32 n):
        buf_cut(self.at(i), offset, n)

    def insert_at(self, u32 i, u32 offset, size_t address, u32 n):
        """A gap, and bytes from an address in it."""
        rc = buf_insert(self.at(i), offset, n)
        return rc if rc != 0 else buf_overwrite(self.at(i), offset, <const u8*>address, n)

    def overwrite_at(self, u32 i, u32 offset, size_t address, size_t n):
        return buf_overwrite(self.at(i), offset, <const u8*>address, n)

    def after(self, u32 i, u32 offset):
        return buf_after(self.at(i), offset)

    def churn(self, size_t n, long rounds):
        """Bench: `rounds` times a buffer is taken, n bytes appended and consumed, and it is given back; bytes in all."""
        cdef u8[1024] data
        cdef Buf b
        cdef long i
        cdef u64 total = 0
        memset(data, 0x61, sizeof(data))
        if n > sizeof(data):
            raise ValueError(n)
        for i in range(rounds):
            if buf_take(&self.pools, &b, n) != OK:
                break
            buf_append(&b, data, n)
            total += buf_len(&b)
            buf_consume(&b, <u32>n)
            buf_give(&self.pools, &b)
        return total
