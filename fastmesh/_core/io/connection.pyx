from fastmesh._core.base.buffer cimport (
    BUFFER_LARGE, BUFFER_SMALL, Pool, buf_append, buf_commit, buf_compact, buf_consume, buf_give, buf_grow, buf_head,
    buf_len, buf_room, buf_take, buf_tail, pool_left,
)
from fastmesh._core.base.meter cimport COUNT_BUFFERS_FULL, COUNT_SLAB_FULL, meters_count
from fastmesh._core.base.slab cimport SLAB_NONE, slab_give, slab_take
from fastmesh._core.base.status cimport AGAIN, BLOCKED, CLOSED, FULL, IO, OK
from fastmesh._core.base.wheel cimport timer_init, wheel_cancel
from fastmesh._core.ffi.linux cimport (
    EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, SHUT_WR, epoll_event,
    sys_close, sys_epoll_ctl, sys_recv, sys_reset_on_close, sys_send, sys_send2, sys_shutdown,
)
from fastmesh._core.io.state cimport (
    CONN_DOWN, CONN_LISTENER, CONN_PAIR, CONN_RELAY, CONN_SHUT, CONN_UP, SCRATCH_BYTES,
)

cdef enum:
    RESERVE = 4     # one buffer in so many is kept for responses


# What epoll tells of a connection. A listener is level-triggered: it is accepted from in bounded portions.
cdef long conn_watch(Worker* w, Conn* c, int how, bint writes) noexcept nogil:
    cdef epoll_event ev
    ev.events = EPOLLIN
    if c.kind != CONN_LISTENER:
        ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET if writes else EPOLLIN | EPOLLRDHUP | EPOLLET
    ev.data.u64 = conn_handle(w, c)
    c.watched = <u8>writes
    return sys_epoll_ctl(w.epoll_fd, how, c.fd, &ev)


cdef Conn* conn_open(Worker* w, i32 fd, u8 kind, u8 state) noexcept nogil:
    cdef Conn* c = <Conn*>slab_take(&w.conns)
    if c == NULL:
        meters_count(&w.meters, COUNT_SLAB_FULL, 1)
        sys_close(fd)
        return NULL
    c.fd = fd
    c.kind = kind
    c.state = state
    c.newer = SLAB_NONE
    c.older = SLAB_NONE
    timer_init(&c.timer)
    # A client's socket is writable as it comes; an event that says so would cost a turn. One that connects is not.
    if kind == CONN_DOWN:
        c.flags = <u8>CONN_WRITABLE
    if conn_watch(w, c, EPOLL_CTL_ADD, kind == CONN_UP) < 0:
        slab_give(&w.conns, c)
        sys_close(fd)
        return NULL
    w.opened += 1
    return c


cdef void conn_close(Worker* w, Conn* c, bint reset) noexcept nogil:
    wheel_cancel(&w.wheel, slab_index(&w.conns, c))
    buf_give(&w.pools, &c.inb)
    buf_give(&w.pools, &c.outb)
    if reset:
        sys_reset_on_close(c.fd)
    sys_close(c.fd); c.fd = -1
    w.closed += 1
    slab_give(&w.conns, c)


cdef i64 conn_recv(Worker* w, Conn* c) noexcept nogil:
    cdef u32 room = buf_room(&c.inb)
    cdef long n
    if c.flags & CONN_EOF:
        return CLOSED
    if not c.flags & CONN_READABLE:
        return AGAIN
    if room == 0:
        return FULL
    n = sys_recv(c.fd, buf_tail(&c.inb), room)
    if n > 0:
        buf_commit(&c.inb, <u32>n)
        # Less than asked for means the socket is empty, and the next byte brings an edge; a FIN already seen does not.
        if n < <long>room and not c.flags & CONN_RDHUP:
            c.flags &= <u8>~CONN_READABLE
        return n
    if n == 0:
        c.flags |= CONN_EOF
        return CLOSED
    if n == -EAGAIN:
        c.flags &= <u8>~CONN_READABLE
        return AGAIN
    if n == -EINTR:
        return AGAIN
    c.flags |= CONN_EOF | CONN_BROKEN
    return IO


# What clients send and what tunnels carry may not take the buffers that answers need: some exchange can always end and give its own back.
cdef inline bint is_reserved(const Conn* c, const Pool* pool) noexcept nogil:
    return (c.kind == CONN_DOWN or c.state == CONN_RELAY or c.state == CONN_PAIR) and pool_left(pool) <= pool.count // RESERVE


cdef int conn_room(Worker* w, Conn* c, u64 expect, bint movable) noexcept nogil:
    cdef int r = OK
    if c.inb.data == NULL:
        if expect > BUFFER_SMALL and not is_reserved(c, &w.pools.large) and (
                buf_take(&w.pools, &c.inb, BUFFER_LARGE) == OK):
            return OK
        r = FULL if is_reserved(c, &w.pools.small) else buf_take(&w.pools, &c.inb, BUFFER_SMALL)
    elif movable and buf_len(&c.inb) == 0 and expect > c.inb.cap:
        # Reads grow with the stream; without a free large buffer it goes on with the small one.
        if not is_reserved(c, &w.pools.large):
            buf_grow(&w.pools, &c.inb)
    elif buf_room(&c.inb) == 0:
        if movable and c.inb.r > 0:
            buf_compact(&c.inb)
        else:
            r = FULL if is_reserved(c, &w.pools.large) else buf_grow(&w.pools, &c.inb)
    if r != OK:
        meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
    return r


cdef i64 conn_send(Worker* w, Conn* c, const u8* data, size_t n) noexcept nogil:
    cdef long sent
    if c.flags & CONN_BROKEN:
        return IO
    if n == 0 or not c.flags & CONN_WRITABLE:
        return 0
    sent = sys_send(c.fd, data, n)
    return conn_sent(w, c, sent, n)


# The socket takes no more for now. From the first time on epoll says when it does.
cdef void conn_blocked(Worker* w, Conn* c) noexcept nogil:
    c.flags &= <u8>~CONN_WRITABLE
    if not c.watched and conn_watch(w, c, EPOLL_CTL_MOD, 1) < 0:
        c.flags |= CONN_BROKEN


cdef i64 conn_sent(Worker* w, Conn* c, long sent, size_t n) noexcept nogil:
    if sent >= 0:
        if <size_t>sent < n:
            conn_blocked(w, c)
        return sent
    if sent == -EAGAIN:
        conn_blocked(w, c)
        return 0
    if sent == -EINTR:
        return 0
    c.flags |= CONN_BROKEN
    return IO


cdef int conn_write_out(Worker* w, Conn* c) noexcept nogil:
    cdef i64 n = conn_send(w, c, buf_head(&c.outb), buf_len(&c.outb))
    if n < 0:
        return IO
    buf_consume(&c.outb, <u32>n)
    if buf_len(&c.outb) > 0:
        return BLOCKED
    buf_give(&w.pools, &c.outb)
    return OK


cdef i64 conn_send_head(Worker* w, Conn* c, const u8* head, size_t head_n, const u8* body, size_t body_n) noexcept nogil:
    cdef i64 n = 0
    if c.flags & CONN_BROKEN:
        return IO
    if c.outb.data == NULL and c.flags & CONN_WRITABLE:
        if body_n == 0:
            n = conn_sent(w, c, sys_send(c.fd, head, head_n), head_n)
        else:
            n = conn_sent(w, c, sys_send2(c.fd, head, head_n, body, body_n), head_n + body_n)
        if n < 0:
            return IO
        if <size_t>n >= head_n:
            return n - <i64>head_n
    if (c.outb.data == NULL and buf_take(&w.pools, &c.outb, head_n - <size_t>n) != OK) or (
            buf_append(&c.outb, head + n, head_n - <size_t>n) != OK):
        # What follows a lost piece would be taken for it: nothing more may be written here.
        meters_count(&w.meters, COUNT_BUFFERS_FULL, 1)
        c.flags |= CONN_BROKEN
        return FULL
    return 0


cdef int conn_drop_input(Worker* w, Conn* c) noexcept nogil:
    cdef long n
    cdef u32 i
    buf_give(&w.pools, &c.inb)
    for i in range(8):
        if c.flags & CONN_EOF:
            return CLOSED
        if not c.flags & CONN_READABLE:
            return AGAIN
        n = sys_recv(c.fd, w.scratch, SCRATCH_BYTES)
        if n == 0:
            c.flags |= CONN_EOF
        elif n == -EAGAIN:
            c.flags &= <u8>~CONN_READABLE
        elif n < 0 and n != -EINTR:
            return IO
    return BLOCKED


cdef void conn_defer(Worker* w, Conn* c) noexcept nogil:
    if c.flags & CONN_DEFERRED or w.deferred_count >= 2 * w.conns.capacity:
        return
    c.flags |= CONN_DEFERRED
    w.deferred[w.deferred_count] = conn_handle(w, c)
    w.deferred_count += 1


cdef void conn_shut(Worker* w, Conn* c) noexcept nogil:
    if not c.flags & CONN_SHUT:
        c.flags |= CONN_SHUT
        sys_shutdown(c.fd, SHUT_WR)
