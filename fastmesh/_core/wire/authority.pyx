from fastmesh._core.base.types cimport u8, i32
from fastmesh._core.ffi.simd cimport fm_hex, fm_host_span
from fastmesh._core.wire.authority cimport PORT_NONE, Authority
from fastmesh._core.wire.token cimport same_folded


cdef bint ipv4_valid(const u8* p, size_t n) noexcept nogil:
    """Four decimal octets without leading zeros (RFC 3986 IPv4address)."""
    cdef size_t i = 0, digits
    cdef int octet, value
    for octet in range(4):
        value = 0
        digits = 0
        while i < n and 0x30 <= p[i] <= 0x39 and digits < 3:
            if digits == 1 and value == 0:
                return False
            value = value * 10 + (p[i] - 0x30)
            digits += 1
            i += 1
        if digits == 0 or value > 255:
            return False
        if octet < 3:
            if i >= n or p[i] != 0x2E:
                return False
            i += 1
    return i == n


cdef inline bint groups_fit(int groups, bint gap) noexcept nogil:
    return groups < 8 if gap else groups == 8


cdef bint ipv6_valid(const u8* p, size_t n) noexcept nogil:
    cdef size_t i = 0, start
    cdef int groups = 0
    cdef bint gap = False
    if n >= 2 and p[0] == 0x3A and p[1] == 0x3A:
        gap = True
        i = 2
        if i == n:
            return True
    while groups < 8:
        start = i
        while i < n and fm_hex[p[i]] != 255 and i - start < 4:
            i += 1
        if i < n and p[i] == 0x2E:
            groups += 2
            return groups_fit(groups, gap) and ipv4_valid(p + start, n - start)
        if i == start:
            return False
        groups += 1
        if i == n:
            return groups_fit(groups, gap)
        if p[i] != 0x3A or i + 1 == n:
            return False
        i += 1
        if p[i] == 0x3A:
            if gap:
                return False
            gap = True
            i += 1
            if i == n:
                return groups < 8
    return False


cdef inline size_t host_span(const u8* p, size_t n, size_t room) noexcept nogil:
    """Bytes of a valid host at p, 0 when there is none."""
    cdef size_t i = fm_host_span(p, n, room)
    if i == 0 and n and p[0] == 0x5B:
        while i < n and p[i] != 0x5D:
            i += 1
        return i + 1 if i < n and ipv6_valid(p + 1, i - 1) else 0
    while n - i > 2 and p[i] == 0x25 and fm_hex[p[i + 1]] != 255 and fm_hex[p[i + 2]] != 255:
        i += 3
        i += fm_host_span(p + i, n - i, room - i)
    return i


cdef bint authority_parse(const u8* p, size_t n, size_t room, Authority* out) noexcept nogil:
    cdef size_t i
    cdef i32 port = 0
    out.port = PORT_NONE
    out.host_len = host_span(p, n, room)
    i = out.host_len
    if i == 0:
        return False
    if i == n:
        return True
    if p[i] != 0x3A or n - i > 6:
        return False
    if i + 1 == n:
        return True
    for i in range(i + 1, n):
        if not 0x30 <= p[i] <= 0x39:
            return False
        port = port * 10 + (p[i] - 0x30)
    out.port = port
    return port <= 65535


cdef bint authority_agrees(const u8* target, const Authority* wanted, const u8* host, const Authority* said,
                           i32 default_port) noexcept nogil:
    cdef i32 asked = said.port, named = wanted.port
    if wanted.host_len != said.host_len or not same_folded(target, host, said.host_len):
        return False
    if default_port == PORT_NONE:
        return asked == PORT_NONE or asked == named
    return (default_port if asked == PORT_NONE else asked) == (default_port if named == PORT_NONE else named)
