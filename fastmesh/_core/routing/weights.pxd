# Compiled tables that turn a number into an endpoint in proportion to the weights, at a cost flat in their count.
# Law: over [0, total) every endpoint owns exactly weight / gcd of the numbers; a walk by `stride` from anywhere visits each
# number once in `total` steps and spreads every endpoint's turns over them.
from fastmesh._core.base.types cimport u32, u64
from fastmesh._core.routing.snapshot cimport Snapshot

cdef enum TableForm:
    TABLE_EQUAL = 0     # weights are equal: number i is endpoint i, turns go in config order
    TABLE_LISTED        # total is small: every number's owner is listed, already in a smooth order
    TABLE_GUIDED        # total is large: cumulative weights, found through a guide; the stride near the golden section of
                        #   the total makes the order smooth

ctypedef struct WeightTable:
    u64 total           # sum of weights over their greatest common divisor; 0: the backend is empty
    u64 stride          # coprime to total; 1 but for TABLE_GUIDED
    u32 form            # TableForm
    u32 shift           # guided: a number's guide is number >> shift
    u32 first           # of the backend's endpoints
    u32 owners_first    # of the table's part of owners

ctypedef struct Weights:
    WeightTable* tables     # owns: one per backend
    u64* ends               # owns: guided: one per endpoint: the first number after its own
    u32* owners             # owns: listed: owner of every number; guided: of the first number of every 2^shift, and one more

# NULL when there is no memory. Balancers that draw without weights get a table for equal ones.
cdef Weights* weights_new(const Snapshot* s) noexcept nogil
cdef void weights_free(Weights* w) noexcept nogil

# Which endpoint (counted within the backend) owns a number below total.
cdef inline u32 weights_owner(const Weights* w, const WeightTable* t, u64 number) noexcept nogil:
    if t.form == TABLE_EQUAL:
        return <u32>number
    if t.form == TABLE_LISTED:
        return w.owners[t.owners_first + number]
    cdef const u32* guide = &w.owners[t.owners_first + (number >> t.shift)]
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
