from fastmesh._core.base.meter cimport (
    GAUGE_BUFFERS_LARGE, GAUGE_BUFFERS_SMALL, GAUGE_CONN_SLAB, GAUGE_DOWNSTREAM, GAUGE_EXCHANGES, GAUGE_PENDING,
    GAUGE_SESSIONS, GAUGE_SNAPSHOT, GAUGE_STREAMS, GAUGE_TCP, GAUGE_TUNNELS, GAUGE_UPSTREAM, GAUGE_UPSTREAM_IDLE,
    METER_NONE, meters_gauge,
)
from fastmesh._core.base.types cimport u64
from fastmesh._core.ffi.atomic cimport atomic_store_u64
from fastmesh._core.io.state cimport LISTENERS_MAX


cdef Block* block_of(Worker* w, u32 listener, u32 meter) noexcept nogil:
    # Column 0 is the listener's own; meter m is column m + 1.
    cdef u32 column = <u32>(meter + 1) if meter < w.meter_capacity else 0
    cdef u32* cell
    cdef u64 n
    if listener >= LISTENERS_MAX:
        return &w.meters.blocks[0]
    cell = &w.block_of[<size_t>listener * (w.meter_capacity + 1) + column]
    if cell[0]:
        return &w.meters.blocks[cell[0]]
    n = w.meters.block_count
    if n >= w.meters.block_capacity:
        return &w.meters.blocks[0]
    w.meters.blocks[n].listener = listener
    w.meters.blocks[n].meter = meter if column else <u32>METER_NONE
    cell[0] = <u32>n
    atomic_store_u64(&w.meters.block_count, n + 1)
    return &w.meters.blocks[n]


cdef void meters_publish(Worker* w) noexcept nogil:
    meters_gauge(&w.meters, GAUGE_DOWNSTREAM, w.down_count)
    meters_gauge(&w.meters, GAUGE_UPSTREAM, w.up_count)
    meters_gauge(&w.meters, GAUGE_UPSTREAM_IDLE, w.up_idle_count)
    meters_gauge(&w.meters, GAUGE_EXCHANGES, w.exchange_count)
    meters_gauge(&w.meters, GAUGE_PENDING, w.pending_count)
    meters_gauge(&w.meters, GAUGE_TUNNELS, w.tunnel_count)
    meters_gauge(&w.meters, GAUGE_TCP, w.relay_count)
    meters_gauge(&w.meters, GAUGE_SESSIONS, w.sessions.takes - w.sessions.gives)
    meters_gauge(&w.meters, GAUGE_STREAMS, w.stream_count)
    meters_gauge(&w.meters, GAUGE_CONN_SLAB, w.conns.takes - w.conns.gives)
    meters_gauge(&w.meters, GAUGE_BUFFERS_SMALL, w.pools.small.takes - w.pools.small.gives)
    meters_gauge(&w.meters, GAUGE_BUFFERS_LARGE, w.pools.large.takes - w.pools.large.gives
                 + w.pools.huge.takes - w.pools.huge.gives)
    meters_gauge(&w.meters, GAUGE_SNAPSHOT, w.snap.version if w.snap != NULL else 0)
