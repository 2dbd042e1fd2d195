# Fixed-size objects of one worker, found by handle. Law: a handle resolves to its own object or to NULL, never to another.
# An object starts with its SlabHeader. Memory is reserved once; a page costs nothing until its first object is taken.
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.poison cimport mem_poison, mem_unpoison

cdef enum:
    SLAB_NONE = 0xFFFFFFFF

ctypedef struct SlabHeader:
    u32 generation      # odd while live; one more at every take and give
    u32 next_free       # index of the next free object while free

ctypedef struct Slab:
    u8* base            # owns
    size_t bytes
    u32 stride
    u32 capacity
    u32 free_head       # SLAB_NONE: none was given back
    u32 high            # objects from here on were never taken
    u64 takes
    u64 gives

cdef int slab_init(Slab* s, u32 stride, u32 capacity) noexcept nogil
cdef void slab_free(Slab* s) noexcept nogil
# The object, zeroed behind its header, or NULL when the slab is full.
cdef void* slab_take(Slab* s) noexcept nogil
cdef void slab_give(Slab* s, void* object) noexcept nogil

cdef inline u32 slab_index(const Slab* s, const void* object) noexcept nogil:
    return <u32>(<size_t>(<const u8*>object - s.base) // s.stride) if s.stride else 0

cdef inline u64 slab_handle(const Slab* s, const void* object) noexcept nogil:
    return (<u64>(<const SlabHeader*>object).generation << 32) | slab_index(s, object)

# The live object at an index below `high`, or NULL.
cdef inline void* slab_live(Slab* s, u32 index) noexcept nogil:
    cdef SlabHeader* header
    if index >= s.high:
        return NULL
    header = <SlabHeader*>(s.base + <size_t>index * s.stride)
    return header if header.generation & 1 else NULL

# NULL is the normal answer for an object that has gone. An even generation is never a live one's, so 0 is no handle
# even after generations wrapped.
cdef inline void* slab_get(Slab* s, u64 handle) noexcept nogil:
    cdef u32 index = <u32>handle
    cdef u32 generation = <u32>(handle >> 32)
    cdef SlabHeader* header
    if index >= s.high:
        return NULL
    header = <SlabHeader*>(s.base + <size_t>index * s.stride)
    return header if header.generation == generation and generation & 1 else NULL
