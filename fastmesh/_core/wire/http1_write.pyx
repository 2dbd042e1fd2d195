from libc.string cimport memcmp, memcpy, strlen
from fastmesh._core.base.status cimport FULL
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64
from fastmesh._core.ffi.simd cimport fm_reason_text, fm_reasons
from fastmesh._core.wire.headers cimport (
    FIELD_CONTENT_LENGTH, FIELD_DATE, FIELD_EXPECT, FIELD_FORWARDED, FIELD_HOST, FIELD_MAX_FORWARDS, FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING, FIELD_UPGRADE, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO, Field,
)
from fastmesh._core.wire.http1_head cimport (
    HEAD_DROPS, HEAD_HAS_DATE, HEAD_UPGRADE, METHOD_OPTIONS, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ORIGIN,
    Http1Head,
)
from fastmesh._core.wire.http1_write cimport (
    EDIT_CLOSE, EDIT_DROP_CODING, EDIT_DROP_EXPECT, EDIT_DROP_LENGTH, EDIT_FORWARDED, EDIT_KEEP_ALIVE,
    EDIT_MAX_FORWARDS, EDIT_TE_TRAILERS, EDIT_UPGRADE, EDIT_XFF, EDIT_XFF_REPLACE, HeadEdit,
)
from fastmesh._core.wire.token cimport is_word, list_next

cdef enum:
    DATE_BYTES = 29         # IMF-fixdate (RFC 9110 5.6.7)
    CONNECTION_EDITS = EDIT_CLOSE | EDIT_KEEP_ALIVE | EDIT_UPGRADE | EDIT_TE_TRAILERS
    ADDING_EDITS = CONNECTION_EDITS | EDIT_MAX_FORWARDS | EDIT_FORWARDED | EDIT_XFF

# Where bytes go. Once something did not fit, nothing more is written and full stays set.
ctypedef struct Out:
    u8* p
    u8* end
    bint full


cdef inline void put(Out* out, const u8* text, size_t n) noexcept nogil:
    if n > <size_t>(out.end - out.p) or out.full:
        out.full = True
        return
    memcpy(out.p, text, n)
    out.p += n


cdef inline void put_text(Out* out, const char* text) noexcept nogil:
    put(out, <const u8*>text, strlen(text))


cdef void put_number(Out* out, u64 value) noexcept nogil:
    cdef u8 digits[20]
    cdef size_t at = 20
    while True:
        at -= 1
        digits[at] = <u8>(0x30 + value % 10)
        value //= 10
        if value == 0:
            break
    put(out, digits + at, 20 - at)


cdef inline i64 written(const Out* out, const u8* start) noexcept nogil:
    return FULL if out.full else <i64>(out.p - start)


cdef inline void out_init(Out* out, u8* start, size_t room) noexcept nogil:
    out.p = start
    out.end = start + room
    out.full = False


cdef inline size_t fields_start(const Http1Head* head) noexcept nogil:
    return head.line_off + head.line_bytes


cdef inline u32 bits_if(u32 flags, u32 all_of, u32 bits) noexcept nogil:
    """bits when every one of those flags is set, else none; as arithmetic, for -O3 makes a maze of such branches."""
    return bits & (<u32>0 - <u32>((flags & all_of) == all_of))


cdef inline u32 edit_drops(u32 flags, bint new_host) noexcept nogil:
    """Bit per FieldId that the edit leaves out or writes anew."""
    return (
        bits_if(flags, EDIT_DROP_CODING, 1 << FIELD_TRANSFER_ENCODING | 1 << FIELD_TRAILER)
        | bits_if(flags, EDIT_DROP_LENGTH, 1 << FIELD_CONTENT_LENGTH)
        | bits_if(flags, EDIT_DROP_EXPECT, 1 << FIELD_EXPECT)
        | bits_if(flags, EDIT_MAX_FORWARDS, 1 << FIELD_MAX_FORWARDS)
        | bits_if(flags, EDIT_XFF, 1 << FIELD_X_FORWARDED_FOR)
        | bits_if(flags, EDIT_XFF | EDIT_XFF_REPLACE, 1 << FIELD_X_FORWARDED_PROTO)
        | bits_if(flags, EDIT_FORWARDED | EDIT_XFF_REPLACE, 1 << FIELD_FORWARDED)
        | <u32>new_host << FIELD_HOST
    )


cdef void put_fields(Out* out, const Http1Head* head, const u8* data, u32 drops) noexcept nogil:
    """The fields that stay, in runs as long as possible. A field line ends where the next begins."""
    cdef size_t start = fields_start(head), stop
    cdef const Field* field
    cdef u16 i
    if drops or head.flags & HEAD_DROPS:
        for i in range(head.nfields):
            field = &head.fields[i]
            if not field.drop and not (drops >> field.id) & 1:
                continue
            if field.name_off > start:
                put(out, data + start, field.name_off - start)
            stop = head.fields[i + 1].name_off if i + 1 < head.nfields else <u32>(head.head_bytes - 2)
            start = stop
    put(out, data + start, head.head_bytes - 2 - start)


cdef void put_connection(Out* out, u32 flags) noexcept nogil:
    """One Connection field with every option that goes out."""
    cdef bint more = False
    put_text(out, b"Connection: ")
    if flags & EDIT_UPGRADE:
        put_text(out, b"Upgrade")
        more = True
    if flags & EDIT_TE_TRAILERS:
        put_text(out, b", TE" if more else b"TE")
        more = True
    if flags & EDIT_CLOSE:
        put_text(out, b", close" if more else b"close")
    elif flags & EDIT_KEEP_ALIVE:
        put_text(out, b", keep-alive" if more else b"keep-alive")
    put_text(out, b"\r\n")


cdef inline bint is_h2c(const u8* p, size_t n) noexcept nogil:
    """h2c, with or without a version."""
    return is_word(p, 3 if n > 3 and p[3] == 0x2F else n, b"h2c")


cdef void put_upgrade(Out* out, const Http1Head* head, const u8* data) noexcept nogil:
    """Upgrade without h2c, which would end at this hop."""
    cdef const u8* value = data + head.upgrade_off
    cdef size_t at = 0, off = 0, length = 0
    cdef bint more = False
    put_text(out, b"Upgrade: ")
    while list_next(value, head.upgrade_len, &at, &off, &length):
        if length == 0 or is_h2c(value + off, length):
            continue
        if more:
            put_text(out, b", ")
        put(out, value + off, length)
        more = True
    put_text(out, b"\r\n")


cdef void put_forwarded(Out* out, const HeadEdit* edit) noexcept nogil:
    """One element as a line of its own (RFC 7239 4); an IPv6 address in brackets and quotes (6)."""
    cdef bint v6 = False
    cdef u32 i
    for i in range(edit.client_len):
        v6 |= edit.client[i] == 0x3A
    put_text(out, b'Forwarded: for="[' if v6 else b"Forwarded: for=")
    if edit.client_len:
        put(out, edit.client, edit.client_len)
    else:
        put_text(out, b"unknown")
    if v6:
        put_text(out, b']"')
    put_text(out, b";proto=https\r\n" if edit.https else b";proto=http\r\n")


cdef void put_xff(Out* out, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    """What came, and the client, as one line: many receivers read only one. Without a client address, what came."""
    cdef const Field* field
    cdef bint more = False, proto = False
    cdef u16 i
    for i in range(head.nfields):
        field = &head.fields[i]
        if edit.flags & EDIT_XFF_REPLACE or field.drop:
            continue
        proto |= field.id == FIELD_X_FORWARDED_PROTO
        if field.id == FIELD_X_FORWARDED_FOR and field.value_len:
            put_text(out, b", " if more else b"X-Forwarded-For: ")
            put(out, data + field.value_off, field.value_len)
            more = True
    if edit.client_len:
        put_text(out, b", " if more else b"X-Forwarded-For: ")
        put(out, edit.client, edit.client_len)
        more = True
    if more:
        put_text(out, b"\r\n")
    if not proto:
        put_text(out, b"X-Forwarded-Proto: https\r\n" if edit.https else b"X-Forwarded-Proto: http\r\n")


cdef void put_additions(Out* out, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    """What an edit adds after the fields that stay. Without an upgrade in the head there is none to forward."""
    cdef u32 flags = edit.flags if head.flags & HEAD_UPGRADE else edit.flags & ~<u32>EDIT_UPGRADE
    if edit.via != NULL and edit.via_len:
        put_text(out, b"Via: 1.1 " if head.minor else b"Via: 1.0 ")
        put(out, edit.via, edit.via_len)
        put_text(out, b"\r\n")
    if not flags & ADDING_EDITS:
        return
    if flags & EDIT_MAX_FORWARDS:
        put_text(out, b"Max-Forwards: ")
        put_number(out, edit.max_forwards)
        put_text(out, b"\r\n")
    if flags & EDIT_FORWARDED:
        put_forwarded(out, edit)
    if flags & EDIT_XFF:
        put_xff(out, head, data, edit)
    if flags & EDIT_TE_TRAILERS:
        put_text(out, b"TE: trailers\r\n")
    if flags & EDIT_UPGRADE:
        put_upgrade(out, head, data)
    if flags & CONNECTION_EDITS:
        put_connection(out, flags)


cdef void put_target(Out* out, const Http1Head* head, const u8* data) noexcept nogil:
    """RFC 9112 3.2.1 and 3.2.4: what an origin is asked for."""
    if head.form != TARGET_ABSOLUTE:
        put(out, data + head.target_off, head.target_len)
        return
    if head.path_len == 0:
        put_text(out, b"*" if head.method == METHOD_OPTIONS else b"/")
        return
    if data[head.path_off] != 0x2F:
        put_text(out, b"/")
    put(out, data + head.path_off, head.path_len)


cdef void put_request_line(Out* out, const Http1Head* head, const u8* data) noexcept nogil:
    """As it came when that is already origin form and HTTP/1.1."""
    cdef size_t stop = fields_start(head)
    if head.form != TARGET_ABSOLUTE and data[stop - 3] == 0x31:
        put(out, data + head.line_off, head.line_bytes)
        return
    put(out, data + head.line_off, head.method_len + 1)
    put_target(out, head, data)
    put_text(out, b" HTTP/1.1\r\n")


cdef bint has_host(const Http1Head* head) noexcept nogil:
    cdef u16 i
    for i in range(head.nfields):
        if head.fields[i].id == FIELD_HOST:
            return True
    return False


cdef void put_host(Out* out, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    put_text(out, b"Host: " if head.authority_len or edit.host_len else b"Host:")
    if head.authority_len:
        put(out, data + head.authority_off, head.authority_len)
    elif edit.host_len:
        put(out, edit.host, edit.host_len)
    put_text(out, b"\r\n")


cdef i64 http1_request_write(u8* out, size_t room, const Http1Head* head, const u8* data,
                             const HeadEdit* edit) noexcept nogil:
    cdef Out o
    # RFC 9112 3.2.2: the target's authority replaces Host. HTTP/1.0 may come without; a 1.1 request has one (3.2).
    cdef bint new_host = head.form == TARGET_ABSOLUTE or (
        head.minor == 0 and (head.authority_len == 0 or not has_host(head))
    )
    cdef u32 drops = edit_drops(edit.flags, new_host)
    if head.minor == 0:
        drops |= 1 << FIELD_EXPECT  # means nothing in HTTP/1.0 (RFC 9110 10.1.1), but would in what goes out
    out_init(&o, out, room)
    put_request_line(&o, head, data)
    if new_host:
        put_host(&o, head, data, edit)
    put_fields(&o, head, data, drops)
    put_additions(&o, head, data, edit)
    put_text(&o, b"\r\n")
    return written(&o, out)


cdef void put_status_line(Out* out, const Http1Head* head, const u8* data) noexcept nogil:
    """As it came when it is HTTP/1.1 and has its SP before the reason."""
    cdef size_t stop = fields_start(head)
    if data[head.line_off + 7] == 0x31 and head.target_off + head.target_len + 2 == stop and head.line_bytes > 14:
        put(out, data + head.line_off, head.line_bytes)
        return
    put_text(out, b"HTTP/1.1 ")
    put(out, data + head.line_off + 9, 3)
    put_text(out, b" ")
    put(out, data + head.target_off, head.target_len)
    put_text(out, b"\r\n")


cdef i64 http1_response_write(u8* out, size_t room, const Http1Head* head, const u8* data,
                              const HeadEdit* edit) noexcept nogil:
    cdef Out o
    out_init(&o, out, room)
    put_status_line(&o, head, data)
    put_fields(&o, head, data, edit_drops(edit.flags, False))
    if edit.date != NULL and not head.flags & HEAD_HAS_DATE:
        put_text(&o, b"Date: ")
        put(&o, edit.date, DATE_BYTES)
        put_text(&o, b"\r\n")
    put_additions(&o, head, data, edit)
    put_text(&o, b"\r\n")
    return written(&o, out)


cdef i64 http1_trailers_write(u8* out, size_t room, const Http1Head* head, const u8* data) noexcept nogil:
    cdef Out o
    out_init(&o, out, room)
    put_fields(&o, head, data, 0)
    put_text(&o, b"\r\n")
    return written(&o, out)


cdef void put_printable(Out* out, const u8* text, size_t n) noexcept nogil:
    """Anything but visible ASCII and blanks becomes "?", so that no text can end a line or start another."""
    cdef size_t i
    cdef u8* at = out.p
    put(out, text, n)
    if not out.full:
        for i in range(n):
            if at[i] < 0x20 or at[i] > 0x7E:
                at[i] = 0x3F


cdef i64 http1_error_write(u8* out, size_t room, u16 status, const u8* error, size_t error_len, const u8* date,
                           bint close, bint head_only) noexcept nogil:
    cdef Out o
    cdef u16 code = status if 100 <= status <= 599 else 500
    cdef const u16* reason = fm_reasons[code - 100]
    out_init(&o, out, room)
    put_text(&o, b"HTTP/1.1 ")
    put_number(&o, code)
    put_text(&o, b" ")
    put(&o, <const u8*>fm_reason_text + reason[0], reason[1])
    put_text(&o, b"\r\ncontent-type: text/plain\r\ncontent-length: ")
    put_number(&o, error_len + 1)
    put_text(&o, b"\r\nfastmesh-error: ")
    put_printable(&o, error, error_len)
    if date != NULL:
        put_text(&o, b"\r\ndate: ")
        put(&o, date, DATE_BYTES)
    put_text(&o, b"\r\nconnection: close\r\n\r\n" if close else b"\r\n\r\n")
    if not head_only:
        put_printable(&o, error, error_len)
        put_text(&o, b"\n")
    return written(&o, out)
