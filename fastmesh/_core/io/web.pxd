# gRPC-Web toward a client: which requests are bridged, and bodies that are text (base64) on one side, of which each portion is
# made in the scratch, on its way to the sink.
# Law: the source's bytes stay where they are until what they became was taken, so nothing is held twice and what a full sink
# left is made again; web_sent says how much of the first unit it already has.
from fastmesh._core.base.types cimport u8
from fastmesh._core.io.state cimport Conn, Exchange, Pipe, Worker
from fastmesh._core.routing.snapshot cimport Route

# Sets or clears EX_WEB and what goes with it: a gRPC-Web request (in w.head, its bytes at `data`) on a route that bridges it
# to gRPC, which is spoken over HTTP/2.
cdef void web_route(Worker* w, Exchange* x, const Route* route, const u8* data) noexcept nogil
# Sends what is ready, at `data`, and the end of the body with the last of it. OK: all went, but for up to three bytes that need
# the next ones; else BLOCKED, FULL or IO.
cdef int web_send(Worker* w, Pipe* p, const u8* data, Conn* sink) noexcept nogil
