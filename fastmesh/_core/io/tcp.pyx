from libc.string cimport memcpy, memset

from fastmesh._core.base.buffer cimport buf_head, buf_len
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.io.originals cimport original_route
from fastmesh._core.io.state cimport EX_TLS, OFFERED_BYTES
from fastmesh._core.routing.balancer cimport PICK_NONE
from fastmesh._core.routing.router cimport RouteQuery, router_tcp_match
from fastmesh._core.routing.snapshot cimport ROUTE_NONE, Route
from fastmesh._core.wire.client_hello cimport ClientHello, alpn_next, client_hello_parse
from fastmesh._core.wire.headers cimport Field

cdef enum:
    ALPN_BYTES = 4      # of "alpn", which stands before the protocols in the scratch


# The protocols a client offers, as fields of one name. How many.
cdef u32 alpn_fields(Worker* w, const ClientHello* hello) noexcept nogil:
    cdef const u8* protocol = NULL
    cdef size_t n = 0, at = 0
    cdef u32 count = 0
    cdef Field* field
    w.head_of = 0
    memcpy(w.scratch, <const char*>b"alpn", ALPN_BYTES)
    memcpy(w.scratch + ALPN_BYTES, hello.alpn, sizeof(hello.alpn))
    while alpn_next(hello, &at, &protocol, &n):
        field = &w.head.fields[count]
        memset(field, 0, sizeof(Field))
        field.name_len = ALPN_BYTES
        field.value_off = <u32>(ALPN_BYTES + at - n)
        field.value_len = <u32>n
        count += 1
    return count


cdef void keep_name(Exchange* x, const ClientHello* hello) noexcept nogil:
    cdef u32 n = hello.name_len if hello.name_len < OFFERED_BYTES else <u32>OFFERED_BYTES
    # The end of a name says more than its beginning.
    memcpy(x.offered, hello.name + (hello.name_len - n), n)
    x.offered_len = <u8>n


cdef bint tcp_route(Worker* w, Exchange* x, Conn* down) noexcept nogil:
    cdef RouteQuery query
    cdef ClientHello hello
    cdef const Route* route
    memset(&query, 0, sizeof(RouteQuery))
    query.listener = down.listener
    query.base = w.scratch
    query.host = w.scratch
    if x.flags & EX_TLS and client_hello_parse(&hello, buf_head(&down.inb), buf_len(&down.inb)) == OK:
        query.host = hello.name
        query.host_len = hello.name_len
        query.nfields = alpn_fields(w, &hello)
        query.fields = w.head.fields
        keep_name(x, &hello)
    x.version = w.snap.version
    x.endpoint = PICK_NONE
    x.route = router_tcp_match(w.snap, &query)
    if x.route == ROUTE_NONE:
        x.route = original_route(w, down)
        if x.route == ROUTE_NONE:
            return 0
    route = &w.snap.routes[x.route]
    x.backend = route.backend
    x.retry_connect = route.retry_connect
    return 1
