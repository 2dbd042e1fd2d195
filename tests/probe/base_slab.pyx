"""The slab, shown to Python tests, and what they ask of reserved memory: is it forbidden, does it cost a page."""

from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.unistd cimport _SC_PAGESIZE, sysconf

from fastmesh._core.base.slab cimport (
    SLAB_NONE, Slab, SlabHeader, slab_free, slab_get, slab_give, slab_handle, slab_index, slab_init, slab_live,
    slab_take,
)
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.poison cimport FM_PROFILE, mem_unpoison

cdef extern from *:
    """
    #if defined(FASTMESH_ASAN)
    #include <sanitizer/asan_interface.h>
    static int fm_forbidden(const unsigned char *p) { return __asan_address_is_poisoned(p); }
    #else
    static int fm_forbidden(const unsigned char *p) { return *p == 0xDD; }
    #endif
    """
    int fm_forbidden(const u8* p) nogil

cdef extern from "sys/mman.h" nogil:
    int mincore(void* address, size_t n, unsigned char* pages)

PROFILE = FM_PROFILE.decode()
NONE = <u32>SLAB_NONE
HEADER_BYTES = sizeof(SlabHeader)
PAGE = sysconf(_SC_PAGESIZE)


def forbidden(size_t address, size_t n):
    """How many of n bytes a checking build (PROFILE debug or asan) has marked as free."""
    cdef const u8* bytes_at = <const u8*>address
    cdef size_t i, found = 0
    for i in range(n):
        found += 1 if fm_forbidden(bytes_at + i) else 0
    return found


def resident(size_t address, size_t n):
    """Which of the pages of n bytes at a page's start cost memory now, by number."""
    cdef size_t pages = (n + <size_t>PAGE - 1) // <size_t>PAGE
    cdef unsigned char* answer = <unsigned char*>malloc(pages + 1)
    if answer == NULL or mincore(<void*>address, n, answer) != 0:
        free(answer)
        raise OSError("mincore")
    found = [i for i in range(pages) if answer[i] & 1]
    free(answer)
    return found


cdef class SlabProbe:
    """A slab. at: its objects lie there (in memory of the caller's, which outlives this), else where slab_init says."""
    cdef Slab slab
    cdef u8* own

    def __cinit__(self, u32 stride, u32 capacity, size_t at=0):
        if stride < sizeof(SlabHeader):
            raise ValueError(stride)
        if slab_init(&self.slab, stride, capacity) != OK:
            raise MemoryError
        self.own = self.slab.base
        if at:
            self.slab.base = <u8*>at
            memset(self.slab.base, 0, self.slab.bytes)

    def __dealloc__(self):
        self.close()

    def close(self):
        if self.own == NULL:
            return
        if self.slab.base != self.own:
            mem_unpoison(self.slab.base, self.slab.bytes)
            self.slab.base = self.own
        slab_free(&self.slab)
        self.own = NULL

    cdef SlabHeader* at(self, size_t address) except NULL:
        cdef size_t offset = address - <size_t>self.slab.base
        if self.own == NULL or offset >= self.slab.bytes or offset % self.slab.stride:
            raise ValueError(address)
        return <SlabHeader*>address

    @property
    def base(self):
        return <size_t>self.slab.base

    def counts(self):
        return self.slab.takes, self.slab.gives

    def take(self):
        """Address of the object, None when the slab is full."""
        return <size_t>slab_take(&self.slab) or None

    def give(self, size_t address):
        slab_give(&self.slab, self.at(address))

    def handle(self, size_t address):
        return slab_handle(&self.slab, self.at(address))

    def index(self, size_t address):
        return slab_index(&self.slab, self.at(address))

    def get(self, u64 handle):
        return <size_t>slab_get(&self.slab, handle) or None

    def live(self, u32 index):
        return <size_t>slab_live(&self.slab, index) or None

    def read(self, size_t address):
        """What is behind an object's header."""
        return (<char*>self.at(address) + sizeof(SlabHeader))[:self.slab.stride - sizeof(SlabHeader)]

    def fill(self, size_t address, u8 byte):
        memset(<u8*>self.at(address) + sizeof(SlabHeader), byte, self.slab.stride - sizeof(SlabHeader))

    def age(self, size_t address, u32 generation):
        """Makes the object at address as old as a long life would."""
        self.at(address).generation = generation

    def churn(self, long rounds):
        """Bench: `rounds` times an object is taken, found by its handle and given back; how often it was found."""
        cdef long i, found = 0
        cdef void* object
        for i in range(rounds):
            object = slab_take(&self.slab)
            if object == NULL:
                break
            found += slab_get(&self.slab, slab_handle(&self.slab, object)) == object
            slab_give(&self.slab, object)
        return found
