# What this hop changes in a request head before it goes upstream.
# Law: the head is in w.head with its bytes in the client's inb; nothing here decides where it goes.
from fastmesh._core.base.types cimport i64
from fastmesh._core.io.state cimport Conn, Exchange, Worker

# Composes the request head into the scratch: text, or a header block. Bytes, or < 0.
cdef i64 request_compose(Worker* w, Exchange* x, const Conn* down, const Conn* up) noexcept nogil
