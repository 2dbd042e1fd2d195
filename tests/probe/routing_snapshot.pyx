"""Building and freeing snapshots, shown to Python tests, allocation failures included."""

from libc.stddef cimport size_t

from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.routing.snapshot cimport (
    BALANCER_ROUND_ROBIN, HOST_EXACT, HOST_SUFFIX, PATH_EXACT, PATH_PREFIX, Route, Snapshot, snapshot_free,
    snapshot_new, snapshot_seal, snapshot_text,
)

cdef extern from "<dlfcn.h>" nogil:
    void* RTLD_DEFAULT
    void* dlsym(void* handle, const char* name)

ctypedef void (*ArmFunction)(long fail_at) noexcept nogil
ctypedef long (*DisarmFunction)(long* calls) noexcept nogil


def texts(u32 room, list parts):
    """Offsets the parts get in a blob of that room (None: refused), and the blob's used bytes."""
    cdef Snapshot* s = snapshot_new(0, 0, 0, 0, room)
    cdef u32 at
    cdef list offsets = []
    if s == NULL:
        raise MemoryError
    for part in parts:
        at = snapshot_text(s, <const u8*>(<bytes>part), <u32>len(part))
        offsets.append(None if at == 0xFFFFFFFF else at)
    used = bytes(s.blob[:s.blob_len])
    snapshot_free(s)
    return offsets, used


cdef bint put(Snapshot* s, const u8* text, u32 n, u32* off, u16* length) noexcept nogil:
    off[0] = snapshot_text(s, text, n)
    length[0] = <u16>n
    return off[0] != <u32>0xFFFFFFFF


# Routes of every kind, one host with more paths than are read through, enough nodes for the table to grow, and a backend
# for each form of weight table.
cdef Snapshot* build() noexcept nogil:
    cdef Snapshot* s = snapshot_new(200, 3, 60, 0, 4096)
    cdef u8 path[4]
    cdef u32 i
    cdef Route* route
    if s == NULL:
        return NULL
    path[0] = 47
    path[2] = 47
    for i in range(s.route_count):
        route = &s.routes[i]
        path[1] = <u8>(65 + i % 50)
        path[3] = <u8>(65 + i % 37)
        route.host_kind = <u8>(i % 3)
        route.path_kind = <u8>PATH_PREFIX if i % 2 == 0 else <u8>PATH_EXACT
        route.order = i
        if not put(s, &path[1], 1 if route.host_kind != HOST_SUFFIX else 3, &route.host_off, &route.host_len):
            break
        if not put(s, &path[0], 4, &route.path_off, &route.path_len):
            break
    for i in range(s.backend_count):
        s.backends[i].balancer = BALANCER_ROUND_ROBIN
        s.backends[i].endpoint_first = 20 * i
        s.backends[i].endpoint_count = 20
    for i in range(s.endpoint_count):
        s.endpoints[i].slot = i
        s.endpoints[i].slot_gen = 1
        s.endpoints[i].weight = 1 if i < 20 else (1 + i if i < 40 else 1 + i * 1000003)
    if snapshot_seal(s) != OK:
        snapshot_free(s)
        return NULL
    return s


def build_failing_at(long n):
    """Builds a snapshot while the n-th allocation fails (0: none does), frees it, and answers whether it was built,
    how many blocks were left and how many allocations were tried. Needs the interposer of tests/unit/test_routing_snapshot.py to be preloaded."""
    cdef ArmFunction arm = <ArmFunction>dlsym(RTLD_DEFAULT, "fm_test_arm")
    cdef DisarmFunction disarm = <DisarmFunction>dlsym(RTLD_DEFAULT, "fm_test_disarm")
    cdef Snapshot* s
    cdef long left
    cdef long calls = 0
    cdef bint built
    if arm == NULL or disarm == NULL:
        raise RuntimeError("the allocation interposer is not preloaded")
    with nogil:
        arm(n)
        s = build()
        built = s != NULL
        snapshot_free(s)
        left = disarm(&calls)
    return built, left, calls


def seal_again():
    """Whether a snapshot can be sealed twice."""
    cdef Snapshot* s = build()
    cdef int status
    if s == NULL:
        raise MemoryError
    status = snapshot_seal(s)
    snapshot_free(s)
    return status == OK


def free_nothing():
    snapshot_free(NULL)
