from libc.string cimport memcmp, memcpy, memset
from fastmesh._core.base.status cimport AGAIN, BAD, LIMIT, OK
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.wire.http2_frame cimport be16

# Two passes. hello_walk looks at record headers and the four bytes of the handshake header, and says whether the hello
# is whole; only then the body is read, once, by a Reader that steps over the record headers in between.

cdef enum:
    RECORD_HEADER = 5
    RECORD_MOST = 16384         # RFC 8446 5.1
    TYPE_HANDSHAKE = 22
    TYPE_CLIENT_HELLO = 1
    HANDSHAKE_HEADER = 4
    EXTENSION_SERVER_NAME = 0
    EXTENSION_ALPN = 16
    EXTENSION_VERSIONS = 43
    NAME_TYPE_HOST = 0
    RANDOM_BYTES = 32
    SESSION_MOST = 32

# Reads the handshake bytes of whole, checked records.
ctypedef struct Reader:
    const u8* data      # borrows the caller's
    size_t pos          # next byte, or `stop`
    size_t stop         # where the current record ends
    size_t left         # bytes until the end of the vector being read, records not counted

# What is being read beside the output.
ctypedef struct Seen:
    bint name
    bint alpn
    bint versions


cdef int record_check(const u8* p, size_t n, size_t* length) noexcept nogil:
    """The record header at p, byte by byte. *length: of the fragment."""
    if n > 0 and p[0] != TYPE_HANDSHAKE:
        return BAD
    if n > 1 and p[1] != 3:
        return BAD
    if n > 2 and p[2] > 4:
        return BAD
    if n < RECORD_HEADER:
        return BAD if n == 4 and p[3] > RECORD_MOST >> 8 else AGAIN
    length[0] = be16(p + 3)
    return OK if 0 < length[0] <= RECORD_MOST else BAD


cdef int client_hello_begins(const u8* p, size_t n) noexcept nogil:
    cdef size_t length = 0, size, body
    cdef int rc = record_check(p, n, &length)
    if rc != OK:
        return rc
    body = n - RECORD_HEADER
    if body == 0:
        return AGAIN
    if p[5] != TYPE_CLIENT_HELLO:
        return BAD
    # The rest is looked at where it lies in the first record.
    if length > 1 and body > 1 and p[6] != 0:
        return BAD
    if length > 3 and body > 3:
        size = be16(p + 7)
        if size < HELLO_LEAST:
            return BAD
    if length > 4 and body > 4 and p[9] != 3:
        return BAD
    size = length if length < 6 else 6
    return OK if body >= size else AGAIN


cdef int hello_walk(const u8* data, size_t n, size_t* size, size_t* end) noexcept nogil:
    """Whether the records hold a whole hello. *size: of its body; *end: where its last record ends."""
    cdef size_t pos = 0, length = 0, got = 0, there, i
    cdef size_t need = 0        # handshake bytes with their header, once known
    cdef int rc
    size[0] = 0
    while True:
        rc = record_check(data + pos, n - pos, &length)
        if rc != OK:
            return rc
        if pos + RECORD_HEADER + length > HELLO_MOST:
            return LIMIT
        pos += RECORD_HEADER
        there = n - pos if n - pos < length else length
        for i in range(there):
            if got + i >= HANDSHAKE_HEADER:
                break
            if got + i == 0:
                if data[pos] != TYPE_CLIENT_HELLO:
                    return BAD
                continue
            size[0] = size[0] << 8 | data[pos + i]
        if need == 0 and got + there >= HANDSHAKE_HEADER:
            need = size[0] + HANDSHAKE_HEADER
            if size[0] < HELLO_LEAST:
                return BAD
            if need > HELLO_MOST - RECORD_HEADER:
                return LIMIT
        if need and got + length > need:
            return BAD
        if there < length:
            return AGAIN
        got += length
        pos += length
        if got == need:
            end[0] = pos
            return OK


cdef inline void record_next(Reader* r) noexcept nogil:
    # bound: hello_walk saw as many whole records as hold `left`, none of them empty
    r.pos = r.stop + RECORD_HEADER
    r.stop = r.pos + be16(r.data + r.stop + 3)


cdef inline bint take(Reader* r, u8* out, size_t n) noexcept nogil:
    """Copies the next n bytes to out (NULL: steps over them). False when the vector has fewer."""
    cdef size_t some
    if n > r.left:
        return False
    r.left -= n
    while n:
        if r.pos == r.stop:
            record_next(r)
        some = n if n < r.stop - r.pos else r.stop - r.pos
        if out != NULL:
            memcpy(out, r.data + r.pos, some)
            out += some
        r.pos += some
        n -= some
    return True


cdef inline bint take_u8(Reader* r, size_t* value) noexcept nogil:
    cdef u8 byte = 0
    if not take(r, &byte, 1):
        return False
    value[0] = byte
    return True


cdef inline bint take_u16(Reader* r, size_t* value) noexcept nogil:
    cdef u8[2] bytes
    if not take(r, bytes, 2):
        return False
    value[0] = be16(bytes)
    return True


cdef inline bint enter(Reader* r, size_t n, size_t* outer) noexcept nogil:
    """Narrows the reader to the n bytes of an inner vector; *outer: what is left behind it."""
    if n > r.left:
        return False
    outer[0] = r.left - n
    r.left = n
    return True


cdef inline bint leave(Reader* r, size_t outer) noexcept nogil:
    """The inner vector must have been read to its end."""
    cdef bint whole = r.left == 0
    r.left = outer
    return whole


cdef bint host_name_valid(const u8* p, size_t n) noexcept nogil:
    """Labels of letters, digits, "-" and "_", 1 to 63 bytes; the last is no number, as an IPv4 address's would be.

    RFC 6066 3: no trailing dot, no addresses. The underscore is no host name's, but many names in use have one.
    """
    cdef size_t i, label = 0
    cdef bint digits = True
    if n > HELLO_NAME_MOST:
        return False
    for i in range(n):
        if p[i] == 0x2E:
            if label == 0:
                return False
            label = 0
            digits = True
            continue
        label += 1
        if label > 63:
            return False
        if 0x30 <= p[i] <= 0x39:
            continue
        digits = False
        if not (0x61 <= (p[i] | 0x20) <= 0x7A or p[i] == 0x2D or p[i] == 0x5F):
            return False
    return label > 0 and not digits


cdef bint name_read(Reader* r, ClientHello* out) noexcept nogil:
    """ServerNameList (RFC 6066 3): exactly one, of type host_name, as OpenSSL reads it."""
    cdef size_t n = 0, outer = 0
    if not take_u16(r, &n) or not enter(r, n, &outer):
        return False
    if not take_u8(r, &n) or n != NAME_TYPE_HOST or not take_u16(r, &n) or n == 0 or n != r.left:
        return False
    if n > HELLO_NAME_MOST:
        out.flags |= HELLO_NAME_ODD
        take(r, NULL, n)
        return leave(r, outer)
    take(r, out.name, n)
    if host_name_valid(out.name, n):
        out.name_len = <u8>n
    else:
        out.flags |= HELLO_NAME_ODD
    return leave(r, outer)


cdef bint alpn_read(Reader* r, ClientHello* out) noexcept nogil:
    """ProtocolNameList (RFC 7301 3.1): at least one, none empty."""
    cdef size_t n = 0, outer = 0
    if not take_u16(r, &n) or n == 0 or not enter(r, n, &outer):
        return False
    while r.left:
        if not take_u8(r, &n) or n == 0 or n > r.left:
            return False
        if out.flags & HELLO_ALPN_CUT or n + 1 > HELLO_ALPN_ROOM - <size_t>out.alpn_len:
            out.flags |= HELLO_ALPN_CUT
            take(r, NULL, n)
            continue
        out.alpn[out.alpn_len] = <u8>n
        take(r, &out.alpn[out.alpn_len + 1], n)
        out.alpn_len = <u16>(out.alpn_len + n + 1)
    return leave(r, outer)


cdef bint versions_read(Reader* r, ClientHello* out) noexcept nogil:
    """supported_versions (RFC 8446 4.2.1). The numbers of GREASE (RFC 8701) and of drafts are no 0x03xx."""
    cdef size_t n = 0, version = 0, outer = 0
    if not take_u8(r, &n) or n < 2 or n & 1 or not enter(r, n, &outer):
        return False
    out.version = 0
    while r.left:
        take_u16(r, &version)
        if version >> 8 == 3 and version > out.version:
            out.version = <u16>version
    return leave(r, outer)


cdef inline bint first(bint* seen) noexcept nogil:
    cdef bint fresh = not seen[0]
    seen[0] = True
    return fresh


cdef bint extension_read(Reader* r, ClientHello* out, size_t kind, Seen* seen) noexcept nogil:
    if kind == EXTENSION_SERVER_NAME:
        return first(&seen.name) and name_read(r, out)
    if kind == EXTENSION_ALPN:
        return first(&seen.alpn) and alpn_read(r, out)
    if kind == EXTENSION_VERSIONS:
        return first(&seen.versions) and versions_read(r, out)
    return take(r, NULL, r.left)


cdef bint extensions_read(Reader* r, ClientHello* out) noexcept nogil:
    """They fill the rest of the hello. None at all is lawful below TLS 1.3 (RFC 5246 7.4.1.2)."""
    cdef Seen seen
    cdef size_t n = 0, kind = 0, outer = 0
    memset(&seen, 0, sizeof(Seen))
    if r.left == 0:
        return True
    if not take_u16(r, &n) or n != r.left:
        return False
    while r.left:
        if not take_u16(r, &kind) or not take_u16(r, &n) or not enter(r, n, &outer):
            return False
        if not extension_read(r, out, kind, &seen) or not leave(r, outer):
            return False
    return True


cdef bint body_read(Reader* r, ClientHello* out) noexcept nogil:
    cdef size_t n = 0
    if not take_u16(r, &n) or n >> 8 != 3:
        return False
    out.legacy_version = <u16>n
    out.version = <u16>n
    if not take(r, NULL, RANDOM_BYTES):
        return False
    if not take_u8(r, &n) or n > SESSION_MOST or not take(r, NULL, n):
        return False
    if not take_u16(r, &n) or n < 2 or n & 1 or not take(r, NULL, n):
        return False
    if not take_u8(r, &n) or n < 1 or not take(r, NULL, n):
        return False
    return extensions_read(r, out)


cdef int client_hello_parse(ClientHello* out, const u8* data, size_t n) noexcept nogil:
    cdef Reader r
    cdef size_t size = 0, end = 0
    cdef int rc = hello_walk(data, n, &size, &end)
    if rc != OK:
        return rc
    memset(out, 0, sizeof(ClientHello))
    out.bytes = <u32>end
    r.data = data
    r.pos = 0
    r.stop = 0
    r.left = size + HANDSHAKE_HEADER
    take(&r, NULL, HANDSHAKE_HEADER)
    # bound: pos == stop == 0 makes the first take step over the first record header
    return OK if body_read(&r, out) else BAD


cdef bint alpn_has(const ClientHello* hello, const u8* p, size_t n) noexcept nogil:
    cdef size_t at = 0, length = 0
    cdef const u8* offered = NULL
    while alpn_next(hello, &at, &offered, &length):
        if length == n and memcmp(offered, p, n) == 0:
            return True
    return False
