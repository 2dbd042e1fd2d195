"""The laws of the wire layer on any input, for libFuzzer (tools/fuzz.py) and for the inputs it once found.

Every input lies in a heap block of its exact length, so that a sanitizer sees a byte too far. A target answers 0 or
the number of the broken law.
"""
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.status cimport AGAIN, BAD, FULL, LIMIT, OK
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64
from fastmesh._core.wire.headers cimport (
    FIELD_CONNECTION, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_PROXY_CONNECTION, FIELD_TE, FIELD_UPGRADE, Field,
)
from fastmesh._core.wire.http1_chunked cimport Chunked, chunked_init, chunked_scan, chunked_strip
from fastmesh._core.wire.http1_head cimport (
    FAULT_NONE, FRAMING_TUNNEL, HEAD_UPGRADE, HEAD_HAS_DATE, METHOD_OTHER, Http1Head, Http1Limits, Http1Resume,
    http1_request_parse, http1_response_framing, http1_response_parse, http1_trailers_parse,
)
from fastmesh._core.wire.http1_write cimport (
    EDIT_DROP_CODING, EDIT_DROP_LENGTH, EDIT_UPGRADE, EDIT_TE_TRAILERS, HeadEdit, http1_request_write,
    http1_response_write, http1_trailers_write,
)

cdef enum:
    INPUT_MAX = 4096
    SPLITS_MAX = 24

# Two heads to compare; far too large for a stack.
cdef Http1Head* one = <Http1Head*>malloc(sizeof(Http1Head))
cdef Http1Head* two = <Http1Head*>malloc(sizeof(Http1Head))


cdef u8* block(const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        abort()
    memcpy(copy, data, n)
    return copy


cdef int parse(int kind, Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
               const Http1Limits* limits) noexcept nogil:
    cdef u8* copy = block(data, n)
    cdef int rc
    memset(head, 0xA5, sizeof(Http1Head))
    if kind == 0:
        rc = http1_request_parse(head, resume, copy, n, limits)
    elif kind == 1:
        rc = http1_response_parse(head, resume, copy, n, limits)
    else:
        rc = http1_trailers_parse(head, resume, copy, n, limits)
    free(copy)
    return rc


cdef int parse_fresh(int kind, Http1Head* head, const u8* data, size_t n, const Http1Limits* limits) noexcept nogil:
    cdef Http1Resume resume
    memset(&resume, 0, sizeof(resume))
    return parse(kind, head, &resume, data, n, limits)


cdef void limits_wide(Http1Limits* limits) noexcept nogil:
    limits.head_bytes = 1 << 20
    limits.line_bytes = 1 << 20
    limits.field_line_bytes = 1 << 20
    limits.fields = 1024


cdef bint heads_equal(const Http1Head* a, const Http1Head* b) noexcept nogil:
    cdef size_t scalars = <size_t>(<const u8*>&a.fields[0] - <const u8*>a)
    return memcmp(a, b, scalars) == 0 and memcmp(a.fields, b.fields, a.nfields * sizeof(Field)) == 0


cdef int offsets_check(const Http1Head* head, size_t n) noexcept nogil:
    """Every offset of a complete head lies inside it, and fields follow each other."""
    cdef const Field* field
    cdef u64 last = <u64>head.line_off + head.line_bytes
    cdef u16 i
    if head.head_bytes > n or last > head.head_bytes:
        return 10
    if <u64>head.target_off + head.target_len > last or <u64>head.path_off + head.path_len > last:
        return 11
    if <u64>head.authority_off + head.authority_len > head.head_bytes or head.host_len > head.authority_len:
        return 12
    if <u64>head.upgrade_off + head.upgrade_len > head.head_bytes or head.query_off > last:
        return 13
    for i in range(head.nfields):
        field = &head.fields[i]
        if field.name_off != last or field.name_len == 0 or field.value_off < field.name_off + field.name_len + 1:
            return 14
        last = field.value_off
        while last < head.head_bytes and last < <u64>field.value_off + field.value_len:
            last += 1
        if last != <u64>field.value_off + field.value_len:
            return 15
        last = head.fields[i + 1].name_off if i + 1 < head.nfields else head.head_bytes - 2
        if last < <u64>field.value_off + field.value_len + 2:
            return 16
    return 0


cdef int split_check(int kind, const u8* data, size_t n, u32 seed, const Http1Limits* limits) noexcept nogil:
    """Call after call with ever more bytes answers what one call with those bytes answers."""
    cdef Http1Resume resume
    cdef size_t cut = 0
    cdef int rc, fresh, i
    memset(&resume, 0, sizeof(resume))
    for i in range(SPLITS_MAX):
        seed = seed * 1664525 + 1013904223
        cut += (seed >> 16) % (n // 8 + 2)
        if cut > n or i == SPLITS_MAX - 1:
            cut = n
        rc = parse(kind, one, &resume, data, cut, limits)
        fresh = parse_fresh(kind, two, data, cut, limits)
        if rc != fresh:
            return 1
        if rc == OK:
            return offsets_check(one, cut) if heads_equal(one, two) else 2
        if rc != AGAIN:
            return 3 if one.fault != two.fault or one.fault == FAULT_NONE else 0
        if cut == n:
            return 0
    return 0


cdef int fuzz_wire_head(const u8* data, size_t n) noexcept nogil:
    """Bytes: kind and limits, seed of the splits, message."""
    cdef Http1Limits limits
    cdef int kind
    if n < 2 or n > INPUT_MAX:
        return 0
    kind = (data[0] & 3) % 3
    limits_wide(&limits)
    if data[0] & 4:
        limits.head_bytes = <u32>(data[0] >> 3) * 8 + 4
        limits.line_bytes = <u32>(data[0] >> 3) * 2 + 4
        limits.field_line_bytes = <u32>(data[0] >> 4) * 4 + 4
        limits.fields = data[0] >> 5
    return split_check(kind, data + 2, n - 2, data[1], &limits)


cdef i64 write(int kind, u8* out, size_t room, const Http1Head* head, const u8* data, HeadEdit* edit) noexcept nogil:
    if kind == 0:
        return http1_request_write(out, room, head, data, edit)
    if kind == 1:
        return http1_response_write(out, room, head, data, edit)
    return http1_trailers_write(out, room, head, data)


cdef int written_check(int kind, const u8* out, size_t n, u32 flags, const Http1Limits* limits) noexcept nogil:
    """What was written from `one` is one message of the strict grammar, framed alike, without hop-by-hop fields."""
    cdef const Field* field
    cdef u32 hops = 0
    cdef u16 i
    if parse_fresh(kind, two, out, n, limits) != OK:
        return 30
    if two.head_bytes != n:
        return 31
    for i in range(two.nfields):
        field = &two.fields[i]
        if field.id == FIELD_KEEP_ALIVE or field.id == FIELD_PROXY_CONNECTION or field.id == FIELD_HTTP2_SETTINGS:
            return 32
        if kind != 2 and field.id == FIELD_CONNECTION or field.id == FIELD_TE or field.id == FIELD_UPGRADE:
            if (hops >> field.id) & 1:
                return 33
            hops |= <u32>1 << field.id
    if (hops >> FIELD_UPGRADE) & 1 and not (flags & EDIT_UPGRADE and one.flags & HEAD_UPGRADE):
        return 34
    if (hops >> FIELD_TE) & 1 and not flags & EDIT_TE_TRAILERS:
        return 35
    if kind == 2:
        return 0
    if two.minor != 1 or two.method != one.method or two.status != one.status:
        return 36
    if not flags & (EDIT_DROP_CODING | EDIT_DROP_LENGTH):
        if two.framing != one.framing or two.content_length != one.content_length:
            return 37
    return 0


cdef void edit_from(HeadEdit* edit, const u8* data) noexcept nogil:
    memset(edit, 0, sizeof(HeadEdit))
    edit.host = b"10.0.0.1:9000"  # without it an HTTP/1.0 request goes out with an empty Host, which is refused
    edit.host_len = 13
    edit.flags = (data[1] | <u32>data[2] << 8) & 0x7FF
    if data[3] & 1:
        edit.via = b"fastmesh"
        edit.via_len = 8
    if data[3] & 2:
        edit.client = b"2001:db8::1" if data[3] & 4 else b"192.0.2.255"
        edit.client_len = 11
    if data[3] & 8:
        edit.date = b"Sun, 06 Nov 1994 08:49:37 GMT"
    edit.https = (data[3] >> 4) & 1
    edit.max_forwards = data[3]


cdef int fuzz_wire_edit(const u8* data, size_t n) noexcept nogil:
    """Bytes: kind, edit flags (2), the rest of the edit, message."""
    cdef Http1Limits limits
    cdef HeadEdit edit
    cdef int kind, broken
    cdef u8* copy
    cdef u8* out
    cdef u8* again
    cdef i64 length
    if n < 4 or n > INPUT_MAX:
        return 0
    kind = (data[0] & 3) % 3
    limits_wide(&limits)
    if parse_fresh(kind, one, data + 4, n - 4, &limits) != OK or one.nfields > 1000:
        return 0
    edit_from(&edit, data)
    copy = block(data + 4, n - 4)
    out = <u8*>malloc(4 * INPUT_MAX)
    length = write(kind, out, 4 * INPUT_MAX, one, copy, &edit)
    if length <= 0:
        abort()
    again = <u8*>malloc(<size_t>length)
    broken = 0
    if write(kind, again, <size_t>length - 1, one, copy, &edit) != FULL:
        broken = 20
    elif write(kind, again, <size_t>length, one, copy, &edit) != length or memcmp(out, again, <size_t>length) != 0:
        broken = 21
    free(copy)
    if broken == 0:
        broken = written_check(kind, out, <size_t>length, edit.flags, &limits)
    free(out)
    free(again)
    return broken


# One whole decoding: what all pieces of a body gave.
ctypedef struct Decoded:
    int rc
    u8 fault
    size_t used
    size_t payload


cdef void decode(Decoded* d, const u8* data, size_t n, u32 seed, u8* out) noexcept nogil:
    """In pieces by seed (0: whole). out: strips into it, NULL: scans."""
    cdef Chunked state
    cdef size_t at = 0, take, used = 0, payload = 0
    cdef u8* piece
    memset(d, 0, sizeof(Decoded))
    chunked_init(&state)
    while True:
        seed = seed * 1664525 + 1013904223 if seed else 0
        take = n - at if seed == 0 else (seed >> 16) % 9
        if take > n - at:
            take = n - at
        piece = block(data + at, take)
        if out == NULL:
            d.rc = chunked_scan(&state, piece, take, &used, &payload)
        else:
            d.rc = chunked_strip(&state, piece, take, &used, &payload)
            memcpy(out + d.payload, piece, payload)
        free(piece)
        at += take
        d.used += used
        d.payload += payload
        if d.rc != AGAIN or at == n:
            break
    d.fault = state.fault


cdef bint decoded_equal(const Decoded* a, const Decoded* b) noexcept nogil:
    return a.rc == b.rc and a.fault == b.fault and a.used == b.used and a.payload == b.payload


cdef int fuzz_wire_chunked(const u8* data, size_t n) noexcept nogil:
    """Bytes: seed of the splits, body."""
    cdef Decoded whole, scanned, stripped, pieces
    cdef u8* out
    cdef u8* other
    cdef int broken = 0
    if n < 1 or n > INPUT_MAX:
        return 0
    out = <u8*>malloc(n)
    other = <u8*>malloc(n)
    decode(&whole, data + 1, n - 1, 0, NULL)
    decode(&scanned, data + 1, n - 1, <u32>data[0] + 1, NULL)
    decode(&stripped, data + 1, n - 1, 0, out)
    decode(&pieces, data + 1, n - 1, <u32>data[0] + 7, other)
    if not decoded_equal(&whole, &scanned):
        broken = 40
    elif not decoded_equal(&whole, &stripped) or not decoded_equal(&whole, &pieces):
        broken = 41
    elif memcmp(out, other, whole.payload) != 0:
        broken = 42
    elif whole.used > n - 1 or whole.payload > whole.used or (whole.rc == AGAIN and whole.used != n - 1):
        broken = 43
    elif (whole.rc == BAD) != (whole.fault != FAULT_NONE):
        broken = 44
    free(out)
    free(other)
    return broken


TARGETS = ("wire_head", "wire_edit", "wire_chunked")


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    cdef const u8* p = <const u8*>data
    cdef size_t n = <size_t>len(data)
    if target == "wire_head":
        return fuzz_wire_head(p, n)
    if target == "wire_edit":
        return fuzz_wire_edit(p, n)
    if target == "wire_chunked":
        return fuzz_wire_chunked(p, n)
    raise ValueError(target)
