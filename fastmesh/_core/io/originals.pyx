from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.key cimport KEY_EXACT, key_hash
from fastmesh._core.base.text cimport Text, text_init, text_ip, text_str, text_u64
from fastmesh._core.base.types cimport u16
from fastmesh._core.ffi.atomic cimport meter_read, meter_set
from fastmesh._core.ffi.linux cimport (
    AF_INET, AF_INET6, htons, ntohs, sockaddr_in, sockaddr_in6, sockaddr_storage, sys_getsockname,
)
from fastmesh._core.io.state cimport (
    ADDRESS_TEXT_BYTES, DIALLED, ORIGINALS, PICK_ORIGINAL, Waiting,
)
from fastmesh._core.routing.balancer cimport PICK_NONE, EndpointState
from fastmesh._core.routing.ewma cimport ewma_init
from fastmesh._core.routing.original cimport PROTOCOL_NONE, address_key, original_backend, original_protocol
from fastmesh._core.routing.snapshot cimport ADDRESS_KEY_BYTES, ROLE_OUTBOUND, ROUTE_NONE, Listener

cdef enum:
    PORT_AT = 2             # in a key
    ADDRESS_AT = 4
    LOOKS = 16              # at unused ones, before it is said that none is without a connection in use

cdef const u8* V4_MAPPED = <const u8*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef bint originals_key(const sockaddr* sa, u8* key) noexcept nogil:
    cdef const sockaddr_in* v4 = <const sockaddr_in*>sa
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>sa
    cdef const u8* address = <const u8*>&v6.sin6_addr
    if sa.sa_family == AF_INET:
        address_key(key, 4, <const u8*>&v4.sin_addr, ntohs(v4.sin_port))
        return 1
    if sa.sa_family != AF_INET6:
        return 0
    if memcmp(address, V4_MAPPED, 12) == 0:
        address_key(key, 4, address + 12, ntohs(v6.sin6_port))
    else:
        address_key(key, 6, address, ntohs(v6.sin6_port))
    return 1


cdef inline u16 port_of(const u8* key) noexcept nogil:
    return <u16>(key[PORT_AT] << 8 | key[PORT_AT + 1])


cdef inline u32* bucket_of(Worker* w, u64 hash_value) noexcept nogil:
    return &w.original_buckets[(hash_value >> 8) & (ORIGINALS - 1)]


cdef inline u64 hash_of(Worker* w, const u8* key) noexcept nogil:
    return key_hash(w.original_seed, key, ADDRESS_KEY_BYTES, KEY_EXACT)


cdef Original* originals_find(Worker* w, const u8* key) noexcept nogil:
    cdef u32 at = bucket_of(w, hash_of(w, key))[0]
    while at:
        if memcmp(w.originals[at - 1].key, key, ADDRESS_KEY_BYTES) == 0:
            return &w.originals[at - 1]
        at = w.originals[at - 1].chain
    return NULL


cdef void write_address(Original* o) noexcept nogil:
    cdef sockaddr_in* v4 = <sockaddr_in*>o.address
    cdef sockaddr_in6* v6 = <sockaddr_in6*>o.address
    memset(o.address, 0, sizeof(o.address))
    if o.key[0] == 4:
        v4.sin_family = AF_INET
        v4.sin_port = htons(port_of(o.key))
        memcpy(&v4.sin_addr, o.key + ADDRESS_AT, 4)
        o.address_len = sizeof(sockaddr_in)
    else:
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(port_of(o.key))
        memcpy(&v6.sin6_addr, o.key + ADDRESS_AT, 16)
        o.address_len = sizeof(sockaddr_in6)


cdef void write_name(Original* o) noexcept nogil:
    cdef Text t
    text_init(&t, o.name, ADDRESS_TEXT_BYTES)
    if o.key[0] == 4:
        text_ip(&t, AF_INET, o.key + ADDRESS_AT)
    else:
        text_str(&t, "[")
        text_ip(&t, AF_INET6, o.key + ADDRESS_AT)
        text_str(&t, "]")
    text_str(&t, ":")
    text_u64(&t, port_of(o.key))
    o.name_len = <u8>t.n


# A slot begins anew: under another generation, so that nothing takes the one before for it.
cdef void slot_begin(Worker* w, u32 slot) noexcept nogil:
    cdef EndpointState* state = &w.balancer.slots[slot]
    cdef Waiting* waiting = &w.waiting[slot]
    cdef u32 generation = state.slot_gen + 1
    memset(state, 0, sizeof(EndpointState))
    state.slot_gen = generation if generation else 1
    state.idle_head = <u32>0xFFFFFFFF
    ewma_init(&state.ewma, <double>w.snap.backends[w.snap.backend_count - 1].ewma_default_ns, w.now_ns)
    waiting.backend = w.snap.backend_count - 1
    waiting.error = 0
    waiting.peer_streams = 0


cdef void original_begin(Worker* w, Original* o, const u8* key) noexcept nogil:
    cdef u32* bucket
    memset(o, 0, sizeof(Original))
    memcpy(o.key, key, ADDRESS_KEY_BYTES)
    o.hash = hash_of(w, key)
    bucket = bucket_of(w, o.hash)
    o.chain = bucket[0]
    bucket[0] = <u32>(o - w.originals) + 1
    write_address(o)
    write_name(o)
    slot_begin(w, original_slot(w, o))
    unused_append(w, o)


cdef Original* originals_add(Worker* w, const u8* key) noexcept nogil:
    cdef Original* o
    if w.original_high == ORIGINALS:
        return NULL
    o = &w.originals[w.original_high]
    w.original_high += 1
    original_begin(w, o, key)
    return o


cdef void unused_append(Worker* w, Original* o) noexcept nogil:
    cdef u32 at = <u32>(o - w.originals) + 1
    o.older = w.original_newest
    o.newer = 0
    if w.original_newest:
        w.originals[w.original_newest - 1].newer = at
    else:
        w.original_oldest = at
    w.original_newest = at


cdef void unused_remove(Worker* w, Original* o) noexcept nogil:
    if o.newer:
        w.originals[o.newer - 1].older = o.older
    else:
        w.original_newest = o.older
    if o.older:
        w.originals[o.older - 1].newer = o.newer
    else:
        w.original_oldest = o.newer
    o.newer = 0
    o.older = 0


cdef bint is_idle(Worker* w, u32 slot) noexcept nogil:
    cdef const EndpointState* state = &w.balancer.slots[slot]
    cdef const Waiting* waiting = &w.waiting[slot]
    return (
        state.open_count == state.idle_count and state.in_flight == 0 and waiting.count == 0 and waiting.flight_first == 0
        and waiting.sessions == 0
    )


cdef Original* originals_idle(Worker* w) noexcept nogil:
    cdef u32 at = w.original_oldest
    cdef u32 looks
    for looks in range(<u32>LOOKS):
        if at == 0:
            return NULL
        if is_idle(w, original_slot(w, &w.originals[at - 1])):
            return &w.originals[at - 1]
        at = w.originals[at - 1].newer
    return NULL


cdef void originals_replace(Worker* w, Original* o, const u8* key) noexcept nogil:
    cdef u32* at = bucket_of(w, o.hash)
    cdef u32 own = <u32>(o - w.originals) + 1
    while at[0] and at[0] != own:
        at = &w.originals[at[0] - 1].chain
    if at[0]:
        at[0] = o.chain
    unused_remove(w, o)
    original_begin(w, o, key)


cdef void originals_hold(Worker* w, Original* o, Conn* c) noexcept nogil:
    if o.refs == 0:
        unused_remove(w, o)
    o.refs += 1
    c.slot = original_slot(w, o)
    c.slot_gen = w.balancer.slots[c.slot].slot_gen


cdef void originals_release(Worker* w, Conn* c) noexcept nogil:
    cdef Original* o = original_of(w, c)
    c.slot_gen = 0
    if o == NULL:
        return
    o.refs -= 1
    if o.refs == 0:
        unused_append(w, o)


cdef void originals_adopt(Worker* w, const Snapshot* snap) noexcept nogil:
    cdef u32 i
    cdef u32 backend = <u32>PICK_NONE
    if snap.original_count:
        backend = snap.backend_count - 1
    for i in range(w.original_high):
        w.waiting[w.original_slot + i].backend = backend


# What the adopted snapshot says of it, looked up once.
cdef inline void settle(Worker* w, Original* o) noexcept nogil:
    if o.version != w.snap.version:
        o.version = w.snap.version
        o.backend = original_backend(w.snap, o.key)
        o.protocol = original_protocol(w.snap, o.key)


cdef u32 original_route(Worker* w, const Conn* down) noexcept nogil:
    cdef Original* o = original_of(w, down)
    cdef u32 first = w.snap.route_count + w.snap.tcp_count
    if o == NULL or w.snap.original_count == 0:
        return <u32>ROUTE_NONE
    if w.snap.listeners[down.listener].role != ROLE_OUTBOUND:
        return first + w.snap.backend_count - 1
    settle(w, o)
    return first + o.backend


cdef u32 original_pick(Worker* w, const Conn* down) noexcept nogil:
    return <u32>PICK_ORIGINAL | (down.slot - w.original_slot) if original_of(w, down) != NULL else <u32>PICK_NONE


cdef u8 original_protocol_of(Worker* w, const Conn* down) noexcept nogil:
    cdef const Listener* listener = &w.snap.listeners[down.listener]
    cdef Original* o = original_of(w, down)
    if o == NULL or w.snap.original_count == 0:
        return listener.protocol
    settle(w, o)
    return listener.protocol if o.protocol == <u8>PROTOCOL_NONE else o.protocol


# What a connection is known by, in every worker alike.
cdef u64 ends_hash(Worker* w, const u8* client, const u8* to) noexcept nogil:
    cdef u64 seed = key_hash(<u64><size_t>w.shared, client, ADDRESS_KEY_BYTES, KEY_EXACT)
    return key_hash(seed, to, ADDRESS_KEY_BYTES, KEY_EXACT) | 1


cdef inline u64* dialled_cell(Worker* w, u64 ends) noexcept nogil:
    return &w.shared.dialled[(ends >> 8) & (DIALLED - 1)]


cdef u64 originals_dialled(Worker* w, i32 fd, const sockaddr* to) noexcept nogil:
    cdef sockaddr_storage own
    cdef unsigned int n = sizeof(sockaddr_storage)
    cdef u8[ADDRESS_KEY_BYTES] local
    cdef u8[ADDRESS_KEY_BYTES] remote
    cdef u64 ends
    if not originals_key(to, remote) or sys_getsockname(fd, &own, &n) < 0 or not originals_key(<sockaddr*>&own, local):
        return 0
    ends = ends_hash(w, local, remote)
    meter_set(dialled_cell(w, ends), ends)
    return ends


cdef void originals_hung_up(Worker* w, const Conn* c) noexcept nogil:
    if meter_read(dialled_cell(w, c.parent)) == c.parent:
        meter_set(dialled_cell(w, c.parent), 0)


cdef bint originals_dialled_by_us(Worker* w, const Conn* c, const u8* to) noexcept nogil:
    cdef u8[ADDRESS_KEY_BYTES] client
    cdef u64 ends
    address_key(client, 4 if c.family == AF_INET else 6, c.address, c.port)
    ends = ends_hash(w, client, to)
    return meter_read(dialled_cell(w, ends)) == ends


cdef bint originals_came_back(Worker* w, const Conn* down) noexcept nogil:
    cdef const Original* o = original_of(w, down)
    return o != NULL and originals_dialled_by_us(w, down, o.key)
