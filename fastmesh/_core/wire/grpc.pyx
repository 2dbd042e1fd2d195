from fastmesh._core.base.types cimport i64, u8, u16, u32

cdef i64 SECOND_NS = 1000000000


cdef i64 grpc_timeout_ns(const u8* p, u32 n) noexcept nogil:
    cdef i64 value = 0
    cdef u32 i
    if n < 2 or n > 9:
        return 0
    for i in range(n - 1):
        if not 48 <= p[i] <= 57:
            return 0
        value = value * 10 + p[i] - 48
    if p[n - 1] == 72:      # H
        return value * SECOND_NS * 3600 if value < 2000000 else 0
    if p[n - 1] == 77:      # M
        return value * SECOND_NS * 60
    if p[n - 1] == 83:      # S
        return value * SECOND_NS
    if p[n - 1] == 109:     # m
        return value * 1000000
    if p[n - 1] == 117:     # u
        return value * 1000
    return value if p[n - 1] == 110 else 0


cdef u16 grpc_status_parse(const u8* p, u32 n) noexcept nogil:
    cdef u32 i
    cdef u16 value = 0
    if n == 0 or n > 2:
        return GRPC_STATUS_OTHER
    for i in range(n):
        if not 48 <= p[i] <= 57:
            return GRPC_STATUS_OTHER
        value = <u16>(value * 10 + p[i] - 48)
    return value if value < GRPC_STATUS_OTHER else <u16>GRPC_STATUS_OTHER
