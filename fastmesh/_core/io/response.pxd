# The response's way: from the upstream's bytes to the client. 1xx go through, one final head is delivered, then its body.
# Law: a response that breaks the grammar becomes 502 and its connection is never used again; bytes after a response are never
# taken for another one.
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Reads until the final head is delivered. False: the exchange has ended.
cdef bint response_head(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
# Forwards the body; ends the exchange when both messages are through. False: it has ended.
cdef bint response_body(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil
