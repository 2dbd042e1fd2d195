# The PROXY protocol, versions 1 and 2, read and written (HAProxy's proxy-protocol.txt, sections in comments).
# Law: parse(write(h)) == h; an answer other than AGAIN never changes with more bytes. Looks at data[0 .. n) only.
from fastmesh._core.base.types cimport i64, u8, u16, u32

cdef enum:
    PROXY_V1_MOST = 107         # with CRLF (2.1)
    PROXY_V2_HEADER = 16
    PROXY_V2_MOST = 4096        # 2.2 expects less than an MSS; TLVs may hold a client certificate
    PROXY_PATH_BYTES = 108      # of a Unix socket, zero-filled
    PROXY_WRITE_MOST = 232      # PROXY_V2_HEADER and two of those

# The kernel's AF_ numbers.
cdef enum ProxyFamily:
    PROXY_NONE = 0              # LOCAL, UNKNOWN, UNSPEC: the connection's own addresses are the true ones
    PROXY_UNIX = 1
    PROXY_INET = 2
    PROXY_INET6 = 10

ctypedef struct ProxyHeader:
    u32 bytes                           # length of the header; what follows is the stream
    u8 version                          # 1 or 2
    u8 family                           # ProxyFamily
    u8 local                            # version 2's LOCAL command: a health check of the proxy before us
    u8 datagram                         # the addresses are of UDP or a Unix datagram socket
    u16 source_port                     # host byte order; 0 without one
    u16 destination_port
    u8[PROXY_PATH_BYTES] source         # address in network byte order or path, the rest zero
    u8[PROXY_PATH_BYTES] destination

# OK: out is filled. AGAIN: incomplete, or nothing there. BAD: none, or a wrong one: the connection must be dropped.
# LIMIT: over PROXY_V2_MOST. TLVs are checked to fill the header exactly and are not read, PP2_TYPE_CRC32C included.
# A header is never guessed: call this where configuration says that one comes (section 5).
cdef int proxy_parse(ProxyHeader* out, const u8* data, size_t n) noexcept nogil
# Length written, or FULL. Version 1 has no word for Unix sockets, datagrams and LOCAL: those go out as UNKNOWN.
cdef i64 proxy_v1_write(u8* out, size_t room, const ProxyHeader* header) noexcept nogil
# Length written (PROXY_WRITE_MOST at most), or FULL.
cdef i64 proxy_v2_write(u8* out, size_t room, const ProxyHeader* header) noexcept nogil
