from libc.string cimport memcmp

from fastmesh._core.base.meter cimport METER_NONE
from fastmesh._core.base.slab cimport slab_live
from fastmesh._core.base.types cimport u16
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.ffi.linux cimport sockaddr, sockaddr_storage, sys_getsockname, sys_original_dst
from fastmesh._core.io.client cimport client_close
from fastmesh._core.io.fault cimport FAULT_LOOP, FAULT_OVERLOAD
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.originals cimport (
    original_slot, originals_add, originals_dialled_by_us, originals_find, originals_hold, originals_idle,
    originals_key, originals_replace,
)
from fastmesh._core.io.state cimport EVENT_LOOP, LISTENERS_MAX, Event
from fastmesh._core.io.upstream cimport upstream_close, upstream_report
from fastmesh._core.routing.snapshot cimport ADDRESS_KEY_BYTES, ROLE_OUTBOUND, ROLE_TPROXY

cdef enum:
    PORT_AT = 2             # in a key
    ADDRESS_AT = 4
    LOOPBACK_V4 = 127       # 127.0.0.0/8

cdef const u8* LOOPBACK_V6 = <const u8*>b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"


cdef void original_listen(Worker* w, u32 listener, i32 fd) noexcept nogil:
    cdef sockaddr_storage own
    cdef unsigned int n = sizeof(sockaddr_storage)
    cdef u8[ADDRESS_KEY_BYTES] key
    w.ports[listener] = 0
    if sys_getsockname(fd, &own, &n) == 0 and originals_key(<sockaddr*>&own, key):
        w.ports[listener] = <u16>(key[PORT_AT] << 8 | key[PORT_AT + 1])


# The accepted socket's own address.
cdef bint own_key(const Conn* c, u8* key) noexcept nogil:
    cdef sockaddr_storage own
    cdef unsigned int n = sizeof(sockaddr_storage)
    return sys_getsockname(c.fd, &own, &n) == 0 and originals_key(<sockaddr*>&own, key)


# Where it was meant to go. What was not redirected was meant for the address it came to.
cdef bint meant_key(const Conn* c, u8 role, u8* key) noexcept nogil:
    cdef sockaddr_storage meant
    cdef unsigned int n = sizeof(sockaddr_storage)
    if role != ROLE_TPROXY and sys_original_dst(c.fd, c.family, &meant, &n) == 0:
        return originals_key(<sockaddr*>&meant, key)
    return own_key(c, key)


# What is forwarded to another of our listeners ends there, or is found when it comes back.
cdef bint is_own_port(Worker* w, u16 port) noexcept nogil:
    cdef u32 i
    for i in range(<u32>LISTENERS_MAX):
        if w.ports[i] == port and w.snap.listeners[i].role:
            return 1
    return 0


cdef bint is_loopback(const u8* key) noexcept nogil:
    if key[0] == 4:
        return key[ADDRESS_AT] == LOOPBACK_V4
    return memcmp(key + ADDRESS_AT, LOOPBACK_V6, 16) == 0


# Whether forwarding it would bring it back to us. What comes in is for this machine; what goes out may be for another's fastmesh.
cdef bint is_loop(Worker* w, const Conn* c, u8 role, const u8* key) noexcept nogil:
    cdef u8[ADDRESS_KEY_BYTES] other
    if is_own_port(w, <u16>(key[PORT_AT] << 8 | key[PORT_AT + 1])):
        if role != ROLE_OUTBOUND or is_loopback(key):
            return 1
        if own_key(c, other) and memcmp(key, other, ADDRESS_KEY_BYTES) == 0:
            return 1
    return originals_dialled_by_us(w, c, key)


cdef void refuse(Worker* w, Conn* c, u32 fault) noexcept nogil:
    meter_add(&block_of(w, c.listener, METER_NONE).faults[fault], 1)
    client_close(w, c, 1)


cdef void refuse_loop(Worker* w, Conn* c, const u8* key) noexcept nogil:
    cdef Event e
    e.kind = EVENT_LOOP
    e.slot = c.listener
    e.error = 0
    e.value = <u32>(key[PORT_AT] << 8 | key[PORT_AT + 1])
    upstream_report(w, &e)
    refuse(w, c, FAULT_LOOP)


cdef Original* original_place(Worker* w, const u8* key) noexcept nogil:
    cdef Original* o = originals_find(w, key)
    cdef Conn* pooled
    if o == NULL:
        o = originals_add(w, key)
    if o != NULL:
        return o
    o = originals_idle(w)
    if o == NULL:
        return NULL
    while True:
        pooled = <Conn*>slab_live(&w.conns, w.balancer.slots[original_slot(w, o)].idle_head)
        if pooled == NULL:
            break
        upstream_close(w, pooled, 0)
    originals_replace(w, o, key)
    return o


cdef bint original_accept(Worker* w, Conn* c) noexcept nogil:
    cdef u8 role = w.snap.listeners[c.listener].role
    cdef u8[ADDRESS_KEY_BYTES] key
    cdef Original* o
    if w.snap.original_count == 0 or not meant_key(c, role, key):
        refuse(w, c, FAULT_OVERLOAD)
        return 0
    if is_loop(w, c, role, key):
        refuse_loop(w, c, key)
        return 0
    o = original_place(w, key)
    if o == NULL:
        refuse(w, c, FAULT_OVERLOAD)
        return 0
    originals_hold(w, o, c)
    return 1
