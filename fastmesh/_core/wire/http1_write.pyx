from fastmesh._core.base.types cimport u8, u16, u32, i64
from fastmesh._core.ffi.simd cimport fm_reason_text, fm_reasons
from fastmesh._core.wire.edit cimport (
    DATE_BYTES, EDIT_CHUNKED, EDIT_CLOSE, EDIT_FORWARDED, EDIT_KEEP_ALIVE, EDIT_MAX_FORWARDS, EDIT_TE_TRAILERS,
    EDIT_TYPE, EDIT_UPGRADE, EDIT_XFF, XFF_CHAIN, XFF_PROTO, HeadEdit, edit_drops, edit_flags, is_h2c, put_forwarded,
    put_xff, via_version,
)
from fastmesh._core.wire.headers cimport FIELD_EXPECT, FIELD_HOST, Field
from fastmesh._core.wire.http1_head cimport (
    HEAD_DROPS, HEAD_HAS_DATE, METHOD_OPTIONS, TARGET_ABSOLUTE, Http1Head,
)
from fastmesh._core.wire.out cimport Out, out_init, put, put_number, put_text, written
from fastmesh._core.wire.token cimport list_next
from fastmesh._core.wire.websocket cimport WEBSOCKET_ACCEPT_BYTES

cdef enum:
    CONNECTION_EDITS = EDIT_CLOSE | EDIT_KEEP_ALIVE | EDIT_UPGRADE | EDIT_TE_TRAILERS
    ADDING_EDITS = CONNECTION_EDITS | EDIT_MAX_FORWARDS | EDIT_FORWARDED | EDIT_XFF | EDIT_CHUNKED | EDIT_TYPE


cdef inline size_t fields_start(const Http1Head* head) noexcept nogil:
    return head.line_off + head.line_bytes


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


cdef void put_upgrade(Out* out, const u8* value, size_t n) noexcept nogil:
    """Upgrade without h2c, which would end at this hop."""
    cdef size_t at = 0, off = 0, length = 0
    cdef bint more = False
    put_text(out, b"Upgrade: ")
    while list_next(value, n, &at, &off, &length):
        if length == 0 or is_h2c(value + off, length):
            continue
        if more:
            put_text(out, b", ")
        put(out, value + off, length)
        more = True
    put_text(out, b"\r\n")


cdef void put_forwarding(Out* out, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    cdef u32 xff
    if edit.flags & EDIT_FORWARDED:
        put_text(out, b"Forwarded: ")
        put_forwarded(out, edit)
        put_text(out, b"\r\n")
    if edit.flags & EDIT_XFF:
        xff = put_xff(out, b"X-Forwarded-For: ", head, data, edit)
        if xff & XFF_CHAIN:
            put_text(out, b"\r\n")
        if xff & XFF_PROTO:
            put_text(out, b"X-Forwarded-Proto: https\r\n" if edit.https else b"X-Forwarded-Proto: http\r\n")


cdef void put_additions(Out* out, const Http1Head* head, const u8* data, const HeadEdit* edit) noexcept nogil:
    """What an edit adds after the fields that stay."""
    cdef u32 flags = edit_flags(edit, head)
    if edit.via != NULL and edit.via_len:
        put_text(out, b"Via: ")
        put_text(out, via_version(edit, head))
        put(out, edit.via, edit.via_len)
        put_text(out, b"\r\n")
    if not flags & ADDING_EDITS:
        return
    if flags & EDIT_MAX_FORWARDS:
        put_text(out, b"Max-Forwards: ")
        put_number(out, edit.max_forwards)
        put_text(out, b"\r\n")
    if flags & (EDIT_FORWARDED | EDIT_XFF):
        put_forwarding(out, head, data, edit)
    if flags & EDIT_TYPE:
        put_text(out, b"Content-Type: ")
        put_text(out, edit.type)
        put(out, data + edit.type_off, edit.type_len)
        put_text(out, b"\r\n")
    if flags & EDIT_CHUNKED:
        put_text(out, b"Transfer-Encoding: chunked\r\n")
    if flags & EDIT_TE_TRAILERS:
        put_text(out, b"TE: trailers\r\n")
    if flags & EDIT_UPGRADE:
        put_upgrade(out, data + head.upgrade_off, head.upgrade_len)
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


cdef i64 http1_switch_write(u8* out, size_t room, const Http1Head* head, const u8* data, const HeadEdit* edit,
                            const u8* upgrade, size_t upgrade_n, const u8* accept) noexcept nogil:
    cdef Out o
    out_init(&o, out, room)
    put_text(&o, b"HTTP/1.1 101 Switching Protocols\r\n")
    put_fields(&o, head, data, edit_drops(edit.flags, False))
    if edit.date != NULL and not head.flags & HEAD_HAS_DATE:
        put_text(&o, b"Date: ")
        put(&o, edit.date, DATE_BYTES)
        put_text(&o, b"\r\n")
    put_additions(&o, head, data, edit)
    put_upgrade(&o, upgrade, upgrade_n)
    if accept != NULL:
        put_text(&o, b"Sec-WebSocket-Accept: ")
        put(&o, accept, WEBSOCKET_ACCEPT_BYTES)
        put_text(&o, b"\r\n")
    put_text(&o, b"Connection: Upgrade\r\n\r\n")
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
