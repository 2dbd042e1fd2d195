# The small words of the HTTP grammar: blanks, case, comma lists (RFC 9110 5.6).
# Law: every function looks at p[0 .. n) only.
from libc.string cimport memcmp, strlen
from fastmesh._core.base.types cimport u8, u32

cdef inline bint is_blank(u8 b) noexcept nogil:
    return b == 0x20 or b == 0x09

cdef inline u8 fold(u8 b) noexcept nogil:
    return <u8>(b | 0x20) if 0x41 <= b <= 0x5A else b

# Equal but for ASCII case.
cdef inline bint same_folded(const u8* a, const u8* b, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if fold(a[i]) != fold(b[i]):
            return False
    return True

# Whether p[0 .. n) is the lower-case word, in any case.
cdef inline bint is_word(const u8* p, size_t n, const char* word) noexcept nogil:
    return n == strlen(word) and same_folded(p, <const u8*>word, n)

cdef inline bint starts_with(const u8* p, size_t n, const char* word) noexcept nogil:
    return n >= strlen(word) and same_folded(p, <const u8*>word, strlen(word))

# Walks a comma list element by element, empty ones included. *at: 0 before the first call. Blanks around are cut off.
cdef inline bint list_next(const u8* p, size_t n, size_t* at, size_t* off, size_t* length) noexcept nogil:
    cdef size_t i = at[0], j
    if i > n:
        return False
    j = i
    while j < n and p[j] != 0x2C:
        j += 1
    at[0] = j + 1
    while i < j and is_blank(p[i]):
        i += 1
    while j > i and is_blank(p[j - 1]):
        j -= 1
    off[0] = i
    length[0] = j - i
    return True

# Whether a comma-separated list has this element, in any case.
cdef inline bint list_has(const u8* list, size_t n, const u8* element, size_t element_n) noexcept nogil:
    cdef size_t at = 0, off = 0, length = 0
    while list_next(list, n, &at, &off, &length):
        if length == element_n and same_folded(list + off, element, length):
            return True
    return False
