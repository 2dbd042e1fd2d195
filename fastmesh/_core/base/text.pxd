# Writes text into a fixed space. Law: never past `room`; what does not fit is cut and `cut` says so.
from fastmesh._core.base.types cimport i64, u8, u32, u64

ctypedef struct Text:
    u8* data            # borrows the caller's space
    u32 room
    u32 n               # bytes written
    u8 cut

cdef void text_init(Text* t, u8* data, u32 room) noexcept nogil
cdef void text_put(Text* t, const u8* data, size_t n) noexcept nogil
cdef void text_str(Text* t, const char* zero_terminated) noexcept nogil
cdef void text_u64(Text* t, u64 value) noexcept nogil
# Exactly `digits` (20 at most) decimal digits, zero-padded (the low ones when the value has more).
cdef void text_digits(Text* t, u64 value, u32 digits) noexcept nogil
# Nanoseconds as milliseconds with three decimals.
cdef void text_ms(Text* t, i64 ns) noexcept nogil
# A network-order IPv4 or IPv6 address as text (RFC 5952 as inet_ntop writes it).
cdef void text_ip(Text* t, u8 family, const u8* address) noexcept nogil
# The other way: whether p[0 .. n) is such a text (no leading zeros in IPv4, no zone in IPv6); 4 or 16 bytes to out.
cdef bint ip_parse(u8 family, const u8* p, size_t n, u8* out) noexcept nogil
# Any bytes inside a double-quoted string: style 0 writes \xNN for what is not printable (combined log format), style 1 JSON.
cdef void text_quoted(Text* t, const u8* data, size_t n, u8 style) noexcept nogil
# IMF-fixdate of a realtime clock: "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7), 29 bytes.
cdef void text_date(Text* t, i64 wall_ns) noexcept nogil
# "06/Nov/1994:08:49:37 +0000", always UTC.
cdef void text_clf_date(Text* t, i64 wall_ns) noexcept nogil
# "1994-11-06T08:49:37.123Z"
cdef void text_iso_date(Text* t, i64 wall_ns) noexcept nogil
