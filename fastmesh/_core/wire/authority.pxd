# host[":" port] of targets and Host fields (RFC 3986 3.2, RFC 9110 4.2.1, RFC 9112 3.2).
# Law: no userinfo, no empty host, no IPvFuture, no zone; a port is at most five digits and 65535, or empty.
from fastmesh._core.base.types cimport u8, i32

cdef enum:
    PORT_NONE = -1          # no ":" or nothing after it

ctypedef struct Authority:
    size_t host_len         # bytes from the start; an IPv6 literal with its brackets
    i32 port                # 0..65535 or PORT_NONE

# Whether p[0 .. n) is one; fills out. room: bytes that may be read at p, >= n.
cdef bint authority_parse(const u8* p, size_t n, size_t room, Authority* out) noexcept nogil
# Whether what a Host says names what the target does: same host in any case, same port. default_port: of the scheme;
# PORT_NONE: CONNECT has none, so a Host without a port claims nothing about it (RFC 9110 9.3.6).
cdef bint authority_agrees(const u8* target, const Authority* wanted, const u8* host, const Authority* said,
                           i32 default_port) noexcept nogil
# RFC 3986 IPv6address, without brackets.
cdef bint ipv6_valid(const u8* p, size_t n) noexcept nogil
