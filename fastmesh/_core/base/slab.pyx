from libc.string cimport memset

from fastmesh._core.base.status cimport FULL, OK
from fastmesh._core.ffi.linux cimport sys_release, sys_reserve


cdef int slab_init(Slab* s, u32 stride, u32 capacity) noexcept nogil:
    memset(s, 0, sizeof(Slab))
    s.stride = stride
    s.capacity = capacity
    s.free_head = SLAB_NONE
    s.bytes = <size_t>stride * capacity
    s.base = <u8*>sys_reserve(s.bytes)
    return OK if s.base != NULL else FULL


cdef void slab_free(Slab* s) noexcept nogil:
    if s.base != NULL:
        mem_unpoison(s.base, s.bytes)
    sys_release(s.base, s.bytes); s.base = NULL


cdef void* slab_take(Slab* s) noexcept nogil:
    cdef u8* object
    cdef SlabHeader* header
    cdef u32 generation
    if s.free_head != SLAB_NONE:
        object = s.base + <size_t>s.free_head * s.stride
        header = <SlabHeader*>object
        s.free_head = header.next_free
    elif s.high < s.capacity:
        object = s.base + <size_t>s.high * s.stride
        header = <SlabHeader*>object
        s.high += 1
    else:
        return NULL
    mem_unpoison(object + sizeof(SlabHeader), s.stride - sizeof(SlabHeader))
    generation = header.generation + 1
    memset(object, 0, s.stride)
    header.generation = generation
    s.takes += 1
    return object


cdef void slab_give(Slab* s, void* object) noexcept nogil:
    cdef SlabHeader* header = <SlabHeader*>object
    header.generation += 1
    header.next_free = s.free_head
    s.free_head = slab_index(s, object)
    s.gives += 1
    # The header stays readable: stale handles are compared with it.
    mem_poison(<u8*>object + sizeof(SlabHeader), s.stride - sizeof(SlabHeader))
