"""The only Python-facing module of the core: objects that own a worker, the published snapshots and the access log.

Its typed contract is bridge.pyi.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastmesh._core.base.histogram cimport HISTOGRAM_BUCKETS, histogram_bound_ns
from fastmesh._core.base.meter cimport (
    COUNT_MAX, GAUGE_MAX, METER_CODES, METER_GRPC, Block as CoreBlock, EndpointMeter as CoreEndpoint,
)
from fastmesh._core.base.ring cimport Ring, ring_consume, ring_free, ring_init, ring_peek, ring_read
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.build cimport build
from fastmesh._core.ffi.atomic cimport (
    atomic_load_ptr, atomic_load_u64, atomic_store_ptr, atomic_store_u64, meter_read, meter_read_f64, meter_read_u8,
    meter_read_u32,
)
from fastmesh._core.ffi.linux cimport (
    EAGAIN, EINTR, sys_eventfd, sys_eventfd_clear, sys_eventfd_signal, sys_close, sys_wait_readable,
    sys_wait_writable, sys_writev2,
)
from fastmesh._core.ffi.poison cimport FM_PROFILE
from fastmesh._core.io.access_log cimport LOG_PARTS_MAX, LogTemplate
from fastmesh._core.io.fault cimport FAULT_COUNT, fault_row
from fastmesh._core.io.state cimport (
    COMMAND_ADD_LISTENER, COMMAND_DRAIN, COMMAND_REMOVE_LISTENER, COMMAND_STOP, COMMAND_WAKE, LISTENERS_MAX, Command,
    Event as CoreEvent, Shared, Worker as CoreWorker,
)
from fastmesh._core.io.worker cimport worker_command, worker_free, worker_init, worker_run
from fastmesh._core.routing.balancer cimport EndpointState
from fastmesh._core.routing.snapshot cimport Snapshot, snapshot_free

cdef enum:
    WORKERS_MAX = 256
    LOG_FLUSH_MS = 200          # lines wait at most about this long
    LOG_RING_MIN = 65536        # one line always fits

PROFILE = (<bytes>FM_PROFILE).decode()
COUNTERS = (
    "accepted", "closed", "refused", "accept_failures", "client_aborts", "header_timeouts", "idle_closes", "connects",
    "connect_failures", "reuses", "upstream_closes", "upstream_evictions", "retries", "tunnels", "tunnel_bytes_in",
    "tunnel_bytes_out", "stale", "buffers_full", "slab_full", "events_dropped", "h2_sessions", "h2_upstream_sessions", "h2_streams",
    "h2_upstream_streams", "h2_resets_in", "h2_resets_out", "h2_goaways_in", "h2_goaways_out", "h2_refused",
    "h2_glitches", "h2_floods", "h2_errors", "h2_ping_timeouts", "tcp_connections", "tcp_bytes_in", "tcp_bytes_out",
    "detected_http1", "detected_http2", "detected_tls", "detected_opaque", "detected_server_first", "detect_timeouts",
    "early_dials", "proxy_headers",
)
GAUGES = (
    "downstream_connections", "upstream_connections", "upstream_idle", "exchanges", "pending", "tunnels", "conn_slab",
    "buffers_small", "buffers_large", "snapshot_version", "turn_ns", "turn_max_ns", "h2_sessions", "h2_streams", "tcp_connections",
)
EVENTS = ("endpoint_out", "endpoint_ready", "accept_paused", "listener_failed", "drained", "loop")
LOG_FIELDS = {
    "client_addr": 1, "client_port": 2, "time_local": 3, "time_iso": 4, "status": 5, "request_bytes": 6,
    "response_bytes": 7, "duration_ms": 8, "duration_us": 9, "upstream_addr": 10, "upstream_ms": 11, "listener": 12,
    "route": 13, "fault": 14, "retries": 15, "body_bytes": 16, "grpc_status": 17, "method": 32, "target": 33,
    "version": 34, "host": 35, "user_agent": 36, "referer": 37, "header": 38,
}
FAULTS = tuple((<bytes>fault_row(i).name).decode() for i in range(FAULT_COUNT))
HISTOGRAM_BOUNDS_NS = tuple(histogram_bound_ns(i) for i in range(HISTOGRAM_BUCKETS - 1)) + (0,)


class Block:
    """One (listener, route) label set of one worker, copied at the moment of the call."""

    __slots__ = ("listener", "meter", "requests", "request_bytes", "response_bytes", "retries", "duration_sum_ns",
                 "codes", "durations", "faults", "grpc", "connections", "connection_bytes_in", "connection_bytes_out",
                 "connection_ns")


class EndpointMeter:
    """What one worker knows of one endpoint, copied at the moment of the call."""

    __slots__ = ("slot", "slot_gen", "requests", "failures", "connects", "reuses", "connect_failures", "in_flight",
                 "ewma_ns", "state", "connections", "idle")


class Event:
    """Something the process log should say."""

    __slots__ = ("kind", "slot", "error", "value")


cdef extern from "malloc.h" nogil:
    int malloc_trim(size_t pad) noexcept


def trim():
    """Gives memory that start-up used and freed back to the kernel."""
    malloc_trim(0)


cdef class Publisher:
    """Holds the current snapshot of all workers; frees an old one when every running worker has left it."""

    cdef Shared* shared
    cdef Snapshot* old          # owns: snapshots that a worker may still read, newest first

    def __cinit__(self, int workers):
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"{workers} workers: must be 1 to {WORKERS_MAX}")
        self.shared = <Shared*>calloc(1, sizeof(Shared))
        if self.shared == NULL:
            raise MemoryError
        self.shared.workers = <u32>workers

    def __dealloc__(self):
        if self.shared == NULL:
            return
        free_older(&self.old, <u64>-1)
        snapshot_free(<Snapshot*>self.shared.snapshot)
        free(self.shared); self.shared = NULL

    def publish(self, spec):
        """Compile and publish; returns the version. Raises ValueError and keeps the old one when the spec is impossible."""
        cdef Snapshot* before = <Snapshot*>self.shared.snapshot
        cdef Snapshot* s
        if before != NULL and spec.version <= before.version:
            raise ValueError(f"version {spec.version} is not above {before.version}")
        s = build(spec)
        atomic_store_ptr(&self.shared.snapshot, s)
        if before != NULL:
            before.older = self.old
            self.old = before
        self.retired()
        return s.version

    def version(self):
        """Version of the published snapshot; 0: none yet."""
        cdef Snapshot* s = <Snapshot*>self.shared.snapshot
        return s.version if s != NULL else 0

    def retired(self):
        """Old snapshots not yet freed; calling it frees those that can be."""
        cdef u64 oldest = <u64>-1
        cdef u64 adopted
        cdef u32 i
        for i in range(self.shared.workers):
            adopted = atomic_load_u64(&self.shared.adopted[i])
            if adopted < oldest:
                oldest = adopted
        return free_older(&self.old, oldest)


# Frees the snapshots below a version; how many are left.
cdef u32 free_older(Snapshot** newest, u64 version) noexcept:
    cdef Snapshot** at = newest
    cdef Snapshot* gone
    cdef u32 left = 0
    while at[0] != NULL:
        if at[0].version < version:
            gone = at[0]
            at[0] = gone.older
            snapshot_free(gone)
        else:
            at = &at[0].older
            left += 1
    return left


cdef class LogRing:
    """The access log of all workers: one ring each, one flusher."""

    cdef Ring* rings            # owns
    cdef u32 count
    cdef int wake_fd
    cdef u64 fd                 # shares release/acquire: where lines go
    cdef u64 stopping           # shares release/acquire
    cdef void* template         # shares release/acquire: LogTemplate
    cdef LogTemplate* newest    # owns all there ever were: a worker may hold any of them
    cdef list workers

    def __cinit__(self, int workers, ring_bytes, template):
        self.workers = []
        self.wake_fd = <int>sys_eventfd()
        if self.wake_fd < 0:
            raise OSError(-self.wake_fd, "eventfd")
        if ring_bytes < LOG_RING_MIN or ring_bytes & (ring_bytes - 1):
            raise ValueError(f"ring of {ring_bytes} bytes: must be a power of two from {LOG_RING_MIN} on")
        self.rings = <Ring*>calloc(<size_t>workers, sizeof(Ring))
        if self.rings == NULL:
            raise MemoryError
        self.count = <u32>workers
        for i in range(workers):
            if ring_init(&self.rings[i], ring_bytes) != OK:
                raise MemoryError
        self.set_template(template)

    def __dealloc__(self):
        cdef u32 i
        cdef LogTemplate* t
        if self.rings != NULL:
            for i in range(self.count):
                ring_free(&self.rings[i])
            free(self.rings); self.rings = NULL
        while self.newest != NULL:
            t = self.newest
            self.newest = t.older
            free(t.blob)
            free(t)
        if self.wake_fd >= 0:
            sys_close(self.wake_fd); self.wake_fd = -1

    def set_template(self, template):
        """Lines of exchanges that begin from now on look like this. Raises ValueError."""
        cdef LogTemplate* t
        cdef u32 at = 0
        blob = b"".join(text for _, text in template.parts)
        if len(template.parts) > LOG_PARTS_MAX:
            raise ValueError(f"access-log template of {len(template.parts)} parts: at most {LOG_PARTS_MAX}")
        t = <LogTemplate*>calloc(1, sizeof(LogTemplate))
        if t == NULL:
            raise MemoryError
        t.blob = <u8*>calloc(<size_t>len(blob) + 1, 1)
        if t.blob == NULL:
            free(t)
            raise MemoryError
        memcpy(t.blob, <const char*>blob, <size_t>len(blob))
        t.count = <u32>len(template.parts)
        t.escape = template.escape
        for i, (field, text) in enumerate(template.parts):
            t.parts[i].field = field
            t.parts[i].off = at
            t.parts[i].n = <u32>len(text)
            at += <u32>len(text)
        t.older = self.newest
        self.newest = t
        atomic_store_ptr(&self.template, t)
        for worker in self.workers:
            (<Worker>worker).share_template()

    def run(self, int fd):
        """Thread body: writes lines to fd in big writes until stop(); 0, or the errno that ended it."""
        cdef int failure = 0
        atomic_store_u64(&self.fd, <u64>fd)
        with nogil:
            while failure == 0:
                failure = log_flush(self.rings, self.count, <int>atomic_load_u64(&self.fd), &self.stopping)
                if atomic_load_u64(&self.stopping):
                    break
                if failure == 0 and sys_wait_readable(self.wake_fd, LOG_FLUSH_MS) > 0:
                    sys_eventfd_clear(self.wake_fd)
            if failure == 0:
                failure = log_flush(self.rings, self.count, <int>atomic_load_u64(&self.fd), &self.stopping)
        return failure

    def stop(self):
        """run() writes what is left and returns."""
        atomic_store_u64(&self.stopping, 1)
        sys_eventfd_signal(self.wake_fd)

    def reopen(self, int fd):
        """Write to another fd from now on (log rotation)."""
        atomic_store_u64(&self.fd, <u64>fd)
        sys_eventfd_signal(self.wake_fd)

    def dropped(self):
        """Lines that found their ring full."""
        return sum(meter_read(&self.rings[i].dropped) for i in range(self.count))

    def lines(self):
        """Lines taken into a ring."""
        return sum(meter_read(&self.rings[i].written) for i in range(self.count))


# Writes out everything there is; once stopping, only what can be taken at once. 0, or an errno.
cdef int log_flush(Ring* rings, u32 count, int fd, const u64* stopping) noexcept nogil:
    cdef u32 i
    cdef u8* a
    cdef u8* b
    cdef u64 an, bn
    cdef long n
    for i in range(count):
        while ring_peek(&rings[i], &a, &an, &b, &bn) > 0:
            n = sys_writev2(fd, a, an, b, bn)
            if n >= 0:
                ring_consume(&rings[i], <u64>n)
            elif n == -EAGAIN:
                if atomic_load_u64(stopping):
                    return 0
                sys_wait_writable(fd, LOG_FLUSH_MS)
            elif n != -EINTR:
                return <int>-n
    return 0


cdef class Worker:
    """One worker thread's state; run() is its thread's body."""

    cdef CoreWorker* core       # owns
    cdef Publisher publisher
    cdef LogRing log
    cdef bint ran

    def __cinit__(self, spec, Publisher publisher, LogRing log=None):
        cdef int r
        if not 0 <= spec.number < publisher.shared.workers:
            raise ValueError(f"worker {spec.number} of {publisher.shared.workers}")
        self.publisher = publisher
        self.log = log
        self.core = <CoreWorker*>calloc(1, sizeof(CoreWorker))
        if self.core == NULL:
            raise MemoryError
        r = worker_init(self.core, publisher.shared, spec.number, spec.connections, spec.exchanges, spec.buffers,
                        spec.large_buffers, spec.endpoint_slots, spec.meter_blocks, spec.meter_blocks)
        if r != OK:
            raise MemoryError(f"worker {spec.number}: memory or file descriptors cannot be reserved")
        self.core.cpu = spec.cpu
        if log is not None:
            self.core.log = &log.rings[spec.number]
            log.workers.append(self)
            self.share_template()

    def __dealloc__(self):
        if self.core != NULL:
            worker_free(self.core)
            free(self.core); self.core = NULL

    cdef share_template(self):
        atomic_store_ptr(&self.core.log_template, atomic_load_ptr(&self.log.template))

    def run(self):
        """Thread body: the event loop. 0 after stop() or a finished drain, else an errno. GIL released."""
        cdef int failure
        if self.publisher.shared.snapshot == NULL:
            raise ValueError("nothing is published")
        if self.ran:
            raise ValueError("a worker runs once")
        self.ran = True
        with nogil:
            failure = worker_run(self.core)
        return failure

    cdef command(self, u32 kind, int fd, u32 listener):
        cdef Command command
        memset(&command, 0, sizeof(Command))
        command.kind = kind
        command.fd = fd
        command.listener = listener
        if worker_command(self.core, &command) != OK:
            raise OSError(EAGAIN, "the worker does not take its commands")

    def add_listener(self, int fd, int listener):
        """Hand over a bound, listening, non-blocking socket; the core owns and closes the fd."""
        if not 0 <= listener < LISTENERS_MAX:
            raise ValueError(f"listener {listener}: must be 0 to {LISTENERS_MAX - 1}")
        self.command(COMMAND_ADD_LISTENER, fd, <u32>listener)

    def remove_listener(self, int listener):
        """Stop accepting on it and close it; its connections go on."""
        self.command(COMMAND_REMOVE_LISTENER, -1, <u32>listener)

    def drain(self):
        """Close listeners and idle connections, end busy ones after their exchange; run() returns when none is left."""
        self.command(COMMAND_DRAIN, -1, 0)

    def stop(self):
        """Close everything now; run() returns 0."""
        self.command(COMMAND_STOP, -1, 0)

    def wake(self):
        """Look at the published snapshot now instead of at the next event."""
        self.command(COMMAND_WAKE, -1, 0)

    def heartbeat(self):
        """(loop turns so far, monotonic ns of the last turn's start)."""
        return meter_read(&self.core.meters.turns), meter_read(&self.core.meters.turn_start_ns)

    def counters(self):
        """Values of COUNTERS."""
        return tuple(meter_read(&self.core.meters.counters[i]) for i in range(<u32>COUNT_MAX))

    def gauges(self):
        """Values of GAUGES."""
        return tuple(meter_read(&self.core.meters.gauges[i]) for i in range(<u32>GAUGE_MAX))

    def blocks(self):
        """Only label sets that saw a request or a relayed connection, or refused one."""
        cdef u64 i
        found = []
        for i in range(atomic_load_u64(&self.core.meters.block_count)):
            block = copy_block(&self.core.meters.blocks[i], i == 0)
            if block.requests or block.connections or any(block.faults):
                found.append(block)
        return found

    def endpoints(self):
        """Only slots in use."""
        cdef u32 i
        found = []
        for i in range(self.core.meters.endpoint_capacity):
            if meter_read(&self.core.meters.endpoints[i].slot_gen):
                found.append(copy_endpoint(&self.core.meters.endpoints[i], &self.core.balancer.slots[i], i))
            elif i >= self.core.slot_high:
                break
        return found

    def events(self):
        """Takes what has gathered since the last call."""
        cdef CoreEvent core
        found = []
        sys_eventfd_clear(self.core.event_fd)
        while ring_read(&self.core.events, <u8*>&core, sizeof(CoreEvent)) == OK:
            event = Event()
            event.kind = EVENTS[core.kind]
            event.slot = core.slot
            event.error = core.error
            event.value = core.value
            found.append(event)
        return found

    def event_fd(self):
        """An eventfd that turns readable when events() or a finished drain waits to be read."""
        return self.core.event_fd

    def drained(self):
        """True once run() has ended."""
        return atomic_load_u64(&self.publisher.shared.adopted[self.core.index]) == <u64>-1

    def balance(self):
        """Takes and gives of every slab and pool, and fds opened and closed; exact while the worker rests."""
        return {
            "conns_taken": self.core.conns.takes, "conns_given": self.core.conns.gives,
            "exchanges_taken": self.core.exchanges.takes, "exchanges_given": self.core.exchanges.gives,
            "relays_taken": self.core.relays.takes, "relays_given": self.core.relays.gives,
            "sessions_taken": self.core.sessions.takes, "sessions_given": self.core.sessions.gives,
            "small_taken": self.core.pools.small.takes, "small_given": self.core.pools.small.gives,
            "large_taken": self.core.pools.large.takes, "large_given": self.core.pools.large.gives,
            "huge_taken": self.core.pools.huge.takes, "huge_given": self.core.pools.huge.gives,
            "fds_opened": self.core.opened, "fds_closed": self.core.closed,
        }


cdef copy_block(CoreBlock* core, bint other):
    cdef u32 i
    cdef u64 n
    block = Block()
    block.listener = core.listener
    block.meter = -1 if other or core.meter == <u32>-1 else core.meter
    block.requests = meter_read(&core.requests)
    block.request_bytes = meter_read(&core.request_bytes)
    block.response_bytes = meter_read(&core.response_bytes)
    block.retries = meter_read(&core.retries)
    block.duration_sum_ns = meter_read(&core.duration_sum_ns)
    codes = {}
    for i in range(<u32>METER_CODES):
        n = meter_read(&core.codes[i])
        if n:
            codes[i] = n
    block.codes = codes
    block.durations = [meter_read(&core.durations[i]) for i in range(HISTOGRAM_BUCKETS)]
    block.faults = [meter_read(&core.faults[i]) for i in range(FAULT_COUNT)]
    block.grpc = [meter_read(&core.grpc[i]) for i in range(METER_GRPC)]
    block.connections = meter_read(&core.connections)
    block.connection_bytes_in = meter_read(&core.connection_bytes_in)
    block.connection_bytes_out = meter_read(&core.connection_bytes_out)
    block.connection_ns = meter_read(&core.connection_ns)
    return block


cdef copy_endpoint(const CoreEndpoint* core, const EndpointState* state, u32 slot):
    meter = EndpointMeter()
    meter.slot = slot
    meter.slot_gen = meter_read(&core.slot_gen)
    meter.requests = meter_read(&core.requests)
    meter.failures = meter_read(&core.failures)
    meter.connects = meter_read(&core.connects)
    meter.reuses = meter_read(&core.reuses)
    meter.connect_failures = meter_read(&core.connect_failures)
    meter.in_flight = meter_read_u32(&state.in_flight)
    meter.ewma_ns = max(0.0, meter_read_f64(&state.ewma.value_ns))
    meter.state = meter_read_u8(&state.health)
    meter.connections = meter_read_u32(&state.open_count)
    meter.idle = meter_read_u32(&state.idle_count)
    return meter
