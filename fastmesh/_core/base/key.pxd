# Seeded hashing and ASCII-folded comparison of short texts. Law: reads exactly the n bytes named; equal texts (after
# folding A-Z, where asked) hash equally. Not for secrets: the seed only keeps a table's layout from being guessed.
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.simd cimport fm_load_u32, fm_load_u64

cdef enum:
    KEY_EXACT = 0
    KEY_FOLD = 1      # A-Z counts as a-z

# Lower case of the eight bytes of a word; bytes from 0x80 up stay as they are.
cdef inline u64 key_fold8(u64 word) noexcept nogil:
    cdef u64 low7 = word & <u64>0x7F7F7F7F7F7F7F7F
    cdef u64 from_a = low7 + <u64>0x3F3F3F3F3F3F3F3F      # bit 7: >= 'A'
    cdef u64 above_z = low7 + <u64>0x2525252525252525     # bit 7: > 'Z'
    return word | (((from_a ^ above_z) & ~word & <u64>0x8080808080808080) >> 2)

# The n < 8 bytes at text as one word; two texts of one length give the same word only when they are equal.
cdef inline u64 key_tail(const u8* text, size_t n) noexcept nogil:
    if n >= 4:
        return fm_load_u32(text) | (<u64>fm_load_u32(text + n - 4) << 32)
    if n == 0:
        return 0
    return text[0] | (<u64>text[n >> 1] << 8) | (<u64>text[n - 1] << 16)

cdef inline u64 key_mix(u64 hash_value, u64 word) noexcept nogil:
    cdef u64 mixed = (hash_value ^ word) * <u64>0x9E3779B97F4A7C15
    return mixed ^ (mixed >> 32)

cdef inline u64 key_hash(u64 seed, const u8* text, size_t n, u32 fold) noexcept nogil:
    cdef u64 mixed = seed + n * <u64>0xD6E8FEB86659FD93
    cdef u64 word
    while n >= 8:
        word = fm_load_u64(text)
        mixed = key_mix(mixed, key_fold8(word) if fold else word)
        text += 8
        n -= 8
    word = key_tail(text, n)
    return key_mix(key_mix(mixed, key_fold8(word) if fold else word), 0)

# Whether n bytes of text, lower-cased when fold is set, are those of key (which is lower case then).
cdef inline bint key_equal(const u8* text, const u8* key, size_t n, u32 fold) noexcept nogil:
    cdef u64 word
    while n >= 8:
        word = fm_load_u64(text)
        if (key_fold8(word) if fold else word) != fm_load_u64(key):
            return 0
        text += 8
        key += 8
        n -= 8
    word = key_tail(text, n)
    return (key_fold8(word) if fold else word) == key_tail(key, n)
