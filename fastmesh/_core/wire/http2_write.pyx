from libc.string cimport memcmp, strlen
from fastmesh._core.base.status cimport FULL
from fastmesh._core.base.types cimport u8, u16, u32, i64
from fastmesh._core.ffi.simd cimport fm_fold
from fastmesh._core.wire.edit cimport (
    DATE_BYTES, EDIT_CHUNKED, EDIT_FORWARDED, EDIT_MAX_FORWARDS, EDIT_NEVER, EDIT_TE_TRAILERS, EDIT_TYPE, EDIT_UPGRADE,
    EDIT_XFF, XFF_CHAIN, XFF_PROTO, HeadEdit, edit_drops, edit_flags, is_h2c, put_forwarded, put_xff, via_version,
)
from fastmesh._core.wire.headers cimport (
    FIELD_AUTHORIZATION, FIELD_CONTENT_LENGTH, FIELD_COOKIE, FIELD_EXPECT, FIELD_HOST, FIELD_OTHER,
    FIELD_PROXY_AUTHORIZATION, FIELD_TRANSFER_ENCODING, Field,
)
from fastmesh._core.wire.hpack cimport HPACK_INDEX, HPACK_NEVER, HpackEncoder, HpackOut, hpack_begin, hpack_write
from fastmesh._core.wire.http1_fields cimport HOP_BY_HOP
from fastmesh._core.wire.http1_types cimport (
    HEAD_HAS_DATE, METHOD_CONNECT, METHOD_GET, METHOD_OPTIONS, TARGET_ABSOLUTE, TARGET_ASTERISK, Http1Head,
)
from fastmesh._core.wire.http2_write cimport BLOCK_WRITE_SLACK
from fastmesh._core.wire.out cimport Out, out_init, put, put_number, put_text
from fastmesh._core.wire.token cimport list_next

cdef enum:
    # RFC 9113 8.2.2. TE is written anew.
    FORBIDDEN = HOP_BY_HOP | 1 << FIELD_TRANSFER_ENCODING
    FIELD_SLACK = 16        # what hpack_bound adds to a field
    WORK_SLACK = 256        # of the work space: the words around what is added, and copies of 16
    COOKIE_SHORT = 20       # a cookie that short can be guessed byte by byte (RFC 7541 7.1.3)

# A block that is being written.
ctypedef struct Block:
    HpackEncoder* e
    HpackOut out
    u8* start
    u8* work                # for names in lower case and values that are composed; behind out.end
    size_t work_room
    u8 policy               # of every field that has no reason for another
    const char* without     # a lower-case name that stays behind, NULL: none


cdef inline bint block_init(Block* b, HpackEncoder* e, u8* out, size_t room, const Http1Head* head,
                            const HeadEdit* edit) noexcept nogil:
    """False when the room is not enough for anything that could come of this head."""
    cdef size_t added = 0 if edit == NULL else <size_t>edit.via_len + edit.host_len + 2 * <size_t>edit.client_len
    # bound: a name is part of the head; X-Forwarded-For is values of the head, their commas and the client.
    cdef size_t work = head.head_bytes + added + WORK_SLACK
    # bound: every part of the head once and joined X-Forwarded-For, each field with its slack, and what is added.
    cdef size_t block = 2 * <size_t>head.head_bytes + FIELD_SLACK * <size_t>head.nfields + added + BLOCK_WRITE_SLACK // 4
    if room < work + block:
        return False
    b.e = e
    b.start = out
    b.work = out + (room - work)
    b.work_room = work
    b.out.p = out
    b.out.end = b.work
    b.out.full = 0
    b.policy = HPACK_NEVER if edit != NULL and edit.flags & EDIT_NEVER else HPACK_INDEX
    b.without = NULL
    hpack_begin(e, &b.out)
    return True


cdef inline i64 block_end(const Block* b) noexcept nogil:
    return FULL if b.out.full else <i64>(b.out.p - b.start)


cdef inline void add(Block* b, const char* name, const u8* value, size_t n) noexcept nogil:
    hpack_write(b.e, &b.out, <const u8*>name, <u32>strlen(name), value, <u32>n, b.policy)


cdef inline void add_text(Block* b, const char* name, const char* value) noexcept nogil:
    add(b, name, <const u8*>value, strlen(value))


cdef inline void add_composed(Block* b, const char* name, const Out* value) noexcept nogil:
    """A value that was composed in the work space."""
    add(b, name, b.work, <size_t>(value.p - b.work))


cdef bint is_secret(const u8* name, u32 n) noexcept nogil:
    """Other fields that carry what must not be found out by trying (RFC 7541 7.1.3)."""
    if n == 9:
        return memcmp(name, b"x-api-key", 9) == 0
    if n == 10:
        return memcmp(name, b"set-cookie", 10) == 0
    if n == 12:
        return memcmp(name, b"x-auth-token", 12) == 0 or memcmp(name, b"x-csrf-token", 12) == 0
    return n == 20 and memcmp(name, b"x-amz-security-token", 20) == 0


cdef inline u8 policy_of(const Block* b, const Field* field, const u8* name) noexcept nogil:
    """Never-indexed where an entry would let one client of a shared connection guess at another's secret."""
    if field.id == FIELD_OTHER:
        return <u8>HPACK_NEVER if is_secret(name, field.name_len) else b.policy
    if field.id == FIELD_COOKIE:
        return <u8>HPACK_NEVER if field.value_len < COOKIE_SHORT else b.policy
    if field.id == FIELD_AUTHORIZATION or field.id == FIELD_PROXY_AUTHORIZATION:
        return HPACK_NEVER
    return b.policy


cdef inline void put_fields(Block* b, const Http1Head* head, const u8* data, u32 drops) noexcept nogil:
    cdef const Field* field
    cdef size_t without = 0 if b.without == NULL else strlen(b.without)
    cdef u16 i
    for i in range(head.nfields):
        field = &head.fields[i]
        if field.drop or (drops >> field.id) & 1:
            continue
        fm_fold(b.work, data + field.name_off, field.name_len, head.head_bytes - field.name_off)
        if field.name_len == without and memcmp(b.work, b.without, without) == 0:
            continue
        hpack_write(b.e, &b.out, b.work, field.name_len, data + field.value_off, field.value_len,
                    policy_of(b, field, b.work))


cdef void put_forwarding(Block* b, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    cdef Out value
    cdef u32 xff
    if edit.flags & EDIT_FORWARDED:
        out_init(&value, b.work, b.work_room)
        put_forwarded(&value, edit)
        add_composed(b, b"forwarded", &value)
    if edit.flags & EDIT_XFF:
        out_init(&value, b.work, b.work_room)
        xff = put_xff(&value, b"", head, data, edit)
        if xff & XFF_CHAIN:
            add_composed(b, b"x-forwarded-for", &value)
        if xff & XFF_PROTO:
            add_text(b, b"x-forwarded-proto", b"https" if edit.https else b"http")


cdef void put_additions(Block* b, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    """What an edit adds after the fields that stay."""
    cdef Out value
    out_init(&value, b.work, b.work_room)
    if edit.via != NULL and edit.via_len:
        put_text(&value, via_version(edit, head))
        put(&value, edit.via, edit.via_len)
        add_composed(b, b"via", &value)
    if edit.flags & EDIT_MAX_FORWARDS:
        out_init(&value, b.work, b.work_room)
        put_number(&value, edit.max_forwards)
        add_composed(b, b"max-forwards", &value)
    if edit.flags & EDIT_TYPE:
        out_init(&value, b.work, b.work_room)
        put_text(&value, edit.type)
        put(&value, data + edit.type_off, edit.type_len)
        add_composed(b, b"content-type", &value)
    if edit.flags & (EDIT_FORWARDED | EDIT_XFF):
        put_forwarding(b, head, data, edit)


cdef bint upgrade_token(const Http1Head* head, const u8* data, size_t* where, size_t* n) noexcept nogil:
    """The one protocol an Upgrade offers, without h2c; False when there are more or it has a version."""
    cdef const u8* value = data + head.upgrade_off
    cdef size_t at = 0, off = 0, length = 0, i
    n[0] = 0
    while list_next(value, head.upgrade_len, &at, &off, &length):
        if length == 0 or is_h2c(value + off, length):
            continue
        if n[0]:
            return False
        where[0] = head.upgrade_off + off
        n[0] = length
    for i in range(n[0]):
        if data[where[0] + i] == 0x2F:
            return False
    return n[0] != 0


cdef bint block_tunnels(const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    cdef size_t where = 0, n = 0
    if not edit_flags(edit, head) & EDIT_UPGRADE or head.method != METHOD_GET:
        return False
    return upgrade_token(head, data, &where, &n)


cdef void put_protocol(Block* b, const Http1Head* head, const u8* data) noexcept nogil:
    """In lower case: Upgrade's tokens have no case (RFC 9110 7.8), but servers compare :protocol byte by byte."""
    cdef size_t where = 0, n = 0
    upgrade_token(head, data, &where, &n)
    fm_fold(b.work, data + where, n, head.head_bytes - where)
    add(b, b":protocol", b.work, n)


cdef void put_path(Block* b, const Http1Head* head, const u8* data) noexcept nogil:
    """RFC 9113 8.3.1: never empty, "*" for OPTIONS without a path."""
    cdef Out value
    if head.form != TARGET_ABSOLUTE:
        add(b, b":path", data + head.target_off, head.target_len)
    elif head.path_len == 0:
        add_text(b, b":path", b"*" if head.method == METHOD_OPTIONS else b"/")
    elif data[head.path_off] == 0x2F:
        add(b, b":path", data + head.path_off, head.path_len)
    else:
        out_init(&value, b.work, b.work_room)
        put_text(&value, b"/")
        put(&value, data + head.path_off, head.path_len)
        add_composed(b, b":path", &value)


cdef inline void put_authority(Block* b, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    if head.authority_len:
        add(b, b":authority", data + head.authority_off, head.authority_len)
    elif edit.host_len:
        add(b, b":authority", edit.host, edit.host_len)


cdef i64 block_request_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                             const HeadEdit* edit) noexcept nogil:
    cdef Block b
    cdef bint tunnels = block_tunnels(head, data, edit)
    cdef u32 drops = FORBIDDEN | edit_drops(edit.flags & ~<u32>EDIT_CHUNKED, True)
    if not block_init(&b, e, out, room, head, edit):
        return FULL
    if tunnels:
        add_text(&b, b":method", b"CONNECT")
        put_protocol(&b, head, data)
        b.without = b"sec-websocket-key"  # RFC 8441 5
    else:
        add(&b, b":method", data + head.line_off, head.method_len)
    if head.method != METHOD_CONNECT:
        add_text(&b, b":scheme", b"https" if edit.https else b"http")
        put_authority(&b, head, data, edit)
        put_path(&b, head, data)
    else:
        put_authority(&b, head, data, edit)
    if tunnels or head.method == METHOD_CONNECT:
        drops |= 1 << FIELD_CONTENT_LENGTH  # it would be held against the tunnel's bytes (RFC 9113 8.1.1)
    if head.minor == 0:
        drops |= 1 << FIELD_EXPECT  # means nothing in HTTP/1.0 (RFC 9110 10.1.1), but would in what goes out
    put_fields(&b, head, data, drops)
    put_additions(&b, head, data, edit)
    if edit.flags & EDIT_TE_TRAILERS:
        add_text(&b, b"te", b"trailers")
    return block_end(&b)


cdef i64 block_response_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                              const HeadEdit* edit) noexcept nogil:
    cdef Block b
    cdef u32 drops = FORBIDDEN | edit_drops(edit.flags & ~<u32>EDIT_CHUNKED, False)
    if not block_init(&b, e, out, room, head, edit):
        return FULL
    if head.status == 101:
        add_text(&b, b":status", b"200")
        b.without = b"sec-websocket-accept"
        drops |= 1 << FIELD_CONTENT_LENGTH
    else:
        add(&b, b":status", data + head.line_off + 9, 3)
    put_fields(&b, head, data, drops)
    if edit.date != NULL and not head.flags & HEAD_HAS_DATE:
        add(&b, b"date", edit.date, DATE_BYTES)
    put_additions(&b, head, data, edit)
    return block_end(&b)


cdef i64 block_trailers_write(HpackEncoder* e, u8* out, size_t room, const Http1Head* head, const u8* data,
                              bint never) noexcept nogil:
    cdef Block b
    if not block_init(&b, e, out, room, head, NULL):
        return FULL
    if never:
        b.policy = HPACK_NEVER
    put_fields(&b, head, data, FORBIDDEN)
    return block_end(&b)
