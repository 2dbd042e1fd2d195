from libc.stdlib cimport calloc, free, qsort

from fastmesh._core.base.status cimport OK, FULL
from fastmesh._core.base.types cimport u32, u64, f64
from fastmesh._core.routing.snapshot cimport BALANCER_RANDOM, BALANCER_ROUND_ROBIN, Backend, Endpoint, Snapshot

cdef f64 GOLDEN = 0.6180339887498949

cdef enum:
    LISTED_EACH = 8         # a list of numbers may be this long per endpoint
    LISTED_MORE = 1024      #   and this much longer
    STRIDES_TRIED = 256

# One turn of an endpoint in the course of a period.
ctypedef struct Turn:
    f64 at                  # 0 .. 1
    u32 owner


cdef u64 gcd(u64 a, u64 b) noexcept nogil:
    cdef u64 rest
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


cdef inline u64 weight_of(const Endpoint* e) noexcept nogil:
    return e.weight if e.weight > 0 else 1


# Total and form; the weights' greatest common divisor (never 0).
cdef u64 measure_table(WeightTable* t, const Snapshot* s, const Backend* backend) noexcept nogil:
    cdef const Endpoint* endpoints = &s.endpoints[backend.endpoint_first]
    cdef u64 common = 0
    cdef u64 sum_of = 0
    cdef u64 n = backend.endpoint_count
    cdef u32 i
    t.first = backend.endpoint_first
    t.form = TABLE_EQUAL
    t.stride = 1
    t.total = n
    if backend.balancer != BALANCER_ROUND_ROBIN and backend.balancer != BALANCER_RANDOM:
        return 1
    for i in range(backend.endpoint_count):
        common = gcd(weight_of(&endpoints[i]), common)
        sum_of += weight_of(&endpoints[i])
    if common == 0:
        return 1
    t.total = sum_of / common
    if t.total > n:
        t.form = TABLE_LISTED if t.total <= n * LISTED_EACH + LISTED_MORE else TABLE_GUIDED
    return common


# Guides of a guided table: a power of two, at least one per endpoint.
cdef u32 guides_of(const Backend* backend) noexcept nogil:
    cdef u32 count = 1
    while count < backend.endpoint_count:
        count *= 2
    return count


cdef size_t owners_of(const WeightTable* t, const Backend* backend) noexcept nogil:
    if t.form == TABLE_LISTED:
        return t.total
    return <size_t>guides_of(backend) + 1 if t.form == TABLE_GUIDED else 0


cdef int compare_turns(const void* left, const void* right) noexcept nogil:
    cdef const Turn* a = <const Turn*>left
    cdef const Turn* b = <const Turn*>right
    if a.at != b.at:
        return -1 if a.at < b.at else 1
    return -1 if a.owner < b.owner else (1 if a.owner > b.owner else 0)


# Every endpoint takes its turns at even distances; each begins at another phase, so that they do not come in bursts.
cdef int fill_listed(u32* owners, const WeightTable* t, const Snapshot* s, const Backend* backend, u64 common) noexcept nogil:
    cdef Turn* turns = <Turn*>calloc(t.total, sizeof(Turn))
    cdef f64 phase = 0
    cdef u64 k, weight
    cdef u64 at = 0
    cdef u32 i
    if turns == NULL:
        return FULL
    for i in range(backend.endpoint_count):
        # common is a divisor of the weight and never 0
        weight = weight_of(&s.endpoints[t.first + i]) / common
        for k in range(weight):
            turns[at].at = (<f64>k + phase) / <f64>weight
            turns[at].owner = i
            at += 1
        phase += GOLDEN
        if phase >= 1.0:
            phase -= 1.0
    qsort(turns, t.total, sizeof(Turn), compare_turns)
    for at in range(t.total):
        owners[at] = turns[at].owner
    free(turns)
    return OK


# The greatest partial quotient of stride / total as a continued fraction, 0 when they are not coprime. The smaller it is,
# the more evenly do the multiples of the stride lie in the total.
cdef u64 unevenness(u64 stride, u64 total) noexcept nogil:
    cdef u64 greatest = 0
    cdef u64 quotient, rest
    while stride != 0:
        quotient = total / stride
        rest = total % stride
        if quotient > greatest:
            greatest = quotient
        total = stride
        stride = rest
    return greatest if total == 1 else 0


# The most even stride near the golden section, where large totals have one with small quotients all along.
cdef u64 golden_stride(u64 total) noexcept nogil:
    cdef u64 stride = <u64>(<f64>total * GOLDEN)
    cdef u64 best = 1
    cdef u64 least = 0
    cdef u64 found
    cdef u32 i
    for i in range(<u32>STRIDES_TRIED):
        found = unevenness(stride + i, total)
        if found > 0 and (least == 0 or found < least):
            least = found
            best = stride + i
    return best


cdef void fill_guided(Weights* w, WeightTable* t, const Snapshot* s, const Backend* backend, u64 common) noexcept nogil:
    cdef u32* guide = &w.owners[t.owners_first]
    cdef u64* ends = &w.ends[t.first]
    cdef u32 count = guides_of(backend)
    cdef u64 end = 0
    cdef u32 i
    cdef u32 owner = 0
    for i in range(backend.endpoint_count):
        # common is a divisor of the weight and never 0
        end += weight_of(&s.endpoints[t.first + i]) / common
        ends[i] = end
    t.stride = golden_stride(end)
    while (<u64>count << t.shift) < end:
        t.shift += 1
    for i in range(count):
        while owner + 1 < backend.endpoint_count and ends[owner] <= <u64>i << t.shift:
            owner += 1
        guide[i] = owner
    guide[count] = backend.endpoint_count - 1


cdef int weights_fill(Weights* w, const Snapshot* s) noexcept nogil:
    cdef WeightTable* t
    cdef size_t owners = 0
    cdef u64 common
    cdef u32 i
    w.tables = <WeightTable*>calloc(<size_t>s.backend_count + 1, sizeof(WeightTable))
    w.ends = <u64*>calloc(<size_t>s.endpoint_count + 1, sizeof(u64))
    if w.tables == NULL or w.ends == NULL:
        return FULL
    for i in range(s.backend_count):
        t = &w.tables[i]
        measure_table(t, s, &s.backends[i])
        t.owners_first = <u32>owners
        owners += owners_of(t, &s.backends[i])
    w.owners = <u32*>calloc(owners + 1, sizeof(u32))
    if w.owners == NULL:
        return FULL
    for i in range(s.backend_count):
        t = &w.tables[i]
        common = measure_table(t, s, &s.backends[i])
        if t.form == TABLE_GUIDED:
            fill_guided(w, t, s, &s.backends[i], common)
        elif t.form == TABLE_LISTED and fill_listed(w.owners + t.owners_first, t, s, &s.backends[i], common) != OK:
            return FULL
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
    free(w.owners)
    free(w)
