from fastmesh._core.base.buffer cimport buf_give, buf_len
from fastmesh._core.base.meter cimport (
    COUNT_CONNECTS, COUNT_EVENTS_DROPPED, COUNT_H2_UPSTREAM_STREAMS, COUNT_REUSES, COUNT_UPSTREAM_CLOSES,
    COUNT_UPSTREAM_EVICTIONS, meters_count,
)
from fastmesh._core.base.ring cimport ring_write
from fastmesh._core.base.slab cimport SLAB_NONE, slab_index, slab_live
from fastmesh._core.base.status cimport AGAIN, FULL, IO, LIMIT, OK
from fastmesh._core.base.types cimport i32, u16, u8
from fastmesh._core.ffi.atomic cimport meter_add, meter_set
from fastmesh._core.ffi.linux cimport (
    AF_INET, AF_INET6, EADDRNOTAVAIL, EAGAIN, EINPROGRESS, ENOBUFS, ENOMEM, sockaddr, sys_close, sys_connect,
    sys_connect_error, sys_eventfd_signal, sys_nodelay, sys_socket,
)
from fastmesh._core.io.connection cimport conn_close, conn_deadline, conn_defer, conn_get, conn_open, conn_recv, conn_room
from fastmesh._core.io.originals cimport originals_adopt, originals_dialled, originals_hung_up
from fastmesh._core.io.session cimport session_free, session_goaway, session_new, session_of
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_EOF, CONN_RDHUP, CONN_READABLE, CONN_REUSED, CONN_SESSION, CONN_UP, CONN_WRITABLE,
    SESSION_CLIENT, SESSION_GOING, SESSION_STARVED, STREAM_ANNOUNCED, STREAM_BAD, STREAM_UNNUMBERED, UP_BUSY,
    UP_CONNECTING, UP_IDLE, Event, Original, Session, Waiting,
)
from fastmesh._core.io.stream cimport stream_close, stream_open
from fastmesh._core.routing.balancer cimport EndpointState, PICK_NONE
from fastmesh._core.routing.snapshot cimport Backend, Endpoint
from fastmesh._core.wire.http2_frame cimport H2_CANCEL, H2_NO_ERROR, H2_PROTOCOL_ERROR

cdef enum:
    STREAM_IDS = 0x7FFF0000     # a connection whose ids are used up takes no more streams (RFC 9113 5.1.1)


cdef void upstream_event(Worker* w, u32 kind, u32 slot, int error) noexcept nogil:
    cdef Event e
    e.kind = kind
    e.slot = slot
    e.error = error
    e.value = 0
    upstream_report(w, &e)


cdef void upstream_report(Worker* w, const Event* event) noexcept nogil:
    if ring_write(&w.events, <const u8*>event, sizeof(Event)) == OK:
        sys_eventfd_signal(w.event_fd)
    else:
        meters_count(&w.meters, COUNT_EVENTS_DROPPED, 1)


cdef u32 upstream_backend(Worker* w, u32 slot, u32 slot_gen) noexcept nogil:
    if slot_gen == 0 or w.balancer.slots[slot].slot_gen != slot_gen:
        return PICK_NONE
    return w.waiting[slot].backend


cdef inline EndpointState* state_of(Worker* w, const Conn* c) noexcept nogil:
    cdef EndpointState* state = &w.balancer.slots[c.slot]
    return state if state.slot_gen == c.slot_gen else NULL


cdef void pool_unlink(Worker* w, Conn* c) noexcept nogil:
    cdef EndpointState* state = state_of(w, c)
    cdef Conn* other = <Conn*>slab_live(&w.conns, c.newer)
    if other != NULL:
        other.older = c.older
    elif state != NULL:
        state.idle_head = c.older
    other = <Conn*>slab_live(&w.conns, c.older)
    if other != NULL:
        other.newer = c.newer
    c.newer = SLAB_NONE
    c.older = SLAB_NONE
    if state != NULL:
        state.idle_count -= 1
    w.up_idle_count -= 1


cdef void pool_push(Worker* w, Conn* c, EndpointState* state) noexcept nogil:
    cdef u32 index = slab_index(&w.conns, c)
    cdef Conn* newest = <Conn*>slab_live(&w.conns, state.idle_head)
    c.older = state.idle_head
    c.newer = SLAB_NONE
    if newest != NULL:
        newest.newer = index
    state.idle_head = index
    state.idle_count += 1
    w.up_idle_count += 1
    c.state = UP_IDLE


cdef void upstream_freed(Worker* w, u32 slot) noexcept nogil:
    cdef Waiting* waiting = &w.waiting[slot]
    if waiting.count and not waiting.freed:
        waiting.freed = 1
        w.freed[w.freed_count] = slot
        w.freed_count += 1


# The address of the slot's endpoint, or original destination.
cdef const sockaddr* address_of(Worker* w, u32 slot, u32* n) noexcept nogil:
    cdef const Endpoint* endpoint
    cdef const Original* original
    if slot >= w.original_slot:
        original = &w.originals[slot - w.original_slot]
        n[0] = original.address_len
        return <const sockaddr*>original.address
    endpoint = &w.snap.endpoints[w.waiting[slot].endpoint]
    n[0] = endpoint.address_len
    return <const sockaddr*>(w.snap.blob + endpoint.address_off)


cdef const u8* upstream_name(Worker* w, u32 slot, u32 slot_gen, u32* n) noexcept nogil:
    cdef const Endpoint* endpoint
    if upstream_backend(w, slot, slot_gen) == PICK_NONE:
        return NULL
    if slot >= w.original_slot:
        n[0] = w.originals[slot - w.original_slot].name_len
        return w.originals[slot - w.original_slot].name
    endpoint = &w.snap.endpoints[w.waiting[slot].endpoint]
    n[0] = endpoint.name_len
    return w.snap.blob + endpoint.name_off


cdef int upstream_dial(Worker* w, u32 slot, const Backend* backend, Conn** out, int* error) noexcept nogil:
    cdef u32 n = 0
    cdef const sockaddr* address = address_of(w, slot, &n)
    cdef u16 family = address.sa_family
    cdef long fd = sys_socket(family)
    cdef long r
    cdef u64 ends = 0
    cdef Conn* c
    meters_count(&w.meters, COUNT_CONNECTS, 1)
    meter_add(&w.meters.endpoints[slot].connects, 1)
    if fd < 0:
        return LIMIT
    if family == AF_INET or family == AF_INET6:
        sys_nodelay(<int>fd)
    r = sys_connect(<int>fd, address, n)
    if r < 0 and r != -EINPROGRESS:
        sys_close(<int>fd)
        # EAGAIN: the backlog of a Unix socket is full, which a moment's burst can do.
        if r == -EADDRNOTAVAIL or r == -ENOBUFS or r == -ENOMEM or r == -EAGAIN:
            return LIMIT
        error[0] = <int>-r
        return IO
    if w.snap.original_count:
        # At once: another worker may be about to accept it.
        ends = originals_dialled(w, <i32>fd, address)
    c = conn_open(w, <i32>fd, CONN_UP, UP_CONNECTING)
    if c == NULL:
        return LIMIT
    c.slot = slot
    c.slot_gen = w.balancer.slots[slot].slot_gen
    w.balancer.slots[slot].open_count += 1
    w.up_count += 1
    c.parent = ends
    conn_deadline(w, c, w.now_ns + backend.connect_timeout_ns)
    out[0] = c
    return AGAIN


# Whether another stream may begin on it.
cdef inline bint session_takes(const Session* s, const Backend* backend) noexcept nogil:
    return (
        not s.flags & (SESSION_GOING | SESSION_STARVED) and s.streams < backend.max_streams
        and s.streams < s.peer_streams and s.last_id < STREAM_IDS
    )


# The first connection of the slot that takes another stream, or NULL.
cdef Conn* session_free_of(Worker* w, u32 slot, const Backend* backend) noexcept nogil:
    cdef Conn* c = <Conn*>slab_live(&w.conns, w.waiting[slot].sessions - 1)
    cdef Session* s
    while c != NULL:
        s = session_of(w, c)
        if s != NULL and not c.flags & CONN_BROKEN and session_takes(s, backend):
            return c
        c = <Conn*>slab_live(&w.conns, c.older)
    return NULL


cdef void session_link(Worker* w, Conn* c) noexcept nogil:
    cdef Waiting* waiting = &w.waiting[c.slot]
    cdef Conn* first = <Conn*>slab_live(&w.conns, waiting.sessions - 1)
    c.older = waiting.sessions - 1
    c.newer = SLAB_NONE
    if first != NULL:
        first.newer = slab_index(&w.conns, c)
    waiting.sessions = slab_index(&w.conns, c) + 1


cdef void session_unlink(Worker* w, Conn* c) noexcept nogil:
    cdef Conn* before = <Conn*>slab_live(&w.conns, c.newer)
    cdef Conn* after = <Conn*>slab_live(&w.conns, c.older)
    if before != NULL:
        before.older = c.older
    else:
        w.waiting[c.slot].sessions = c.older + 1
    if after != NULL:
        after.newer = c.newer
    c.newer = SLAB_NONE
    c.older = SLAB_NONE


# A connection that speaks HTTP/2, on its way: frames gather in its outb until it is there.
cdef int session_dial(Worker* w, u32 slot, const Backend* backend, Conn** out, int* error) noexcept nogil:
    cdef Session* s
    cdef int r
    if backend.max_connections and w.balancer.slots[slot].open_count >= backend.max_connections:
        return FULL
    r = upstream_dial(w, slot, backend, out, error)
    if r != AGAIN:
        return r
    s = session_new(w, out[0], SESSION_CLIENT, backend.idle_timeout_ns)
    if s == NULL:
        upstream_close(w, out[0], 0)
        return LIMIT
    # Until it has said how many streams it takes, as many as its endpoint took before: what is over would be refused.
    if w.waiting[slot].peer_streams:
        s.peer_streams = w.waiting[slot].peer_streams
    s.ping_ns = backend.ping_interval_ns
    s.ping_timeout_ns = backend.ping_timeout_ns
    session_link(w, out[0])
    return OK


cdef int stream_take(Worker* w, u32 slot, const Backend* backend, Conn** out, int* error) noexcept nogil:
    cdef Conn* c = session_free_of(w, slot, backend)
    cdef Session* s
    cdef Conn* stream
    cdef bint reused = c != NULL and c.state == CONN_SESSION
    cdef int r
    if c == NULL:
        r = session_dial(w, slot, backend, &c, error)
        if r != OK:
            return r
    s = session_of(w, c)
    if s.streams == 0 and c.state == CONN_SESSION:
        w.up_idle_count -= 1
    stream = stream_open(w, c, s, STREAM_UNNUMBERED, CONN_UP, UP_BUSY)
    if stream == NULL:
        session_resting(w, c, s)
        return LIMIT
    if reused:
        stream.flags |= CONN_REUSED
        meters_count(&w.meters, COUNT_REUSES, 1)
        meter_add(&w.meters.endpoints[slot].reuses, 1)
    meters_count(&w.meters, COUNT_H2_UPSTREAM_STREAMS, 1)
    out[0] = stream
    return OK


# A connection that is made and has no stream counts as pooled.
cdef void session_resting(Worker* w, Conn* c, Session* s) noexcept nogil:
    if s != NULL and c != NULL and s.streams == 0 and c.state == CONN_SESSION:
        w.up_idle_count += 1


cdef void stream_give(Worker* w, Conn* stream, u32 error) noexcept nogil:
    cdef Session* s = session_of(w, stream)
    cdef Conn* c = conn_get(w, stream.parent)
    cdef u32 slot = stream.slot
    cdef bint live = state_of(w, stream) != NULL
    stream_close(w, stream, error)
    session_resting(w, c, s)
    if live:
        upstream_freed(w, slot)


cdef bint upstream_has_room(Worker* w, u32 slot) noexcept nogil:
    cdef const Backend* backend = &w.snap.backends[w.waiting[slot].backend]
    cdef const EndpointState* state = &w.balancer.slots[slot]
    if state.idle_count > 0 or backend.max_connections == 0 or state.open_count < backend.max_connections:
        return 1
    return session_free_of(w, slot, backend) != NULL


cdef int upstream_take(Worker* w, u32 slot, bint http2, bint fresh, Conn** out, int* error) noexcept nogil:
    cdef const Backend* backend = &w.snap.backends[w.waiting[slot].backend]
    cdef EndpointState* state = &w.balancer.slots[slot]
    cdef Conn* c
    if http2:
        return stream_take(w, slot, backend, out, error)
    if not fresh:
        c = <Conn*>slab_live(&w.conns, state.idle_head)
        if c != NULL:
            pool_unlink(w, c)
            c.state = UP_BUSY
            c.flags |= CONN_REUSED
            meters_count(&w.meters, COUNT_REUSES, 1)
            meter_add(&w.meters.endpoints[slot].reuses, 1)
            out[0] = c
            return OK
    if backend.max_connections and state.open_count >= backend.max_connections:
        c = <Conn*>slab_live(&w.conns, state.idle_head)
        if c == NULL:
            return FULL
        # Only a new one will do: a pooled one makes room for it.
        upstream_close(w, c, 0)
    return upstream_dial(w, slot, backend, out, error)


cdef int upstream_connected(Worker* w, Conn* c, int* error) noexcept nogil:
    cdef long r
    if not c.flags & (CONN_WRITABLE | CONN_RDHUP):
        return AGAIN
    # A failure comes with EPOLLERR.
    r = sys_connect_error(c.fd) if c.flags & CONN_RDHUP else 0
    if r != 0:
        error[0] = <int>r
        return IO
    c.state = CONN_SESSION if c.session else UP_BUSY
    session_resting(w, c, session_of(w, c))
    return OK


# A connection that may have unread bytes is looked at: they would be taken for the next response.
cdef bint is_silent(Worker* w, Conn* c) noexcept nogil:
    if buf_len(&c.inb) > 0 or c.flags & (CONN_EOF | CONN_RDHUP | CONN_BROKEN) or c.outb.data != NULL:
        return 0
    if c.flags & CONN_READABLE:
        if conn_room(w, c, 0, 1) != OK or conn_recv(w, c) != AGAIN:
            return 0
    buf_give(&w.pools, &c.inb)
    return 1


cdef void upstream_give(Worker* w, Conn* c) noexcept nogil:
    cdef EndpointState* state = state_of(w, c)
    cdef const Backend* backend
    c.exchange = 0
    if c.id:
        stream_give(w, c, H2_NO_ERROR)
        return
    if state == NULL or w.waiting[c.slot].backend == PICK_NONE or w.draining or c.stream & STREAM_ANNOUNCED or (
            not is_silent(w, c)):
        upstream_close(w, c, 0)
        return
    backend = &w.snap.backends[w.waiting[c.slot].backend]
    if state.idle_count >= backend.max_idle:
        meters_count(&w.meters, COUNT_UPSTREAM_EVICTIONS, 1)
        upstream_close(w, c, 0)
        return
    pool_push(w, c, state)
    upstream_freed(w, c.slot)
    conn_deadline(w, c, w.now_ns + backend.idle_timeout_ns)


# Its streams are gone, or know that it is.
cdef void session_closed(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    if s != NULL and s.streams == 0 and c.state == CONN_SESSION:
        w.up_idle_count -= 1
    if c.newer != SLAB_NONE or w.waiting[c.slot].sessions == slab_index(&w.conns, c) + 1:
        session_unlink(w, c)
    session_free(w, c)


cdef void upstream_close(Worker* w, Conn* c, bint reset) noexcept nogil:
    cdef EndpointState* state
    cdef u32 slot = c.slot
    if c.id:
        # A malformed response is an error of its stream (RFC 9113 8.1.1).
        stream_give(w, c, H2_PROTOCOL_ERROR if c.stream & STREAM_BAD else H2_CANCEL)
        return
    if c.state == UP_IDLE:
        pool_unlink(w, c)
    if c.session:
        session_closed(w, c)
    state = state_of(w, c)
    if state != NULL:
        state.open_count -= 1
    w.up_count -= 1
    if c.parent:
        originals_hung_up(w, c)
    conn_close(w, c, reset)
    if state != NULL:
        upstream_freed(w, slot)


cdef void upstream_idle_event(Worker* w, Conn* c) noexcept nogil:
    if not c.flags & (CONN_READABLE | CONN_RDHUP):
        return
    meters_count(&w.meters, COUNT_UPSTREAM_CLOSES, 1)
    upstream_close(w, c, 0)


cdef void upstream_idle_timeout(Worker* w, Conn* c) noexcept nogil:
    meters_count(&w.meters, COUNT_UPSTREAM_EVICTIONS, 1)
    upstream_close(w, c, 0)


cdef void upstream_close_idle(Worker* w) noexcept nogil:
    cdef u32 i
    cdef Conn* c
    for i in range(w.conns.high):
        c = <Conn*>slab_live(&w.conns, i)
        if c == NULL or c.kind != CONN_UP:
            continue
        if c.state == UP_IDLE:
            upstream_close(w, c, 0)
        elif c.session and not c.id:
            session_leave(w, c)


# It takes no more streams, and closes with its last.
cdef void session_leave(Worker* w, Conn* c) noexcept nogil:
    cdef Session* s = session_of(w, c)
    if s != NULL and not s.flags & SESSION_GOING:
        session_goaway(w, c, s, 0, H2_NO_ERROR)
        conn_defer(w, c)


# Whether what the connection goes to is in the snapshot, which is not yet adopted.
cdef bint is_endpoint_of(Worker* w, const Snapshot* snap, const Conn* c) noexcept nogil:
    cdef const Waiting* waiting = &w.waiting[c.slot]
    if waiting.backend == PICK_NONE:
        return 0
    if c.slot >= w.original_slot:
        return w.balancer.slots[c.slot].slot_gen == c.slot_gen
    return snap.endpoints[waiting.endpoint].slot_gen == c.slot_gen


cdef void upstream_adopt(Worker* w, const Snapshot* snap) noexcept nogil:
    cdef u32 b, i
    cdef Conn* c
    cdef const Endpoint* endpoint
    cdef Waiting* waiting
    for i in range(w.slot_high):
        w.waiting[i].backend = PICK_NONE
    for b in range(snap.backend_count):
        for i in range(snap.backends[b].endpoint_count):
            endpoint = &snap.endpoints[snap.backends[b].endpoint_first + i]
            waiting = &w.waiting[endpoint.slot]
            waiting.backend = b
            if endpoint.slot >= w.slot_high:
                w.slot_high = endpoint.slot + 1
            waiting.endpoint = snap.backends[b].endpoint_first + i
            meter_set(&w.meters.endpoints[endpoint.slot].slot_gen, endpoint.slot_gen)
    originals_adopt(w, snap)
    for i in range(w.conns.high):
        c = <Conn*>slab_live(&w.conns, i)
        if c == NULL or c.kind != CONN_UP or c.id or (c.state != UP_IDLE and not c.session):
            continue
        if not is_endpoint_of(w, snap, c):
            if c.session:
                session_leave(w, c)
                continue
            meters_count(&w.meters, COUNT_UPSTREAM_EVICTIONS, 1)
            upstream_close(w, c, 0)
