from libc.string cimport memcpy

from fastmesh._core.base.buffer cimport buf_give, buf_head, buf_len
from fastmesh._core.base.meter cimport (
    COUNT_ACCEPT_FAILURES, COUNT_ACCEPTED, COUNT_HEADER_TIMEOUTS, COUNT_IDLE_CLOSES, COUNT_REFUSED, meters_count,
)
from fastmesh._core.base.slab cimport slab_live
from fastmesh._core.base.status cimport AGAIN, BAD, BLOCKED, OK
from fastmesh._core.base.types cimport i64, u8
from fastmesh._core.ffi.linux cimport (
    AF_INET, AF_INET6, EAGAIN, ECONNABORTED, EINTR, EPOLL_CTL_MOD, EPOLLIN, EPROTO, epoll_event, ntohs, sockaddr,
    sockaddr_in, sockaddr_in6, sockaddr_storage, sys_accept, sys_close, sys_epoll_ctl, sys_nodelay,
)
from fastmesh._core.io.client cimport client_close, client_finish, client_refuse
from fastmesh._core.io.connection cimport (
    conn_close, conn_deadline, conn_defer, conn_flush, conn_get, conn_handle, conn_open, conn_recv, conn_room,
)
from fastmesh._core.io.fault cimport FAULT_CONNECTION_LIMIT, FAULT_HEADER_TIMEOUT, FAULT_OVERLOAD
from fastmesh._core.io.http2 cimport http2_begin, http2_drain
from fastmesh._core.io.original cimport original_accept, original_listen
from fastmesh._core.io.request cimport request_begin
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_DOWN, CONN_LISTENER, CONN_READABLE, CONN_SESSION, DOWN_HEAD, DOWN_IDLE, DOWN_PROXY, DOWN_SNIFF,
    DRIVE_STEPS, EVENT_ACCEPT_PAUSED,
    EVENT_LISTENER_FAILED, LISTENERS_MAX, STATE_NONE,
)
from fastmesh._core.io.upstream cimport upstream_event
from fastmesh._core.wire.http1_head cimport FAULT_REQUEST_LINE, http1_request_parse
from fastmesh._core.wire.http2_frame cimport preface_match

cdef enum:
    BACKLOG_MOST = 65536            # connections that wait for a listener: the kernel's own limit is lower
    UPSTREAM_SHARE = 8              # one part in so many of the connection slab is kept for upstreams
    ACCEPT_PAUSE_NS = 100000000     # how long accepting rests when file descriptors or memory ran out
    DRAIN_GRACE_NS = 1000000000     # for the first byte of a connection accepted while draining

cdef const u8* V4_MAPPED = <const u8*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef void listener_interest(Worker* w, Conn* c, bint on) noexcept nogil:
    cdef epoll_event ev
    ev.events = EPOLLIN if on else 0
    ev.data.u64 = conn_handle(w, c)
    sys_epoll_ctl(w.epoll_fd, EPOLL_CTL_MOD, c.fd, &ev)


cdef void listener_add(Worker* w, i32 fd, u32 listener) noexcept nogil:
    cdef Conn* c
    # Accepted sockets inherit it: one system call a connection less.
    sys_nodelay(fd)
    c = conn_open(w, fd, CONN_LISTENER, STATE_NONE)
    if c == NULL or listener >= LISTENERS_MAX:
        upstream_event(w, EVENT_LISTENER_FAILED, listener, 0)
        return
    c.listener = <unsigned short>listener
    if w.listeners[listener]:
        listener_remove(w, listener, 0)
    w.listeners[listener] = conn_handle(w, c)
    original_listen(w, listener, fd)


cdef void listener_remove(Worker* w, u32 listener, bint accept_rest) noexcept nogil:
    cdef Conn* c
    if listener >= LISTENERS_MAX:
        return
    c = conn_get(w, w.listeners[listener])
    w.listeners[listener] = 0
    w.ports[listener] = 0
    if c == NULL:
        return
    if accept_rest:
        listener_accept(w, c, BACKLOG_MOST)
    conn_close(w, c, 0)


cdef void listener_timer(Worker* w, Conn* c) noexcept nogil:
    listener_interest(w, c, 1)


# Keeps the client's address as four or sixteen bytes; a mapped IPv4 address is an IPv4 address.
cdef void keep_address(Conn* c, const sockaddr* sa) noexcept nogil:
    cdef const sockaddr_in* v4 = <const sockaddr_in*>sa
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>sa
    c.family = <u8>sa.sa_family
    if sa.sa_family == AF_INET:
        c.port = ntohs(v4.sin_port)
        memcpy(c.address, &v4.sin_addr, 4)
    elif sa.sa_family == AF_INET6:
        c.port = ntohs(v6.sin6_port)
        memcpy(c.address, &v6.sin6_addr, 16)
        if is_mapped(c.address):
            c.family = AF_INET
            memcpy(c.address, c.address + 12, 4)


cdef bint is_mapped(const u8* address) noexcept nogil:
    cdef u32 i
    for i in range(12):
        if address[i] != V4_MAPPED[i]:
            return 0
    return 1


cdef void client_accepted(Worker* w, Conn* listener, i32 fd, const sockaddr* sa) noexcept nogil:
    cdef Conn* c
    if w.conns.takes - w.conns.gives >= w.conns.capacity - w.conns.capacity // UPSTREAM_SHARE:
        # The last objects are for upstream connections: clients alone must not be able to take them all.
        meters_count(&w.meters, COUNT_REFUSED, 1)
        sys_close(fd)
        return
    c = conn_open(w, fd, CONN_DOWN, DOWN_IDLE)
    if c == NULL:
        return
    c.listener = listener.listener
    keep_address(c, sa)
    w.down_count += 1
    meters_count(&w.meters, COUNT_ACCEPTED, 1)
    if w.down_count > w.snap.policy.max_connections:
        meters_count(&w.meters, COUNT_REFUSED, 1)
        # Nothing was read yet: what epoll would say is known.
        c.flags |= CONN_READABLE
        if w.snap.listeners[c.listener].special:
            client_close(w, c, 1)
        else:
            client_refuse(w, c, FAULT_CONNECTION_LIMIT)
        return
    if w.snap.listeners[c.listener].role and not original_accept(w, c):
        return
    if w.snap.listeners[c.listener].special:
        # Looked at in this turn: what the client sent with its handshake spares the dialling.
        c.flags |= CONN_READABLE
        conn_defer(w, c)
        if not w.snap.listeners[c.listener].proxy:
            c.state = DOWN_SNIFF
            if w.draining:
                conn_deadline(w, c, w.now_ns + DRAIN_GRACE_NS)
            return
        c.state = DOWN_PROXY
    conn_deadline(w, c, w.now_ns + (DRAIN_GRACE_NS if w.draining else w.snap.policy.header_timeout_ns))


cdef void listener_accept(Worker* w, Conn* c, u32 most) noexcept nogil:
    cdef sockaddr_storage address
    cdef unsigned int n
    cdef long fd
    cdef u32 i
    for i in range(most):
        n = sizeof(sockaddr_storage)
        fd = sys_accept(c.fd, <sockaddr*>&address, &n)
        if fd >= 0:
            client_accepted(w, c, <i32>fd, <const sockaddr*>&address)
        elif fd == -EAGAIN:
            return
        elif fd != -EINTR and fd != -ECONNABORTED and fd != -EPROTO:
            # Out of descriptors or memory. The kernel keeps the connection; asking again at once would spin.
            meters_count(&w.meters, COUNT_ACCEPT_FAILURES, 1)
            upstream_event(w, EVENT_ACCEPT_PAUSED, c.listener, <int>-fd)
            listener_interest(w, c, 0)
            conn_deadline(w, c, w.now_ns + ACCEPT_PAUSE_NS)
            return


# The buffered bytes may hold a head. AGAIN: not yet; else the connection is somebody else's now.
cdef int downstream_parse(Worker* w, Conn* c) noexcept nogil:
    cdef int r
    w.head_of = 0
    r = http1_request_parse(&w.head, &c.resume, buf_head(&c.inb), buf_len(&c.inb), &w.snap.policy.http1)
    if r == OK:
        request_begin(w, c)
        return OK
    if r != AGAIN:
        if c.served == 0 and not c.id and preface_match(buf_head(&c.inb), buf_len(&c.inb)) != BAD:
            http2_begin(w, c)
        else:
            client_refuse(w, c, w.head.fault)
        return OK
    if c.state == DOWN_IDLE:
        c.state = DOWN_HEAD
        conn_deadline(w, c, w.now_ns + w.snap.policy.header_timeout_ns)
    return AGAIN


# A stream whose head is in its buffer, unless its client has thought better of it in the same turn.
cdef void stream_begin(Worker* w, Conn* c) noexcept nogil:
    if c.flags & CONN_BROKEN:
        client_close(w, c, 0)
    elif downstream_parse(w, c) != OK:
        client_refuse(w, c, FAULT_REQUEST_LINE)


cdef void downstream_ready(Worker* w, Conn* c) noexcept nogil:
    cdef u32 step
    cdef i64 n
    if c.id:
        stream_begin(w, c)
        return
    n = conn_flush(w, c)
    # Answers leave in the order of their requests: while one is stuck, no other request is looked at.
    if n == BLOCKED:
        return
    if n != OK:
        client_close(w, c, 0)
        return
    # A pipelined request is there already.
    if c.state == DOWN_IDLE and buf_len(&c.inb) > 0 and downstream_parse(w, c) == OK:
        return
    for step in range(<u32>DRIVE_STEPS):
        if not c.flags & CONN_READABLE:
            return
        if conn_room(w, c, 0, 1) != OK:
            client_refuse(w, c, FAULT_OVERLOAD)
            return
        n = conn_recv(w, c)
        if n == AGAIN:
            if buf_len(&c.inb) == 0:
                buf_give(&w.pools, &c.inb)
            return
        if n <= 0:
            client_close(w, c, 0)
            return
        if downstream_parse(w, c) == OK:
            return
    conn_defer(w, c)


cdef void downstream_timer(Worker* w, Conn* c) noexcept nogil:
    if c.state == DOWN_HEAD:
        meters_count(&w.meters, COUNT_HEADER_TIMEOUTS, 1)
        client_refuse(w, c, FAULT_HEADER_TIMEOUT)
        return
    meters_count(&w.meters, COUNT_IDLE_CLOSES, 1)
    client_finish(w, c, 1)


cdef void downstream_drain(Worker* w) noexcept nogil:
    cdef u32 i
    cdef Conn* c
    for i in range(<u32>LISTENERS_MAX):
        listener_remove(w, i, 1)
    for i in range(w.conns.high):
        c = <Conn*>slab_live(&w.conns, i)
        if c != NULL and c.kind == CONN_DOWN and c.state == CONN_SESSION:
            http2_drain(w, c)
        if c == NULL or c.kind != CONN_DOWN or buf_len(&c.inb) > 0 or (
                c.state != DOWN_IDLE and c.state != DOWN_SNIFF and c.state != DOWN_PROXY):
            continue
        if c.served == 0:
            conn_deadline(w, c, w.now_ns + DRAIN_GRACE_NS)
        elif not c.flags & CONN_READABLE:
            client_finish(w, c, 1)
