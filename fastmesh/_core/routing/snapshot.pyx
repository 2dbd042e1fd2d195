from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastmesh._core.base.status cimport OK, FULL
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.routing.balancer cimport balancer_build, balancer_free
from fastmesh._core.routing.router cimport router_build, router_free


# calloc may answer NULL for nothing at all; an empty array is still an array here.
cdef inline void* array_new(u32 count, size_t size) noexcept nogil:
    return calloc(<size_t>count if count else 1, size)


cdef Snapshot* snapshot_new(u32 routes, u32 backends, u32 endpoints, u32 headers, u32 blob_bytes) noexcept nogil:
    cdef Snapshot* s = <Snapshot*>calloc(1, sizeof(Snapshot))
    if s == NULL:
        return NULL
    s.blob = <u8*>array_new(blob_bytes, 1)
    s.routes = <Route*>array_new(routes, sizeof(Route))
    s.backends = <Backend*>array_new(backends, sizeof(Backend))
    s.endpoints = <Endpoint*>array_new(endpoints, sizeof(Endpoint))
    s.headers = <HeaderMatch*>array_new(headers, sizeof(HeaderMatch))
    if s.blob == NULL or s.routes == NULL or s.backends == NULL or s.endpoints == NULL or s.headers == NULL:
        snapshot_free(s)
        return NULL
    s.blob_room = blob_bytes
    s.route_count = routes
    s.backend_count = backends
    s.endpoint_count = endpoints
    s.header_count = headers
    return s


cdef int snapshot_originals(Snapshot* s, u32 targets, u32 rules) noexcept nogil:
    free(s.targets)
    free(s.rules)
    s.targets = <Target*>array_new(targets, sizeof(Target))
    s.rules = <ProtocolRule*>array_new(rules, sizeof(ProtocolRule))
    s.target_count = targets if s.targets != NULL else 0
    s.rule_count = rules if s.rules != NULL else 0
    return OK if s.targets != NULL and s.rules != NULL else FULL


cdef u32 snapshot_text(Snapshot* s, const u8* text, u32 n) noexcept nogil:
    cdef u32 offset = s.blob_len
    if n > s.blob_room - s.blob_len:
        return <u32>0xFFFFFFFF
    if n > 0:
        memcpy(s.blob + offset, text, n)
    s.blob_len += n
    return offset


cdef int snapshot_seal(Snapshot* s) noexcept nogil:
    router_free(s)
    balancer_free(s)
    if router_build(s) != OK:
        return FULL
    if balancer_build(s) != OK:
        router_free(s)
        return FULL
    return OK


cdef void snapshot_free(Snapshot* s) noexcept nogil:
    if s == NULL:
        return
    router_free(s)
    balancer_free(s)
    free(s.targets)
    free(s.rules)
    free(s.headers)
    free(s.endpoints)
    free(s.backends)
    free(s.routes)
    free(s.blob)
    free(s)
