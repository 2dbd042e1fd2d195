# The numbers a worker publishes. Law: one writer (the worker), any reader, each word whole; nothing is ever reset.
from fastmesh._core.base.histogram cimport HISTOGRAM_BUCKETS
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.atomic cimport meter_add, meter_set

cdef enum:
    METER_NONE = 0xFFFFFFFF     # no route was found (or reached) for these exchanges
    METER_CODES = 1000          # counted by status code
    METER_FAULTS = 64           # counted by cause (io/fault)
    METER_GRPC = 18             # counted by grpc-status 0..16, and
    METER_GRPC_OTHER = 17       #   gRPC responses that have another one or none

cdef enum Counter:
    COUNT_ACCEPTED = 0          # downstream connections
    COUNT_CLOSED
    COUNT_REFUSED               # answered 503 at once: over the connection limit
    COUNT_ACCEPT_FAILURES       # accept() failed: file descriptors or memory ran out
    COUNT_CLIENT_ABORTS         # the client went away during its exchange
    COUNT_HEADER_TIMEOUTS
    COUNT_IDLE_CLOSES           # keep-alive connections closed for idleness
    COUNT_CONNECTS              # upstream, begun
    COUNT_CONNECT_FAILURES
    COUNT_REUSES                # exchanges sent on a pooled connection
    COUNT_UPSTREAM_CLOSES       # pooled connections closed by the upstream
    COUNT_UPSTREAM_EVICTIONS    # pooled connections closed by us: idle timeout, cap, endpoint removed
    COUNT_RETRIES
    COUNT_TUNNELS
    COUNT_TUNNEL_BYTES_IN       # from the client
    COUNT_TUNNEL_BYTES_OUT
    COUNT_STALE                 # events and timers whose object was gone (normal)
    COUNT_BUFFERS_FULL
    COUNT_SLAB_FULL
    COUNT_EVENTS_DROPPED
    COUNT_H2_SESSIONS           # HTTP/2 connections that began, clients'
    COUNT_H2_UPSTREAM_SESSIONS
    COUNT_H2_STREAMS            # opened by clients
    COUNT_H2_UPSTREAM_STREAMS
    COUNT_H2_RESETS_IN          # RST_STREAM received, on either side
    COUNT_H2_RESETS_OUT
    COUNT_H2_GOAWAYS_IN
    COUNT_H2_GOAWAYS_OUT
    COUNT_H2_REFUSED            # streams refused
    COUNT_H2_GLITCHES           # suspicious frames
    COUNT_H2_FLOODS             # connections ended because of glitches, floods or rapid resets
    COUNT_H2_ERRORS             # connections ended for a protocol error
    COUNT_H2_PING_TIMEOUTS      # upstream connections ended because a PING was not answered
    COUNT_TCP                   # connections relayed as they are
    COUNT_TCP_BYTES_IN          # of those, from the client
    COUNT_TCP_BYTES_OUT
    COUNT_DETECTED_HTTP1        # what the first bytes of a connection said
    COUNT_DETECTED_HTTP2
    COUNT_DETECTED_TLS
    COUNT_DETECTED_OPAQUE
    COUNT_DETECTED_SERVER       # the server spoke before the client had said what it is
    COUNT_DETECT_TIMEOUTS       # relayed because a client's first bytes said nothing for too long
    COUNT_EARLY_DIALS           # connections begun before the client had said anything
    COUNT_PROXY_HEADERS         # PROXY protocol headers of clients that were accepted
    COUNT_MAX

cdef enum Gauge:
    GAUGE_DOWNSTREAM = 0        # open connections
    GAUGE_UPSTREAM
    GAUGE_UPSTREAM_IDLE
    GAUGE_EXCHANGES
    GAUGE_PENDING               # exchanges waiting for an upstream connection
    GAUGE_TUNNELS
    GAUGE_CONN_SLAB             # slab objects in use
    GAUGE_BUFFERS_SMALL
    GAUGE_BUFFERS_LARGE
    GAUGE_SNAPSHOT              # version
    GAUGE_TURN_NS               # how long the last loop turn took
    GAUGE_TURN_MAX_NS           # longest turn so far
    GAUGE_SESSIONS              # open HTTP/2 connections, both sides
    GAUGE_STREAMS               # open HTTP/2 streams, both sides
    GAUGE_TCP                   # connections relayed as they are
    GAUGE_MAX

ctypedef struct Block:
    u32 listener
    u32 meter                   # METER_NONE: no route
    u64 requests
    u64 request_bytes
    u64 response_bytes
    u64 retries
    u64 duration_sum_ns
    u64 faults[METER_FAULTS]
    u64 codes[METER_CODES]
    u64 durations[HISTOGRAM_BUCKETS]
    u64 grpc[METER_GRPC]        # responses by grpc-status
    u64 connections             # relayed as they are
    u64 connection_bytes_in     # of those, from clients; counted as they move
    u64 connection_bytes_out
    u64 connection_ns           # how long those that ended lasted, together

ctypedef struct EndpointMeter:
    u64 requests                # this and the next: every exchange adds to both, so they share a cache line
    u64 reuses
    u64 slot_gen                # 0: slot never used
    u64 failures
    u64 connects
    u64 connect_failures

ctypedef struct Meters:
    u64 turns                   # heartbeat
    u64 turn_start_ns
    u64 counters[COUNT_MAX]
    u64 gauges[GAUGE_MAX]
    Block* blocks               # owns; block 0 takes what finds no room
    u32 block_capacity
    u64 block_count             # published with release
    EndpointMeter* endpoints    # owns; by slot
    u32 endpoint_capacity

cdef inline void meters_count(Meters* m, u32 counter, u64 n) noexcept nogil:
    meter_add(&m.counters[counter], n)

cdef inline void meters_gauge(Meters* m, u32 gauge, u64 value) noexcept nogil:
    meter_set(&m.gauges[gauge], value)
