# What a connection's first bytes are: HTTP/1, HTTP/2, TLS or anything else.
# Law: a verdict never changes with more bytes, and is given by SNIFF_MOST of them. Looks at p[0 .. n) only.
from fastmesh._core.base.types cimport u8

cdef enum SniffVerdict:
    SNIFF_MORE = 0      # undecided
    SNIFF_HTTP1         # an HTTP/1 request line; what is wrong in it is for http1_head to say
    SNIFF_HTTP2         # the client's preface, whole
    SNIFF_TLS           # the beginning of a ClientHello, for client_hello to read
    SNIFF_OPAQUE        # anything else

cdef enum:
    SNIFF_METHOD_LEAST = 3      # GET, PUT, ACL: nobody registered a shorter one
    SNIFF_METHOD_MOST = 24      # UPDATEREDIRECTREF has 17
    SNIFF_MOST = 1024           # a target that is still not at its end there is one of HTTP

# HTTP/1 is METHOD SP target SP "HTTP/", decided at that slash and nowhere before: "GET /x" alone may be an inline
# command of Redis for the key "/x", which ends its line without the version; that is opaque from its CR on. A method is
# 3 to 24 of A-Z "-" "_" and begins with a letter (memcached's and ZooKeeper's words are lower case); a target begins
# with "/", "*", "http://" or "https://" and after CONNECT with a host; both are looked at byte by byte, so most
# protocols are told apart in one to five bytes. An empty line first is opaque: for Finger and Gopher it is the request.
# So a line that has its LF is never SNIFF_MORE, but for the preface's own; what stays undecided is a beginning of upper-case
# letters that waits for an answer ("ABC" without a line end), and that no look at bytes can tell from a slow client.
#
# Called with all bytes so far; starts from the first each time, which SNIFF_MOST bounds.
cdef int sniff(const u8* p, size_t n) noexcept nogil
# Whether a server's first bytes can be those of HTTP/2: a whole head of a SETTINGS frame, which it may send before it has
# heard its client (RFC 9113 3.4). They say nothing of what the client will speak.
cdef bint sniff_http2_server(const u8* p, size_t n) noexcept nogil
