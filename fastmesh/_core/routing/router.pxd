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

cdef int router_build(Snapshot* s) noexcept nogil
cdef void router_free(Snapshot* s) noexcept nogil
# Index of the route, or ROUTE_NONE.
cdef u32 router_match(const Snapshot* s, const RouteQuery* query) noexcept nogil
