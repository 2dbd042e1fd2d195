"""The laws of HTTP/2 header blocks on any input, for libFuzzer (tools/fuzz.py) and for the inputs it once found.

As in wire_fuzz: every block and every output lies in a heap block of its exact length, and a target answers 0 or the
number of the broken law.
"""
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.status cimport BAD, CLOSED, LIMIT, OK
from fastmesh._core.base.types cimport u8, u16, u32, i64
from fastmesh._core.wire.edit cimport (
    EDIT_CHUNKED, EDIT_DROP_LENGTH, EDIT_NEVER, EDIT_TE_TRAILERS, EDIT_UPGRADE, HeadEdit,
)
from fastmesh._core.wire.headers cimport (
    FIELD_CONNECTION, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_PROXY_CONNECTION, FIELD_TE,
    FIELD_TRANSFER_ENCODING, FIELD_UPGRADE,
)
from fastmesh._core.wire.hpack cimport (
    HPACK_ENTRIES, HpackDecoder, HpackEncoder, HpackEntry, HpackField, HpackReader, HpackTable, hpack_decoder_init,
    hpack_encoder_init, hpack_read,
)
from fastmesh._core.wire.http1_head cimport (
    FAULT_NONE, FRAMING_LENGTH, FRAMING_NONE, HEAD_UPGRADE, METHOD_CONNECT, TARGET_ORIGIN, Http1Head, Http1Limits,
    Http1Resume, http1_request_parse, http1_response_parse, http1_trailers_parse,
)
from fastmesh._core.wire.http2_head cimport (
    BLOCK_EXTENDED, BLOCK_NEVER, BLOCK_REQUEST, BLOCK_RESPONSE, BlockLimits, HeadBlock, block_read,
)
from fastmesh._core.wire.http2_write cimport (
    block_request_write, block_response_write, block_room, block_trailers_write, block_tunnels,
)

cdef enum:
    INPUT_MAX = 4096
    ROOM = 1 << 16          # the least a reader may have
    SPACE = 1 << 15

# A connection's tables: what reads the input, HPACK alone beside it; what writes what was read, and what reads that.
cdef HpackDecoder* reading = <HpackDecoder*>malloc(sizeof(HpackDecoder))
cdef HpackDecoder* beside = <HpackDecoder*>malloc(sizeof(HpackDecoder))
cdef HpackEncoder* writing = <HpackEncoder*>malloc(sizeof(HpackEncoder))
cdef HpackDecoder* again = <HpackDecoder*>malloc(sizeof(HpackDecoder))
cdef Http1Head* one = <Http1Head*>malloc(sizeof(Http1Head))
cdef Http1Head* two = <Http1Head*>malloc(sizeof(Http1Head))
cdef u8* space = <u8*>malloc(SPACE)

# A text or a block on the heap.
ctypedef struct Bytes:
    u8* p
    size_t n


cdef u8* heap(const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        abort()
    if n:
        memcpy(copy, data, n)
    return copy


cdef int parse(u8 kind, Http1Head* head, const u8* data, size_t n) noexcept nogil:
    """By the strict HTTP/1 grammar."""
    cdef Http1Limits limits
    cdef Http1Resume resume
    memset(&resume, 0, sizeof(resume))
    limits.head_bytes = 1 << 20
    limits.line_bytes = 1 << 20
    limits.field_line_bytes = 1 << 20
    limits.fields = 1024
    if kind == BLOCK_REQUEST:
        return http1_request_parse(head, &resume, data, n, &limits)
    if kind == BLOCK_RESPONSE:
        return http1_response_parse(head, &resume, data, n, &limits)
    return http1_trailers_parse(head, &resume, data, n, &limits)


cdef bint same_tables(const HpackTable* a, const HpackTable* b) noexcept nogil:
    cdef const HpackEntry* x
    cdef const HpackEntry* y
    cdef u32 i
    if a.count != b.count or a.size != b.size or a.size_max != b.size_max:
        return False
    for i in range(a.count):
        x = &a.entries[(a.first + i) % HPACK_ENTRIES]
        y = &b.entries[(b.first + i) % HPACK_ENTRIES]
        if x.name_len != y.name_len or x.value_len != y.value_len:
            return False
        if memcmp(a.text + x.off, b.text + y.off, <size_t>x.name_len + x.value_len) != 0:
            return False
    return True


cdef int hpack_skip(const u8* block, size_t n) noexcept nogil:
    """HPACK's own verdict: CLOSED when the block has an end."""
    cdef HpackReader r
    cdef HpackField f
    cdef int rc
    memset(&r, 0, sizeof(r))
    r.data = block
    r.n = n
    r.space = space
    r.room = SPACE
    while True:
        rc = hpack_read(beside, &r, &f)
        if rc != OK and rc != LIMIT:
            return rc


cdef int read(HpackDecoder* d, u8 kind, bint extended, const u8* data, size_t n, size_t room, const BlockLimits* limits,
              HeadBlock* result, Bytes* text) noexcept nogil:
    """Reads a block; its text on the heap."""
    cdef u8* block = heap(data, n)
    cdef u8* out = <u8*>malloc(room)
    cdef int rc
    memset(result, 0xA5, sizeof(HeadBlock))
    rc = block_read(d, block, n, kind, extended, out, room, limits, result)
    text.n = result.n if rc == OK else 0
    text.p = heap(out + result.off, text.n)
    free(block)
    free(out)
    return rc


cdef i64 write(u8 kind, const Http1Head* head, const u8* data, const HeadEdit* edit, Bytes* block) noexcept nogil:
    """Writes a block into the least room that is enough for sure."""
    cdef size_t room = block_room(head)
    cdef i64 n
    block.p = <u8*>malloc(room)
    if kind == BLOCK_REQUEST:
        n = block_request_write(writing, block.p, room, head, data, edit)
    elif kind == BLOCK_RESPONSE:
        n = block_response_write(writing, block.p, room, head, data, edit)
    else:
        n = block_trailers_write(writing, block.p, room, head, data, edit.flags & EDIT_NEVER)
    block.n = <size_t>n if n > 0 else 0
    return n


cdef void limits_wide(BlockLimits* limits) noexcept nogil:
    limits.list_bytes = 1 << 20
    limits.fields = 1024


cdef bint hops_stayed(const Http1Head* head, bint tunnels) noexcept nogil:
    """Whether the head has fields that HTTP/2 has no place for; those of a tunnel's text are there."""
    cdef u32 hops = (
        1 << FIELD_KEEP_ALIVE | 1 << FIELD_PROXY_CONNECTION | 1 << FIELD_HTTP2_SETTINGS | 1 << FIELD_TRANSFER_ENCODING
    )
    cdef u16 i
    if not tunnels:
        hops |= 1 << FIELD_CONNECTION | 1 << FIELD_UPGRADE
    for i in range(head.nfields):
        if (hops >> head.fields[i].id) & 1:
            return True
    return False


cdef int rewrite_check(u8 kind, const Bytes* text, u32 flags, Bytes* later) noexcept nogil:
    """Writes the text, which `one` is parsed from, as a block and reads that: what came is `later`, parsed to `two`."""
    cdef HeadEdit edit
    cdef BlockLimits limits
    cdef HeadBlock result
    cdef Bytes block
    cdef int rc
    memset(&edit, 0, sizeof(edit))
    limits_wide(&limits)
    edit.flags = flags
    later.p = NULL
    if write(kind, one, text.p, &edit, &block) < 0:
        free(block.p)
        return 20
    rc = read(again, kind, True, block.p, block.n, 1 << 18, &limits, &result, later)
    free(block.p)
    if rc != OK:
        return 21
    if parse(kind, two, later.p, later.n) != OK or two.head_bytes != later.n:
        return 22
    if not same_tables(&again.table, &writing.table):
        return 23
    if two.method != one.method or two.status != one.status or two.form != one.form:
        return 24
    if (two.framing != one.framing or two.content_length != one.content_length) and one.method != METHOD_CONNECT:
        return 25
    return 26 if (two.flags & HEAD_UPGRADE) != (one.flags & HEAD_UPGRADE) else 0


cdef int twice_check(u8 kind, const Bytes* text, u32 flags) noexcept nogil:
    """What is written and read twice is what was written and read once."""
    cdef Bytes first, second
    cdef int broken = rewrite_check(kind, text, flags, &first)
    second.p = NULL
    if broken == 0:
        memcpy(one, two, sizeof(two[0]))
        broken = rewrite_check(kind, &first, flags, &second)
    if broken == 0 and not flags & EDIT_UPGRADE:  # its key is another each time
        if first.n != second.n or memcmp(first.p, second.p, first.n) != 0:
            broken = 27
    free(first.p)
    free(second.p)
    return broken


cdef int block_check(u8 control, const u8* data, size_t n, const BlockLimits* limits, bint* ended) noexcept nogil:
    cdef u8 kind = (control & 3) % 3
    cdef HeadBlock result
    cdef Bytes text
    cdef bint extended = control & 4
    cdef int rc = read(reading, kind, extended, data, n, ROOM, limits, &result, &text), broken = 0
    cdef int end = hpack_skip(data, n)
    ended[0] = rc == CLOSED
    if (rc == CLOSED) != (end != CLOSED):
        broken = 1
    elif rc != OK and rc != BAD and rc != LIMIT and rc != CLOSED:
        broken = 2
    elif rc != CLOSED and not same_tables(&reading.table, &beside.table):
        broken = 3
    elif (rc == BAD or rc == LIMIT) and result.fault == FAULT_NONE:
        broken = 4
    elif rc == OK:
        if parse(kind, one, text.p, text.n) != OK or one.head_bytes != text.n:
            broken = 10
        elif one.nfields > limits.fields or hops_stayed(one, result.flags & BLOCK_EXTENDED):
            broken = 11
        elif kind == BLOCK_REQUEST and one.authority_len == 0:
            broken = 12
        elif kind == BLOCK_REQUEST and one.flags & HEAD_UPGRADE and not extended:
            broken = 13
        else:
            broken = twice_check(kind, &text, EDIT_TE_TRAILERS | (
                <u32>EDIT_UPGRADE if result.flags & BLOCK_EXTENDED else <u32>0))
    free(text.p)
    return broken


cdef int fuzz_wire_head2(const u8* data, size_t n) noexcept nogil:
    """First byte: limits. Then blocks: a byte for kind and `extended`, two of size, the block."""
    cdef BlockLimits limits
    cdef size_t at = 1, size
    cdef bint ended = False
    cdef int broken
    if n == 0 or n > INPUT_MAX:
        return 0
    limits_wide(&limits)
    if data[0] & 1:
        limits.list_bytes = <u32>(data[0] >> 3) * 16
        limits.fields = (data[0] >> 1) & 7
    hpack_decoder_init(reading, 4096)
    hpack_decoder_init(beside, 4096)
    hpack_decoder_init(again, 4096)
    hpack_encoder_init(writing)
    while not ended and n - at >= 3:
        size = <size_t>data[at + 1] << 8 | data[at + 2]
        size = size if size < n - at - 3 else n - at - 3
        broken = block_check(data[at], data + at + 3, size, &limits, &ended)
        if broken:
            return broken
        at += 3 + size
    return 0


cdef void edit_from(HeadEdit* edit, const u8* data) noexcept nogil:
    memset(edit, 0, sizeof(HeadEdit))
    edit.host = b"10.0.0.1:9000"  # without it a block of an HTTP/1.0 request has no :authority, which is refused
    edit.host_len = 13
    edit.flags = (data[1] | <u32>data[2] << 8) & 0x1FFF
    if data[3] & 1:
        edit.via = b"fastmesh"
        edit.via_len = 8
    if data[3] & 2:
        edit.client = b"2001:db8::1" if data[3] & 4 else b"192.0.2.255"
        edit.client_len = 11
    if data[3] & 8:
        edit.date = b"Sun, 06 Nov 1994 08:49:37 GMT"
    edit.https = (data[3] >> 4) & 1
    edit.received_http2 = (data[3] >> 5) & 1
    edit.max_forwards = data[3]


cdef bint same_path(const u8* text, const u8* later) noexcept nogil:
    """Whether `two` asks for the path that `one` did; what an absolute target leaves out is added."""
    if one.form == TARGET_ORIGIN and one.path_len != two.path_len:
        return False
    return one.path_len <= two.path_len and memcmp(
        text + one.path_off, later + two.path_off + (two.path_len - one.path_len), one.path_len
    ) == 0


cdef int edited_check(u8 kind, const u8* text, const u8* later, const HeadEdit* edit, u32 flags) noexcept nogil:
    """`two`, which came back as `later`, is `one` as the edit has it."""
    cdef bint tunnels = kind == BLOCK_REQUEST and block_tunnels(one, text, edit)
    if two.minor != 1 and kind != 2:
        return 40
    if two.method != one.method or (two.status != one.status and one.status != 101):
        return 41
    if hops_stayed(two, tunnels) or (flags & BLOCK_EXTENDED != 0) != tunnels:
        return 42
    if (two.flags & HEAD_UPGRADE != 0) != tunnels:
        return 43
    if kind == BLOCK_REQUEST and not same_path(text, later):
        return 44
    if two.nfields and edit.flags & EDIT_NEVER and not flags & BLOCK_NEVER:
        return 45
    if edit.flags & EDIT_DROP_LENGTH or one.method == METHOD_CONNECT or one.status == 101 or kind == 2:
        return 0
    if one.framing == FRAMING_LENGTH and (two.framing != FRAMING_LENGTH or two.content_length != one.content_length):
        return 46
    return 47 if kind == BLOCK_REQUEST and one.framing != FRAMING_LENGTH and two.framing != FRAMING_NONE else 0


cdef int fuzz_wire_edit2(const u8* data, size_t n) noexcept nogil:
    """HTTP/1 to HTTP/2 to HTTP/1. Bytes as wire_edit's: kind, edit flags (2), the rest of the edit, message."""
    cdef BlockLimits limits
    cdef HeadBlock result
    cdef HeadEdit edit
    cdef Bytes block, later
    cdef u8* copy
    cdef u8 kind
    cdef int broken = 0
    if n < 4 or n > INPUT_MAX:
        return 0
    kind = (data[0] & 3) % 3
    limits_wide(&limits)
    if parse(kind, one, data + 4, n - 4) != OK or one.nfields > 1000:
        return 0
    edit_from(&edit, data)
    hpack_encoder_init(writing)
    hpack_decoder_init(again, 4096)
    copy = heap(data + 4, n - 4)
    later.p = NULL
    if write(kind, one, copy, &edit, &block) < 0:
        broken = 30
    elif read(again, kind, True, block.p, block.n, 1 << 18, &limits, &result, &later) != OK:
        broken = 31
    elif parse(kind, two, later.p, later.n) != OK or two.head_bytes != later.n:
        broken = 32
    elif not same_tables(&again.table, &writing.table):
        broken = 33
    else:
        broken = edited_check(kind, copy, later.p, &edit, result.flags)
    free(copy)
    free(block.p)
    free(later.p)
    return broken


TARGETS = ("wire_head2", "wire_edit2")


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    if target == "wire_head2":
        return fuzz_wire_head2(<const u8*>data, <size_t>len(data))
    if target == "wire_edit2":
        return fuzz_wire_edit2(<const u8*>data, <size_t>len(data))
    raise ValueError(target)
