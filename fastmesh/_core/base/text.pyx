from libc.string cimport memcpy, strlen

from fastmesh._core.ffi.linux cimport AF_INET, AF_INET6, INET6_ADDRSTRLEN, inet_ntop, inet_pton

cdef const char* HEX = "0123456789abcdef"
cdef const char* DAYS = "ThuFriSatSunMonTueWed"
cdef const char* MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"

ctypedef struct Civil:
    u32 year
    u32 month       # 0..11
    u32 day
    u32 weekday     # 0 = Thursday, as on 1970-01-01
    u32 hour
    u32 minute
    u32 second


cdef void text_init(Text* t, u8* data, u32 room) noexcept nogil:
    t.data = data
    t.room = room
    t.n = 0
    t.cut = 0


cdef void text_put(Text* t, const u8* data, size_t n) noexcept nogil:
    if n > <size_t>(t.room - t.n):
        n = t.room - t.n
        t.cut = 1
    # Nothing may come as (NULL, 0), which is no argument for memcpy.
    if n:
        memcpy(t.data + t.n, data, n)
        t.n += <u32>n


cdef inline void text_byte(Text* t, u8 byte) noexcept nogil:
    if t.n < t.room:
        t.data[t.n] = byte
        t.n += 1
    else:
        t.cut = 1


cdef void text_str(Text* t, const char* zero_terminated) noexcept nogil:
    text_put(t, <const u8*>zero_terminated, strlen(zero_terminated))


cdef void text_u64(Text* t, u64 value) noexcept nogil:
    cdef u8[20] digits
    cdef u32 at = 20
    while True:
        at -= 1
        digits[at] = <u8>(48 + value % 10)
        value = value // 10
        if value == 0:
            break
    text_put(t, digits + at, 20 - at)


cdef void text_digits(Text* t, u64 value, u32 digits) noexcept nogil:
    cdef u8[20] out
    cdef u32 i
    if digits > 20:
        digits = 20
    for i in range(digits):
        out[digits - 1 - i] = <u8>(48 + value % 10)
        value = value // 10
    text_put(t, out, digits)


cdef void text_ms(Text* t, i64 ns) noexcept nogil:
    cdef u64 us = <u64>(ns // 1000) if ns > 0 else 0
    text_u64(t, us // 1000)
    text_byte(t, 46)
    text_digits(t, us % 1000, 3)


cdef void text_ip(Text* t, u8 family, const u8* address) noexcept nogil:
    cdef char[64] out
    if family != AF_INET and family != AF_INET6:
        text_str(t, "unix")
    elif inet_ntop(family, address, out, INET6_ADDRSTRLEN) != NULL:
        text_str(t, out)


cdef bint ip_parse(u8 family, const u8* p, size_t n, u8* out) noexcept nogil:
    cdef char[64] text
    if n >= INET6_ADDRSTRLEN or (family != AF_INET and family != AF_INET6):
        return False
    memcpy(text, p, n)
    text[n] = 0
    return strlen(text) == n and inet_pton(family, text, out) == 1


cdef void text_escape(Text* t, u8 byte, u8 style) noexcept nogil:
    cdef u8[6] out
    out[0] = 92
    if byte == 34 or byte == 92:
        out[1] = byte
        text_put(t, out, 2)
    elif style:
        out[1] = 117
        out[2] = 48
        out[3] = 48
        out[4] = <u8>HEX[byte >> 4]
        out[5] = <u8>HEX[byte & 15]
        text_put(t, out, 6)
    else:
        out[1] = 120
        out[2] = <u8>HEX[byte >> 4]
        out[3] = <u8>HEX[byte & 15]
        text_put(t, out, 4)


cdef void text_quoted(Text* t, const u8* data, size_t n, u8 style) noexcept nogil:
    cdef size_t i, run = 0
    for i in range(n):
        # Bytes above 0x7e are escaped in JSON too: nothing says that they are UTF-8.
        if data[i] < 32 or data[i] > 126 or data[i] == 34 or data[i] == 92:
            text_put(t, data + run, i - run)
            text_escape(t, data[i], style)
            run = i + 1
    text_put(t, data + run, n - run)


cdef void civil_from_ns(Civil* c, i64 wall_ns) noexcept nogil:
    # Howard Hinnant's days-to-civil algorithm, for dates from 1970 on.
    cdef u64 seconds = <u64>(wall_ns // 1000000000) if wall_ns > 0 else 0
    cdef u64 days = seconds // 86400
    cdef u32 rest = <u32>(seconds % 86400)
    cdef u64 z = days + 719468
    cdef u64 era = z // 146097
    cdef u64 doe = z - era * 146097
    cdef u64 yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    cdef u64 doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    cdef u64 mp = (5 * doy + 2) // 153
    c.day = <u32>(doy - (153 * mp + 2) // 5 + 1)
    c.month = <u32>(mp + 2 if mp < 10 else mp - 10)
    c.year = <u32>(yoe + era * 400 + (1 if c.month < 2 else 0))
    c.weekday = <u32>(days % 7)
    c.hour = rest // 3600
    c.minute = rest % 3600 // 60
    c.second = rest % 60


cdef void text_clock(Text* t, const Civil* c) noexcept nogil:
    text_digits(t, c.hour, 2)
    text_byte(t, 58)
    text_digits(t, c.minute, 2)
    text_byte(t, 58)
    text_digits(t, c.second, 2)


cdef void text_date(Text* t, i64 wall_ns) noexcept nogil:
    cdef Civil c
    civil_from_ns(&c, wall_ns)
    text_put(t, <const u8*>DAYS + 3 * c.weekday, 3)
    text_str(t, ", ")
    text_digits(t, c.day, 2)
    text_byte(t, 32)
    text_put(t, <const u8*>MONTHS + 3 * c.month, 3)
    text_byte(t, 32)
    text_digits(t, c.year, 4)
    text_byte(t, 32)
    text_clock(t, &c)
    text_str(t, " GMT")


cdef void text_clf_date(Text* t, i64 wall_ns) noexcept nogil:
    cdef Civil c
    civil_from_ns(&c, wall_ns)
    text_digits(t, c.day, 2)
    text_byte(t, 47)
    text_put(t, <const u8*>MONTHS + 3 * c.month, 3)
    text_byte(t, 47)
    text_digits(t, c.year, 4)
    text_byte(t, 58)
    text_clock(t, &c)
    text_str(t, " +0000")


cdef void text_iso_date(Text* t, i64 wall_ns) noexcept nogil:
    cdef Civil c
    civil_from_ns(&c, wall_ns)
    text_digits(t, c.year, 4)
    text_byte(t, 45)
    text_digits(t, c.month + 1, 2)
    text_byte(t, 45)
    text_digits(t, c.day, 2)
    text_byte(t, 84)
    text_clock(t, &c)
    text_byte(t, 46)
    text_digits(t, <u64>(wall_ns // 1000000 % 1000) if wall_ns > 0 else 0, 3)
    text_byte(t, 90)
