"""The laws of HTTP/2's formats on any input, for libFuzzer (tools/fuzz.py) and for the inputs it once found.

As in wire_fuzz: every input lies in a heap block of its exact length, and a target answers 0 or the number of the
broken law.
"""
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.status cimport BAD, CLOSED, LIMIT, OK
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.wire.hpack cimport (
    HPACK_ENTRIES, HPACK_INDEX, HPACK_NEVER, HPACK_PLAIN, HPACK_TABLE_BYTES, HPACK_TEXT_BYTES, HpackDecoder,
    HpackEncoder, HpackEntry, HpackField, HpackOut, HpackReader, HpackTable, hpack_begin, hpack_bound,
    hpack_decoder_init, hpack_encoder_init, hpack_encoder_limit, hpack_read, hpack_write,
)

cdef enum:
    LOG_BYTES = 1 << 18     # of fields of one block; an input that has more is left there
    ROOM_LEAST = HPACK_TABLE_BYTES
    ROOM = 1 << 16

# A decoder with little room, one with more; the encoder that writes what they read; what reads that; a copy to try on.
cdef HpackDecoder* narrow = <HpackDecoder*>malloc(sizeof(HpackDecoder))
cdef HpackDecoder* wide = <HpackDecoder*>malloc(sizeof(HpackDecoder))
cdef HpackDecoder* back = <HpackDecoder*>malloc(sizeof(HpackDecoder))
cdef HpackEncoder* encoder = <HpackEncoder*>malloc(sizeof(HpackEncoder))
cdef HpackEncoder* spare = <HpackEncoder*>malloc(sizeof(HpackEncoder))
cdef u8* narrow_space = <u8*>malloc(ROOM_LEAST)
cdef u8* wide_space = <u8*>malloc(ROOM)
cdef u8* fields = <u8*>malloc(LOG_BYTES)        # what a block said, one field after the other
cdef u8* written = <u8*>malloc(2 * LOG_BYTES)   # the block of the encoder; a field takes at most twice its log


cdef u8* heap(const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        abort()
    memcpy(copy, data, n)
    return copy


cdef void reader(HpackReader* r, const u8* data, size_t n, u8* space, size_t room) noexcept nogil:
    memset(r, 0, sizeof(r[0]))
    r.data = data
    r.n = n
    r.space = space
    r.room = room


cdef bint same_field(const HpackField* a, const HpackField* b) noexcept nogil:
    if a.name_len != b.name_len or a.value_len != b.value_len or a.index != b.index or a.never != b.never:
        return False
    return memcmp(a.name, b.name, a.name_len) == 0 and memcmp(a.value, b.value, a.value_len) == 0


cdef const HpackEntry* nth(const HpackTable* t, u32 i) noexcept nogil:
    return &t.entries[(t.first + i) % HPACK_ENTRIES]


cdef int table_check(const HpackTable* t, u32 limit) noexcept nogil:
    """Sums are right, and the entries' texts follow each other."""
    cdef const HpackEntry* entry
    cdef u32 size = 0, i
    if t.size_max > limit or t.count > HPACK_ENTRIES or t.text_end > HPACK_TEXT_BYTES:
        return 20
    for i in range(t.count):
        entry = nth(t, i)
        size += <u32>entry.name_len + entry.value_len + 32
        if <u32>entry.off + entry.name_len + entry.value_len != (nth(t, i + 1).off if i + 1 < t.count else t.text_end):
            return 21
    return 22 if size != t.size or size > t.size_max else 0


cdef bint same_tables(const HpackTable* a, const HpackTable* b) noexcept nogil:
    cdef const HpackEntry* x
    cdef const HpackEntry* y
    cdef u32 i
    if a.count != b.count or a.size != b.size or a.size_max != b.size_max:
        return False
    for i in range(a.count):
        x = nth(a, i)
        y = nth(b, i)
        if x.name_len != y.name_len or x.value_len != y.value_len or x.index != y.index:
            return False
        if memcmp(a.text + x.off, b.text + y.off, <size_t>x.name_len + x.value_len) != 0:
            return False
    return True


cdef u8 policy_of(u8 control, const HpackField* f) noexcept nogil:
    if f.never:
        return HPACK_NEVER
    if control & 16:
        return HPACK_PLAIN if control & 32 or f.value_len & 1 else HPACK_INDEX
    return HPACK_INDEX


cdef int write_check(HpackOut* out, const HpackField* f, u8 policy) noexcept nogil:
    """A field takes at most its bound, fits into exactly what it takes, and changes the table either way."""
    cdef u8* before = out.p
    cdef HpackOut tight
    memcpy(spare, encoder, sizeof(spare[0]))
    hpack_write(encoder, out, f.name, f.name_len, f.value, f.value_len, policy)
    if out.full or out.p == before or <size_t>(out.p - before) > hpack_bound(f.name_len, f.value_len):
        return 30
    tight.p = heap(before, <size_t>(out.p - before) - 1)
    tight.end = tight.p + (out.p - before) - 1
    tight.full = 0
    before = tight.p
    hpack_write(spare, &tight, f.name, f.name_len, f.value, f.value_len, policy)
    free(before)
    if not tight.full or tight.p != before:
        return 31
    return 0 if same_tables(&spare.table, &encoder.table) else 32


cdef int log_check(HpackOut* out, size_t logged) noexcept nogil:
    """What was written reads as what was logged."""
    cdef HpackReader r
    cdef HpackField f
    cdef HpackField wanted
    cdef size_t at = 0
    reader(&r, written, <size_t>(out.p - written), wide_space, ROOM)
    while at < logged:
        memcpy(&wanted, fields + at, sizeof(wanted))
        at += sizeof(wanted)
        wanted.name = fields + at
        wanted.value = wanted.name + wanted.name_len
        at += <size_t>wanted.name_len + wanted.value_len
        if hpack_read(back, &r, &f) != OK:
            return 40
        if not same_field(&f, &wanted):
            return 41
    if hpack_read(back, &r, &f) != CLOSED:
        return 42
    return 0 if same_tables(&back.table, &encoder.table) else 43


cdef int step_check(int rc, const HpackField* f, int rc_wide, const HpackField* g) noexcept nogil:
    """What little room and more room answered."""
    if rc == LIMIT:
        if rc_wide != OK or f.name_len or f.value_len or <size_t>g.name_len + g.value_len <= ROOM_LEAST:
            return 10
    elif rc != rc_wide or (rc == OK and not same_field(f, g)):
        return 11
    return 0 if same_tables(&narrow.table, &wide.table) else 12


cdef bint log_add(size_t* logged, const HpackField* f) noexcept nogil:
    if sizeof(f[0]) + f.name_len + f.value_len > LOG_BYTES - logged[0]:
        return False
    memcpy(fields + logged[0], f, sizeof(f[0]))
    logged[0] += sizeof(f[0])
    memcpy(fields + logged[0], f.name, f.name_len)
    logged[0] += f.name_len
    memcpy(fields + logged[0], f.value, f.value_len)
    logged[0] += f.value_len
    return True


# *ended: the block was refused, or is more than we follow.
cdef int block_check(const u8* data, size_t n, u8 control, bint* ended) noexcept nogil:
    cdef HpackReader r
    cdef HpackReader w
    cdef HpackField f
    cdef HpackField g
    cdef HpackOut out
    cdef size_t logged = 0
    cdef int rc = OK, rc_wide, broken
    reader(&r, data, n, narrow_space, ROOM_LEAST)
    reader(&w, data, n, wide_space, ROOM)
    out.p = written
    out.end = written + 2 * LOG_BYTES
    out.full = 0
    hpack_begin(encoder, &out)
    while True:
        rc = hpack_read(narrow, &r, &f)
        rc_wide = hpack_read(wide, &w, &g)
        if rc_wide == BAD and (rc == LIMIT or rc == BAD):
            ended[0] = True
            return 0
        broken = step_check(rc, &f, rc_wide, &g)
        if broken:
            return broken
        if rc == CLOSED:
            break
        if r.at != w.at:
            return 13
        if not log_add(&logged, &g):
            ended[0] = True
            return 0
        broken = write_check(&out, &g, policy_of(control, &g))
        if broken:
            return broken
    broken = table_check(&narrow.table, narrow.limit)
    return broken if broken else log_check(&out, logged)


cdef u32 limit_of(u8 choice) noexcept nogil:
    if choice == 1:
        return 0
    return 150 if choice == 2 else 1 << 14


cdef int fuzz_wire_hpack(const u8* data, size_t n) noexcept nogil:
    """First byte: the decoders' limit. Then blocks: a byte for size, encoder's limit and policies, a byte of size."""
    cdef size_t at = 1, size
    cdef bint ended = False
    cdef int broken
    cdef u8 control
    cdef u8* copy
    if n == 0:
        return 0
    hpack_decoder_init(narrow, limit_of(data[0] & 3))
    hpack_decoder_init(wide, limit_of(data[0] & 3))
    hpack_decoder_init(back, HPACK_TABLE_BYTES)
    hpack_encoder_init(encoder)
    while not ended and n - at >= 2:
        control = data[at]
        size = (<size_t>(control & 3) << 8) | data[at + 1]
        at += 2
        size = size if size < n - at else n - at
        if control & 12:
            hpack_encoder_limit(encoder, limit_of((control >> 2) & 3))
        if control & 64:
            hpack_encoder_limit(encoder, 1 << 12)
        copy = heap(data + at, size)
        broken = block_check(copy, size, control, &ended)
        free(copy)
        if broken:
            return broken
        at += size
    return 0


TARGETS = ("wire_hpack",)


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    if target == "wire_hpack":
        return fuzz_wire_hpack(<const u8*>data, <size_t>len(data))
    raise ValueError(target)
