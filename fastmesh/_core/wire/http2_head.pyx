from libc.string cimport memcmp, memcpy, memmove, memset, strlen
from libc.stdint cimport uintptr_t
from fastmesh._core.base.status cimport BAD, CLOSED, LIMIT, OK
from fastmesh._core.base.types cimport u8, u16, u32, u64, i32
from fastmesh._core.ffi.simd cimport (
    fm_copy, fm_field_id, fm_has_ctl, fm_is_lower_token, fm_is_token, fm_reason_text, fm_reasons, fm_target_span,
)
from fastmesh._core.wire.authority cimport PORT_NONE, Authority, authority_agrees, authority_parse
from fastmesh._core.wire.edit cimport is_h2c
from fastmesh._core.wire.headers cimport (
    FIELD_AUTHORIZATION, FIELD_CONNECTION, FIELD_CONTENT_LENGTH, FIELD_CONTENT_TYPE, FIELD_COOKIE, FIELD_DATE,
    FIELD_EXPECT, FIELD_HOST, FIELD_KEEP_ALIVE, FIELD_MAX_FORWARDS, FIELD_OTHER, FIELD_PROXY_AUTHORIZATION,
    FIELD_PROXY_CONNECTION, FIELD_REFERER, FIELD_TE, FIELD_TRANSFER_ENCODING, FIELD_UPGRADE, FIELD_USER_AGENT,
    FIELD_VIA, HEADERS_MAX,
)
from fastmesh._core.wire.hpack cimport HPACK_TABLE_BYTES, HpackDecoder, HpackField, HpackReader, hpack_read
from fastmesh._core.wire.http1_fields cimport number_parse
from fastmesh._core.wire.http1_types cimport (
    FAULT_CONNECTION_FIELD, FAULT_CONTENT_LENGTH, FAULT_FIELD_NAME, FAULT_FIELD_VALUE, FAULT_HEAD_TOO_LONG, FAULT_HOST,
    FAULT_HOST_MISMATCH, FAULT_HOST_MISSING, FAULT_HOST_REPEATED, FAULT_METHOD, FAULT_NONE, FAULT_PSEUDO,
    FAULT_STATUS_LINE, FAULT_TARGET, FAULT_TOO_MANY_FIELDS, FAULT_UPGRADE,
)
from fastmesh._core.wire.token cimport is_blank, is_word, starts_with
from fastmesh._core.wire.websocket cimport WEBSOCKET_KEY_BYTES, websocket_key

# Pseudo-headers, as bits and as places.
cdef enum:
    PSEUDO_NONE = 0
    PSEUDO_METHOD
    PSEUDO_SCHEME
    PSEUDO_AUTHORITY
    PSEUDO_PATH
    PSEUDO_PROTOCOL
    PSEUDO_STATUS
    PSEUDO_COUNT

cdef enum:
    STATIC_FIELDS = 15      # the static table's first entry that is no pseudo-header (RFC 7541 A)
    STATIC_COUNT = 62
    NAME_MAX = 0xFFFF       # as http1_head's
    REASONS_END = 600       # status codes from here on have no registered phrase, and no place in the table of them
    SLACK = 32              # bytes behind the text and behind what is kept, for loads and copies of 16
    REQUEST_PSEUDO = (
        1 << PSEUDO_METHOD | 1 << PSEUDO_SCHEME | 1 << PSEUDO_AUTHORITY | 1 << PSEUDO_PATH | 1 << PSEUDO_PROTOCOL
    )
    TARGET_PARTS = 1 << PSEUDO_SCHEME | 1 << PSEUDO_PATH
    # Fields that mean something to the text as a whole.
    SPECIAL = (
        1 << FIELD_CONNECTION | 1 << FIELD_KEEP_ALIVE | 1 << FIELD_PROXY_CONNECTION | 1 << FIELD_TRANSFER_ENCODING
        | 1 << FIELD_UPGRADE | 1 << FIELD_TE | 1 << FIELD_HOST | 1 << FIELD_COOKIE | 1 << FIELD_CONTENT_LENGTH
        | 1 << FIELD_CONTENT_TYPE
    )
    # RFC 9113 8.2.2
    FORBIDDEN = (
        1 << FIELD_CONNECTION | 1 << FIELD_KEEP_ALIVE | 1 << FIELD_PROXY_CONNECTION | 1 << FIELD_TRANSFER_ENCODING
        | 1 << FIELD_UPGRADE
    )

# FieldId by static index: those names are lower-case tokens, and need no look.
cdef u8[STATIC_COUNT] STATIC_IDS

# A part of the message that is kept until the text needs it.
ctypedef struct Part:
    u8* p
    u32 n

# What one call works on.
ctypedef struct Reading:
    HpackReader reader      # what is kept moves its space forward
    const BlockLimits* limits
    u8* text                # where the text begins
    u8* at                  # where its next line goes
    u8* end                 # SLACK before the end of its room
    u8* cookie_end          # of the cookie line's value; NULL while there is none
    Part loose              # cookies that came apart from it, each with "; " before
    Part parts[PSEUDO_COUNT]
    u64 list_bytes
    u32 lines
    u32 flags               # BlockFlag
    u32 seen                # bit per FieldId
    u32 pseudo              # bit per PSEUDO_*
    int rc                  # OK until the block is refused
    u16 status
    u8 fault
    u8 kind
    bint extended
    bint started            # the pseudo-headers are over, the start line is written
    bint keyed              # Sec-WebSocket-Key came


cdef void static_init() noexcept nogil:
    memset(STATIC_IDS, FIELD_OTHER, STATIC_COUNT)
    STATIC_IDS[23] = FIELD_AUTHORIZATION
    STATIC_IDS[28] = FIELD_CONTENT_LENGTH
    STATIC_IDS[31] = FIELD_CONTENT_TYPE
    STATIC_IDS[32] = FIELD_COOKIE
    STATIC_IDS[33] = FIELD_DATE
    STATIC_IDS[35] = FIELD_EXPECT
    STATIC_IDS[38] = FIELD_HOST
    STATIC_IDS[47] = FIELD_MAX_FORWARDS
    STATIC_IDS[49] = FIELD_PROXY_AUTHORIZATION
    STATIC_IDS[51] = FIELD_REFERER
    STATIC_IDS[57] = FIELD_TRANSFER_ENCODING
    STATIC_IDS[58] = FIELD_USER_AGENT
    STATIC_IDS[60] = FIELD_VIA


cdef bint refuse(Reading* r, int rc, u8 fault) noexcept nogil:
    """The first refusal stays. Always False, for a caller to return."""
    if r.rc == OK:
        r.rc = rc
        r.fault = fault
    return False


cdef bint keep(Reading* r, Part* part, const char* before, const u8* p, size_t n) noexcept nogil:
    """Appends to a part that is the last of what is kept: it lies where the next field would be decoded."""
    cdef size_t before_n = strlen(before)
    if before_n + n + HPACK_TABLE_BYTES > r.reader.room:
        return refuse(r, LIMIT, FAULT_HEAD_TOO_LONG)
    if part.n == 0:
        part.p = r.reader.space
    memmove(r.reader.space + before_n, p, n)  # the field's Huffman text is in the same space
    memcpy(r.reader.space, before, before_n)
    part.n += <u32>(before_n + n)
    r.reader.space += before_n + n
    r.reader.room -= before_n + n
    return True


cdef inline u32 pseudo_of(const HpackField* f) noexcept nogil:
    if f.index == 0:  # all but one of them are in the static table
        if f.name_len == 9 and memcmp(f.name, b":protocol", 9) == 0:
            return PSEUDO_PROTOCOL
        return PSEUDO_NONE
    if f.index >= 8:
        return PSEUDO_STATUS
    if f.index >= 6:
        return PSEUDO_SCHEME
    if f.index >= 4:
        return PSEUDO_PATH
    if f.index >= 2:
        return PSEUDO_METHOD
    return PSEUDO_AUTHORITY


cdef inline bint pseudo_read(Reading* r, const HpackField* f) noexcept nogil:
    """RFC 9113 8.3: known, of this kind of message, once, and before every other field."""
    cdef u32 which = pseudo_of(f)
    cdef u32 lawful = REQUEST_PSEUDO if r.kind == BLOCK_REQUEST else 0
    if r.kind == BLOCK_RESPONSE:
        lawful = 1 << PSEUDO_STATUS
    if not (lawful >> which) & 1 or (r.pseudo >> which) & 1 or r.started:
        return refuse(r, BAD, FAULT_PSEUDO)
    if which == PSEUDO_PROTOCOL and not r.extended:  # RFC 8441 3
        return refuse(r, BAD, FAULT_PSEUDO)
    r.pseudo |= <u32>1 << which
    return keep(r, &r.parts[which], b"", f.value, f.value_len)


cdef inline bint has(const Reading* r, u32 pseudo) noexcept nogil:
    """Whether all of these pseudo-headers came."""
    return r.pseudo & pseudo == pseudo


cdef inline bint is_exactly(const Part* part, const char* word) noexcept nogil:
    return part.n == strlen(word) and memcmp(part.p, word, part.n) == 0


cdef inline void put(Reading* r, const u8* p, size_t n) noexcept nogil:
    """Appends to the text."""
    if n > <size_t>(r.end - r.at):
        refuse(r, LIMIT, FAULT_HEAD_TOO_LONG)
        return
    fm_copy(r.at, p, n)
    r.at += n


cdef inline void put_text(Reading* r, const char* text) noexcept nogil:
    put(r, <const u8*>text, strlen(text))


cdef inline bint lines_add(Reading* r, u32 lines) noexcept nogil:
    r.lines += lines
    if r.lines > r.limits.fields or r.lines > HEADERS_MAX:
        return refuse(r, LIMIT, FAULT_TOO_MANY_FIELDS)
    return True


cdef bint connect_check(Reading* r) noexcept nogil:
    """RFC 9113 8.5, RFC 8441 4."""
    cdef Authority authority
    cdef Part* part = &r.parts[PSEUDO_AUTHORITY]
    cdef Part* protocol = &r.parts[PSEUDO_PROTOCOL]
    if not has(r, 1 << PSEUDO_AUTHORITY):
        return refuse(r, BAD, FAULT_PSEUDO)
    if has(r, 1 << PSEUDO_PROTOCOL):
        r.flags |= BLOCK_EXTENDED
        if not has(r, TARGET_PARTS):
            return refuse(r, BAD, FAULT_PSEUDO)
        # h2c in Upgrade is an offer that this hop takes away, and there is nothing else in this request.
        if protocol.n == 0 or not fm_is_token(protocol.p, protocol.n, protocol.n + SLACK) or is_h2c(
            protocol.p, protocol.n
        ):
            return refuse(r, BAD, FAULT_UPGRADE)
        return True
    r.flags |= BLOCK_CONNECT
    if r.pseudo & TARGET_PARTS:
        return refuse(r, BAD, FAULT_PSEUDO)
    if not authority_parse(part.p, part.n, part.n + SLACK, &authority) or authority.port <= 0:
        return refuse(r, BAD, FAULT_TARGET)
    return True


cdef bint target_check(Reading* r) noexcept nogil:
    """:scheme, :path and, when it came, :authority (RFC 9113 8.3.1)."""
    cdef Authority authority
    cdef size_t query = 0
    cdef const Part* scheme = &r.parts[PSEUDO_SCHEME]
    cdef const Part* path = &r.parts[PSEUDO_PATH]
    cdef const Part* part = &r.parts[PSEUDO_AUTHORITY]
    if not is_word(scheme.p, scheme.n, b"https") and not is_word(scheme.p, scheme.n, b"http"):
        return refuse(r, BAD, FAULT_TARGET)
    if path.n == 0 or fm_target_span(path.p, path.n, &query) != path.n:
        return refuse(r, BAD, FAULT_TARGET)
    if path.p[0] != 0x2F and not (is_exactly(path, b"*") and is_exactly(&r.parts[PSEUDO_METHOD], b"OPTIONS")):
        return refuse(r, BAD, FAULT_TARGET)
    if has(r, 1 << PSEUDO_AUTHORITY) and not authority_parse(part.p, part.n, part.n + SLACK, &authority):
        return refuse(r, BAD, FAULT_HOST)
    return True


cdef bint request_start(Reading* r) noexcept nogil:
    """The request line, Host and what an extended CONNECT becomes."""
    cdef const Part* method = &r.parts[PSEUDO_METHOD]
    cdef const Part* authority = &r.parts[PSEUDO_AUTHORITY]
    cdef const Part* target = &r.parts[PSEUDO_PATH]
    cdef bint connects = is_exactly(method, b"CONNECT")
    if not has(r, 1 << PSEUDO_METHOD) or not (connects or has(r, TARGET_PARTS)):
        return refuse(r, BAD, FAULT_PSEUDO)
    if method.n == 0 or not fm_is_token(method.p, method.n, method.n + SLACK):
        return refuse(r, BAD, FAULT_METHOD)
    if connects and not connect_check(r):
        return False
    if not connects and has(r, 1 << PSEUDO_PROTOCOL):
        return refuse(r, BAD, FAULT_PSEUDO)
    if r.flags & BLOCK_CONNECT:
        target = authority
    elif not target_check(r):
        return False
    if r.flags & BLOCK_EXTENDED:
        put_text(r, b"GET ")
    else:
        put(r, method.p, method.n)
        put_text(r, b" ")
    put(r, target.p, target.n)
    if has(r, 1 << PSEUDO_AUTHORITY):
        put_text(r, b" HTTP/1.1\r\nHost: ")
        put(r, authority.p, authority.n)
        lines_add(r, 1)
    else:
        put_text(r, b" HTTP/1.1")
    if r.flags & BLOCK_EXTENDED:
        put_text(r, b"\r\nConnection: Upgrade\r\nUpgrade: ")
        put(r, r.parts[PSEUDO_PROTOCOL].p, r.parts[PSEUDO_PROTOCOL].n)
        lines_add(r, 2)
    put_text(r, b"\r\n")
    return r.rc == OK


cdef bint response_start(Reading* r) noexcept nogil:
    """RFC 9113 8.3.2. There is no 101 in HTTP/2 (8.6)."""
    cdef const Part* part = &r.parts[PSEUDO_STATUS]
    cdef const u16* reason
    if not has(r, 1 << PSEUDO_STATUS):
        return refuse(r, BAD, FAULT_PSEUDO)
    if part.n != 3 or not (
        0x31 <= part.p[0] <= 0x39 and 0x30 <= part.p[1] <= 0x39 and 0x30 <= part.p[2] <= 0x39
    ):
        return refuse(r, BAD, FAULT_STATUS_LINE)
    r.status = <u16>((part.p[0] - 0x30) * 100 + (part.p[1] - 0x30) * 10 + (part.p[2] - 0x30))
    if r.status == 101:
        return refuse(r, BAD, FAULT_STATUS_LINE)
    if r.status < 200:
        r.flags |= BLOCK_INTERIM
    put_text(r, b"HTTP/1.1 ")
    put(r, part.p, 3)
    put_text(r, b" ")
    if r.status < REASONS_END:
        reason = fm_reasons[r.status - 100]
        put(r, <const u8*>fm_reason_text + reason[0], reason[1])
    put_text(r, b"\r\n")
    return r.rc == OK


cdef inline bint start(Reading* r) noexcept nogil:
    r.started = True
    if r.kind == BLOCK_REQUEST:
        return request_start(r)
    return r.kind == BLOCK_TRAILERS or response_start(r)


cdef bint host_read(Reading* r, const u8* value, size_t n) noexcept nogil:
    """Whether its line stays: :authority is the Host (RFC 9113 8.3.1), which must not contradict it."""
    cdef Authority said, wanted
    cdef const Part* authority = &r.parts[PSEUDO_AUTHORITY]
    cdef i32 port = 443 if r.parts[PSEUDO_SCHEME].n == 5 else 80
    if (r.seen >> FIELD_HOST) & 1:
        return refuse(r, BAD, FAULT_HOST_REPEATED)
    r.seen |= 1 << FIELD_HOST
    if not authority_parse(value, n, n + SLACK, &said):
        return refuse(r, BAD, FAULT_HOST)
    if not has(r, 1 << PSEUDO_AUTHORITY):
        return True
    if r.flags & BLOCK_CONNECT:
        port = PORT_NONE
    if not authority_parse(authority.p, authority.n, authority.n + SLACK, &wanted) or not authority_agrees(
        authority.p, &wanted, value, &said, port
    ):
        return refuse(r, BAD, FAULT_HOST_MISMATCH)
    return False


cdef bint cookie_read(Reading* r, u8* value, size_t n) noexcept nogil:
    """Whether its line stays: the first does, the values of the others are added to it (RFC 9113 8.2.3)."""
    cdef u8* end = r.cookie_end
    if end == NULL:
        r.cookie_end = value + n
        return True
    if r.at != end + 2:
        keep(r, &r.loose, b"; ", value, n)
        return False
    end[0] = 0x3B
    end[1] = 0x20
    memmove(end + 2, value, n)
    r.cookie_end = end + 2 + n
    r.cookie_end[0] = 0x0D
    r.cookie_end[1] = 0x0A
    r.at = r.cookie_end + 2
    return False


cdef bint length_read(Reading* r, const u8* value, size_t n) noexcept nogil:
    """Content-Length: once, a number, and none but 0 where there is no content."""
    cdef u64 length = 0
    if r.kind == BLOCK_TRAILERS:
        return True
    if (r.seen >> FIELD_CONTENT_LENGTH) & 1 or not number_parse(value, n, &length):
        return refuse(r, BAD, FAULT_CONTENT_LENGTH)
    if length and r.flags & (BLOCK_CONNECT | BLOCK_EXTENDED):
        return refuse(r, BAD, FAULT_CONTENT_LENGTH)
    r.seen |= 1 << FIELD_CONTENT_LENGTH
    return True


cdef bint special_read(Reading* r, u8* value, size_t n, u8 ident) noexcept nogil:
    """Whether the line stays as it is."""
    if (<u32>FORBIDDEN >> ident) & 1:
        return refuse(r, BAD, FAULT_CONNECTION_FIELD)
    if ident == FIELD_TE and not (n == 8 and memcmp(value, b"trailers", 8) == 0):
        return refuse(r, BAD, FAULT_CONNECTION_FIELD)
    if ident == FIELD_CONTENT_LENGTH:
        return length_read(r, value, n)
    if ident == FIELD_CONTENT_TYPE and starts_with(value, n, b"application/grpc"):
        if n == 16 or value[16] == 0x2B or value[16] == 0x3B or is_blank(value[16]):
            r.flags |= BLOCK_GRPC
    if r.kind != BLOCK_REQUEST:
        return True
    if ident == FIELD_HOST:
        return host_read(r, value, n)
    return ident != FIELD_COOKIE or cookie_read(r, value, n)


cdef inline bint regular_read(Reading* r, const HpackField* f) noexcept nogil:
    """Any other field as a line. It is written first and looked at in place, where loads may go beyond it."""
    cdef size_t name = f.name_len, n = f.value_len
    cdef u8* line = r.at
    cdef u8* value = line + name + 2
    cdef u8 ident = STATIC_IDS[f.index]
    if name + n + 4 > <size_t>(r.end - line):
        return refuse(r, LIMIT, FAULT_HEAD_TOO_LONG)
    fm_copy(line, f.name, name)
    fm_copy(value, f.value, n)
    if f.index == 0:
        if name - 1 >= NAME_MAX or not fm_is_lower_token(line, name, name + SLACK):  # or empty: 0 - 1
            return refuse(r, BAD, FAULT_FIELD_NAME)
        ident = fm_field_id(line, name)
    if n and (is_blank(value[0]) or is_blank(value[n - 1]) or fm_has_ctl(value, n, n + SLACK)):
        return refuse(r, BAD, FAULT_FIELD_VALUE)
    line[name] = 0x3A
    line[name + 1] = 0x20
    value[n] = 0x0D
    value[n + 1] = 0x0A
    if (<u32>SPECIAL >> ident) & 1 and not special_read(r, value, n, ident):
        return r.rc == OK
    if r.flags & BLOCK_EXTENDED and name == 17 and memcmp(line, b"sec-websocket-key", 17) == 0:
        r.keyed = True
    r.at = value + n + 2
    return lines_add(r, 1)


cdef inline bint field_read(Reading* r, const HpackField* f) noexcept nogil:
    r.list_bytes += <u64>f.name_len + f.value_len + 32
    if r.list_bytes > r.limits.list_bytes:
        return refuse(r, LIMIT, FAULT_HEAD_TOO_LONG)
    if f.never:
        r.flags |= BLOCK_NEVER
    if (f.index and f.index < STATIC_FIELDS) or (f.index == 0 and f.name_len and f.name[0] == 0x3A):
        return pseudo_read(r, f)
    if not r.started and not start(r):
        return False
    return regular_read(r, f)


cdef void loose_join(Reading* r) noexcept nogil:
    """Cookies that came apart from the first one, into its line."""
    cdef size_t n = r.loose.n
    if n > <size_t>(r.end - r.at):
        refuse(r, LIMIT, FAULT_HEAD_TOO_LONG)
        return
    memmove(r.cookie_end + n, r.cookie_end, <size_t>(r.at - r.cookie_end))
    memcpy(r.cookie_end, r.loose.p, n)
    r.at += n


cdef void key_add(Reading* r) noexcept nogil:
    """HTTP/2 needs no key (RFC 8441 5), an HTTP/1.1 server does."""
    cdef u8[WEBSOCKET_KEY_BYTES] key
    websocket_key(<u64><uintptr_t>r.text, key)
    put_text(r, b"Sec-WebSocket-Key: ")
    put(r, key, WEBSOCKET_KEY_BYTES)
    put_text(r, b"\r\n")
    lines_add(r, 1)


cdef bint finish(Reading* r) noexcept nogil:
    if not r.started and not start(r):
        return False
    if r.kind == BLOCK_REQUEST and not (has(r, 1 << PSEUDO_AUTHORITY) or (r.seen >> FIELD_HOST) & 1):
        return refuse(r, BAD, FAULT_HOST_MISSING)
    if r.loose.n:
        loose_join(r)
    if r.flags & BLOCK_EXTENDED and not r.keyed and is_word(
        r.parts[PSEUDO_PROTOCOL].p, r.parts[PSEUDO_PROTOCOL].n, b"websocket"
    ):
        key_add(r)
    put_text(r, b"\r\n")
    return r.rc == OK


cdef inline void reading_init(Reading* r, const u8* block, size_t n, u8 kind, u8* out, size_t room) noexcept nogil:
    cdef size_t half = room // 2
    memset(r, 0, sizeof(Reading))
    r.text = out
    r.at = out
    r.end = out + half - SLACK
    r.reader.data = block
    r.reader.n = n
    r.reader.space = out + half
    r.reader.room = room - half - SLACK
    r.kind = kind


cdef int block_read(HpackDecoder* d, const u8* block, size_t n, u8 kind, bint extended, u8* out, size_t room,
                    const BlockLimits* limits, HeadBlock* result) noexcept nogil:
    cdef Reading r
    cdef HpackField f
    cdef int rc
    memset(result, 0, sizeof(HeadBlock))
    reading_init(&r, block, n, kind, out, room)
    r.limits = limits
    r.extended = extended
    while True:
        rc = hpack_read(d, &r.reader, &f)
        if rc == OK:
            if r.rc == OK:  # else the field is read for the table only
                field_read(&r, &f)
        elif rc == LIMIT:
            refuse(&r, LIMIT, FAULT_HEAD_TOO_LONG)
        else:
            break
    if rc != CLOSED:
        return CLOSED
    if r.rc == OK:
        finish(&r)
    result.n = <u32>(r.at - r.text)
    result.flags = r.flags
    result.status = r.status
    result.fault = r.fault
    return r.rc


static_init()
