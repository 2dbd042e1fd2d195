# The TLS ClientHello (RFC 8446 4.1.2): the server name, ALPN and versions a client asks for, read without TLS.
# Law: the answer depends on the hello alone, not on how records (RFC 8446 5.1) and segments cut it. An answer other than
# AGAIN never changes with more bytes. Never reads past data[n - 1].
from fastmesh._core.base.types cimport u8, u16, u32

cdef enum:
    HELLO_MOST = 16384          # bytes on the wire, record headers included: what a small buffer holds
    HELLO_LEAST = 41            # body of a hello with nothing optional
    HELLO_NAME_MOST = 253       # RFC 1035 2.3.4 as text without the last dot
    HELLO_ALPN_ROOM = 256

cdef enum HelloFlag:
    HELLO_NAME_ODD = 1          # a server name is there and is no host name (an IP address, a byte no host has)
    HELLO_ALPN_CUT = 2          # more protocols were offered than alpn holds

# What is kept is copied: fragments of a name that came in several records do not lie side by side in the input.
ctypedef struct ClientHello:
    u32 bytes                       # on the wire, through the last record of the hello
    u16 version                     # the highest 0x03xx offered (supported_versions where there, else legacy); 0: none
    u16 legacy_version
    u16 alpn_len                    # bytes used of alpn
    u8 name_len                     # bytes used of name; 0: no name, or HELLO_NAME_ODD
    u8 flags                        # HelloFlag
    u8[HELLO_NAME_MOST] name        # letters as they came: compare in any case
    u8[HELLO_ALPN_ROOM] alpn        # whole protocols as on the wire, each behind its length byte (RFC 7301 3.1)

# Whether a connection that opens with p is about to send one: OK, AGAIN so far, BAD not. Certain after 11 bytes.
cdef int client_hello_begins(const u8* p, size_t n) noexcept nogil
# OK: out is filled. AGAIN: incomplete. LIMIT: needs more than HELLO_MOST bytes. BAD: none, SSL 2.0's form included.
# Stricter than a server must be where two readings could route to two places: one server name at most, of type
# host_name; no extension of ours twice; no bytes behind the hello in its last record; no empty record.
# data is the connection from its first byte, all bytes received so far.
cdef int client_hello_parse(ClientHello* out, const u8* data, size_t n) noexcept nogil

# Walks the offered protocols. *at: 0 before the first call.
cdef inline bint alpn_next(const ClientHello* hello, size_t* at, const u8** p, size_t* n) noexcept nogil:
    cdef size_t i = at[0]
    if i >= hello.alpn_len:
        return False
    p[0] = &hello.alpn[i + 1]
    n[0] = hello.alpn[i]
    at[0] = i + 1 + n[0]
    return True

# Whether p[0 .. n) is offered; names are compared byte by byte (RFC 7301 3.2).
cdef bint alpn_has(const ClientHello* hello, const u8* p, size_t n) noexcept nogil
