from libc.string cimport memset

from fastmesh._core.base.buffer cimport pools_free, pools_init
from fastmesh._core.base.meter cimport (
    COUNT_STALE, GAUGE_TURN_MAX_NS, GAUGE_TURN_NS, Block, EndpointMeter, meters_count, meters_gauge,
)
from fastmesh._core.base.ring cimport ring_free, ring_init, ring_read, ring_write
from fastmesh._core.base.slab cimport slab_free, slab_init, slab_live
from fastmesh._core.base.status cimport FULL, IO, OK
from fastmesh._core.base.text cimport Text, text_date, text_init
from fastmesh._core.base.types cimport i64, u8
from fastmesh._core.base.wheel cimport WHEEL_NONE, wheel_init, wheel_pop, wheel_wait_ns
from fastmesh._core.ffi.atomic cimport atomic_load_ptr, atomic_store_u64, meter_add, meter_set
from fastmesh._core.ffi.linux cimport (
    EINTR, EPOLL_CTL_ADD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll_event, sys_close,
    sys_epoll_create, sys_epoll_ctl, sys_epoll_wait, sys_eventfd, sys_eventfd_clear, sys_eventfd_signal,
    sys_monotonic_ns, sys_pin_thread, sys_realtime_ns, sys_release, sys_reserve,
)
from fastmesh._core.io.client cimport client_close, client_linger
from fastmesh._core.io.connection cimport conn_close, conn_get
from fastmesh._core.io.downstream cimport (
    downstream_drain, downstream_ready, downstream_timer, listener_accept, listener_add, listener_remove,
    listener_timer,
)
from fastmesh._core.io.detect cimport detect_event, detect_timer
from fastmesh._core.io.exchange cimport (
    exchange_connecting, exchange_down_event, exchange_down_timer, exchange_drive, exchange_up_timer,
)
from fastmesh._core.io.fault cimport FAULT_STOPPED
from fastmesh._core.io.finish cimport exchange_fail, exchange_get
from fastmesh._core.io.http2 cimport http2_connecting, http2_event, http2_stop, http2_timer
from fastmesh._core.io.meters cimport meters_publish
from fastmesh._core.io.pair cimport pair_event, pair_stop, pair_timer
from fastmesh._core.io.proxy cimport proxy_event, proxy_timer
from fastmesh._core.io.relay cimport relay_orphan
from fastmesh._core.io.request cimport request_adopt, request_serve_pending
from fastmesh._core.io.session cimport sessions_flush
from fastmesh._core.io.state cimport (
    COMMAND_ADD_LISTENER, COMMAND_DRAIN, COMMAND_REMOVE_LISTENER, COMMAND_STOP, CONN_BROKEN, CONN_DEFERRED, CONN_DOWN,
    CONN_LISTENER, CONN_PAIR, CONN_RDHUP, CONN_READABLE, CONN_RELAY, CONN_SESSION, CONN_UP, CONN_WRITABLE,
    DESTINATIONS, DOWN_HEAD, DOWN_IDLE, DOWN_LINGER, DOWN_PROXY, DOWN_SNIFF, EVENT_DRAINED, EVENTS_PER_TURN,
    LISTENERS_MAX, ORIGINALS, SCRATCH_BYTES, UP_CONNECTING, UP_IDLE, Announced, Conn, Destination, Exchange, Original,
    Relay, ServerName, Session, Waiting,
)
from fastmesh._core.io.stream cimport stream_close
from fastmesh._core.io.upstream cimport (
    upstream_adopt, upstream_close, upstream_close_idle, upstream_event, upstream_idle_event, upstream_idle_timeout,
)
from fastmesh._core.routing.balancer cimport EndpointState, balancer_adopt
from fastmesh._core.routing.snapshot cimport Snapshot
from fastmesh._core.wire.http2_frame cimport H2_INTERNAL_ERROR

cdef enum:
    SESSION_SHARE = 4           # one connection object in so many may speak HTTP/2
    TICK_NS = 1048576           # of the timer wheel: deadlines are met to about a millisecond
    CLOCK_EVERY = 15            # events between two clock reads inside a turn, less one: a mask
    EVENTS_AN_ACCEPT = 8        # of one turn
    COMMAND_RING_BYTES = 65536
    EVENT_RING_BYTES = 16384
    MAILBOX = 0                 # epoll data of the mailbox: no live object has generation 0
    WAIT_FOREVER_MS = 60000


cdef void* reserve(size_t n, size_t size) noexcept nogil:
    return sys_reserve(n * size)


cdef int worker_init(Worker* w, Shared* shared, u32 index, u32 conns, u32 exchanges, u32 small, u32 large, u32 slots,
                     u32 blocks, u32 meters) noexcept nogil:
    memset(w, 0, sizeof(Worker))
    w.index = index
    w.cpu = -1
    w.shared = shared
    w.epoll_fd = <int>sys_epoll_create()
    w.mailbox_fd = <int>sys_eventfd()
    w.event_fd = <int>sys_eventfd()
    w.original_slot = slots
    w.meters.endpoint_capacity = slots
    slots += ORIGINALS
    w.slot_capacity = slots
    w.meter_capacity = meters
    w.meters.block_capacity = blocks
    w.meters.block_count = 1
    w.waiting = <Waiting*>reserve(slots, sizeof(Waiting))
    w.freed = <u32*>reserve(slots, 2 * sizeof(u32))
    w.deferred = <u64*>reserve(conns, 2 * sizeof(u64))
    w.flushes = <u64*>reserve(conns, sizeof(u64))
    w.scratch = <u8*>reserve(SCRATCH_BYTES, 1)
    w.destinations = <Destination*>reserve(DESTINATIONS, sizeof(Destination))
    w.announced = <Announced*>reserve(conns, sizeof(Announced))
    w.server_names = <ServerName*>reserve(conns, sizeof(ServerName))
    w.originals = <Original*>reserve(ORIGINALS, sizeof(Original))
    w.original_buckets = <u32*>reserve(ORIGINALS, sizeof(u32))
    w.meters.blocks = <Block*>reserve(blocks, sizeof(Block))
    w.meters.endpoints = <EndpointMeter*>reserve(slots, sizeof(EndpointMeter))
    w.block_of = <u32*>reserve(<size_t>LISTENERS_MAX * (meters + 1), sizeof(u32))
    w.balancer.slots = <EndpointState*>reserve(slots, sizeof(EndpointState))
    w.balancer.slot_capacity = slots
    w.balancer.cursors = <u64*>reserve(slots, sizeof(u64))
    w.balancer.cursor_capacity = slots
    w.balancer.rng = <u64>sys_monotonic_ns() * 2654435761u + index + 1
    if w.balancer.rng == 0:
        w.balancer.rng = 1
    w.original_seed = w.balancer.rng
    if (w.waiting == NULL or w.freed == NULL or w.deferred == NULL or w.scratch == NULL or w.meters.blocks == NULL
            or w.meters.endpoints == NULL or w.block_of == NULL or w.balancer.slots == NULL
            or w.balancer.cursors == NULL or w.flushes == NULL or w.destinations == NULL or w.announced == NULL
            or w.server_names == NULL or w.originals == NULL or w.original_buckets == NULL):
        return FULL
    if (slab_init(&w.conns, sizeof(Conn), conns) != OK or slab_init(&w.exchanges, sizeof(Exchange), exchanges) != OK
            or slab_init(&w.relays, sizeof(Relay), conns // 2 + 1) != OK
            or slab_init(&w.sessions, sizeof(Session), conns // SESSION_SHARE + 1) != OK
            or pools_init(&w.pools, small, large) != OK or ring_init(&w.commands, COMMAND_RING_BYTES) != OK
            or ring_init(&w.events, EVENT_RING_BYTES) != OK):
        return FULL
    if w.epoll_fd < 0 or w.mailbox_fd < 0 or w.event_fd < 0:
        return IO
    wheel_init(&w.wheel, &(<Conn*>w.conns.base).timer, sizeof(Conn), TICK_NS, sys_monotonic_ns())
    return worker_mailbox(w)


cdef int worker_mailbox(Worker* w) noexcept nogil:
    cdef epoll_event ev
    ev.events = EPOLLIN
    ev.data.u64 = MAILBOX
    return OK if sys_epoll_ctl(w.epoll_fd, EPOLL_CTL_ADD, w.mailbox_fd, &ev) == 0 else IO


cdef void worker_free(Worker* w) noexcept nogil:
    cdef u32 slots = w.slot_capacity
    if w.epoll_fd >= 0:
        sys_close(w.epoll_fd); w.epoll_fd = -1
    if w.mailbox_fd >= 0:
        sys_close(w.mailbox_fd); w.mailbox_fd = -1
    if w.event_fd >= 0:
        sys_close(w.event_fd); w.event_fd = -1
    sys_release(w.waiting, slots * sizeof(Waiting)); w.waiting = NULL
    sys_release(w.freed, slots * 2 * sizeof(u32)); w.freed = NULL
    sys_release(w.deferred, w.conns.capacity * 2 * sizeof(u64)); w.deferred = NULL
    sys_release(w.flushes, w.conns.capacity * sizeof(u64)); w.flushes = NULL
    sys_release(w.scratch, SCRATCH_BYTES); w.scratch = NULL
    sys_release(w.destinations, DESTINATIONS * sizeof(Destination)); w.destinations = NULL
    sys_release(w.announced, w.conns.capacity * sizeof(Announced)); w.announced = NULL
    sys_release(w.server_names, w.conns.capacity * sizeof(ServerName)); w.server_names = NULL
    sys_release(w.originals, ORIGINALS * sizeof(Original)); w.originals = NULL
    sys_release(w.original_buckets, ORIGINALS * sizeof(u32)); w.original_buckets = NULL
    sys_release(w.meters.blocks, w.meters.block_capacity * sizeof(Block)); w.meters.blocks = NULL
    sys_release(w.meters.endpoints, slots * sizeof(EndpointMeter)); w.meters.endpoints = NULL
    sys_release(w.block_of, <size_t>LISTENERS_MAX * (w.meter_capacity + 1) * sizeof(u32)); w.block_of = NULL
    sys_release(w.balancer.slots, slots * sizeof(EndpointState)); w.balancer.slots = NULL
    sys_release(w.balancer.cursors, slots * sizeof(u64)); w.balancer.cursors = NULL
    slab_free(&w.conns)
    slab_free(&w.exchanges)
    slab_free(&w.relays)
    slab_free(&w.sessions)
    pools_free(&w.pools)
    ring_free(&w.commands)
    ring_free(&w.events)


cdef int worker_command(Worker* w, const Command* command) noexcept nogil:
    cdef int r = ring_write(&w.commands, <const u8*>command, sizeof(Command))
    sys_eventfd_signal(w.mailbox_fd)
    return r


cdef void clock_read(Worker* w) noexcept nogil:
    cdef Text t
    cdef i64 now = sys_monotonic_ns()
    w.wall_ns += now - w.now_ns
    w.now_ns = now
    if now < w.date_until_ns:
        return
    # A new second. The wall clock may have been set, so it is read anew.
    w.wall_ns = sys_realtime_ns()
    w.date_until_ns = now + 1000000000 - w.wall_ns % 1000000000
    text_init(&t, w.date, 32)
    text_date(&t, w.wall_ns)


cdef void worker_adopt(Worker* w) noexcept nogil:
    cdef Snapshot* snap = <Snapshot*>atomic_load_ptr(&w.shared.snapshot)
    if snap == w.snap:
        return
    upstream_adopt(w, snap)
    w.snap = snap
    balancer_adopt(&w.balancer, snap, w.now_ns)
    request_adopt(w)
    atomic_store_u64(&w.shared.adopted[w.index], snap.version)


cdef void worker_mail(Worker* w) noexcept nogil:
    cdef Command command
    sys_eventfd_clear(w.mailbox_fd)
    while ring_read(&w.commands, <u8*>&command, sizeof(Command)) == OK:
        if command.kind == COMMAND_ADD_LISTENER:
            listener_add(w, command.fd, command.listener)
        elif command.kind == COMMAND_REMOVE_LISTENER:
            listener_remove(w, command.listener, 1)
        elif command.kind == COMMAND_DRAIN and not w.draining:
            w.draining = 1
            downstream_drain(w)
            upstream_close_idle(w)
        elif command.kind == COMMAND_STOP:
            w.stopping = 1


# Hands a connection to whoever its state names. gone: reset, or closed on both sides.
cdef void worker_dispatch(Worker* w, Conn* c, bint gone) noexcept nogil:
    cdef Exchange* x
    if c.state == DOWN_IDLE or c.state == DOWN_HEAD:
        downstream_ready(w, c)
    elif c.state == CONN_SESSION:
        http2_event(w, c)
    elif c.state == UP_IDLE:
        upstream_idle_event(w, c)
    elif c.state == DOWN_LINGER:
        client_linger(w, c)
    elif c.kind == CONN_LISTENER:
        # Asking once more to hear that nobody waits costs a third of taking a connection: one a turn, more as turns get long.
        listener_accept(w, c, 1 + w.ready // EVENTS_AN_ACCEPT)
    elif c.state == UP_CONNECTING and c.session:
        http2_connecting(w, c, 0)
    elif c.state == CONN_PAIR:
        # One that has more to do than a turn allows is driven at the end of the turn, not twice in it.
        if not c.flags & CONN_DEFERRED:
            pair_event(w, c)
    else:
        x = exchange_get(w, c.exchange)
        if x == NULL:
            if c.state == DOWN_SNIFF:
                detect_event(w, c, gone)
            elif c.state == DOWN_PROXY:
                proxy_event(w, c, gone)
            elif c.state == UP_CONNECTING:
                relay_orphan(w, c, 0)
            else:
                meters_count(&w.meters, COUNT_STALE, 1)
        elif c.state == UP_CONNECTING:
            exchange_connecting(w, x, c, 0)
        elif c.kind == CONN_DOWN:
            exchange_down_event(w, x, gone or (c.id and c.flags & CONN_BROKEN))
        else:
            exchange_drive(w, x)


cdef void worker_event(Worker* w, u64 handle, u32 events) noexcept nogil:
    cdef Conn* c = conn_get(w, handle)
    if c == NULL:
        meters_count(&w.meters, COUNT_STALE, 1)
        return
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        c.flags |= CONN_READABLE
    if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        c.flags |= CONN_RDHUP
        # A tunnel reads what is left, then its next write fails: a reset is passed on even while the other side does not read.
        if events & EPOLLERR and (c.state == CONN_PAIR or c.state == CONN_RELAY):
            c.flags |= CONN_BROKEN
    if events & (EPOLLOUT | EPOLLHUP | EPOLLERR):
        c.flags |= CONN_WRITABLE
    worker_dispatch(w, c, events & (EPOLLHUP | EPOLLERR))


# A pooled connection that spoke or ended must be gone before a request of the same batch can be given to it: its bytes
# would be taken for the answer.
cdef void worker_pooled(Worker* w, const epoll_event* events, long n) noexcept nogil:
    cdef long i
    cdef Conn* c
    if w.up_idle_count == 0:
        return
    for i in range(n):
        c = conn_get(w, events[i].data.u64)
        if c != NULL and c.state == UP_IDLE:
            worker_event(w, events[i].data.u64, events[i].events)


cdef void worker_timers(Worker* w) noexcept nogil:
    cdef u32 index
    cdef Conn* c
    cdef Exchange* x
    while True:
        index = wheel_pop(&w.wheel, w.now_ns)
        if index == WHEEL_NONE:
            return
        c = <Conn*>slab_live(&w.conns, index)
        if c == NULL:
            meters_count(&w.meters, COUNT_STALE, 1)
        elif c.kind == CONN_LISTENER:
            listener_timer(w, c)
        elif c.state == DOWN_IDLE or c.state == DOWN_HEAD:
            downstream_timer(w, c)
        elif c.state == DOWN_LINGER:
            client_close(w, c, 0)
        elif c.state == UP_IDLE:
            upstream_idle_timeout(w, c)
        elif c.state == CONN_SESSION:
            http2_timer(w, c)
        elif c.state == UP_CONNECTING and c.session:
            http2_connecting(w, c, 1)
        elif c.state == CONN_PAIR:
            pair_timer(w, c)
        else:
            x = exchange_get(w, c.exchange)
            if x == NULL:
                if c.state == DOWN_SNIFF:
                    detect_timer(w, c)
                elif c.state == DOWN_PROXY:
                    proxy_timer(w, c)
                elif c.state == UP_CONNECTING:
                    relay_orphan(w, c, 1)
                else:
                    meters_count(&w.meters, COUNT_STALE, 1)
            elif c.state == UP_CONNECTING:
                exchange_connecting(w, x, c, 1)
            elif c.kind == CONN_UP:
                exchange_up_timer(w, x)
            else:
                exchange_down_timer(w, x)


# Connections that had more to do than one turn allows. What they defer again is left for the next turn.
cdef void worker_deferred(Worker* w) noexcept nogil:
    cdef u32 i, n = w.deferred_count
    cdef Conn* c
    for i in range(n):
        c = conn_get(w, w.deferred[i])
        if c != NULL:
            c.flags &= <u8>~CONN_DEFERRED
            worker_dispatch(w, c, 0)
    for i in range(n, w.deferred_count):
        w.deferred[i - n] = w.deferred[i]
    w.deferred_count -= n


cdef int worker_wait_ms(Worker* w) noexcept nogil:
    cdef i64 ns
    if w.deferred_count or w.freed_count or w.stopping:
        return 0
    ns = wheel_wait_ns(&w.wheel, w.now_ns)
    if ns < 0 or ns > <i64>WAIT_FOREVER_MS * 1000000:
        return WAIT_FOREVER_MS
    return <int>((ns + 999999) // 1000000)


cdef void worker_stop(Worker* w) noexcept nogil:
    cdef u32 i
    cdef Conn* c
    cdef Exchange* x
    cdef Relay* r
    for i in range(w.exchanges.high):
        x = <Exchange*>slab_live(&w.exchanges, i)
        if x != NULL:
            exchange_fail(w, x, FAULT_STOPPED)
    for i in range(w.relays.high):
        r = <Relay*>slab_live(&w.relays, i)
        if r != NULL:
            pair_stop(w, r)
    for i in range(w.conns.high):
        c = <Conn*>slab_live(&w.conns, i)
        if c == NULL or c.id:
            continue
        if c.state == CONN_SESSION:
            http2_stop(w, c)
        elif c.kind == CONN_DOWN:
            client_close(w, c, 0)
        elif c.kind == CONN_UP:
            upstream_close(w, c, 0)
        else:
            conn_close(w, c, 0)
    # Streams that no exchange had.
    for i in range(w.conns.high):
        c = <Conn*>slab_live(&w.conns, i)
        if c != NULL:
            stream_close(w, c, H2_INTERNAL_ERROR)
    memset(w.listeners, 0, sizeof(w.listeners))
    w.deferred_count = 0
    w.flush_count = 0


cdef void worker_turn(Worker* w, epoll_event* events, long n) noexcept nogil:
    cdef long i
    cdef i64 start = w.now_ns
    cdef i64 took
    meter_add(&w.meters.turns, 1)
    meter_set(&w.meters.turn_start_ns, <u64>start)
    worker_adopt(w)
    w.ready = <u32>n
    worker_pooled(w, events, n)
    for i in range(n):
        if i & CLOCK_EVERY == CLOCK_EVERY:
            clock_read(w)
        if events[i].data.u64 == MAILBOX:
            worker_mail(w)
        else:
            worker_event(w, events[i].data.u64, events[i].events)
    if w.deferred_count:
        worker_deferred(w)
    worker_timers(w)
    if w.freed_count:
        request_serve_pending(w)
    if w.flush_count:
        sessions_flush(w)
    meters_publish(w)
    took = sys_monotonic_ns() - start
    meters_gauge(&w.meters, GAUGE_TURN_NS, <u64>took)
    if <u64>took > w.meters.gauges[<u32>GAUGE_TURN_MAX_NS]:
        meters_gauge(&w.meters, GAUGE_TURN_MAX_NS, <u64>took)


cdef int worker_run(Worker* w) noexcept nogil:
    cdef epoll_event[EVENTS_PER_TURN] events
    cdef long n
    cdef int failure = 0
    if w.cpu >= 0:
        failure = <int>-sys_pin_thread(w.cpu)
        if failure:
            return failure
    clock_read(w)
    worker_adopt(w)
    while not w.stopping and not (w.draining and w.down_count == 0):
        n = sys_epoll_wait(w.epoll_fd, events, EVENTS_PER_TURN, worker_wait_ms(w))
        if n < 0 and n != -EINTR:
            failure = <int>-n
            break
        clock_read(w)
        worker_turn(w, events, n if n > 0 else 0)
    worker_stop(w)
    meters_publish(w)
    atomic_store_u64(&w.shared.adopted[w.index], <u64>-1)
    upstream_event(w, EVENT_DRAINED, 0, failure)
    return failure
