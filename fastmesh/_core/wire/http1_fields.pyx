from libc.stdint cimport INT64_MAX
from libc.string cimport strlen
from fastmesh._core.base.types cimport u8, u16, u32, u64, i32
from fastmesh._core.ffi.simd cimport fm_field_id, fm_is_token
from fastmesh._core.wire.authority cimport PORT_NONE, Authority, authority_agrees, authority_parse
from fastmesh._core.wire.headers cimport (
    FIELD_AUTHORIZATION, FIELD_CONNECTION, FIELD_CONTENT_LENGTH, FIELD_CONTENT_TYPE, FIELD_COOKIE, FIELD_DATE,
    FIELD_EXPECT, FIELD_FORWARDED, FIELD_HOST, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_MAX_FORWARDS,
    FIELD_OTHER, FIELD_PROXY_AUTHORIZATION, FIELD_PROXY_CONNECTION, FIELD_TE, FIELD_TRAILER, FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE, FIELD_VIA, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO, Field,
)
from fastmesh._core.wire.http1_fields cimport CONNECTION_NAMES_MAX, HOP_BY_HOP, FieldFacts
from fastmesh._core.wire.http1_types cimport (
    FAULT_CODING, FAULT_CODING_UNKNOWN, FAULT_CONNECTION, FAULT_CONTENT_LENGTH, FAULT_HOST, FAULT_HOST_MISMATCH,
    FAULT_HOST_MISSING, FAULT_HOST_REPEATED, FAULT_LENGTH_AND_CODING, FAULT_NONE, FAULT_UPGRADE, FRAMING_CHUNKED,
    FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_NONE, HEAD_CLOSE, HEAD_DROPS, HEAD_EXPECT_CONTINUE, HEAD_HAS_DATE,
    HEAD_HAS_LENGTH, HEAD_HAS_VIA, HEAD_KEEP_ALIVE, HEAD_MAX_FORWARDS, HEAD_TE_TRAILERS, HEAD_UPGRADE,
    METHOD_CONNECT, TARGET_ABSOLUTE, TARGET_AUTHORITY, Http1Head,
)
from fastmesh._core.wire.token cimport is_blank, is_word, list_has, list_next, same_folded, starts_with

cdef enum:
    # Connection may not name these: they are for every recipient, and a client that could have them removed could
    # change what the origin believes (RFC 9110 7.6.1).
    END_TO_END = (
        1 << FIELD_HOST | 1 << FIELD_CONTENT_LENGTH | 1 << FIELD_TRANSFER_ENCODING | 1 << FIELD_EXPECT
        | 1 << FIELD_DATE | 1 << FIELD_VIA | 1 << FIELD_MAX_FORWARDS | 1 << FIELD_FORWARDED
        | 1 << FIELD_X_FORWARDED_FOR | 1 << FIELD_X_FORWARDED_PROTO | 1 << FIELD_CONTENT_TYPE
        | 1 << FIELD_COOKIE | 1 << FIELD_AUTHORIZATION
    )
    NOT_IN_TRAILERS = (
        HOP_BY_HOP | END_TO_END | 1 << FIELD_TRAILER | 1 << FIELD_PROXY_AUTHORIZATION
    )
    HINTS = (
        1 << FIELD_DATE | 1 << FIELD_VIA | 1 << FIELD_TE | 1 << FIELD_EXPECT | 1 << FIELD_MAX_FORWARDS
    )
    WANTS_KEEP_ALIVE = 1
    WANTS_UPGRADE = 2


cdef inline bint has(const FieldFacts* facts, u8 ident) noexcept nogil:
    return (facts.seen >> ident) & 1


cdef inline u16 last_of(const FieldFacts* facts, u8 ident) noexcept nogil:
    return facts.last[ident]


cdef inline bint repeated(const FieldFacts* facts, u8 ident) noexcept nogil:
    return (facts.repeated >> ident) & 1


cdef bint number_parse(const u8* p, size_t n, u64* out) noexcept nogil:
    cdef u64 value = 0
    cdef u8 digit
    cdef size_t i
    for i in range(n):
        digit = <u8>(p[i] - 0x30)
        if digit > 9 or value > <u64>INT64_MAX // 10:
            return False
        value = value * 10 + digit
    out[0] = value
    return n > 0 and value <= <u64>INT64_MAX  # bound: ten times a tenth of it and 9 is below 2^64


cdef u8 coding_check(const u8* p, size_t n, bint* chunked, bint* unknown) noexcept nogil:
    """One Transfer-Encoding value. Empty elements are refused: no sender makes them, and readers differ on them."""
    cdef size_t at = 0, off = 0, length = 0, name
    while list_next(p, n, &at, &off, &length):
        name = 0
        while name < length and p[off + name] != 0x3B and not is_blank(p[off + name]):
            name += 1
        if not fm_is_token(p + off, name, name) or name == 0 or chunked[0]:
            return FAULT_CODING
        if is_word(p + off, name, b"chunked"):
            if name != length:
                return FAULT_CODING
            chunked[0] = True
        else:
            if not parameters_valid(p + off + name, length - name):
                return FAULT_CODING
            unknown[0] = True
    return FAULT_NONE


cdef bint parameters_valid(const u8* p, size_t n) noexcept nogil:
    """*( OWS ";" OWS token BWS "=" BWS token ). A quoted value is refused: commas are split before quotes are seen."""
    cdef size_t i = 0, start, part
    while i < n:
        for part in range(2):
            while i < n and is_blank(p[i]):
                i += 1
            if i == n or p[i] != (0x3B if part == 0 else 0x3D):
                return False
            i += 1
            while i < n and is_blank(p[i]):
                i += 1
            start = i
            while i < n and fm_is_token(p + i, 1, 1):
                i += 1
            if i == start:
                return False
    return True


cdef u8 framing_settle(Http1Head* head, const u8* data, const FieldFacts* facts, bint request) noexcept nogil:
    """RFC 9112 6.1 to 6.3, refusing every message whose length two readers could see differently."""
    cdef const Field* field
    cdef bint chunked = False, unknown = False
    cdef u16 i
    head.framing = FRAMING_NONE if request else FRAMING_CLOSE
    if has(facts, FIELD_CONTENT_LENGTH):
        field = &head.fields[last_of(facts, FIELD_CONTENT_LENGTH)]
        if repeated(facts, FIELD_CONTENT_LENGTH) or not number_parse(
            data + field.value_off, field.value_len, &head.content_length
        ):
            return FAULT_CONTENT_LENGTH
        if has(facts, FIELD_TRANSFER_ENCODING):
            return FAULT_LENGTH_AND_CODING
        head.flags |= HEAD_HAS_LENGTH
        head.framing = FRAMING_LENGTH if head.content_length else FRAMING_NONE
    if has(facts, FIELD_TRANSFER_ENCODING):
        if head.minor == 0:
            return FAULT_CODING
        for i in range(head.nfields):
            field = &head.fields[i]
            if field.id == FIELD_TRANSFER_ENCODING and coding_check(
                data + field.value_off, field.value_len, &chunked, &unknown
            ) != FAULT_NONE:
                return FAULT_CODING
        if unknown:
            return FAULT_CODING_UNKNOWN
        head.framing = FRAMING_CHUNKED
    if request and head.method == METHOD_CONNECT and head.framing != FRAMING_NONE:
        # CONNECT has no content, and what follows it is the tunnel's (RFC 9110 9.3.6): a length would be a lie.
        return FAULT_CODING if head.framing == FRAMING_CHUNKED else FAULT_CONTENT_LENGTH
    return FAULT_NONE


cdef bint host_agrees(const Http1Head* head, const u8* data, const u8* host, const Authority* said) noexcept nogil:
    """Whether a Host value names what the target names."""
    cdef Authority wanted
    cdef const u8* authority = data + head.authority_off
    cdef int port = 80
    if not authority_parse(authority, head.authority_len, head.authority_len, &wanted):
        return False
    if head.form == TARGET_AUTHORITY:
        port = PORT_NONE
    elif starts_with(data + head.target_off, head.target_len, b"https"):
        port = 443
    return authority_agrees(authority, &wanted, host, said, port)


cdef u8 host_settle(Http1Head* head, const u8* data, const FieldFacts* facts) noexcept nogil:
    """RFC 9112 3.2. An empty value is for a target URI without authority; http and https always have one, and an empty
    one is to be rejected (RFC 9110 4.2.1)."""
    cdef const Field* field
    cdef Authority said
    cdef bint target_names = head.form == TARGET_ABSOLUTE or head.form == TARGET_AUTHORITY
    if not has(facts, FIELD_HOST):
        return FAULT_HOST_MISSING if head.minor else FAULT_NONE
    if repeated(facts, FIELD_HOST):
        return FAULT_HOST_REPEATED
    field = &head.fields[last_of(facts, FIELD_HOST)]
    if not authority_parse(data + field.value_off, field.value_len, head.head_bytes - field.value_off, &said):
        return FAULT_HOST
    if target_names:
        return FAULT_NONE if host_agrees(head, data, data + field.value_off, &said) else FAULT_HOST_MISMATCH
    head.authority_off = field.value_off
    head.authority_len = field.value_len
    head.host_len = <u32>said.host_len
    return FAULT_NONE


cdef void drop_named(Http1Head* head, const u8* data, const u8* name, size_t n) noexcept nogil:
    cdef Field* field
    cdef u16 i
    for i in range(head.nfields):
        field = &head.fields[i]
        if field.name_len == n and same_folded(data + field.name_off, name, n):
            field.drop = 1
            head.flags |= HEAD_DROPS


cdef u8 option_settle(Http1Head* head, const u8* data, const u8* p, size_t n, u32* wants) noexcept nogil:
    """One connection option: a token, and what it asks for."""
    cdef u8 ident
    if not fm_is_token(p, n, n):
        return FAULT_CONNECTION
    ident = fm_field_id(p, n)
    if (<u32>END_TO_END >> ident) & 1 or starts_with(p, n, b"content-") or is_word(p, n, b"cache-control"):
        return FAULT_CONNECTION
    if is_word(p, n, b"close"):
        head.flags |= HEAD_CLOSE
    elif ident == FIELD_KEEP_ALIVE:
        wants[0] |= WANTS_KEEP_ALIVE
    elif ident == FIELD_UPGRADE:
        wants[0] |= WANTS_UPGRADE
    elif not (<u32>HOP_BY_HOP >> ident) & 1:
        drop_named(head, data, p, n)
    return FAULT_NONE


cdef u8 connection_settle(Http1Head* head, const u8* data, const FieldFacts* facts, u32* wants) noexcept nogil:
    """Every Connection field (RFC 9110 7.6.1); empty elements are lawful."""
    cdef const Field* field
    cdef const u8* value
    cdef size_t at, off = 0, length = 0, names = 0
    cdef u16 i
    if has(facts, FIELD_CONNECTION):
        i = 0 if repeated(facts, FIELD_CONNECTION) else last_of(facts, FIELD_CONNECTION)
        for i in range(i, <u16>(last_of(facts, FIELD_CONNECTION) + 1)):
            field = &head.fields[i]
            if field.id != FIELD_CONNECTION:
                continue
            value = data + field.value_off
            at = 0
            while list_next(value, field.value_len, &at, &off, &length):
                names += length > 0
                if names > CONNECTION_NAMES_MAX:
                    return FAULT_CONNECTION
                if length and option_settle(head, data, value + off, length, wants) != FAULT_NONE:
                    return FAULT_CONNECTION
    # RFC 9112 9.3: close ends it; 1.1 persists; 1.0 persists when it says keep-alive.
    if not head.flags & HEAD_CLOSE and (head.minor or wants[0] & WANTS_KEEP_ALIVE):
        head.flags |= HEAD_KEEP_ALIVE
    return FAULT_NONE


cdef u8 upgrade_settle(Http1Head* head, const u8* data, const FieldFacts* facts, bint request) noexcept nogil:
    """RFC 9110 7.8: a list of token ["/" token]. h2c is not offered: that upgrade would end at this hop."""
    cdef const Field* field = &head.fields[last_of(facts, FIELD_UPGRADE)]
    cdef const u8* value = data + field.value_off
    cdef size_t at = 0, off = 0, length = 0, name
    cdef bint other = False
    if repeated(facts, FIELD_UPGRADE):
        return FAULT_UPGRADE  # lawful as a list, but two fields read as one value by some and as the last by others
    while list_next(value, field.value_len, &at, &off, &length):
        if length == 0:
            continue
        name = 0
        while name < length and value[off + name] != 0x2F:
            name += 1
        if name == 0 or not fm_is_token(value + off, name, name):
            return FAULT_UPGRADE
        if name < length and (
            name + 1 == length or not fm_is_token(value + off + name + 1, length - name - 1, length - name - 1)
        ):
            return FAULT_UPGRADE
        other |= not is_word(value + off, name, b"h2c")
    if not other:
        return FAULT_NONE
    if request and (head.framing != FRAMING_NONE or head.method == METHOD_CONNECT):
        return FAULT_UPGRADE
    head.flags |= HEAD_UPGRADE
    head.upgrade_off = field.value_off
    head.upgrade_len = field.value_len
    return FAULT_NONE


cdef void te_settle(Http1Head* head, const u8* data) noexcept nogil:
    cdef const Field* field
    cdef u16 i
    for i in range(head.nfields):
        field = &head.fields[i]
        if field.id == FIELD_TE and list_has(data + field.value_off, field.value_len, b"trailers", 8):
            head.flags |= HEAD_TE_TRAILERS


cdef void hints_settle(Http1Head* head, const u8* data, const FieldFacts* facts) noexcept nogil:
    """Fields that change no framing: an unlawful one of these is passed on and means nothing here."""
    cdef const Field* field
    cdef u64 number = 0
    if has(facts, FIELD_DATE):
        head.flags |= HEAD_HAS_DATE
    if has(facts, FIELD_VIA):
        head.flags |= HEAD_HAS_VIA
    if has(facts, FIELD_TE):
        te_settle(head, data)
    if has(facts, FIELD_EXPECT) and head.minor:  # RFC 9110 10.1.1: ignored in HTTP/1.0
        field = &head.fields[last_of(facts, FIELD_EXPECT)]
        if is_word(data + field.value_off, field.value_len, b"100-continue"):
            head.flags |= HEAD_EXPECT_CONTINUE
    if has(facts, FIELD_MAX_FORWARDS) and not repeated(facts, FIELD_MAX_FORWARDS):
        field = &head.fields[last_of(facts, FIELD_MAX_FORWARDS)]
        if number_parse(data + field.value_off, field.value_len, &number):
            head.flags |= HEAD_MAX_FORWARDS
            head.max_forwards = <u8>(number if number < 255 else 255)


cdef u8 fields_settle(Http1Head* head, const u8* data, const FieldFacts* facts, bint request) noexcept nogil:
    cdef u32 wants = 0
    cdef u8 fault = framing_settle(head, data, facts, request)
    if fault == FAULT_NONE and request:
        fault = host_settle(head, data, facts)
    if fault != FAULT_NONE:
        return fault
    if facts.seen & HOP_BY_HOP:
        head.flags |= HEAD_DROPS
    fault = connection_settle(head, data, facts, &wants)
    if fault == FAULT_NONE and wants & WANTS_UPGRADE and has(facts, FIELD_UPGRADE) and head.minor:
        fault = upgrade_settle(head, data, facts, request)  # RFC 9110 7.8: ignored in HTTP/1.0
    if fault == FAULT_NONE and facts.seen & HINTS:
        hints_settle(head, data, facts)
    return fault


cdef bint forbidden_in_trailers(const u8* name, size_t n, u8 ident) noexcept nogil:
    if (<u32>NOT_IN_TRAILERS >> ident) & 1:
        return True
    return ident == FIELD_OTHER and (
        starts_with(name, n, b"content-") or is_word(name, n, b"cache-control") or is_word(name, n, b"set-cookie")
        or is_word(name, n, b"pragma") or is_word(name, n, b"range") or starts_with(name, n, b"if-")
        or is_word(name, n, b"www-authenticate") or starts_with(name, n, b"proxy-auth")
        or is_word(name, n, b"age") or is_word(name, n, b"expires") or is_word(name, n, b"location")
        or is_word(name, n, b"retry-after") or is_word(name, n, b"vary")
    )


cdef void trailers_settle(Http1Head* head, const u8* data) noexcept nogil:
    cdef Field* field
    cdef u16 i
    for i in range(head.nfields):
        field = &head.fields[i]
        field.drop = <u8>forbidden_in_trailers(data + field.name_off, field.name_len, field.id)
        if field.drop:
            head.flags |= HEAD_DROPS


cdef i32 field_find(const Http1Head* head, const u8* data, const char* name) noexcept nogil:
    cdef size_t n = strlen(name)
    cdef u16 i
    for i in range(head.nfields):
        if head.fields[i].name_len == n and same_folded(data + head.fields[i].name_off, <const u8*>name, n):
            return i
    return -1
