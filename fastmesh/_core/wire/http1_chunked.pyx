from libc.string cimport memcpy, memmove
from fastmesh._core.base.status cimport AGAIN, BAD, OK
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.ffi.simd cimport FM_CLASS_ESCAPED, FM_CLASS_QUOTED, FM_CLASS_TOKEN, fm_class, fm_hex
from fastmesh._core.wire.http1_chunked cimport CHUNK_LINE_MAX, CHUNK_OVERHEAD_MAX, Chunked
from fastmesh._core.wire.http1_head cimport FAULT_CHUNK_END, FAULT_CHUNK_EXTENSION, FAULT_CHUNK_SIZE, FAULT_NONE
from fastmesh._core.wire.token cimport is_blank

# chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
# chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
# Blanks that the grammar calls bad are taken where it has them and nowhere else: "5 CRLF" is refused.
cdef enum State:
    AT_SIZE = 0         # first digit
    IN_SIZE             # further digits
    BEFORE_SEMICOLON    # blanks after the size or a value: only ";" may follow
    BEFORE_NAME
    IN_NAME
    AFTER_NAME          # blanks after a name: ";" or "="
    BEFORE_VALUE
    IN_TOKEN
    IN_QUOTES
    IN_ESCAPE
    AFTER_QUOTES
    SIZE_LF
    IN_DATA
    DATA_CR
    DATA_LF
    DONE
    BROKEN


cdef void chunked_init(Chunked* c) noexcept nogil:
    c.left_bytes = 0
    c.overhead_bytes = 0
    c.line_bytes = 0
    c.state = AT_SIZE
    c.fault = FAULT_NONE


cdef inline u8 broken(Chunked* c, u8 fault) noexcept nogil:
    c.fault = fault
    return BROKEN


cdef u8 size_step(Chunked* c, u8 b) noexcept nogil:
    """One byte while the size is read: at most 16 digits, at most 2^63-1."""
    cdef u8 digit = fm_hex[b]
    if digit != 255:
        if c.line_bytes > 16 or c.left_bytes > 0x07FFFFFFFFFFFFFFULL:
            return broken(c, FAULT_CHUNK_SIZE)
        c.left_bytes = c.left_bytes << 4 | digit
        return IN_SIZE
    if c.state == AT_SIZE:
        return broken(c, FAULT_CHUNK_SIZE)
    if b == 0x0D:
        return SIZE_LF
    if b == 0x3B:
        return BEFORE_NAME
    return BEFORE_SEMICOLON if is_blank(b) else broken(c, FAULT_CHUNK_SIZE)


cdef u8 after_step(Chunked* c, u8 b, bint ended) noexcept nogil:
    """A byte where a name or value has ended; `ended`: the line may end here, too."""
    if b == 0x3B:
        return BEFORE_NAME
    if b == 0x0D and ended:
        return SIZE_LF
    return broken(c, FAULT_CHUNK_EXTENSION)


cdef u8 extension_step(Chunked* c, u8 b) noexcept nogil:
    cdef u8 kind = fm_class[b], state = c.state
    if state == IN_QUOTES:
        if b == 0x22:
            return AFTER_QUOTES
        if b == 0x5C:
            return IN_ESCAPE
        return IN_QUOTES if kind & FM_CLASS_QUOTED else broken(c, FAULT_CHUNK_EXTENSION)
    if state == IN_ESCAPE:
        return IN_QUOTES if kind & FM_CLASS_ESCAPED else broken(c, FAULT_CHUNK_EXTENSION)
    if kind & FM_CLASS_TOKEN:
        if state == BEFORE_NAME or state == IN_NAME:
            return IN_NAME
        return IN_TOKEN if state == BEFORE_VALUE or state == IN_TOKEN else broken(c, FAULT_CHUNK_EXTENSION)
    if is_blank(b):
        if state == BEFORE_NAME or state == BEFORE_VALUE:
            return state
        return AFTER_NAME if state == IN_NAME or state == AFTER_NAME else BEFORE_SEMICOLON
    if state == IN_NAME or state == AFTER_NAME:
        return BEFORE_VALUE if b == 0x3D else after_step(c, b, state == IN_NAME)
    if state == BEFORE_VALUE and b == 0x22:
        return IN_QUOTES
    if state == BEFORE_NAME or state == BEFORE_VALUE:
        return broken(c, FAULT_CHUNK_EXTENSION)
    return after_step(c, b, state != BEFORE_SEMICOLON)


cdef inline u8 line_step(Chunked* c, u8 b) noexcept nogil:
    """One byte of a size line."""
    c.line_bytes += 1
    if c.line_bytes > CHUNK_LINE_MAX:
        return broken(c, FAULT_CHUNK_EXTENSION)
    if c.state == SIZE_LF:
        if b != 0x0A:
            return broken(c, FAULT_CHUNK_SIZE)
        c.line_bytes = 0
        return IN_DATA if c.left_bytes else DONE
    if c.state > IN_SIZE or (fm_hex[b] == 255 and b != 0x0D):
        if b != 0x0D:
            c.overhead_bytes += 1
        if c.overhead_bytes > CHUNK_OVERHEAD_MAX:
            return broken(c, FAULT_CHUNK_EXTENSION)
    return extension_step(c, b) if c.state > IN_SIZE else size_step(c, b)


cdef inline u8 end_step(Chunked* c, u8 b) noexcept nogil:
    """The CRLF after a chunk's data."""
    if c.state == DATA_CR:
        return DATA_LF if b == 0x0D else broken(c, FAULT_CHUNK_END)
    return AT_SIZE if b == 0x0A else broken(c, FAULT_CHUNK_END)


cdef int chunked_walk(Chunked* c, u8* out, const u8* data, size_t n, size_t* used, size_t* payload) noexcept nogil:
    """Both forms: `out` is where payload is moved to, NULL to leave it."""
    cdef size_t at = 0, moved = 0, take
    while at < n and c.state < DONE:
        if c.state == IN_DATA:
            take = n - at
            if c.left_bytes < take:
                take = <size_t>c.left_bytes
            if out != NULL and moved != at:
                memmove(out + moved, data + at, take)
            at += take
            moved += take
            c.left_bytes -= take
            if c.left_bytes == 0:
                c.state = DATA_CR
            continue
        c.state = line_step(c, data[at]) if c.state <= SIZE_LF else end_step(c, data[at])
        at += c.state != BROKEN
    used[0] = at
    payload[0] = moved
    return OK if c.state == DONE else BAD if c.state == BROKEN else AGAIN


cdef int chunked_scan(Chunked* c, const u8* data, size_t n, size_t* used, size_t* payload) noexcept nogil:
    return chunked_walk(c, NULL, data, n, used, payload)


cdef int chunked_strip(Chunked* c, u8* data, size_t n, size_t* used, size_t* payload) noexcept nogil:
    return chunked_walk(c, data, data, n, used, payload)


cdef u32 line_write(u8* out, u32 n) noexcept nogil:
    """The size line of a chunk."""
    cdef u32 digits = 1, i, digit
    while digits < 8 and n >> (4 * digits):
        digits += 1
    for i in range(digits):
        digit = (n >> (4 * (digits - 1 - i))) & 15
        out[i] = <u8>(48 + digit if digit < 10 else 87 + digit)
    out[digits] = 13
    out[digits + 1] = 10
    return digits + 2


cdef u32 chunked_write(u8* out, const u8* data, u32 n) noexcept nogil:
    cdef u32 at = line_write(out, n)
    memcpy(out + at, data, n)
    at += n
    out[at] = 13
    out[at + 1] = 10
    return at + 2


cdef u32 chunked_finish(u8* out, const u8* tail, u32 tail_n) noexcept nogil:
    memcpy(out, <const char*>b"0\r\n", 3)
    if tail_n:
        memcpy(out + 3, tail, tail_n)
        return 3 + tail_n
    memcpy(out + 3, <const char*>b"\r\n", 2)
    return 5
