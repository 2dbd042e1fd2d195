# Marks pooled memory as free or in use for the checking builds; nothing in a release build.
cdef extern from "poison.h" nogil:
    void mem_poison(void* p, size_t n) noexcept
    void mem_unpoison(void* p, size_t n) noexcept
    const char* FM_PROFILE
