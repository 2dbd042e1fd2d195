# Start lines of HTTP/1 (RFC 9112 3 and 4), one complete line at a time.
# Law: a function of the line's bytes alone; the line has no control byte but HTAB before its CRLF.
from fastmesh._core.base.types cimport u8
from fastmesh._core.wire.http1_types cimport Http1Head

# data[off .. end): the line without its CRLF; n: bytes that may be read. Fills method, target, path, authority of a
# target, version. FAULT_NONE or why the line is refused.
cdef u8 request_line_parse(Http1Head* head, const u8* data, size_t off, size_t end, size_t n) noexcept nogil
# Fills status, reason (in target_off, target_len) and version.
cdef u8 status_line_parse(Http1Head* head, const u8* data, size_t off, size_t end) noexcept nogil
# Why a start line with a control byte at data[at] is refused: the part it stands in.
cdef u8 start_line_control(const u8* data, size_t off, size_t at, bint request) noexcept nogil
