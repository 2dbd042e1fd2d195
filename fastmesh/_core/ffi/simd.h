/* Byte scans of the wire layer: SSE2 on x86_64, NEON on aarch64, plain C elsewhere or with FM_SIMD_SCALAR.
 * Law: no function reads a byte outside what its arguments name, and all three forms give the same answer.
 * AVX2 behind a check of the processor was measured and is not worth it: a head is some ten blocks long, and what 32
 * bytes at a time save (0 to 3% of a browser's head) the call and the check cost. */
#ifndef FM_SIMD_H
#define FM_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "tables.h"

#if defined(FM_SIMD_SCALAR)
#elif defined(__SSE2__)
#include <emmintrin.h>
#define FM_SIMD_SSE2 1
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define FM_SIMD_NEON 1
#endif

#define FM_INLINE static inline __attribute__((always_inline, unused))

FM_INLINE uint16_t fm_load_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
FM_INLINE uint32_t fm_load_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
FM_INLINE uint64_t fm_load_u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
FM_INLINE uint64_t fm_load_be64(const uint8_t *p) { return __builtin_bswap64(fm_load_u64(p)); }
FM_INLINE unsigned fm_ctz64(uint64_t v) { return (unsigned)__builtin_ctzll(v); }

/* The two bit sets the head parser walks: bytes that end or break a line, and colons. Bit i stands for byte i. */
typedef struct { uint64_t ctl, colon; } fm_marks;

/* A control byte other than HTAB, or DEL. */
FM_INLINE int fm_is_ctl(uint8_t b) { return (b < 0x20 && b != 0x09) || b == 0x7f; }

FM_INLINE fm_marks fm_marks_scalar(const uint8_t *p, size_t n)
{
    fm_marks m = {0, 0};
    for (size_t i = 0; i < n; i++) {
        m.ctl |= (uint64_t)fm_is_ctl(p[i]) << i;
        m.colon |= (uint64_t)(p[i] == ':') << i;
    }
    return m;
}

#if defined(FM_SIMD_SSE2)

FM_INLINE uint64_t fm_mask16(__m128i v) { return (uint64_t)(uint32_t)_mm_movemask_epi8(v); }

FM_INLINE __m128i fm_below(__m128i x, int last)  /* bytes <= last, unsigned */
{
    return _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8((char)last)), x);
}

FM_INLINE __m128i fm_same(__m128i x, int b) { return _mm_cmpeq_epi8(x, _mm_set1_epi8((char)b)); }

FM_INLINE fm_marks fm_marks16(const uint8_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i ctl = _mm_or_si128(_mm_andnot_si128(fm_same(x, 0x09), fm_below(x, 0x1f)), fm_same(x, 0x7f));
    fm_marks m = {fm_mask16(ctl), fm_mask16(fm_same(x, ':'))};
    return m;
}

/* Bit i: byte i may stand in a request target (0x21..0x7e but '#'). */
FM_INLINE uint32_t fm_target16(const uint8_t *p, uint32_t *query)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i visible = _mm_cmpgt_epi8(x, _mm_set1_epi8(0x20));  /* signed: bytes from 0x80 up fail */
    __m128i banned = _mm_or_si128(fm_same(x, 0x7f), fm_same(x, '#'));
    *query = (uint32_t)_mm_movemask_epi8(fm_same(x, '?'));
    return (uint32_t)_mm_movemask_epi8(_mm_andnot_si128(banned, visible));
}

/* Bit i: byte i is a letter, a digit, '-' or '.': tokens, and the usual bytes of names and hosts. */
FM_INLINE uint32_t fm_plain16(const uint8_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
    __m128i alpha = fm_below(_mm_sub_epi8(folded, _mm_set1_epi8('a')), 25);
    __m128i decimal = fm_below(_mm_sub_epi8(x, _mm_set1_epi8('0')), 9);
    __m128i mark = fm_below(_mm_sub_epi8(x, _mm_set1_epi8('-')), 1);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(alpha, decimal), mark));
}

/* Bit i: byte i is a lower-case letter, a digit, '-' or '.'. */
FM_INLINE uint32_t fm_lower16(const uint8_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i alpha = fm_below(_mm_sub_epi8(x, _mm_set1_epi8('a')), 25);
    __m128i decimal = fm_below(_mm_sub_epi8(x, _mm_set1_epi8('0')), 9);
    __m128i mark = fm_below(_mm_sub_epi8(x, _mm_set1_epi8('-')), 1);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(alpha, decimal), mark));
}

/* 16 bytes with their upper-case letters made lower. */
FM_INLINE void fm_fold16(uint8_t *to, const uint8_t *from)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i upper = fm_below(_mm_sub_epi8(x, _mm_set1_epi8('A')), 25);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_or_si128(x, _mm_and_si128(upper, _mm_set1_epi8(0x20))));
}

#elif defined(FM_SIMD_NEON)

FM_INLINE uint64_t fm_mask16(uint8x16_t v)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bits = vandq_u8(v, vld1q_u8(weights));
    return (uint64_t)vaddv_u8(vget_low_u8(bits)) | (uint64_t)vaddv_u8(vget_high_u8(bits)) << 8;
}

FM_INLINE uint8x16_t fm_below(uint8x16_t x, int last) { return vcleq_u8(x, vdupq_n_u8((uint8_t)last)); }
FM_INLINE uint8x16_t fm_same(uint8x16_t x, int b) { return vceqq_u8(x, vdupq_n_u8((uint8_t)b)); }

FM_INLINE fm_marks fm_marks16(const uint8_t *p)
{
    uint8x16_t x = vld1q_u8(p);
    uint8x16_t ctl = vorrq_u8(vbicq_u8(fm_below(x, 0x1f), fm_same(x, 0x09)), fm_same(x, 0x7f));
    fm_marks m = {fm_mask16(ctl), fm_mask16(fm_same(x, ':'))};
    return m;
}

FM_INLINE uint32_t fm_target16(const uint8_t *p, uint32_t *query)
{
    uint8x16_t x = vld1q_u8(p);
    uint8x16_t visible = fm_below(vsubq_u8(x, vdupq_n_u8(0x21)), 0x7e - 0x21);
    *query = (uint32_t)fm_mask16(fm_same(x, '?'));
    return (uint32_t)fm_mask16(vbicq_u8(visible, fm_same(x, '#')));
}

FM_INLINE uint32_t fm_plain16(const uint8_t *p)
{
    uint8x16_t x = vld1q_u8(p);
    uint8x16_t alpha = fm_below(vsubq_u8(vorrq_u8(x, vdupq_n_u8(0x20)), vdupq_n_u8('a')), 25);
    uint8x16_t decimal = fm_below(vsubq_u8(x, vdupq_n_u8('0')), 9);
    uint8x16_t mark = fm_below(vsubq_u8(x, vdupq_n_u8('-')), 1);
    return (uint32_t)fm_mask16(vorrq_u8(vorrq_u8(alpha, decimal), mark));
}

FM_INLINE uint32_t fm_lower16(const uint8_t *p)
{
    uint8x16_t x = vld1q_u8(p);
    uint8x16_t alpha = fm_below(vsubq_u8(x, vdupq_n_u8('a')), 25);
    uint8x16_t decimal = fm_below(vsubq_u8(x, vdupq_n_u8('0')), 9);
    uint8x16_t mark = fm_below(vsubq_u8(x, vdupq_n_u8('-')), 1);
    return (uint32_t)fm_mask16(vorrq_u8(vorrq_u8(alpha, decimal), mark));
}

FM_INLINE void fm_fold16(uint8_t *to, const uint8_t *from)
{
    uint8x16_t x = vld1q_u8(from);
    uint8x16_t upper = fm_below(vsubq_u8(x, vdupq_n_u8('A')), 25);
    vst1q_u8(to, vorrq_u8(x, vandq_u8(upper, vdupq_n_u8(0x20))));
}

#endif

#if defined(FM_SIMD_SSE2) || defined(FM_SIMD_NEON)
#define FM_SIMD 1
#else
#define FM_SIMD 0
#endif

/* Marks of 64 bytes. */
FM_INLINE fm_marks fm_marks64(const uint8_t *p)
{
#if FM_SIMD
    fm_marks a = fm_marks16(p), b = fm_marks16(p + 16), c = fm_marks16(p + 32), d = fm_marks16(p + 48);
    fm_marks m = {a.ctl | b.ctl << 16 | c.ctl << 32 | d.ctl << 48,
                  a.colon | b.colon << 16 | c.colon << 32 | d.colon << 48};
    return m;
#else
    return fm_marks_scalar(p, 64);
#endif
}

/* Marks of fewer than 64 bytes. */
FM_INLINE fm_marks fm_marks_few(const uint8_t *p, size_t n)
{
#if FM_SIMD
    fm_marks m = {0, 0}, last;
    size_t at = 0;
    if (n < 16)
        return fm_marks_scalar(p, n);
    for (; at + 16 <= n; at += 16) {
        last = fm_marks16(p + at);
        m.ctl |= last.ctl << at;
        m.colon |= last.colon << at;
    }
    last = fm_marks16(p + n - 16);  /* overlaps what was seen: the same bits again */
    m.ctl |= last.ctl << (n - 16);
    m.colon |= last.colon << (n - 16);
    return m;
#else
    return fm_marks_scalar(p, n);
#endif
}

/* How many of the n bytes at p may stand in a request target before the first that may not; n when all may.
 * *query: index of the first '?' among them, or that count when there is none. */
FM_INLINE size_t fm_target_span(const uint8_t *p, size_t n, size_t *query)
{
    size_t at = 0, mark = SIZE_MAX;
#if FM_SIMD
    for (; at + 16 <= n; at += 16) {
        uint32_t marks, bad = fm_target16(p + at, &marks) ^ 0xffffu;
        if (marks && mark == SIZE_MAX)
            mark = at + (size_t)__builtin_ctz(marks);
        if (bad) {
            at += (size_t)__builtin_ctz(bad);
            *query = mark < at ? mark : at;
            return at;
        }
    }
#endif
    for (; at < n && (fm_class[p[at]] & FM_CLASS_TARGET); at++)
        if (p[at] == '?' && mark == SIZE_MAX)
            mark = at;
    *query = mark < at ? mark : at;
    return at;
}

/* Whether all n bytes at p are token bytes. room: bytes that may be read at p, >= n. */
FM_INLINE int fm_is_token(const uint8_t *p, size_t n, size_t room)
{
    size_t at = 0;
#if FM_SIMD
    for (; at < n && at + 16 <= room; at += 16) {
        size_t left = n - at;
        uint32_t odd = fm_plain16(p + at) ^ 0xffffu;
        if (left < 16)
            odd &= (1u << left) - 1u;
        for (; odd; odd &= odd - 1)
            if (!(fm_class[p[at + (size_t)__builtin_ctz(odd)]] & FM_CLASS_TOKEN))
                return 0;
    }
#else
    (void)room;
#endif
    for (; at < n; at++)
        if (!(fm_class[p[at]] & FM_CLASS_TOKEN))
            return 0;
    return 1;
}

/* The same for names as HTTP/2 writes them: no upper-case letters (RFC 9113 8.2). */
FM_INLINE int fm_is_lower_token(const uint8_t *p, size_t n, size_t room)
{
    size_t at = 0;
#if FM_SIMD
    for (; at < n && at + 16 <= room; at += 16) {
        size_t left = n - at;
        uint32_t odd = fm_lower16(p + at) ^ 0xffffu;
        if (left < 16)
            odd &= (1u << left) - 1u;
        for (; odd; odd &= odd - 1) {
            uint8_t b = p[at + (size_t)__builtin_ctz(odd)];
            if (!(fm_class[b] & FM_CLASS_TOKEN) || (uint8_t)(b - 'A') < 26)
                return 0;
        }
    }
#else
    (void)room;
#endif
    for (; at < n; at++)
        if (!(fm_class[p[at]] & FM_CLASS_TOKEN) || (uint8_t)(p[at] - 'A') < 26)
            return 0;
    return 1;
}

/* Whether one of the n bytes at p is a control byte other than HTAB, or DEL. room: bytes that may be read at p, >= n. */
FM_INLINE int fm_has_ctl(const uint8_t *p, size_t n, size_t room)
{
    size_t at = 0;
#if FM_SIMD
    for (; at < n && at + 16 <= room; at += 16) {
        size_t left = n - at;
        uint32_t ctl = (uint32_t)fm_marks16(p + at).ctl;
        if (left < 16)
            ctl &= (1u << left) - 1u;
        if (ctl)
            return 1;
    }
#else
    (void)room;
#endif
    for (; at < n; at++)
        if (fm_is_ctl(p[at]))
            return 1;
    return 0;
}

/* Copies n bytes and makes their upper-case letters lower. room: bytes that may be read at from, >= n; up to 15 bytes
 * beyond the n may be written at to. */
FM_INLINE void fm_fold(uint8_t *to, const uint8_t *from, size_t n, size_t room)
{
    size_t at = 0;
#if FM_SIMD
    for (; at < n && at + 16 <= room; at += 16)
        fm_fold16(to + at, from + at);
#else
    (void)room;
#endif
    for (; at < n; at++)
        to[at] = (uint8_t)((uint8_t)(from[at] - 'A') < 26 ? from[at] | 0x20 : from[at]);
}

/* memcpy for lengths that are mostly below 64 and never known: no call for those. */
FM_INLINE void fm_copy(uint8_t *to, const uint8_t *from, size_t n)
{
    if (n > 64) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        for (size_t at = 0; at + 16 < n; at += 16)
            memcpy(to + at, from + at, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else if (n) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

/* How many of the n bytes at p may stand in a host before the first that may not, or is '%' ('[' and ':' may not).
 * room: bytes that may be read at p, >= n. */
FM_INLINE size_t fm_host_span(const uint8_t *p, size_t n, size_t room)
{
    size_t at = 0;
#if FM_SIMD
    for (; at < n && at + 16 <= room; at += 16) {
        uint32_t odd = fm_plain16(p + at) ^ 0xffffu;
        for (; odd; odd &= odd - 1) {
            size_t i = at + (size_t)__builtin_ctz(odd);
            if (i >= n || !(fm_class[p[i]] & FM_CLASS_HOST))
                return i < n ? i : n;
        }
    }
    if (at > n)
        at = n;
#else
    (void)room;
#endif
    while (at < n && (fm_class[p[at]] & FM_CLASS_HOST))
        at++;
    return at;
}

/* Known field's number, 0 when the name is none. The name must hold no control byte: folding by 0x20 would let one
 * pass. */
FM_INLINE uint8_t fm_field_id(const uint8_t *p, size_t n)
{
    const uint64_t fold8 = 0x2020202020202020u;
    const uint32_t fold4 = 0x20202020u;
    if (n < 2 || n > 24)
        return 0;
    uint32_t first = p[0] | 0x20u, last = p[n - 1] | 0x20u;
    const fm_field_slot *slot = &fm_fields[FM_FIELD_SLOT((uint32_t)n, first, last)];
    const uint8_t *name = (const uint8_t *)slot->name;
    if (slot->len != n)
        return 0;
    if (n >= 8) {
        uint64_t off = ((fm_load_u64(p) | fold8) ^ fm_load_u64(name))
                     | ((fm_load_u64(p + n - 8) | fold8) ^ fm_load_u64(name + n - 8));
        if (n > 16)
            off |= (fm_load_u64(p + 8) | fold8) ^ fm_load_u64(name + 8);
        return off ? 0 : slot->id;
    }
    if (n >= 4) {
        uint32_t off = ((fm_load_u32(p) | fold4) ^ fm_load_u32(name))
                     | ((fm_load_u32(p + n - 4) | fold4) ^ fm_load_u32(name + n - 4));
        return off ? 0 : slot->id;
    }
    /* 2 or 3 bytes: first and last are folded above, the middle one (or one of the two again) is left. */
    return first == name[0] && last == name[n - 1] && (p[1] | 0x20u) == name[1] ? slot->id : 0;
}

#endif
