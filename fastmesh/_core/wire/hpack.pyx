from libc.string cimport memcpy, memmove, memset

from fastmesh._core.base.key cimport key_tail
from fastmesh._core.base.status cimport BAD, CLOSED, LIMIT, OK
from fastmesh._core.ffi.hpack_tables cimport (
    FM_HPACK_SLOT, FM_HUFFMAN_BITS, FM_HUFFMAN_EOS, fm_hpack_entry, fm_hpack_slots, fm_hpack_static, fm_hpack_text,
    fm_huffman_fast, fm_huffman_long, fm_huffman_order, fm_huffman_row,
)
from fastmesh._core.ffi.simd cimport fm_load_be64, fm_load_u64

cdef enum:
    STATIC_LAST = 61
    NAME_MAX = 27               # of the static table
    ENTRY_OVERHEAD = 32         # RFC 7541 4.1
    INT_OCTETS = 5              # of an integer behind its prefix: enough for 32 bits
    STATIC_AUTHORIZATION = 23
    STATIC_COOKIE = 32
    STATIC_PROXY_AUTHORIZATION = 49
    COOKIE_SHORT = 20
    # First octets of the representations, and the masks of the integers in them (RFC 7541 6).
    AS_INDEX = 0x80
    AS_INSERT = 0x40
    AS_UPDATE = 0x20
    AS_NEVER = 0x10
    AS_PLAIN = 0
    INDEX_MASK = 0x7F
    INSERT_MASK = 0x3F
    UPDATE_MASK = 0x1F
    LITERAL_MASK = 0x0F
    STRING_HUFFMAN = 0x80
    STRING_MASK = 0x7F


cdef inline bint same(const u8* a, const u8* b, size_t n) noexcept nogil:
    cdef size_t at = 0
    if n < 8:
        return key_tail(a, n) == key_tail(b, n)
    while at + 8 < n:
        if fm_load_u64(a + at) != fm_load_u64(b + at):
            return False
        at += 8
    return fm_load_u64(a + n - 8) == fm_load_u64(b + n - 8)


# The first static entry with this name, 0: none.
cdef inline u8 static_name(const u8* name, u32 n) noexcept nogil:
    cdef const fm_hpack_entry* entry
    cdef u8 index
    if n == 0 or n > NAME_MAX:
        return 0
    index = fm_hpack_slots[FM_HPACK_SLOT(n, name[0], name[n - 1])]
    entry = &fm_hpack_static[index]
    if entry.name_len == n and same(<const u8*>fm_hpack_text + entry.off, name, n):
        return index
    return 0


# --- Huffman strings (RFC 7541 5.2)

# The symbol `bits` begin with when its code is a long one: symbol | length << 16.
cdef u32 huffman_long(u64 bits) noexcept nogil:
    cdef u32 window = <u32>(bits >> 32)
    cdef const fm_huffman_row* row = &fm_huffman_long[0]
    while row.last < window:        # ends: the last row's last is 32 ones
        row += 1
    return fm_huffman_order[row.order + ((window - row.first) >> (32 - row.bits))] | (<u32>row.bits << 16)


# The last bits, fewer than a look takes: whole symbols, then up to 7 ones.
cdef i64 huffman_tail(u64 bits, u32 have, u8* out, size_t at, size_t room) noexcept nogil:
    cdef u32 entry, used
    while True:
        bits |= <u64>0xFFFFFFFFFFFFFFFF >> have
        entry = fm_huffman_fast[bits >> (64 - FM_HUFFMAN_BITS)]
        used = (entry >> 20) & 15
        if entry == 0 or used > have:
            break
        if at == room:
            return LIMIT
        out[at] = <u8>entry
        at += 1
        bits <<= used
        have -= used
    return <i64>at if have < 8 and bits == <u64>0xFFFFFFFFFFFFFFFF else BAD


# Undoes n bytes into out: how many bytes they were; BAD; LIMIT: more than room. `bits` holds the next bits at its high end,
# `have` of them for sure; what lies below those is zero or the same bits that the next refill brings.
cdef i64 huffman_read(const u8* p, size_t n, u8* out, size_t room) noexcept nogil:
    cdef const u8* end = p + n
    cdef size_t at = 0
    cdef u64 bits = 0
    cdef u32 have = 0, entry
    while True:
        if end - p >= 8:
            bits |= fm_load_be64(p) >> have
            p += (63 - have) >> 3
            have |= 56
        else:
            while have < 56 and p < end:
                bits |= <u64>p[0] << (56 - have)
                p += 1
                have += 8
        if have < FM_HUFFMAN_BITS:
            return huffman_tail(bits, have, out, at, room)
        while have >= FM_HUFFMAN_BITS:
            entry = fm_huffman_fast[bits >> (64 - FM_HUFFMAN_BITS)]
            if entry == 0 or at + 2 > room:
                break
            out[at] = <u8>entry
            out[at + 1] = <u8>(entry >> 8)
            at += entry >> 24
            bits <<= (entry >> 16) & 15
            have -= (entry >> 16) & 15
        if have < FM_HUFFMAN_BITS or (entry == 0 and have < 30 and p < end):
            continue
        # One symbol with a long code, or one of the last for which there is room.
        entry = huffman_long(bits) if entry == 0 else <u32>((entry & 0xFF) | ((entry & 0xF00000) >> 4))
        if entry >> 16 > have or (entry & 0xFFFF) == FM_HUFFMAN_EOS:
            return BAD      # padding longer than 7 bits, or EOS
        if at == room:
            return LIMIT
        out[at] = <u8>entry
        at += 1
        bits <<= entry >> 16
        have -= entry >> 16


# --- The dynamic table (RFC 7541 2.3.2, 4)

cdef void table_init(HpackTable* t, u32 size_max) noexcept nogil:
    t.size = 0
    t.size_max = size_max
    t.first = 0
    t.count = 0
    t.text_end = 0


# Drops the oldest entries until they are no more than so many bytes.
cdef inline void table_evict(HpackTable* t, u32 size) noexcept nogil:
    cdef HpackEntry* oldest
    while t.size > size:
        oldest = &t.entries[t.first]
        t.size -= <u32>oldest.name_len + oldest.value_len + ENTRY_OVERHEAD
        t.first = (t.first + 1) % HPACK_ENTRIES
        t.count -= 1


cdef inline void table_resize(HpackTable* t, u32 size_max) noexcept nogil:
    t.size_max = size_max
    table_evict(t, size_max)


# Moves the text to the front. Where `name` is afterwards: it may be that of an entry.
cdef const u8* table_compact(HpackTable* t, const u8* name) noexcept nogil:
    cdef u32 shift, i
    if t.count == 0:
        t.text_end = 0
        return name
    shift = t.entries[t.first].off
    t.text_end -= shift
    memmove(t.text, t.text + shift, t.text_end)
    for i in range(t.count):
        t.entries[(t.first + i) % HPACK_ENTRIES].off -= <u16>shift
    return name - shift if t.text <= name < t.text + HPACK_TEXT_BYTES else name


# Puts a field in; the entry, or NULL when it is larger than the table, which it has emptied (RFC 7541 4.4). Text is
# written before anything is evicted, because the name may be that of the entry that has to go; there is always room,
# since the text of the entries is below HPACK_TABLE_BYTES before and the new one's alone is too. An eviction leaves the
# text as it is.
cdef HpackEntry* table_insert(HpackTable* t, const u8* name, u32 name_len, const u8* value, u32 value_len,
                              u8 index) noexcept nogil:
    cdef HpackEntry* entry
    cdef u8* text
    cdef u32 n
    if <u64>name_len + value_len + ENTRY_OVERHEAD > t.size_max:
        table_evict(t, 0)
        return NULL
    n = name_len + value_len
    if t.text_end + n > HPACK_TEXT_BYTES:
        name = table_compact(t, name)
    text = t.text + t.text_end
    memcpy(text, name, name_len)
    memcpy(text + name_len, value, value_len)
    table_evict(t, t.size_max - n - ENTRY_OVERHEAD)
    entry = &t.entries[(t.first + t.count) % HPACK_ENTRIES]
    entry.off = <u16>t.text_end
    entry.name_len = <u16>name_len
    entry.value_len = <u16>value_len
    entry.index = index
    entry.hash = 0
    t.count += 1
    t.size += n + ENTRY_OVERHEAD
    t.text_end += n
    return entry


# Points a field at an entry's text.
cdef inline void field_set(HpackField* f, const HpackTable* t, const HpackEntry* entry) noexcept nogil:
    f.name = t.text + entry.off
    f.name_len = entry.name_len
    f.value = f.name + entry.name_len
    f.value_len = entry.value_len
    f.index = entry.index


# The field with an index, static or dynamic; False: there is none.
cdef inline bint field_at(const HpackTable* t, u32 index, HpackField* f) noexcept nogil:
    cdef const fm_hpack_entry* fixed
    if index > STATIC_LAST:
        index -= STATIC_LAST + 1
        if index >= t.count:
            return False
        field_set(f, t, &t.entries[(t.first + t.count - 1 - index) % HPACK_ENTRIES])
        return True
    fixed = &fm_hpack_static[index]
    f.name = <const u8*>fm_hpack_text + fixed.off
    f.name_len = fixed.name_len
    f.value = f.name + fixed.name_len
    f.value_len = fixed.value_len
    f.index = fixed.first
    return index != 0


# --- Reading

cdef void hpack_decoder_init(HpackDecoder* d, u32 limit) noexcept nogil:
    d.limit = limit if limit < HPACK_TABLE_BYTES else HPACK_TABLE_BYTES
    table_init(&d.table, d.limit)


# An integer's octets behind its prefix (RFC 7541 5.1); False when it is cut, longer than INT_OCTETS or above 32 bits.
cdef bint int_more(HpackReader* r, u32 mask, u32* value) noexcept nogil:
    cdef u64 sum = mask         # < 2^36 in the end
    cdef u32 shift = 0
    cdef u8 octet
    while r.at < r.n and shift < 7 * INT_OCTETS:
        octet = r.data[r.at]
        r.at += 1
        sum += <u64>(octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            value[0] = <u32>sum
            return sum >> 32 == 0
    return False


# There must be an octet.
cdef inline bint int_read(HpackReader* r, u32 mask, u32* value) noexcept nogil:
    value[0] = r.data[r.at] & mask
    r.at += 1
    return value[0] < mask or int_more(r, mask, value)


# A string; Huffman text is undone behind the `used` bytes of the space that are taken.
cdef int string_read(HpackReader* r, size_t* used, const u8** text, u32* n) noexcept nogil:
    cdef bint coded
    cdef i64 rc
    text[0] = NULL
    if r.at >= r.n:
        return BAD
    coded = r.data[r.at] & STRING_HUFFMAN
    if not int_read(r, STRING_MASK, n) or n[0] > r.n - r.at:
        return BAD
    text[0] = r.data + r.at
    r.at += n[0]
    if not coded:
        return OK
    rc = huffman_read(text[0], n[0], r.space + used[0], r.room - used[0])
    text[0] = r.space + used[0]
    n[0] = <u32>rc if rc >= 0 else 0
    used[0] += n[0]
    return OK if rc >= 0 else <int>rc


cdef void field_clear(HpackField* f) noexcept nogil:
    f.name = NULL
    f.value = NULL
    f.name_len = 0
    f.value_len = 0
    f.index = 0


# A literal (RFC 7541 6.2); its name may be an entry's.
cdef int literal_read(HpackDecoder* d, HpackReader* r, HpackField* f, u32 mask, bint insert) noexcept nogil:
    cdef HpackEntry* entry
    cdef size_t used = 0
    cdef u32 index
    cdef int name = OK, value
    if not int_read(r, mask, &index):
        return BAD
    if index == 0:
        name = string_read(r, &used, &f.name, &f.name_len)
        f.index = static_name(f.name, f.name_len) if name == OK else <u8>0
    elif not field_at(&d.table, index, f):
        return BAD
    value = BAD if name == BAD else string_read(r, &used, &f.value, &f.value_len)
    if value == BAD:
        return BAD
    if name == LIMIT or value == LIMIT:
        if insert:
            table_evict(&d.table, 0)
        field_clear(f)
        return LIMIT
    if insert:
        entry = table_insert(&d.table, f.name, f.name_len, f.value, f.value_len, f.index)
        if entry != NULL:
            field_set(f, &d.table, entry)
    return OK


cdef int hpack_read(HpackDecoder* d, HpackReader* r, HpackField* f) noexcept nogil:
    cdef u32 value
    cdef u8 octet
    while r.at < r.n:
        octet = r.data[r.at]
        if (octet & 0xE0) == AS_UPDATE:
            if r.begun or not int_read(r, UPDATE_MASK, &value) or value > d.limit or value > HPACK_TABLE_BYTES:
                return BAD
            table_resize(&d.table, value)
            continue
        if not r.begun:
            if d.table.size_max > d.limit:
                return BAD      # the update that our smaller limit asks for is not there (RFC 7541 4.2)
            r.begun = 1
        f.never = 0
        if octet & AS_INDEX:
            return OK if int_read(r, INDEX_MASK, &value) and field_at(&d.table, value, f) else BAD
        if octet & AS_INSERT:
            return literal_read(d, r, f, INSERT_MASK, True)
        f.never = octet >> 4
        return literal_read(d, r, f, LITERAL_MASK, False)
    return CLOSED if r.begun or d.table.size_max <= d.limit else BAD


# --- Writing

cdef inline size_t int_bytes(u32 value, u32 mask) noexcept nogil:
    cdef size_t n = 1
    if value >= mask:
        value -= mask
        n = 2
        while value >= 0x80:
            value >>= 7
            n += 1
    return n


cdef inline u8* int_write(u8* p, u32 flags, u32 mask, u32 value) noexcept nogil:
    if value < mask:
        p[0] = <u8>(flags | value)
        return p + 1
    p[0] = <u8>(flags | mask)
    p += 1
    value -= mask
    while value >= 0x80:
        p[0] = <u8>(0x80 | (value & 0x7F))
        p += 1
        value >>= 7
    p[0] = <u8>value
    return p + 1


# Whether n more bytes fit; `full` is set when they do not.
cdef inline bint out_has(HpackOut* out, size_t n) noexcept nogil:
    if out.full or n > <size_t>(out.end - out.p):
        out.full = 1
        return False
    return True


cdef inline void int_put(HpackOut* out, u32 flags, u32 mask, u32 value) noexcept nogil:
    if out_has(out, int_bytes(value, mask)):
        out.p = int_write(out.p, flags, mask, value)


cdef inline u8* string_write(u8* p, const u8* text, u32 n) noexcept nogil:
    p = int_write(p, 0, STRING_MASK, n)
    memcpy(p, text, n)
    return p + n


# A literal; `index`: of an entry with its name, 0: the name is written.
cdef void literal_put(HpackOut* out, u32 flags, u32 mask, u32 index, const u8* name, u32 name_len, const u8* value,
                      u32 value_len) noexcept nogil:
    cdef size_t n = int_bytes(index, mask) + int_bytes(value_len, STRING_MASK) + value_len
    if index == 0:
        n += int_bytes(name_len, STRING_MASK) + name_len
    if not out_has(out, n):
        return
    out.p = int_write(out.p, flags, mask, index)
    if index == 0:
        out.p = string_write(out.p, name, name_len)
    out.p = string_write(out.p, value, value_len)


cdef void hpack_encoder_init(HpackEncoder* e) noexcept nogil:
    e.pending_min = HPACK_NO_UPDATE
    e.pending_last = HPACK_TABLE_BYTES
    table_init(&e.table, HPACK_TABLE_BYTES)
    memset(e.slots, 0, sizeof(e.slots))
    memset(e.name_slots, 0, sizeof(e.name_slots))
    memset(e.seen, 0, sizeof(e.seen))
    e.seen_at = 0


cdef void hpack_encoder_limit(HpackEncoder* e, u32 size) noexcept nogil:
    e.pending_last = size if size < HPACK_TABLE_BYTES else HPACK_TABLE_BYTES
    if e.pending_last < e.pending_min:
        e.pending_min = e.pending_last


cdef void hpack_begin(HpackEncoder* e, HpackOut* out) noexcept nogil:
    cdef u32 least = e.pending_min
    if least == HPACK_NO_UPDATE:
        return
    e.pending_min = HPACK_NO_UPDATE
    if least < e.table.size_max and least < e.pending_last:
        int_put(out, AS_UPDATE, UPDATE_MASK, least)
        table_resize(&e.table, least)
    if e.pending_last != e.table.size_max:
        int_put(out, AS_UPDATE, UPDATE_MASK, e.pending_last)
        table_resize(&e.table, e.pending_last)


# A hash of a text's length and of 24 bytes at most: a table that holds two texts which differ elsewhere finds the newer
# one only, which costs bytes and nothing else.
cdef inline u32 text_hash(u64 seed, const u8* text, size_t n) noexcept nogil:
    cdef u64 mixed = (seed + n) * <u64>0x9E3779B97F4A7C15
    if n < 8:
        mixed ^= key_tail(text, n) * <u64>0xD6E8FEB86659FD93
    else:
        mixed ^= fm_load_u64(text) * <u64>0xD6E8FEB86659FD93
        mixed += fm_load_u64(text + n - 8) * <u64>0xA0761D6478BD642F
        mixed ^= fm_load_u64(text + ((n - 8) >> 1)) * <u64>0xE7037ED1A0B428DB
    mixed = (mixed ^ (mixed >> 32)) * <u64>0x8EBC6AF09C88C6E3
    return <u32>(mixed >> 32)


# The index of an entry by its place in the ring; 0: none is there.
cdef inline u32 place_index(const HpackTable* t, u32 place) noexcept nogil:
    cdef u32 age = (t.first + t.count - 1 - place) % HPACK_ENTRIES
    return <u32>(STATIC_LAST + 1 + age) if age < t.count else 0


# The static entry that is this field; `index` is the first of its name. 0: none.
cdef inline u32 static_find(u32 index, const u8* value, u32 n) noexcept nogil:
    cdef u32 last = fm_hpack_static[index].last
    cdef const fm_hpack_entry* entry
    while index <= last:
        entry = &fm_hpack_static[index]
        if entry.value_len == n and same(<const u8*>fm_hpack_text + entry.off + entry.name_len, value, n):
            return index
        index += 1
    return 0


# The dynamic entry that is this field; 0: none is known.
cdef inline u32 table_find(const HpackEncoder* e, u32 hashed, u8 index, const u8* name, u32 name_len, const u8* value,
                           u32 value_len) noexcept nogil:
    cdef u32 place = e.slots[hashed % HPACK_SLOTS]
    cdef const HpackEntry* entry = &e.table.entries[place]
    cdef const u8* text
    cdef u32 found = place_index(&e.table, place)
    if found == 0 or entry.hash != hashed or entry.index != index or entry.value_len != value_len:
        return 0
    text = e.table.text + entry.off
    if index == 0 and (entry.name_len != name_len or not same(text, name, name_len)):
        return 0
    return found if same(text + entry.name_len, value, value_len) else 0


# A dynamic entry of this name, which is not a static one's; 0: none is known.
cdef inline u32 table_find_name(const HpackEncoder* e, u32 hashed, const u8* name, u32 n) noexcept nogil:
    cdef u32 place = e.name_slots[hashed % HPACK_SLOTS]
    cdef const HpackEntry* entry = &e.table.entries[place]
    cdef u32 found = place_index(&e.table, place)
    if found == 0 or entry.index != 0 or entry.name_len != n or not same(e.table.text + entry.off, name, n):
        return 0
    return found


cdef void encoder_insert(HpackEncoder* e, u32 hashed, u32 name_hash, const u8* name, u32 name_len, const u8* value,
                         u32 value_len, u8 index) noexcept nogil:
    cdef HpackEntry* entry = table_insert(&e.table, name, name_len, value, value_len, index)
    cdef u8 place
    if entry == NULL:
        return
    place = <u8>(entry - e.table.entries)
    entry.hash = hashed
    e.slots[hashed % HPACK_SLOTS] = place
    if index == 0:
        e.name_slots[name_hash % HPACK_SLOTS] = place


# Whether a field goes into the table: when it is at most half as large as that, and was among the last HPACK_SEEN
# literals. No list of names would know what repeats: a gRPC client's :path and a second's `date` do, a trace's id does
# not. And what comes round only after many others is not put in either: it would drive out the rest and be gone before
# its turn. A connection of one request pays for no entry.
cdef bint worth_entry(HpackEncoder* e, u32 hashed, u32 name_len, u32 value_len) noexcept nogil:
    cdef u16 mark = <u16>(hashed >> 16), hits = 0
    cdef u32 i
    if <u64>name_len + value_len + ENTRY_OVERHEAD > e.table.size_max / 2:
        return False
    for i in range(<u32>HPACK_SEEN):     # without a way out, so that it compiles into vectors
        hits |= <u16>(e.seen[i] == mark)
    if hits == 0:
        e.seen[e.seen_at % HPACK_SEEN] = mark
        e.seen_at += 1
    return hits != 0


# Whether a field is worth guessing (RFC 7541 7.1.3): the clients of a proxy share its upstream connections' tables.
cdef inline bint is_secret(u8 index, u32 value_len) noexcept nogil:
    return (index == STATIC_AUTHORIZATION or index == STATIC_PROXY_AUTHORIZATION
            or (index == STATIC_COOKIE and value_len < COOKIE_SHORT))


cdef void hpack_write(HpackEncoder* e, HpackOut* out, const u8* name, u32 name_len, const u8* value, u32 value_len,
                      u8 policy) noexcept nogil:
    cdef u8 index = static_name(name, name_len)
    cdef u32 found, name_hash, hashed
    if index and policy != HPACK_NEVER:
        found = static_find(index, value, value_len)
        if found:
            int_put(out, AS_INDEX, INDEX_MASK, found)
            return
    name_hash = index if index else text_hash(0, name, name_len)
    if policy == HPACK_INDEX and not is_secret(index, value_len):
        hashed = text_hash(name_hash, value, value_len)
        found = table_find(e, hashed, index, name, name_len, value, value_len)
        if found:
            int_put(out, AS_INDEX, INDEX_MASK, found)
            return
        found = index if index else table_find_name(e, name_hash, name, name_len)
        if worth_entry(e, hashed, name_len, value_len):
            literal_put(out, AS_INSERT, INSERT_MASK, found, name, name_len, value, value_len)
            encoder_insert(e, hashed, name_hash, name, name_len, value, value_len, index)
            return
    else:
        found = index if index else table_find_name(e, name_hash, name, name_len)
    literal_put(out, <u32>(AS_NEVER if policy == HPACK_NEVER else AS_PLAIN), LITERAL_MASK, found, name, name_len,
                value, value_len)
