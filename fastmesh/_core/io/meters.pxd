# Where a worker's exchanges are counted: one block for every (listener, route) pair that was ever used.
from fastmesh._core.base.meter cimport Block
from fastmesh._core.base.types cimport u32
from fastmesh._core.io.state cimport Worker

# Never NULL: block 0 takes what finds no room. METER_NONE: the listener's block for requests without a route.
cdef Block* block_of(Worker* w, u32 listener, u32 meter) noexcept nogil
# Publishes the gauges; once a turn.
cdef void meters_publish(Worker* w) noexcept nogil
