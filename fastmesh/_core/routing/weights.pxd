# Compiled tables that turn a number into an endpoint in proportion to the weights, at a cost flat in their count.
# Law: over [0, total) every endpoint owns exactly weight / gcd of the numbers; a walk by `stride` from anywhere visits each
# number once in `total` steps, and spreads an endpoint's turns evenly (the step is near the golden section of the total).
from fastmesh._core.base.types cimport u32, u64
from fastmesh._core.routing.snapshot cimport Snapshot

ctypedef struct WeightTable:
    u64 total           # sum of weights over their greatest common divisor; 0: the backend is empty
    u64 stride          # coprime to total; 1 when all weights are equal, so that turns go in config order
    u32 equal           # 1: number i is endpoint i, nothing below is used
    u32 shift           # a number's guide is number >> shift
    u32 first           # of the backend's endpoints
    u32 guide_first

ctypedef struct Weights:
    WeightTable* tables     # owns: one per backend
    u64* ends               # owns: one per endpoint: the first number after its own
    u32* guides             # owns: the endpoint that owns the first number of every 2^shift; one more closes the table

# NULL when there is no memory. Balancers that draw without weights get a table for equal ones.
cdef Weights* weights_new(const Snapshot* s) noexcept nogil
cdef void weights_free(Weights* w) noexcept nogil

# Which endpoint (counted within the backend) owns a number below total.
cdef inline u32 weights_owner(const Weights* w, const WeightTable* t, u64 number) noexcept nogil:
    if t.equal:
        return <u32>number
    cdef const u32* guide = &w.guides[t.guide_first + (number >> t.shift)]
    cdef u32 low = guide[0]
    cdef u32 high = guide[1]
    cdef u32 middle
    while low < high:
        middle = low + ((high - low) >> 1)
        if w.ends[t.first + middle] > number:
            high = middle
        else:
            low = middle + 1
    return low
