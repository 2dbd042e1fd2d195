"""Memory between two forbidden pages: one byte read or written outside it ends the process."""
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap
from posix.unistd cimport _SC_PAGESIZE, sysconf

from fastmesh._core.base.types cimport u8


cdef class Guard:
    """Room for `pages` pages with a forbidden one before and after."""
    cdef u8* base
    cdef readonly size_t room
    cdef size_t page

    def __cinit__(self, int pages=4):
        self.page = <size_t>sysconf(_SC_PAGESIZE)
        self.room = self.page * <size_t>pages
        self.base = <u8*>mmap(NULL, self.room + 2 * self.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if self.base == <u8*>MAP_FAILED or mprotect(self.base + self.page, self.room, PROT_READ | PROT_WRITE) != 0:
            raise MemoryError

    def __dealloc__(self):
        munmap(self.base, self.room + 2 * self.page)

    def back(self, size_t n):
        """Address of the last n bytes: flush against the page behind."""
        assert n <= self.room
        return <size_t>(self.base + self.page + self.room - n)

    def put_back(self, bytes data):
        """Copies data flush against the page behind it; its address."""
        cdef size_t n = <size_t>len(data)
        cdef size_t at = self.back(n)
        memcpy(<void*>at, <const u8*>data, n)
        return at

    def put_front(self, bytes data):
        """Copies data flush against the page before it; its address."""
        assert <size_t>len(data) <= self.room
        memcpy(self.base + self.page, <const u8*>data, <size_t>len(data))
        return <size_t>(self.base + self.page)

    def get(self, size_t at, size_t n):
        return (<char*>at)[:n]
