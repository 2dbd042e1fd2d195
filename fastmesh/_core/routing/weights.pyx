from libc.stdlib cimport calloc, free

from fastmesh._core.base.status cimport OK, FULL
from fastmesh._core.base.types cimport u32, u64, f64
from fastmesh._core.routing.snapshot cimport BALANCER_RANDOM, BALANCER_ROUND_ROBIN, Backend, Endpoint, Snapshot

cdef f64 GOLDEN = 0.6180339887498949


cdef u64 gcd(u64 a, u64 b) noexcept nogil:
    cdef u64 rest
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


cdef inline u64 weight_of(const Endpoint* e) noexcept nogil:
    return e.weight if e.weight > 0 else 1


# What all weights of a backend are a multiple of.
cdef u64 weights_gcd(const Snapshot* s, const Backend* backend) noexcept nogil:
    cdef u64 common = 0
    cdef u32 i
    for i in range(backend.endpoint_count):
        common = gcd(weight_of(&s.endpoints[backend.endpoint_first + i]), common)
    return common


cdef bint draws_by_weight(const Snapshot* s, const Backend* backend) noexcept nogil:
    cdef u32 i
    if backend.balancer != BALANCER_ROUND_ROBIN and backend.balancer != BALANCER_RANDOM:
        return 0
    for i in range(1, backend.endpoint_count):
        if weight_of(&s.endpoints[backend.endpoint_first + i]) != weight_of(&s.endpoints[backend.endpoint_first]):
            return 1
    return 0


# Guides of a table: a power of two, at least one per endpoint.
cdef u32 guides_of(const Backend* backend) noexcept nogil:
    cdef u32 count = 1
    while count < backend.endpoint_count:
        count *= 2
    return count


cdef u64 golden_stride(u64 total) noexcept nogil:
    cdef u64 stride = <u64>(<f64>total * GOLDEN)
    if stride == 0:
        stride = 1
    while gcd(total, stride) != 1:
        stride += 1
    return stride


cdef void fill_table(Weights* w, WeightTable* t, const Snapshot* s, const Backend* backend, u32 guide_first) noexcept nogil:
    cdef u32 count = guides_of(backend)
    cdef u64 common = weights_gcd(s, backend)
    cdef u64 end = 0
    cdef u32 i
    cdef u32 owner = 0
    # Every weight is at least 1, so that common is not 0 here.
    for i in range(backend.endpoint_count):
        end += weight_of(&s.endpoints[t.first + i]) / common if common > 0 else 1
        w.ends[t.first + i] = end
    t.total = end
    t.stride = golden_stride(end)
    t.guide_first = guide_first
    while (<u64>count << t.shift) < end:
        t.shift += 1
    for i in range(count):
        while owner + 1 < backend.endpoint_count and w.ends[t.first + owner] <= <u64>i << t.shift:
            owner += 1
        w.guides[guide_first + i] = owner
    w.guides[guide_first + count] = backend.endpoint_count - 1


cdef int weights_fill(Weights* w, const Snapshot* s) noexcept nogil:
    cdef const Backend* backend
    cdef WeightTable* t
    cdef size_t guides = 0
    cdef u32 i, next_guide = 0
    for i in range(s.backend_count):
        if draws_by_weight(s, &s.backends[i]):
            guides += guides_of(&s.backends[i]) + 1
    w.tables = <WeightTable*>calloc(<size_t>s.backend_count + 1, sizeof(WeightTable))
    w.ends = <u64*>calloc(<size_t>s.endpoint_count + 1, sizeof(u64))
    w.guides = <u32*>calloc(guides + 1, sizeof(u32))
    if w.tables == NULL or w.ends == NULL or w.guides == NULL:
        return FULL
    for i in range(s.backend_count):
        backend = &s.backends[i]
        t = &w.tables[i]
        t.first = backend.endpoint_first
        t.total = backend.endpoint_count
        t.stride = 1
        t.equal = 1
        if draws_by_weight(s, backend):
            t.equal = 0
            fill_table(w, t, s, backend, next_guide)
            next_guide += guides_of(backend) + 1
    return OK


cdef Weights* weights_new(const Snapshot* s) noexcept nogil:
    cdef Weights* w = <Weights*>calloc(1, sizeof(Weights))
    if w == NULL:
        return NULL
    if weights_fill(w, s) != OK:
        weights_free(w)
        return NULL
    return w


cdef void weights_free(Weights* w) noexcept nogil:
    if w == NULL:
        return
    free(w.tables)
    free(w.ends)
    free(w.guides)
    free(w)
