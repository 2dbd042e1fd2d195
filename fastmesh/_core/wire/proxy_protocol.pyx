from libc.string cimport memcmp, memcpy, memset
from fastmesh._core.base.status cimport AGAIN, BAD, FULL, LIMIT, OK
from fastmesh._core.base.text cimport Text, ip_parse, text_init, text_ip, text_put, text_str, text_u64
from fastmesh._core.base.types cimport i64, u8, u16, u32
from fastmesh._core.wire.http2_frame cimport be16

cdef const char* SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
cdef const char* V1_START = b"PROXY "

cdef enum:
    SIGNATURE_BYTES = 12
    V1_START_BYTES = 6
    VERSION = 0x20
    COMMAND_LOCAL = 0
    COMMAND_PROXY = 1
    FAMILY_UNSPEC = 0
    FAMILY_INET = 1
    FAMILY_INET6 = 2
    FAMILY_UNIX = 3
    PROTOCOL_UNSPEC = 0
    PROTOCOL_STREAM = 1
    PROTOCOL_DGRAM = 2


cdef inline size_t address_bytes(u8 family) noexcept nogil:
    """Of one of the two addresses."""
    return PROXY_PATH_BYTES if family == PROXY_UNIX else 16 if family == PROXY_INET6 else 4


cdef inline size_t block_bytes(u8 family) noexcept nogil:
    """Both addresses with their ports."""
    if family == PROXY_NONE:
        return 0
    return 2 * address_bytes(family) + (0 if family == PROXY_UNIX else 4)


# Version 1 (2.1)

cdef bint field_next(const u8* p, size_t n, size_t* at, size_t* off, size_t* length) noexcept nogil:
    """The field at *at, up to a single SP or the end; *at: behind that SP, past n after the last. Empty: False."""
    cdef size_t i = at[0]
    if i >= n:
        return False
    off[0] = i
    while i < n and p[i] != 0x20:
        i += 1
    length[0] = i - off[0]
    at[0] = i + 1
    return length[0] > 0


cdef bint port_parse(const u8* p, size_t n, u16* port) noexcept nogil:
    cdef u32 value = 0
    cdef size_t i
    if n > 5 or (n > 1 and p[0] == 0x30):
        return False
    for i in range(n):
        if not 0x30 <= p[i] <= 0x39:
            return False
        value = value * 10 + (p[i] - 0x30)
    port[0] = <u16>(value & 0xFFFF)
    return value <= 0xFFFF


cdef bint line_parse(ProxyHeader* out, const u8* p, size_t n) noexcept nogil:
    """What follows "PROXY " before the CRLF."""
    cdef size_t at = 0, off = 0, length = 0
    if not field_next(p, n, &at, &off, &length):
        return False
    if length == 7 and memcmp(p, b"UNKNOWN", 7) == 0:
        return True
    if length != 4 or memcmp(p, b"TCP", 3) != 0 or (p[3] != 0x34 and p[3] != 0x36):
        return False
    out.family = PROXY_INET if p[3] == 0x34 else PROXY_INET6
    if not field_next(p, n, &at, &off, &length) or not ip_parse(out.family, p + off, length, out.source):
        return False
    if not field_next(p, n, &at, &off, &length) or not ip_parse(out.family, p + off, length, out.destination):
        return False
    if not field_next(p, n, &at, &off, &length) or not port_parse(p + off, length, &out.source_port):
        return False
    if not field_next(p, n, &at, &off, &length) or not port_parse(p + off, length, &out.destination_port):
        return False
    return at == n + 1  # no SP after the last field


cdef int v1_parse(ProxyHeader* out, const u8* data, size_t n) noexcept nogil:
    cdef size_t seen = n if n < PROXY_V1_MOST else <size_t>PROXY_V1_MOST
    cdef size_t i = V1_START_BYTES
    while i + 1 < seen and not (data[i] == 0x0D and data[i + 1] == 0x0A):
        i += 1
    if i + 1 >= seen:
        return BAD if n >= PROXY_V1_MOST else AGAIN
    memset(out, 0, sizeof(ProxyHeader))
    out.version = 1
    out.bytes = <u32>(i + 2)
    return OK if line_parse(out, data + V1_START_BYTES, i - V1_START_BYTES) else BAD


# Version 2 (2.2)

cdef bint tlvs_fill(const u8* p, size_t n) noexcept nogil:
    """Whether type-length-value vectors fill the n bytes exactly."""
    cdef size_t i = 0, length
    while i < n:
        if n - i < 3:
            return False
        length = be16(p + i + 1)
        if n - i - 3 < length:
            return False
        i += 3 + length
    return True


cdef int family_of(u8 byte, u8* family, u8* datagram) noexcept nogil:
    """The 14th byte. A protocol or family that is not specified leaves PROXY_NONE."""
    cdef u8 high = byte >> 4, low = byte & 15
    if high > FAMILY_UNIX or low > PROTOCOL_DGRAM:
        return BAD
    if high == FAMILY_UNSPEC or low == PROTOCOL_UNSPEC:
        return OK
    family[0] = PROXY_INET if high == FAMILY_INET else PROXY_INET6 if high == FAMILY_INET6 else PROXY_UNIX
    datagram[0] = low == PROTOCOL_DGRAM
    return OK


cdef void block_read(ProxyHeader* out, const u8* p) noexcept nogil:
    cdef size_t n = address_bytes(out.family)
    memcpy(out.source, p, n)
    memcpy(out.destination, p + n, n)
    if out.family != PROXY_UNIX:
        out.source_port = be16(p + 2 * n)
        out.destination_port = be16(p + 2 * n + 2)


cdef int v2_parse(ProxyHeader* out, const u8* data, size_t n) noexcept nogil:
    cdef u8 command, family = PROXY_NONE, datagram = 0
    cdef size_t length, block
    if n <= SIGNATURE_BYTES:
        return AGAIN
    command = data[12] & 15
    if data[12] & 0xF0 != VERSION or command > COMMAND_PROXY:
        return BAD
    if n > 13 and command == COMMAND_PROXY and family_of(data[13], &family, &datagram) != OK:
        return BAD
    if n < PROXY_V2_HEADER:
        return AGAIN
    length = be16(data + 14)
    block = block_bytes(family)
    if length < block:
        return BAD
    if length > PROXY_V2_MOST - PROXY_V2_HEADER:
        return LIMIT
    if n - PROXY_V2_HEADER < length:
        return AGAIN
    memset(out, 0, sizeof(ProxyHeader))
    out.version = 2
    out.bytes = <u32>(PROXY_V2_HEADER + length)
    out.local = command == COMMAND_LOCAL
    out.family = family
    out.datagram = datagram
    if family == PROXY_NONE:
        return OK  # whatever is there is to be skipped, not understood
    block_read(out, data + PROXY_V2_HEADER)
    return OK if tlvs_fill(data + PROXY_V2_HEADER + block, length - block) else BAD


cdef int proxy_parse(ProxyHeader* out, const u8* data, size_t n) noexcept nogil:
    cdef size_t seen = n if n < SIGNATURE_BYTES else <size_t>SIGNATURE_BYTES
    if n == 0:
        return AGAIN
    if memcmp(data, SIGNATURE, seen) == 0:
        return v2_parse(out, data, n)
    seen = n if n < V1_START_BYTES else <size_t>V1_START_BYTES
    if memcmp(data, V1_START, seen) != 0:
        return BAD
    return v1_parse(out, data, n) if n >= V1_START_BYTES else AGAIN


cdef i64 proxy_v1_write(u8* out, size_t room, const ProxyHeader* header) noexcept nogil:
    cdef Text t
    text_init(&t, out, <u32>room if room < PROXY_V1_MOST else <u32>PROXY_V1_MOST)
    text_str(&t, V1_START)
    if header.local or header.datagram or (header.family != PROXY_INET and header.family != PROXY_INET6):
        text_str(&t, b"UNKNOWN\r\n")
        return FULL if t.cut else <i64>t.n
    text_str(&t, b"TCP4 " if header.family == PROXY_INET else b"TCP6 ")
    text_ip(&t, header.family, header.source)
    text_str(&t, b" ")
    text_ip(&t, header.family, header.destination)
    text_str(&t, b" ")
    text_u64(&t, header.source_port)
    text_str(&t, b" ")
    text_u64(&t, header.destination_port)
    text_str(&t, b"\r\n")
    return FULL if t.cut else <i64>t.n


cdef inline void put16(u8* p, u16 v) noexcept nogil:
    p[0] = <u8>(v >> 8)
    p[1] = <u8>(v & 0xFF)


cdef i64 proxy_v2_write(u8* out, size_t room, const ProxyHeader* header) noexcept nogil:
    cdef u8 family = <u8>PROXY_NONE if header.local else header.family
    cdef size_t n = address_bytes(family), block = block_bytes(family)
    cdef u8* p = out + PROXY_V2_HEADER
    cdef u8 high
    if room < PROXY_V2_HEADER + block:
        return FULL
    memcpy(out, SIGNATURE, SIGNATURE_BYTES)
    out[12] = <u8>(VERSION | (COMMAND_LOCAL if header.local else COMMAND_PROXY))
    put16(out + 14, <u16>block)
    out[13] = 0
    if family == PROXY_NONE:
        return PROXY_V2_HEADER
    high = <u8>(FAMILY_INET if family == PROXY_INET else FAMILY_INET6 if family == PROXY_INET6 else FAMILY_UNIX)
    out[13] = <u8>(high << 4 | (PROTOCOL_DGRAM if header.datagram else PROTOCOL_STREAM))
    memcpy(p, header.source, n)
    memcpy(p + n, header.destination, n)
    if family != PROXY_UNIX:
        put16(p + 2 * n, header.source_port)
        put16(p + 2 * n + 2, header.destination_port)
    return <i64>(PROXY_V2_HEADER + block)
