"""The router, shown to Python tests: a snapshot of routes, and queries whose bytes end at a forbidden page."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap

from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.routing.route_index cimport RouteIndex
from fastmesh._core.routing.router cimport RouteQuery, router_match
from fastmesh._core.routing.snapshot cimport (
    HeaderMatch, ROUTE_NONE, Route, Snapshot, snapshot_free, snapshot_new, snapshot_seal, snapshot_text,
)
from fastmesh._core.wire.headers cimport Field

cdef enum:
    PAGE = 4096
    GUARD_ROOM = 64 * 1024


cdef class Guarded:
    """Bytes that end where the next read would fault."""

    cdef u8* pages

    def __cinit__(self):
        cdef void* at = mmap(NULL, GUARD_ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if at == MAP_FAILED:
            raise MemoryError
        self.pages = <u8*>at
        if mprotect(self.pages + GUARD_ROOM, PAGE, PROT_NONE) != 0:
            raise OSError("mprotect")

    def __dealloc__(self):
        if self.pages != NULL:
            munmap(self.pages, GUARD_ROOM + PAGE)

    cdef u8* put(self, bytes text) except NULL:
        cdef size_t n = len(text)
        if n > GUARD_ROOM:
            raise ValueError("too long for the guarded pages")
        memcpy(self.pages + GUARD_ROOM - n, <const u8*>text, n)
        return self.pages + GUARD_ROOM - n


cdef u32 put_text(Snapshot* s, bytes text) except? 0xFFFFFFFF:
    cdef u32 at = snapshot_text(s, <const u8*>text, <u32>len(text))
    if at == 0xFFFFFFFF:
        raise MemoryError("blob")
    return at


cdef class RouterProbe:
    """Routes: (host_kind, host, path_kind, path, method mask, [(kind, name, value)], listener mask, order)."""

    cdef Snapshot* s
    cdef Guarded host_bytes, path_bytes, field_bytes
    cdef RouteQuery* queries
    cdef list asked

    def __cinit__(self, routes):
        cdef u32 headers = sum(len(route[5]) for route in routes)
        cdef u32 text = sum(len(r[1]) + len(r[3]) + sum(len(h[1]) + len(h[2]) for h in r[5]) for r in routes)
        self.host_bytes, self.path_bytes, self.field_bytes = Guarded(), Guarded(), Guarded()
        self.s = snapshot_new(<u32>len(routes), 0, 0, headers, text)
        if self.s == NULL:
            raise MemoryError
        self.fill(routes)
        if snapshot_seal(self.s) != OK:
            raise MemoryError

    def __dealloc__(self):
        snapshot_free(self.s)
        free(self.queries)

    cdef int fill(self, routes) except -1:
        cdef Route* route
        cdef HeaderMatch* header
        cdef u32 i, at = 0
        for i, (host_kind, host, path_kind, path, methods, headers, listeners, order) in enumerate(routes):
            route = &self.s.routes[i]
            route.host_kind, route.path_kind, route.methods = host_kind, path_kind, methods
            route.host_off, route.host_len = put_text(self.s, host), <u16>len(host)
            route.path_off, route.path_len = put_text(self.s, path), <u16>len(path)
            route.header_first, route.header_count = at, <u32>len(headers)
            route.listener_mask, route.order = listeners, order
            for kind, name, value in headers:
                header = &self.s.headers[at]
                header.kind = kind
                header.name_off, header.name_len = put_text(self.s, name), <u16>len(name)
                header.value_off, header.value_len = put_text(self.s, value), <u16>len(value)
                at += 1
        return 0

    def match(self, bytes host, bytes path, method=1, headers=(), listener=0):
        """Index of the route, None when none matches."""
        cdef RouteQuery query
        cdef Field fields[64]
        cdef u32 found
        memset(&query, 0, sizeof(query))
        query.host, query.host_len = self.host_bytes.put(host), <u32>len(host)
        query.path, query.path_len = self.path_bytes.put(path), <u32>len(path)
        query.method, query.listener = method, listener
        query.base = self.field_bytes.put(b"".join(name + value for name, value in headers))
        query.fields, query.nfields = fields, <u32>len(headers)
        fill_fields(fields, headers)
        found = router_match(self.s, &query)
        return None if found == <u32>ROUTE_NONE else found

    def probe_max(self):
        """The longest run a look-up in this snapshot's table can walk."""
        return (<RouteIndex*>self.s.index).probe_max

    def ask(self, queries):
        """The (host, path) queries spin() goes through."""
        cdef long i
        self.asked = [(bytes(host), bytes(path)) for host, path in queries]
        free(self.queries)
        self.queries = <RouteQuery*>calloc(len(self.asked), sizeof(RouteQuery))
        if self.queries == NULL:
            raise MemoryError
        for i, (host, path) in enumerate(self.asked):
            self.queries[i].host, self.queries[i].host_len = <const u8*>(<bytes>host), <u32>len(host)
            self.queries[i].path, self.queries[i].path_len = <const u8*>(<bytes>path), <u32>len(path)
            self.queries[i].method = 1

    def spin(self, long rounds):
        """Bench: `rounds` matches, the queries in turn; returns how many found a route."""
        cdef long count = len(self.asked)
        cdef long i, at = 0, found = 0
        with nogil:
            for i in range(rounds):
                if router_match(self.s, &self.queries[at]) != <u32>ROUTE_NONE:
                    found += 1
                at += 1
                if at == count:
                    at = 0
        return found


cdef int fill_fields(Field* fields, headers) except -1:
    cdef u32 i, at = 0
    if len(headers) > 64:
        raise ValueError("at most 64 fields")
    for i, (name, value) in enumerate(headers):
        memset(&fields[i], 0, sizeof(Field))
        fields[i].name_off, fields[i].name_len = at, <u16>len(name)
        at += <u32>len(name)
        fields[i].value_off, fields[i].value_len = at, <u32>len(value)
        at += <u32>len(value)
    return 0
