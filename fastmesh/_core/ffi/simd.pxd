# Byte scans of the wire layer and its tables. Law: nothing is read outside what the arguments name.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "simd.h" nogil:
    enum:
        FM_CLASS_TOKEN      # RFC 9110 5.6.2
        FM_CLASS_TARGET     # visible ASCII but '#'
        FM_CLASS_HOST       # a reg-name byte other than '%'
        FM_CLASS_QUOTED     # qdtext
        FM_CLASS_ESCAPED    # after a backslash in a quoted string

    ctypedef struct fm_marks:
        uint64_t ctl        # bit i: byte i is a control byte other than HTAB, or DEL
        uint64_t colon      # bit i: byte i is ':'

    const uint8_t fm_class[256]
    const uint8_t fm_hex[256]               # value of a hexadecimal digit, else 255
    const uint16_t fm_reasons[500][2]       # offset, length in fm_reason_text, by status - 100
    const char* fm_reason_text

    uint16_t fm_load_u16(const uint8_t* p) noexcept
    uint32_t fm_load_u32(const uint8_t* p) noexcept
    uint64_t fm_load_u64(const uint8_t* p) noexcept
    uint64_t fm_load_be64(const uint8_t* p) noexcept    # the first byte is the highest
    unsigned int fm_ctz64(uint64_t v) noexcept          # v != 0
    fm_marks fm_marks64(const uint8_t* p) noexcept      # of 64 bytes
    fm_marks fm_marks_few(const uint8_t* p, size_t n) noexcept  # n < 64
    size_t fm_target_span(const uint8_t* p, size_t n, size_t* query) noexcept
    bint fm_is_token(const uint8_t* p, size_t n, size_t room) noexcept
    bint fm_is_lower_token(const uint8_t* p, size_t n, size_t room) noexcept
    bint fm_has_ctl(const uint8_t* p, size_t n, size_t room) noexcept
    void fm_fold(uint8_t* to, const uint8_t* source, size_t n, size_t room) noexcept  # writes up to 15 bytes beyond n
    void fm_copy(uint8_t* to, const uint8_t* source, size_t n) noexcept
    size_t fm_host_span(const uint8_t* p, size_t n, size_t room) noexcept
    uint8_t fm_field_id(const uint8_t* p, size_t n) noexcept
