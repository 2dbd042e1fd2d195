"""A worker's table of original destinations, and what a snapshot says of one, shown to Python tests."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.io.original cimport original_place
from fastmesh._core.io.originals cimport original_slot, originals_find, originals_hold, originals_release
from fastmesh._core.ffi.linux cimport sys_wait_writable
from fastmesh._core.io.connection cimport conn_get, conn_handle
from fastmesh._core.io.state cimport CONN_WRITABLE, ORIGINALS, UP_CONNECTING, Conn, Original, Shared, Worker
from fastmesh._core.io.upstream cimport (
    upstream_close, upstream_close_idle, upstream_connected, upstream_give, upstream_take,
)
from fastmesh._core.io.worker cimport worker_free, worker_init
from fastmesh._core.routing.original cimport address_key, original_backend, original_protocol
from fastmesh._core.routing.snapshot cimport (
    ADDRESS_KEY_BYTES, Snapshot, snapshot_free, snapshot_new, snapshot_originals, snapshot_seal,
)

CAPACITY = ORIGINALS


def key_of(int family, bytes address, int port):
    """What the address is known by."""
    cdef u8[ADDRESS_KEY_BYTES] key
    address_key(key, <u8>family, <const u8*>address, <u16>port)
    return bytes(key[:ADDRESS_KEY_BYTES])


cdef class Said:
    """A snapshot with these targets (key, backend) and rules (family, address, bits, ports, protocol)."""

    cdef Snapshot* s

    def __cinit__(self, int backends, targets, rules):
        cdef u32 i
        self.s = snapshot_new(0, <u32>backends, 0, 0, 0)
        if self.s == NULL or snapshot_originals(self.s, <u32>len(targets), <u32>len(rules)) != OK:
            raise MemoryError
        for i, (key, backend) in enumerate(sorted(targets)):
            memcpy(self.s.targets[i].key, <const u8*>(<bytes>key), ADDRESS_KEY_BYTES)
            self.s.targets[i].backend = backend
        for i, (family, address, bits, first, last, protocol) in enumerate(rules):
            self.s.rules[i].family = family
            memcpy(self.s.rules[i].address, <const u8*>(<bytes>address), <size_t>len(address))
            self.s.rules[i].bits = bits
            self.s.rules[i].first_port = first
            self.s.rules[i].last_port = last
            self.s.rules[i].protocol = protocol

    def __dealloc__(self):
        snapshot_free(self.s)

    def backend(self, bytes key):
        return original_backend(self.s, <const u8*>key)

    def protocol(self, bytes key):
        return original_protocol(self.s, <const u8*>key)


cdef class Table:
    """Places of addresses, by key; connections hold them."""

    cdef Worker* w
    cdef Shared* shared
    cdef Snapshot* s
    cdef dict held
    cdef list taken

    def __cinit__(self):
        self.held = {}
        self.taken = []
        self.w = <Worker*>calloc(1, sizeof(Worker))
        self.shared = <Shared*>calloc(1, sizeof(Shared))
        self.s = snapshot_new(0, 1, 0, 0, 0)
        if self.w == NULL or self.shared == NULL or self.s == NULL or snapshot_seal(self.s) != OK:
            raise MemoryError
        if worker_init(self.w, self.shared, 0, 64, 64, 64, 4, 8, 8, 8) != OK:
            raise MemoryError
        self.s.original_count = 1
        self.s.backends[0].max_idle = 8
        self.s.backends[0].idle_timeout_ns = 1000000000
        self.s.backends[0].connect_timeout_ns = 1000000000
        self.w.snap = self.s

    def __dealloc__(self):
        while self.taken:
            upstream_close(self.w, conn_get(self.w, self.taken.pop()), 0)
        upstream_close_idle(self.w)
        worker_free(self.w)
        snapshot_free(self.s)
        free(self.shared)
        free(self.w)

    def place(self, bytes key):
        """Slot and its generation; None: there is none."""
        cdef Original* o = original_place(self.w, <const u8*>key)
        if o == NULL:
            return None
        slot = original_slot(self.w, o)
        return slot, self.w.balancer.slots[slot].slot_gen

    def connect(self, bytes key):
        """Takes a connection to the address, which listens; its descriptor. `pool` gives it back."""
        cdef Conn* up = NULL
        cdef int error = 0
        cdef u32 slot = original_slot(self.w, originals_find(self.w, <const u8*>key))
        if upstream_take(self.w, slot, 0, 0, &up, &error) < 0 and up == NULL:
            raise OSError(error)
        if up.state == UP_CONNECTING:
            sys_wait_writable(up.fd, 5000)
            up.flags |= CONN_WRITABLE
            if upstream_connected(self.w, up, &error) != OK:
                raise OSError(error)
        self.taken.append(conn_handle(self.w, up))
        return up.fd

    def pool(self):
        """Gives back the connection that was taken last."""
        upstream_give(self.w, conn_get(self.w, self.taken.pop()))

    @property
    def connections(self):
        """Open ones, pooled or not."""
        return self.w.up_count

    def find(self, bytes key):
        """Whether it has a place."""
        return originals_find(self.w, <const u8*>key) != NULL

    def name(self, bytes key):
        cdef Original* o = originals_find(self.w, <const u8*>key)
        return bytes(o.name[:o.name_len]).decode()

    def hold(self, bytes key):
        """A client connection was meant for it."""
        cdef Conn c
        memset(&c, 0, sizeof(Conn))
        originals_hold(self.w, originals_find(self.w, <const u8*>key), &c)
        self.held.setdefault(key, []).append((c.slot, c.slot_gen))

    def release(self, bytes key):
        """One of them has ended."""
        cdef Conn c
        memset(&c, 0, sizeof(Conn))
        c.slot, c.slot_gen = self.held[key].pop()
        originals_release(self.w, &c)
