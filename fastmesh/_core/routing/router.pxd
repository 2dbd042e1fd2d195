# Which route a request takes. Cost does not grow with the number of routes.
# Law: equals the model that tries every route in precedence order: host exact > longer suffix > any; then path exact > longer
# prefix > any; then a method named > any; then more header matches; then config order. (Gateway API precedence.)
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.wire.headers cimport Field
from fastmesh._core.routing.snapshot cimport Snapshot

ctypedef struct RouteQuery:
    const u8* host          # any case, no port; may end in one dot
    u32 host_len
    const u8* path          # without query; empty stands for "/"
    u32 path_len
    u32 listener            # index
    u8 method               # Method
    const u8* base          # what the fields' offsets are relative to
    const Field* fields
    u32 nfields

# Compiles s.index and s.tcp_index from routes and headers. OK or FULL (no memory; nothing is left behind).
# A trailing dot of a host and one trailing slash of a prefix do not count ("/a/" is "/a", "/" matches every path that
# begins with a slash); a prefix that does not begin with a slash matches nothing. Routes that agree in host and path and
# differ in methods or headers are tried one after another.
cdef int router_build(Snapshot* s) noexcept nogil
cdef void router_free(Snapshot* s) noexcept nogil
# Index of the route, or ROUTE_NONE. Hosts compare without case, paths, header values and methods with it.
# Look-ups: at most one per label of the host and, for each host rule it meets, one per path segment, and no deeper than
# the config's own rules go, whatever the client sends.
cdef u32 router_match(const Snapshot* s, const RouteQuery* query) noexcept nogil
# The same for a TCP connection: the host is the server name (none: empty), the fields its protocols, path and method none.
cdef u32 router_tcp_match(const Snapshot* s, const RouteQuery* query) noexcept nogil
