from libc.string cimport memcmp
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.ffi.simd cimport FM_CLASS_TARGET, FM_CLASS_TOKEN, fm_class, fm_target_span
from fastmesh._core.wire.authority cimport Authority, authority_parse
from fastmesh._core.wire.http1_types cimport (
    FAULT_HOST, FAULT_METHOD, FAULT_NONE, FAULT_REQUEST_LINE, FAULT_STATUS_LINE, FAULT_TARGET, FAULT_VERSION,
    FAULT_VERSION_UNSUPPORTED, METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER,
    METHOD_PATCH, METHOD_POST, METHOD_PUT, METHOD_TRACE, TARGET_ABSOLUTE, TARGET_ASTERISK, TARGET_AUTHORITY,
    TARGET_ORIGIN, Http1Head,
)
from fastmesh._core.wire.token cimport starts_with


cdef inline u8 method_of(const u8* p, size_t n) noexcept nogil:
    """Methods are case-sensitive (RFC 9110 9.1)."""
    if n == 3:
        if memcmp(p, b"GET", 3) == 0:
            return METHOD_GET
        if memcmp(p, b"PUT", 3) == 0:
            return METHOD_PUT
    elif n == 4:
        if memcmp(p, b"POST", 4) == 0:
            return METHOD_POST
        if memcmp(p, b"HEAD", 4) == 0:
            return METHOD_HEAD
    elif n == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return METHOD_PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return METHOD_TRACE
    elif n == 6 and memcmp(p, b"DELETE", 6) == 0:
        return METHOD_DELETE
    elif n == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return METHOD_CONNECT
    return METHOD_OTHER


cdef inline u8 version_parse(const u8* p, size_t n, u8* minor) noexcept nogil:
    """HTTP-version is case-sensitive and two single digits (RFC 9112 2.3)."""
    if n != 8 or memcmp(p, b"HTTP/", 5) != 0 or p[6] != 0x2E:
        return FAULT_VERSION
    if not (0x30 <= p[5] <= 0x39 and 0x30 <= p[7] <= 0x39):
        return FAULT_VERSION
    if p[5] != 0x31:
        return FAULT_VERSION_UNSUPPORTED
    minor[0] = p[7] != 0x30
    return FAULT_NONE


cdef void path_set(Http1Head* head, const u8* data, size_t off, size_t end, size_t query) noexcept nogil:
    head.path_off = <u32>off
    head.path_len = <u32>(end - off)
    head.query_off = <u32>(query + 1) if query < end else 0


cdef u8 absolute_parse(Http1Head* head, const u8* data, size_t off, size_t end, size_t query) noexcept nogil:
    """scheme "://" authority path-abempty ["?" query], http and https only. `query`: where the first "?" is."""
    cdef Authority authority
    cdef size_t start = off, stop
    if starts_with(data + off, end - off, b"http://"):
        start = off + 7
    elif starts_with(data + off, end - off, b"https://"):
        start = off + 8
    else:
        return FAULT_TARGET
    stop = start
    while stop < end and data[stop] != 0x2F and data[stop] != 0x3F:
        stop += 1
    if not authority_parse(data + start, stop - start, end - start, &authority):
        return FAULT_HOST
    head.form = TARGET_ABSOLUTE
    head.authority_off = <u32>start
    head.authority_len = <u32>(stop - start)
    head.host_len = <u32>authority.host_len
    path_set(head, data, stop, end, query)
    return FAULT_NONE


cdef u8 connect_parse(Http1Head* head, const u8* data, size_t off, size_t end) noexcept nogil:
    """authority-form: a host and a port that can be connected to (RFC 9110 9.3.6)."""
    cdef Authority authority
    if not authority_parse(data + off, end - off, end - off, &authority) or authority.port <= 0:
        return FAULT_TARGET
    head.form = TARGET_AUTHORITY
    head.authority_off = <u32>off
    head.authority_len = <u32>(end - off)
    head.host_len = <u32>authority.host_len
    return FAULT_NONE


cdef inline u8 target_parse(Http1Head* head, const u8* data, size_t off, size_t end, size_t query) noexcept nogil:
    """data[off .. end) is not empty and holds target bytes only."""
    head.target_off = <u32>off
    head.target_len = <u32>(end - off)
    if head.method == METHOD_CONNECT:
        return connect_parse(head, data, off, end)
    if data[off] == 0x2F:
        head.form = TARGET_ORIGIN
        path_set(head, data, off, end, query)
        return FAULT_NONE
    if data[off] == 0x2A and end - off == 1:
        head.form = TARGET_ASTERISK
        path_set(head, data, off, end, end)
        return FAULT_NONE if head.method == METHOD_OPTIONS else FAULT_TARGET
    return absolute_parse(head, data, off, end, query)


cdef size_t find(const u8* data, size_t off, size_t end, u8 byte) noexcept nogil:
    while off < end and data[off] != byte:
        off += 1
    return off


cdef u8 request_line_fault(const u8* data, size_t off, size_t end) noexcept nogil:
    """Why this line is refused. The order is the order of the checks: parts, method, version, target."""
    cdef size_t first = find(data, off, end, 0x20), second = end, i
    cdef u8 minor = 0, fault
    if first < end:
        second = find(data, first + 1, end, 0x20)
    if first == off or second == end or second == first + 1 or find(data, second + 1, end, 0x20) < end:
        return FAULT_REQUEST_LINE
    for i in range(off, first):
        if not fm_class[data[i]] & FM_CLASS_TOKEN:
            return FAULT_METHOD
    fault = version_parse(data + second + 1, end - second - 1, &minor)
    return fault if fault != FAULT_NONE else <u8>FAULT_TARGET


cdef u8 request_line_parse(Http1Head* head, const u8* data, size_t off, size_t end, size_t n) noexcept nogil:
    cdef size_t i = off, target, query = 0
    while fm_class[data[i]] & FM_CLASS_TOKEN:  # bound: the CR at data[end] is no token byte
        i += 1
    if i == off or data[i] != 0x20:
        return request_line_fault(data, off, end)
    head.method_len = <u32>(i - off)
    head.method = method_of(data + off, i - off)
    target = i + 1
    i = target + fm_target_span(data + target, n - target, &query)  # stops at the CR at the latest
    if i == target or i >= end or data[i] != 0x20:
        return request_line_fault(data, off, end)
    if version_parse(data + i + 1, end - i - 1, &head.minor) != FAULT_NONE:
        return request_line_fault(data, off, end)
    return target_parse(head, data, target, i, target + query)


cdef u8 status_line_parse(Http1Head* head, const u8* data, size_t off, size_t end) noexcept nogil:
    # The SP after the status code is required of servers; a line that ends without it has one reading only
    # (RFC 9112 4 lets recipients ignore trailing whitespace), and it leaves here with its SP. So both are taken.
    cdef const u8* p = data + off
    cdef size_t n = end - off
    cdef u8 fault = version_parse(p, 8 if n > 8 and p[8] == 0x20 else n, &head.minor)
    if fault != FAULT_NONE:
        return fault
    if n < 12 or (n > 12 and p[12] != 0x20):
        return FAULT_STATUS_LINE
    # Above 599 are the codes of applications: what is unknown of 5xx is known of them (RFC 9110 15).
    if not (0x31 <= p[9] <= 0x39 and 0x30 <= p[10] <= 0x39 and 0x30 <= p[11] <= 0x39):
        return FAULT_STATUS_LINE
    head.status = <u16>((p[9] - 0x30) * 100 + (p[10] - 0x30) * 10 + (p[11] - 0x30))
    head.target_off = <u32>(off + 13 if n > 12 else end)
    head.target_len = <u32>(end - head.target_off)
    return FAULT_NONE


cdef u8 start_line_control(const u8* data, size_t off, size_t at, bint request) noexcept nogil:
    cdef int blanks = 0
    cdef size_t i
    if not request:
        return FAULT_STATUS_LINE
    for i in range(off, at):
        blanks += data[i] == 0x20
    return FAULT_METHOD if blanks == 0 else FAULT_TARGET if blanks == 1 else FAULT_VERSION
