# One HTTP/2 frame at a time: what each type means for its session and its stream (RFC 9113 6).
# Law: answers OK, AGAIN (a DATA frame's head is not all there), or above 0 the Http2Error that ends the connection.
from fastmesh._core.io.state cimport Conn, Session, Worker
from fastmesh._core.wire.http2_frame cimport Frame

# The frame at the start of inb; of DATA only the head is taken out here, of others the caller takes all.
cdef int http2_frame(Worker* w, Conn* c, Session* s, const Frame* f) noexcept nogil
# More of the payload of the DATA frame that is being read; takes it out of inb.
cdef int http2_data(Worker* w, Conn* c, Session* s) noexcept nogil
