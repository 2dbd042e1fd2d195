from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.buffer cimport buf_consume, buf_give, buf_head, buf_len
from fastmesh._core.base.meter cimport COUNT_HEADER_TIMEOUTS, COUNT_PROXY_HEADERS, METER_NONE, meters_count
from fastmesh._core.base.slab cimport slab_index
from fastmesh._core.base.status cimport AGAIN, OK
from fastmesh._core.base.types cimport i64
from fastmesh._core.base.wheel cimport wheel_cancel
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.ffi.linux cimport (
    AF_INET, AF_INET6, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, sys_getsockname,
)
from fastmesh._core.io.client cimport client_close
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_get, conn_recv, conn_room, conn_send_head
from fastmesh._core.io.fault cimport FAULT_HEADER_TIMEOUT, FAULT_OVERLOAD, FAULT_PROXY_HEADER
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.originals cimport original_of
from fastmesh._core.io.state cimport (
    CONN_READABLE, DOWN_IDLE, DOWN_SNIFF, EX_PROXY_V1, EX_PROXY_V2, STREAM_ANNOUNCED, Announced, Original,
)
from fastmesh._core.routing.snapshot cimport LISTENER_HTTP, PROXY_OFF, PROXY_V2
from fastmesh._core.wire.proxy_protocol cimport (
    PROXY_INET, PROXY_INET6, PROXY_NONE, PROXY_V1_MOST, PROXY_WRITE_MOST, ProxyHeader, proxy_parse, proxy_v1_write,
    proxy_v2_write,
)

cdef const u8* V4_MAPPED = <const u8*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


# Accepting

cdef void refuse(Worker* w, Conn* c, u32 fault) noexcept nogil:
    meter_add(&block_of(w, c.listener, METER_NONE).faults[fault], 1)
    client_close(w, c, 1)


# The address as it would be if the client had come by itself: a mapped IPv4 address is an IPv4 address.
cdef u8 keep_address(u8* out, u8 family, const u8* address) noexcept nogil:
    if family == PROXY_INET6 and memcmp(address, V4_MAPPED, 12) == 0:
        memcpy(out, address + 12, 4)
        return PROXY_INET
    memcpy(out, address, 4 if family == PROXY_INET else 16)
    return family


# LOCAL, UNKNOWN and what has no IP address leaves the connection's own (2.1, 2.2); so does UDP, which this is not.
cdef void proxy_adopt(Worker* w, Conn* c, const ProxyHeader* header) noexcept nogil:
    cdef Announced* announced = &w.announced[slab_index(&w.conns, c)]
    if header.local or header.datagram or (header.family != PROXY_INET and header.family != PROXY_INET6):
        return
    c.family = keep_address(c.address, header.family, header.source)
    c.port = header.source_port
    announced.generation = c.generation
    announced.family = keep_address(announced.address, header.family, header.destination)
    announced.port = header.destination_port


# What follows the header is as if it had come to a listener without.
cdef void proxy_accepted(Worker* w, Conn* c, const ProxyHeader* header) noexcept nogil:
    meters_count(&w.meters, COUNT_PROXY_HEADERS, 1)
    proxy_adopt(w, c, header)
    buf_consume(&c.inb, header.bytes)
    if buf_len(&c.inb) == 0:
        buf_give(&w.pools, &c.inb)
    c.state = DOWN_SNIFF
    if w.snap.listeners[c.listener].protocol == LISTENER_HTTP and original_of(w, c) == NULL:
        c.state = DOWN_IDLE
    # In a drain the moment that a fresh connection has goes on.
    if not w.draining and c.state == DOWN_IDLE:
        conn_deadline(w, c, w.now_ns + w.snap.policy.header_timeout_ns)
    elif not w.draining:
        wheel_cancel(&w.wheel, slab_index(&w.conns, c))
    conn_defer(w, c)


cdef void proxy_event(Worker* w, Conn* c, bint gone) noexcept nogil:
    cdef ProxyHeader header
    cdef i64 n
    cdef int r = AGAIN
    if gone:
        client_close(w, c, 0)
        return
    while r == AGAIN:
        if not c.flags & CONN_READABLE:
            break
        if conn_room(w, c, 0, 1) != OK:
            refuse(w, c, FAULT_OVERLOAD)
            return
        n = conn_recv(w, c)
        if n == AGAIN:
            break
        if n <= 0:
            # Whoever looks whether the port is open says nothing and is no error.
            if buf_len(&c.inb):
                refuse(w, c, FAULT_PROXY_HEADER)
            else:
                client_close(w, c, 0)
            return
        r = proxy_parse(&header, buf_head(&c.inb), buf_len(&c.inb))
    if r == OK:
        proxy_accepted(w, c, &header)
    elif r != AGAIN:
        refuse(w, c, FAULT_PROXY_HEADER)
    elif buf_len(&c.inb) == 0:
        buf_give(&w.pools, &c.inb)


cdef void proxy_timer(Worker* w, Conn* c) noexcept nogil:
    meters_count(&w.meters, COUNT_HEADER_TIMEOUTS, 1)
    refuse(w, c, FAULT_HEADER_TIMEOUT)


# Sending

cdef bint proxy_wanted(Worker* w, Exchange* x, u32 backend) noexcept nogil:
    cdef u8 version = w.snap.backends[backend].send_proxy
    x.flags &= ~<u32>(EX_PROXY_V1 | EX_PROXY_V2)
    if version != PROXY_OFF:
        x.flags |= EX_PROXY_V2 if version == PROXY_V2 else EX_PROXY_V1
    return version != PROXY_OFF


# Its family; PROXY_NONE: it is no IP address.
cdef u8 put_destination(ProxyHeader* header, const sockaddr* sa) noexcept nogil:
    cdef const sockaddr_in* v4 = <const sockaddr_in*>sa
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>sa
    if sa.sa_family == AF_INET:
        header.destination_port = ntohs(v4.sin_port)
        return keep_address(header.destination, PROXY_INET, <const u8*>&v4.sin_addr)
    if sa.sa_family != AF_INET6:
        return PROXY_NONE
    header.destination_port = ntohs(v6.sin6_port)
    return keep_address(header.destination, PROXY_INET6, <const u8*>&v6.sin6_addr)


# Where the client was going: as announced, as it was before it was redirected to us, or to the address of ours it came to.
cdef u8 find_destination(Worker* w, ProxyHeader* header, const Conn* client) noexcept nogil:
    cdef const Announced* announced = &w.announced[slab_index(&w.conns, client)]
    cdef const Original* original = original_of(w, client)
    cdef sockaddr_storage own
    cdef unsigned int n = sizeof(sockaddr_storage)
    if announced.generation == client.generation:
        header.destination_port = announced.port
        memcpy(header.destination, announced.address, sizeof(announced.address))
        return announced.family
    if original != NULL:
        return put_destination(header, <const sockaddr*>original.address)
    return put_destination(header, <const sockaddr*>&own) if sys_getsockname(client.fd, &own, &n) == 0 else <u8>PROXY_NONE


cdef void map_address(u8* address) noexcept nogil:
    memcpy(address + 12, address, 4)
    memcpy(address, V4_MAPPED, 12)


# A header has one family for both addresses.
cdef void fit_families(ProxyHeader* header, u8 destination) noexcept nogil:
    if destination == PROXY_NONE:
        header.family = PROXY_NONE
    elif header.family != destination:
        if header.family == PROXY_INET:
            map_address(header.source)
        else:
            map_address(header.destination)
        header.family = PROXY_INET6


cdef void describe(Worker* w, const Conn* down, ProxyHeader* header) noexcept nogil:
    cdef const Conn* client = down
    memset(header, 0, sizeof(ProxyHeader))
    if down.id:
        client = conn_get(w, down.parent)
    if client == NULL or (down.family != AF_INET and down.family != AF_INET6):
        # A client on a Unix socket has no address.
        return
    header.family = down.family
    memcpy(header.source, down.address, sizeof(down.address))
    header.source_port = down.port
    fit_families(header, find_destination(w, header, client))


cdef void proxy_announce(Worker* w, const Exchange* x, const Conn* down, Conn* up) noexcept nogil:
    cdef ProxyHeader header
    cdef u8[PROXY_WRITE_MOST] out
    cdef i64 n
    describe(w, down, &header)
    if x.flags & EX_PROXY_V2:
        n = proxy_v2_write(out, PROXY_WRITE_MOST, &header)
    else:
        n = proxy_v1_write(out, PROXY_V1_MOST, &header)
    up.stream |= STREAM_ANNOUNCED
    # What does not go out whole waits in outb; a failure is met again by whoever writes next.
    conn_send_head(w, up, out, <size_t>n, NULL, 0)
