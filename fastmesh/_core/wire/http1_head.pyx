from libc.string cimport memset
from fastmesh._core.base.status cimport AGAIN, BAD, LIMIT, OK
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.ffi.simd cimport (
    fm_ctz64, fm_field_id, fm_is_token, fm_load_u16, fm_marks, fm_marks64, fm_marks_few,
)
from fastmesh._core.wire.headers cimport HEADERS_MAX, Field
from fastmesh._core.wire.http1_fields cimport HOP_BY_HOP, FieldFacts, fields_settle, trailers_settle
from fastmesh._core.wire.http1_head cimport (
    FAULT_BARE_CR, FAULT_BARE_LF, FAULT_FIELD_NAME, FAULT_FIELD_VALUE, FAULT_HEAD_TOO_LONG, FAULT_LINE_TOO_LONG,
    FAULT_NONE, FAULT_OBS_FOLD, FAULT_REQUEST_LINE, FAULT_STATUS_LINE, FAULT_TOO_MANY_FIELDS, FRAMING_CHUNKED,
    FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_NONE, FRAMING_TUNNEL, METHOD_CONNECT, METHOD_HEAD, Http1Head, Http1Limits,
    Http1Resume,
)
from fastmesh._core.wire.http1_line cimport request_line_parse, start_line_control, status_line_parse
from fastmesh._core.wire.token cimport is_blank

# How a verdict stays the same however the bytes come in: every fault has a place, the shortest prefix that shows it,
# and the first place wins. A control byte shows at itself, a CR at the byte after it, a limit at the first byte over
# it, the grammar of a line at its LF, and what the fields mean together (fields_settle) at the end of the head.
# So a call that continues one only reads complete new lines, and the whole head is read once more at its end.

cdef enum:
    KIND_REQUEST = 0
    KIND_RESPONSE
    KIND_TRAILERS
    EMPTY_LINES_MAX = 4     # before a request line (RFC 9112 2.2 says at least one)
    CRLF = 0x0A0D           # as a little-endian load
    NAME_MAX = 0xFFFF       # what Field.name_len holds

# A walk over the marks of 64 bytes at a time, only ever forward. Who walks keeps one of its own and hands it to inline
# functions only, so that it lives in registers.
ctypedef struct Scan:
    const u8* data
    size_t n
    size_t base             # where the current 64 bytes start
    u64 ctl
    u64 either              # ctl or colon

# What one call works on.
ctypedef struct Work:
    Http1Head* head
    Http1Resume* resume
    const Http1Limits* limits
    const u8* data
    size_t n                # bytes there
    size_t visible          # of them within limits.head_bytes
    u32 lines               # as Http1Resume.lines
    int kind


cdef fm_marks marks_at(const u8* data, size_t n, size_t base) noexcept nogil:
    """Marks of data[base .. base + 64), or of what is left of it; base is a multiple of 64 below n."""
    cdef fm_marks marks
    cdef unsigned int early
    if n - base >= 64:
        return fm_marks64(data + base)
    if base == 0:
        return fm_marks_few(data, n)
    early = <unsigned int>(64 - (n - base))  # bound: the last 64 bytes; those before base are shifted out
    marks = fm_marks64(data + n - 64)
    marks.ctl >>= early
    marks.colon >>= early
    return marks


cdef inline void scan_load(Scan* s, size_t pos) noexcept nogil:
    cdef fm_marks marks
    s.base = pos & ~<size_t>63
    marks = marks_at(s.data, s.n, s.base)
    s.ctl = marks.ctl
    s.either = marks.ctl | marks.colon


cdef inline size_t scan_ctl(Scan* s, size_t pos) noexcept nogil:
    """Where the first control byte at or after pos is; n when there is none."""
    cdef u64 marks
    while pos < s.n:
        if pos - s.base >= 64:
            scan_load(s, pos)
        marks = s.ctl >> (pos & 63)
        if marks:
            return pos + fm_ctz64(marks)
        pos = s.base + 64
    return s.n


cdef inline size_t scan_either(Scan* s, size_t pos) noexcept nogil:
    """The same for a control byte or a colon."""
    cdef u64 marks
    while pos < s.n:
        if pos - s.base >= 64:
            scan_load(s, pos)
        marks = s.either >> (pos & 63)
        if marks:
            return pos + fm_ctz64(marks)
        pos = s.base + 64
    return s.n


cdef inline void scan_init(Scan* s, const u8* data, size_t n) noexcept nogil:
    s.data = data
    s.n = n
    s.base = <size_t>0 - 64  # nothing loaded: every position is 64 or more past it
    s.ctl = 0
    s.either = 0


cdef int refuse(Work* w, int status, u8 fault) noexcept nogil:
    w.head.fault = fault
    return status


cdef int line_stopped(Work* w, size_t pos, size_t end, size_t line_end, u8 control) noexcept nogil:
    """The line at pos has no CRLF at `end`, its first control byte: broken, over a limit, or not all here yet.

    line_end: the first byte its limits forbid. control: the fault when the byte is neither CR nor LF.
    """
    cdef size_t stop = line_end if line_end < w.n else w.n
    if end < stop and w.data[end] == 0x0A:
        return refuse(w, BAD, FAULT_BARE_LF)
    if end < stop and w.data[end] != 0x0D:
        return refuse(w, BAD, control)
    if end + 1 < stop:
        return refuse(w, BAD, FAULT_BARE_CR)
    if w.n > line_end:
        if w.lines == 0 and line_end < w.limits.head_bytes:
            return refuse(w, LIMIT, FAULT_LINE_TOO_LONG)
        return refuse(w, LIMIT, FAULT_HEAD_TOO_LONG)
    w.resume.line_off = <u32>pos
    w.resume.seen_bytes = <u32>end
    w.resume.lines = w.lines
    return AGAIN


cdef inline size_t line_limit(const Work* w, size_t pos, u32 bytes) noexcept nogil:
    return pos + bytes if pos + bytes < w.limits.head_bytes else w.limits.head_bytes


cdef inline bint line_ends(const Scan* s, size_t pos, size_t end, size_t bytes) noexcept nogil:
    """Whether the line at pos has its CRLF at `end`, within the bytes there and its limit."""
    return end + 2 <= s.n and end + 2 - pos <= bytes and fm_load_u16(s.data + end) == CRLF


cdef inline int start_line(Work* w, Scan* scan, size_t pos, size_t* after) noexcept nogil:
    """Skips empty lines and reads the start line at pos; *after: where the first field line begins."""
    cdef Http1Head* head = w.head
    cdef const u8* data = w.data
    cdef size_t end, bytes = w.limits.line_bytes
    cdef bint request = w.kind == KIND_REQUEST
    cdef u8 fault
    while True:
        end = scan_ctl(scan, pos)
        if not line_ends(scan, pos, end, bytes):
            fault = start_line_control(data, pos, end, request)
            return line_stopped(w, pos, end, line_limit(w, pos, w.limits.line_bytes), fault)
        if end != pos:
            break
        if not request or pos >= 2 * EMPTY_LINES_MAX:
            return refuse(w, BAD, FAULT_REQUEST_LINE if request else FAULT_STATUS_LINE)
        pos += 2
    head.line_off = <u32>pos
    head.line_bytes = <u32>(end + 2 - pos)
    if request:
        fault = request_line_parse(head, data, pos, end, w.n)
    else:
        fault = status_line_parse(head, data, pos, end)
    after[0] = end + 2
    return OK if fault == FAULT_NONE else refuse(w, BAD, fault)


cdef inline bint field_line(Field* field, const u8* data, size_t pos, size_t colon, size_t end,
                            size_t n) noexcept nogil:
    """One field line, data[pos .. end), with its first colon at `colon`."""
    cdef size_t name = colon - pos, value = colon + 1
    cdef u8 ident
    if name - 1 >= NAME_MAX:  # or empty: 0 - 1 is the largest number
        return False
    ident = fm_field_id(data + pos, name)
    if ident == 0 and not fm_is_token(data + pos, name, n - pos):
        return False
    while is_blank(data[value]):  # bound: the CR at data[end]
        value += 1
    while end > value and is_blank(data[end - 1]):
        end -= 1
    field.name_off = <u32>pos
    field.value_off = <u32>value
    field.value_len = <u32>(end - value)
    field.name_len = <u16>name
    field.id = ident
    field.drop = <u8>((<u32>HOP_BY_HOP >> ident) & 1)
    return True


cdef int field_stopped(Work* w, const Scan* scan, size_t pos, size_t end, size_t count, bint colon) noexcept nogil:
    """The line at pos is no field line. `colon`: whether it has one before `end`, its first control byte."""
    if not line_ends(scan, pos, end, w.limits.field_line_bytes):
        w.lines = <u32>(count + 1)
        return line_stopped(w, pos, end, line_limit(w, pos, w.limits.field_line_bytes),
                            FAULT_FIELD_VALUE if colon else FAULT_FIELD_NAME)
    if count >= w.limits.fields or count >= HEADERS_MAX:
        return refuse(w, LIMIT, FAULT_TOO_MANY_FIELDS)
    return refuse(w, BAD, FAULT_OBS_FOLD if is_blank(w.data[pos]) else FAULT_FIELD_NAME)


cdef int field_lines(Work* w, const Scan* start, size_t pos, size_t count, FieldFacts* facts) noexcept nogil:
    """Field lines from pos to the empty line; `count` came before."""
    cdef Scan scan = start[0], shown
    cdef size_t end, colon, bytes = w.limits.field_line_bytes
    cdef size_t most = w.limits.fields if w.limits.fields < HEADERS_MAX else <u32>HEADERS_MAX
    cdef u32 bit, seen = 0, repeated = 0
    cdef Field* field = &w.head.fields[count]
    while True:
        colon = scan_either(&scan, pos)
        end = colon
        if end >= scan.n or scan.data[end] != 0x3A:
            break
        end = scan_ctl(&scan, colon)
        if not line_ends(&scan, pos, end, bytes) or count >= most:
            break
        if not field_line(field, scan.data, pos, colon, end, scan.n):
            break
        bit = <u32>1 << field.id
        repeated |= seen & bit
        seen |= bit
        facts.last[field.id] = <u16>count
        field += 1
        count += 1
        pos = end + 2
    if end != pos or not line_ends(&scan, pos, end, bytes):
        shown = scan
        return field_stopped(w, &shown, pos, end, count, colon != end)
    w.head.nfields = <u16>count
    w.head.head_bytes = <u32>(end + 2)
    facts.seen = seen
    facts.repeated = repeated
    return OK


cdef int message_walk(Work* w, FieldFacts* facts, size_t pos, u32 lines) noexcept nogil:
    """From the incomplete line at pos (from the start of a new message) to the end of the head or of the bytes."""
    cdef Scan scan
    cdef int rc
    memset(w.head, 0, <size_t>(<u8*>&w.head.fields[0] - <u8*>w.head))
    scan_init(&scan, w.data, w.visible)
    w.lines = lines
    if lines:
        return field_lines(w, &scan, pos, lines - 1, facts)
    if w.kind != KIND_TRAILERS:
        rc = start_line(w, &scan, pos, &pos)
        if rc != OK:
            return rc
    return field_lines(w, &scan, pos, 0, facts)


cdef bint nothing_new(Work* w) noexcept nogil:
    """Whether the bytes since the last call end no line, break none and cross no limit."""
    cdef Scan scan
    cdef Http1Resume* resume = w.resume
    cdef u32 bytes = w.limits.field_line_bytes if resume.lines else w.limits.line_bytes
    if resume.seen_bytes == 0 or w.n > line_limit(w, resume.line_off, bytes):
        return False
    scan_init(&scan, w.data, w.visible)
    if scan_ctl(&scan, resume.seen_bytes) < w.n:
        return False
    resume.seen_bytes = <u32>w.n
    return True


cdef inline int message_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                              const Http1Limits* limits, int kind) noexcept nogil:
    cdef Work w
    cdef FieldFacts facts
    cdef int rc
    cdef bint resumed = resume.lines != 0 and resume.line_off != 0
    w.head = head
    w.resume = resume
    w.limits = limits
    w.data = data
    w.n = n
    w.visible = n if n < limits.head_bytes else limits.head_bytes
    w.kind = kind
    if nothing_new(&w):
        return AGAIN
    rc = message_walk(&w, &facts, resume.line_off, resume.lines)
    if rc == OK and resumed:
        rc = message_walk(&w, &facts, 0, 0)
    if rc != OK:
        return rc
    if kind == KIND_TRAILERS:
        trailers_settle(head, data)
        return OK
    head.fault = fields_settle(head, data, &facts, kind == KIND_REQUEST)
    return OK if head.fault == FAULT_NONE else BAD


cdef int http1_request_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                             const Http1Limits* limits) noexcept nogil:
    return message_parse(head, resume, data, n, limits, KIND_REQUEST)


cdef int http1_response_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                              const Http1Limits* limits) noexcept nogil:
    return message_parse(head, resume, data, n, limits, KIND_RESPONSE)


cdef int http1_trailers_parse(Http1Head* head, Http1Resume* resume, const u8* data, size_t n,
                              const Http1Limits* limits) noexcept nogil:
    return message_parse(head, resume, data, n, limits, KIND_TRAILERS)


cdef bint http1_response_bodiless(const Http1Head* head, u8 request_method) noexcept nogil:
    return request_method == METHOD_HEAD or head.status < 200 or head.status == 204 or head.status == 304


cdef u8 http1_response_framing(const Http1Head* head, u8 request_method) noexcept nogil:
    if head.status == 101 or (request_method == METHOD_CONNECT and head.status // 100 == 2):
        return FRAMING_TUNNEL
    return <u8>FRAMING_NONE if http1_response_bodiless(head, request_method) else head.framing
