"""What an exchange counts, in a loop without the interpreter, for the micro benchmarks."""
from libc.stdlib cimport calloc, free

from fastmesh._core.base.histogram cimport histogram_bucket
from fastmesh._core.base.meter cimport (
    COUNT_ACCEPTED, COUNT_MAX, Block, EndpointMeter, Meters, meters_count,
)
from fastmesh._core.base.types cimport u32, u64
from fastmesh._core.ffi.atomic cimport meter_add


def count(long rounds):
    """The sum of the counters after so many counts, each of another counter than the one before."""
    cdef Meters* m = <Meters*>calloc(1, sizeof(Meters))
    cdef long i
    cdef u32 which = COUNT_ACCEPTED
    cdef u64 total = 0
    if m == NULL:
        raise MemoryError
    for i in range(rounds):
        meters_count(m, which, 1)
        which = which + 1 if which + 1 < COUNT_MAX else 0
    for i in range(COUNT_MAX):
        total += m.counters[i]
    free(m)
    return total


def record(long rounds):
    """Exchanges counted after so many: requests, bytes both ways, status, duration, endpoint."""
    cdef Block* b = <Block*>calloc(1, sizeof(Block))
    cdef EndpointMeter e
    cdef u64 duration = 1000, total
    cdef long i
    if b == NULL:
        raise MemoryError
    e.requests = 0
    for i in range(rounds):
        duration = duration * 5 % 1000003
        meter_add(&b.requests, 1)
        meter_add(&b.request_bytes, 300)
        meter_add(&b.response_bytes, 500)
        meter_add(&b.codes[200], 1)
        meter_add(&b.duration_sum_ns, duration * 1000)
        meter_add(&b.durations[histogram_bucket(duration * 1000)], 1)
        meter_add(&e.requests, 1)
    total = b.requests
    free(b)
    return total
