from libc.string cimport memset

from fastmesh._core.base.status cimport BAD, OK
from fastmesh._core.base.types cimport i32, u8, u16, u32
from fastmesh._core.wire.grpc_web cimport (
    WEB_BINARY, WEB_FRAME_BYTES, WEB_GRPC_BYTES, WEB_NONE, WEB_TEXT, WEB_UNIT, WebFrames, WebMedia,
)
from fastmesh._core.wire.headers cimport FIELD_CONTENT_TYPE
from fastmesh._core.wire.http1_fields cimport field_find
from fastmesh._core.wire.http1_types cimport Http1Head
from fastmesh._core.wire.token cimport list_next, starts_with

cdef enum:
    PAD = 64            # value of "=" in VALUES
    NO_TEXT = 255       # of what is not in the alphabet
    GROUP = 3           # bytes of a unit
    ONE_PAD_LEFT = 4    # state of the scan: "xx=" was read

# RFC 4648 4.
cdef const u8* ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef u8[256] VALUES


cdef void build_values() noexcept nogil:
    cdef u8 i
    memset(VALUES, NO_TEXT, sizeof(VALUES))
    for i in range(64):
        VALUES[ALPHABET[i]] = i
    VALUES[0x3D] = PAD


# Whether what follows a media type's own words may: a format, parameters or nothing.
cdef inline bint is_end_of_type(const u8* p, size_t n) noexcept nogil:
    return n == 0 or p[0] == 0x2B or p[0] == 0x3B or p[0] == 0x20 or p[0] == 0x09


cdef WebMedia media_of(const u8* p, size_t n) noexcept nogil:
    if not starts_with(p, n, b"application/grpc-web"):
        return WEB_NONE
    if is_end_of_type(p + 20, n - 20):
        return WEB_BINARY
    return WEB_TEXT if starts_with(p + 20, n - 20, b"-text") and is_end_of_type(p + 25, n - 25) else WEB_NONE


# The one Content-Type; with several of them nobody knows what the body is.
cdef i32 content_type(const Http1Head* head) noexcept nogil:
    cdef i32 found = -1
    cdef u16 i
    for i in range(head.nfields):
        if head.fields[i].id == FIELD_CONTENT_TYPE:
            if found >= 0:
                return -1
            found = i
    return found


cdef WebMedia web_media(const Http1Head* head, const u8* data, i32* type) noexcept nogil:
    cdef i32 at = content_type(head)
    type[0] = at
    return media_of(data + head.fields[at].value_off, head.fields[at].value_len) if at >= 0 else WEB_NONE


cdef bint web_wants_text(const Http1Head* head, const u8* data, WebMedia request) noexcept nogil:
    cdef i32 at = field_find(head, data, b"accept")
    cdef size_t next = 0, off = 0, n = 0
    cdef const u8* value
    cdef WebMedia named
    if at >= 0:
        value = data + head.fields[at].value_off
        while list_next(value, head.fields[at].value_len, &next, &off, &n):
            named = media_of(value + off, n)
            if named != WEB_NONE:
                return named == WEB_TEXT
    return request == WEB_TEXT


cdef i32 web_grpc_type(const Http1Head* head, const u8* data) noexcept nogil:
    cdef i32 at = content_type(head)
    cdef const u8* value
    cdef size_t n
    if at < 0:
        return -1
    value = data + head.fields[at].value_off
    n = head.fields[at].value_len
    if not starts_with(value, n, b"application/grpc"):
        return -1
    return at if is_end_of_type(value + WEB_GRPC_BYTES, n - WEB_GRPC_BYTES) else -1


# --- messages

# A frame's header, as far as it is there: bytes read.
cdef size_t header_pass(WebFrames* f, const u8* data, size_t n) noexcept nogil:
    cdef size_t at = 0
    while f.have < WEB_FRAME_BYTES and at < n:
        # The flags come first and are pushed out by the length.
        f.left = f.left << 8 | data[at]
        f.have += 1
        at += 1
    return at


cdef void web_frames_pass(WebFrames* f, const u8* data, size_t n) noexcept nogil:
    cdef size_t at = 0
    while at < n:
        at += header_pass(f, data + at, n - at)
        if f.have < WEB_FRAME_BYTES:
            return
        if f.left > n - at:
            f.left -= <u32>(n - at)
            return
        at += f.left
        f.left = 0
        f.have = 0


# How many of the n bytes the message has that this one belongs to; *ends: it has no more.
cdef size_t message_rest(const WebFrames* f, const u8* data, size_t n, bint* ends) noexcept nogil:
    cdef WebFrames look = f[0]
    cdef size_t at = header_pass(&look, data, n)
    ends[0] = look.have == WEB_FRAME_BYTES and look.left <= n - at
    return at + look.left if ends[0] else n


cdef void web_frame_write(u8* out, u8 flags, u32 n) noexcept nogil:
    out[0] = flags
    out[1] = <u8>(n >> 24)
    out[2] = <u8>(n >> 16 & 255)
    out[3] = <u8>(n >> 8 & 255)
    out[4] = <u8>(n & 255)


# --- text

cdef int web_text_scan(u8* state, const u8* text, size_t n) noexcept nogil:
    cdef u8 at = state[0], value
    cdef size_t i
    for i in range(n):
        value = VALUES[text[i]]
        if value < PAD and at < ONE_PAD_LEFT:
            at = <u8>(at + 1 & 3)
        elif value == PAD and (at == 3 or at == ONE_PAD_LEFT):
            at = 0
        elif value == PAD and at == 2:
            at = ONE_PAD_LEFT
        else:
            return BAD
    state[0] = at
    return OK


cdef size_t web_text_decode(const u8* text, size_t n, u8* out, size_t room, size_t* used) noexcept nogil:
    cdef size_t at = 0, written = 0, take
    cdef u32 bits
    while n - at >= WEB_UNIT:
        take = <size_t>GROUP - <size_t>(text[at + 3] == 0x3D) - <size_t>(text[at + 2] == 0x3D)
        if take > room - written:
            break
        bits = (<u32>(VALUES[text[at]] & 63) << 18 | <u32>(VALUES[text[at + 1]] & 63) << 12
                | <u32>(VALUES[text[at + 2]] & 63) << 6 | <u32>(VALUES[text[at + 3]] & 63))
        out[written] = <u8>(bits >> 16)
        if take > 1:
            out[written + 1] = <u8>(bits >> 8 & 255)
        if take > 2:
            out[written + 2] = <u8>(bits & 255)
        written += take
        at += WEB_UNIT
    used[0] = at
    return written


cdef inline void put_unit(u8* out, u32 bits) noexcept nogil:
    out[0] = ALPHABET[bits >> 18]
    out[1] = ALPHABET[bits >> 12 & 63]
    out[2] = ALPHABET[bits >> 6 & 63]
    out[3] = ALPHABET[bits & 63]


# The one or two bytes at the end of a message.
cdef inline void put_last(u8* out, const u8* data, size_t n) noexcept nogil:
    cdef u32 bits = <u32>data[0] << 16
    if n > 1:
        bits |= <u32>data[1] << 8
    put_unit(out, bits)
    out[3] = 0x3D
    if n == 1:
        out[2] = 0x3D


# Bytes of one message, or of its beginning (not `whole`): bytes taken, four characters for every three.
cdef size_t encode_part(const u8* data, size_t n, bint whole, u8* out, size_t units) noexcept nogil:
    cdef size_t groups = n // GROUP, i
    if groups > units:
        groups = units
    for i in range(groups):
        put_unit(out + WEB_UNIT * i, <u32>data[GROUP * i] << 16 | <u32>data[GROUP * i + 1] << 8 | data[GROUP * i + 2])
    if not whole or groups == units or n == GROUP * groups:
        return GROUP * groups
    put_last(out + WEB_UNIT * groups, data + GROUP * groups, n - GROUP * groups)
    return n


cdef size_t web_text_encode(WebFrames* f, const u8* data, size_t n, bint last, u8* out, size_t room,
                            size_t* used) noexcept nogil:
    cdef size_t at = 0, written = 0, rest, took
    cdef bint ends = False
    while at < n and room - written >= WEB_UNIT:
        rest = message_rest(f, data + at, n - at, &ends)
        took = encode_part(data + at, rest, ends or last, out + written, (room - written) // WEB_UNIT)
        if took == 0:
            break
        web_frames_pass(f, data + at, took)
        at += took
        written += (took + GROUP - 1) // GROUP * WEB_UNIT
    used[0] = at
    return written


build_values()
