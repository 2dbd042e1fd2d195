/* ffi/simd.h against the plainest possible definitions, on random bytes of every length in blocks of exactly that
 * length. Built three ways by test_wire_simd.py: as the machine has it, FM_SIMD_SCALAR, and for aarch64. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include "simd.h"

static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static int plain_token(int b) { return b < 128 && b > 0 && (isalnum(b) || strchr("!#$%&'*+-.^_`|~", b)); }
static int plain_host(int b) { return b < 128 && b > 0 && (isalnum(b) || strchr("-._~!$&'()*+,;=", b)); }
static int plain_target(int b) { return b > 0x20 && b < 0x7f && b != '#'; }
static int plain_ctl(int b) { return b == 0x7f || (b < 0x20 && b != '\t'); }
static int plain_lower(int b) { return plain_token(b) && !isupper(b); }
static int plain_text(int b) { return !plain_ctl(b); }

static size_t span(const uint8_t *p, size_t n, int (*is)(int))
{
    size_t i = 0;
    while (i < n && is(p[i]))
        i++;
    return i;
}

static void fail(const char *what, const uint8_t *p, size_t n)
{
    printf("%s:", what);
    for (size_t i = 0; i < n; i++)
        printf(" %02x", p[i]);
    printf("\n");
    exit(1);
}

/* Mostly bytes of one kind, so that spans are long; some of any kind. */
static void fill(uint8_t *p, size_t n)
{
    static const char *const kinds[] = {"abcXYZ019-.", "abc:-_%?/", "a", "\r\n:\t a", "!#$&'()*+,;=^`|~", "abcxyz019-."};
    uint32_t kind = draw(7), odd = draw(40) + 1;
    for (size_t i = 0; i < n; i++)
        if (kind == 6 || draw(odd) == 0)
            p[i] = (uint8_t)draw(256);
        else
            p[i] = (uint8_t)kinds[kind][draw((uint32_t)strlen(kinds[kind]))];
}

static void check_marks(const uint8_t *p, size_t n)
{
    fm_marks found = n == 64 ? fm_marks64(p) : fm_marks_few(p, n);
    for (size_t i = 0; i < 64; i++) {
        if ((int)(found.ctl >> i & 1) != (i < n && plain_ctl(p[i])))
            fail("ctl", p, n);
        if ((int)(found.colon >> i & 1) != (i < n && p[i] == ':'))
            fail("colon", p, n);
    }
}

static void check_spans(const uint8_t *p, size_t room)
{
    size_t query = 0, target = span(p, room, plain_target), n = draw((uint32_t)room + 1);
    const uint8_t *mark = memchr(p, '?', target);
    if (fm_target_span(p, room, &query) != target || query != (mark ? (size_t)(mark - p) : target))
        fail("target", p, room);
    if (fm_is_token(p, n, room) != (span(p, n, plain_token) == n))
        fail("token", p, n);
    if (fm_is_lower_token(p, n, room) != (span(p, n, plain_lower) == n))
        fail("lower token", p, n);
    if (fm_has_ctl(p, n, room) != (span(p, n, plain_text) < n))
        fail("has ctl", p, n);
    if (fm_host_span(p, n, room) != span(p, n, plain_host))
        fail("host", p, n);
}

static void check_copies(const uint8_t *p, size_t room)
{
    size_t n = draw((uint32_t)room + 1), i;
    uint8_t *to = malloc(n + 15), *exact = malloc(n ? n : 1);
    if (!to || !exact)
        exit(2);
    fm_fold(to, p, n, room);
    fm_copy(exact, p, n);
    for (i = 0; i < n; i++)
        if (to[i] != (p[i] < 128 ? tolower(p[i]) : p[i]) || exact[i] != p[i])
            fail("copy", p, n);
    free(to);
    free(exact);
}

static void check_names(void)
{
    for (size_t slot = 0; slot < 64; slot++) {
        uint8_t name[30];
        memcpy(name, fm_fields[slot].name, sizeof name);
        if (fm_field_id(name, fm_fields[slot].len) != fm_fields[slot].id)
            fail("name", name, fm_fields[slot].len);
        for (size_t i = 0; i < fm_fields[slot].len; i++)
            name[i] = (uint8_t)toupper(name[i]);
        if (fm_field_id(name, fm_fields[slot].len) != fm_fields[slot].id)
            fail("upper", name, fm_fields[slot].len);
    }
}

int main(void)
{
    check_names();
    for (int round = 0; round < 200000; round++) {
        size_t n = draw(90);
        uint8_t *p = malloc(n ? n : 1);
        if (!p)
            return 2;
        fill(p, n);
        if (n <= 64)
            check_marks(p, n);
        check_spans(p, n);
        check_copies(p, n);
        free(p);
    }
    printf("%s\n", FM_SIMD ? "vectors" : "plain");
    return 0;
}
