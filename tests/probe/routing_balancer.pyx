"""The balancer, shown to Python tests: one worker's state over snapshots of backends."""

from libc.stdlib cimport calloc, free

from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u32, u64, i64
from fastmesh._core.routing.balancer cimport (
    BalancerState, EndpointState, PICK_NONE, balancer_adopt, balancer_begin, balancer_connect_failed,
    balancer_connected, balancer_count, balancer_end, balancer_pick,
)
from fastmesh._core.routing.ewma cimport ewma_read
from fastmesh._core.routing.snapshot cimport Backend, Snapshot, snapshot_free, snapshot_new, snapshot_seal
from fastmesh._core.routing.weights cimport Weights, WeightTable, weights_owner


cdef class BalancerProbe:
    """Backends: (kind, [(slot, slot_gen, weight)], settings), settings a dict of the Backend fields ending in _ns."""

    cdef BalancerState state
    cdef Snapshot* s
    cdef readonly u32 capacity

    def __cinit__(self, u32 capacity, u64 seed, u32 cursors=64):
        self.capacity = capacity
        self.state.slots = <EndpointState*>calloc(capacity, sizeof(EndpointState))
        self.state.cursors = <u64*>calloc(cursors, sizeof(u64))
        if self.state.slots == NULL or self.state.cursors == NULL:
            raise MemoryError
        self.state.slot_capacity = capacity
        self.state.cursor_capacity = cursors
        self.state.rng = seed

    def __dealloc__(self):
        free(self.state.slots)
        free(self.state.cursors)
        snapshot_free(self.s)

    def publish(self, backends, i64 now):
        cdef u32 total = sum(len(endpoints) for _, endpoints, _ in backends)
        cdef Snapshot* s = snapshot_new(0, <u32>len(backends), total, 0, 0)
        cdef u32 i, at = 0
        if s == NULL:
            raise MemoryError
        for i, (kind, endpoints, settings) in enumerate(backends):
            fill_backend(&s.backends[i], kind, at, <u32>len(endpoints), settings)
            for slot, slot_gen, weight in endpoints:
                s.endpoints[at].slot, s.endpoints[at].slot_gen, s.endpoints[at].weight = slot, slot_gen, weight
                at += 1
        if snapshot_seal(s) != OK:
            snapshot_free(s)
            raise MemoryError
        snapshot_free(self.s)
        self.s = s
        balancer_adopt(&self.state, s, now)

    cdef int check(self, u32 backend) except -1:
        if self.s == NULL or backend >= self.s.backend_count:
            raise IndexError(backend)
        return 0

    def state_bytes(self):
        return sizeof(EndpointState)

    cdef EndpointState* at(self, u32 slot) except NULL:
        if slot >= self.capacity:
            raise IndexError(slot)
        return &self.state.slots[slot]

    def pick(self, u32 backend, i64 now, avoid=None):
        """Index of an endpoint among the snapshot's, None when all are out."""
        self.check(backend)
        cdef u32 found = balancer_pick(
            &self.state, self.s, backend, <u32>PICK_NONE if avoid is None else <u32>avoid, now
        )
        return None if found == <u32>PICK_NONE else found

    def begin(self, u32 slot):
        self.at(slot)
        balancer_begin(&self.state, slot)

    def end(self, u32 backend, u32 slot, u32 slot_gen, i64 rtt, ok, i64 now):
        self.check(backend)
        balancer_end(&self.state, self.s, backend, slot, slot_gen, rtt, ok, now)

    def connected(self, u32 slot, u32 slot_gen, i64 now):
        balancer_connected(&self.state, slot, slot_gen, now)

    def connect_failed(self, u32 backend, u32 slot, u32 slot_gen, i64 now):
        self.check(backend)
        balancer_connect_failed(&self.state, self.s, backend, slot, slot_gen, now)

    def count(self, u32 backend):
        cdef u32 ready = 0, out = 0
        self.check(backend)
        balancer_count(&self.state, self.s, backend, &ready, &out)
        return ready, out

    def state_of(self, u32 slot):
        cdef EndpointState* e = self.at(slot)
        return {
            "slot_gen": e.slot_gen, "in_flight": e.in_flight, "value_ns": e.ewma.value_ns, "born_ns": e.born_ns,
            "retry_ns": e.retry_ns, "failures": e.failures, "health": e.health, "oldest_ns": e.oldest_ns,
            "idle_head": e.idle_head,
        }

    def estimate_ns(self, u32 slot, i64 now, double decay_ns):
        return ewma_read(&self.at(slot).ewma, now, decay_ns)

    def set_value_ns(self, u32 slot, double value_ns, i64 now):
        """As if the endpoint had been measured with this."""
        cdef EndpointState* e = self.at(slot)
        e.ewma.value_ns, e.ewma.stamp_ns, e.measured = value_ns, now, 1

    def set_oldest(self, u32 slot, i64 sent):
        """When the oldest exchange that waits for its head was sent, 0 for none; io keeps it in a running worker."""
        self.at(slot).oldest_ns = sent

    def owners(self, u32 backend):
        """Owner of every number of the backend's weight table."""
        self.check(backend)
        cdef Weights* weights = <Weights*>self.s.picks
        cdef WeightTable* table = &weights.tables[backend]
        return [weights_owner(weights, table, number) for number in range(table.total)]

    def owner(self, u32 backend, u64 number):
        self.check(backend)
        cdef Weights* weights = <Weights*>self.s.picks
        if number >= weights.tables[backend].total:
            raise IndexError(number)
        return weights_owner(weights, &weights.tables[backend], number)

    def period(self, u32 backend):
        self.check(backend)
        return (<Weights*>self.s.picks).tables[backend].total

    def spin(self, u32 backend, i64 now, i64 step_ns, long rounds):
        """Bench: `rounds` picks; returns how many found an endpoint."""
        cdef long i, found = 0
        self.check(backend)
        with nogil:
            for i in range(rounds):
                if balancer_pick(&self.state, self.s, backend, <u32>PICK_NONE, now) != <u32>PICK_NONE:
                    found += 1
                now += step_ns
        return found

    def exchange(self, u32 backend, i64 now, i64 step_ns, i64 rtt_ns, long rounds):
        """Bench: `rounds` of pick, begin, end; returns how many found an endpoint."""
        cdef long i, found = 0
        cdef u32 picked, slot
        self.check(backend)
        with nogil:
            for i in range(rounds):
                picked = balancer_pick(&self.state, self.s, backend, <u32>PICK_NONE, now)
                if picked != <u32>PICK_NONE:
                    slot = self.s.endpoints[picked].slot
                    balancer_begin(&self.state, slot)
                    balancer_end(&self.state, self.s, backend, slot, self.s.endpoints[picked].slot_gen, rtt_ns, 1, now)
                    found += 1
                now += step_ns
        return found


cdef int fill_backend(Backend* b, u8 kind, u32 first, u32 count, settings) except -1:
    b.balancer, b.endpoint_first, b.endpoint_count = kind, first, count
    b.ewma_default_ns = settings.get("ewma_default_ns", 30_000_000)
    b.ewma_decay_ns = settings.get("ewma_decay_ns", 10_000_000_000)
    b.ramp_ns = settings.get("ramp_ns", 0)
    b.backoff_min_ns = settings.get("backoff_min_ns", 100_000_000)
    b.backoff_max_ns = settings.get("backoff_max_ns", 10_000_000_000)
    b.connect_timeout_ns = settings.get("connect_timeout_ns", 1_000_000_000)
    return 0
