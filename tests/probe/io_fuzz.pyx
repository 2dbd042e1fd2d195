"""One worker of the core between clients and origins that follow a script, for libFuzzer (tools/fuzz.py) and for the
inputs it once found.

No thread and no real clock: the loop's turns are run by hand, the script moves the clock, and both ends of every socket
are in this process. An input is four bytes of options (`options_from`) and then steps. A step's first byte: bits 0-3
what happens (`step`), 4-5 to which client or origin, 7: without a turn of the loop behind it. In `io_session` the script
is the clients' and origins answer by themselves; in `io_upstream` requests are under way and the script is the origins'.

Laws: 1-19 what the worker owns, looked at after every turn; 20-29 what it wrote; 30-49 what is left when all peers have
closed and every timeout has passed, and after its end.
"""
from libc.stdlib cimport abort, calloc
from libc.string cimport memcpy, memset, strlen

from fastmesh._core.base.slab cimport SLAB_NONE, slab_index, slab_live
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.text cimport Text, text_date, text_init
from fastmesh._core.base.types cimport i64, u8, u16, u32, u64
from fastmesh._core.base.wheel cimport wheel_init
from fastmesh._core.ffi.linux cimport (
    AF_INET, AF_UNIX, SHUT_WR, epoll_event, sockaddr, sys_accept, sys_close, sys_epoll_wait, sys_shutdown,
)
from fastmesh._core.io.connection cimport conn_deadline, conn_open
from fastmesh._core.io.session cimport session_of
from fastmesh._core.io.state cimport (
    COMMAND_DRAIN, CONN_DOWN, CONN_SESSION, CONN_UP, DOWN_IDLE, STREAM_WAITING, UP_IDLE, Command, Conn,
    Session, Shared, Worker,
)
from fastmesh._core.io.worker cimport worker_command, worker_free, worker_init, worker_stop, worker_turn
from fastmesh._core.routing.snapshot cimport (
    Endpoint, Snapshot, UPSTREAM_AUTO, UPSTREAM_HTTP1, UPSTREAM_HTTP2, snapshot_free, snapshot_new, snapshot_seal,
    snapshot_text,
)
from fastmesh._core.wire.http2_frame cimport (
    FLAG_END_HEADERS, FLAG_END_STREAM, FRAME_DATA, FRAME_HEADERS, FRAME_SETTINGS, FRAME_WINDOW_UPDATE,
    PREFACE_BYTES, preface, put32,
)
from tests.probe.io_peer cimport (
    CLIENT_TEXTS, ORIGIN_TEXTS, REQUEST_N, REQUESTS, RESPONSE_N, RESPONSES, Peer, peer_close, peer_frame, peer_init,
    peer_read, peer_send,
)

cdef extern from "sys/socket.h" nogil:
    int SOCK_STREAM, SOCK_NONBLOCK, SOL_SOCKET, SO_SNDBUF
    int socket(int family, int kind, int protocol) noexcept
    int socketpair(int family, int kind, int protocol, int* fds) noexcept
    int bind(int fd, const sockaddr* address, unsigned int n) noexcept
    int listen(int fd, int backlog) noexcept
    int getsockname(int fd, sockaddr* address, unsigned int* n) noexcept
    int setsockopt(int fd, int level, int name, const void* value, unsigned int n) noexcept

cdef enum:
    PEERS = 4               # of each side at once
    INPUT_MAX = 4096
    STEPS_MAX = 400
    EVENTS = 15             # fewer than the worker looks at before it reads the clock by itself
    SNAPSHOTS = 4
    ADDRESS_MAX = 128
    SNDBUF = 4608           # so that a peer that does not read is felt soon
    QUIET_TURNS = 400       # turns without an event after which a worker that still has to do is running round
    END_TICKS = 60
    START_NS = 1000000000

cdef i64 MS = 1000000

# Everything of one input.
ctypedef struct Stage:
    Worker w
    Shared shared
    Snapshot* snapshots[SNAPSHOTS]
    u32 snapshot_count
    Peer clients[PEERS]
    Peer origins[PEERS]
    const u8* data
    size_t n
    size_t at
    u8 options[4]
    int law                 # first that broke

cdef Stage* stage = <Stage*>calloc(1, sizeof(Stage))
cdef u8* space = <u8*>calloc(1, 1 << 17)
cdef int listener = -1
cdef u8 listener_address[ADDRESS_MAX]
cdef unsigned int listener_address_n = 0

cdef void fail(int law) noexcept nogil:
    if stage.law == 0:
        stage.law = law


# ---- the script's bytes

cdef u8 take() noexcept nogil:
    if stage.at >= stage.n:
        return 0
    stage.at += 1
    return stage.data[stage.at - 1]


# So many bytes as the next one says, behind `to`; how many there were.
cdef u32 take_bytes(u8* to) noexcept nogil:
    cdef size_t n = take()
    if n > stage.n - stage.at:
        n = stage.n - stage.at
    if n:
        memcpy(to, stage.data + stage.at, n)
    stage.at += n
    return <u32>n


# A stream: 0, the odd ones, and some that no client may use.
cdef u32 take_stream() noexcept nogil:
    cdef u8 b = take()
    if b == 0:
        return 0
    return <u32>(2 * b - 1 if b < 240 else 2 * (b - 239))


# ---- peers

cdef void peers_read() noexcept nogil:
    cdef u32 i
    for i in range(<u32>PEERS):
        peer_read(&stage.clients[i])
        peer_read(&stage.origins[i])
        fail(stage.clients[i].law)
        fail(stage.origins[i].law)


# What downstream_accept does for a connection.
cdef void client_open(Peer* p, bint http2) noexcept nogil:
    cdef int[2] fds
    cdef int small = SNDBUF
    cdef Conn* c
    peer_close(p)
    if socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0:
        return
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(int))
    c = conn_open(&stage.w, fds[0], CONN_DOWN, DOWN_IDLE)
    if c == NULL:
        sys_close(fds[1])
        return
    c.family = AF_UNIX
    stage.w.down_count += 1
    conn_deadline(&stage.w, c, stage.w.now_ns + stage.w.snap.policy.header_timeout_ns)
    p.fd = fds[1]
    p.next_id = 1
    if http2:
        p.http2 = 1
        peer_send(p, preface(), PREFACE_BYTES)
        peer_frame(p, FRAME_SETTINGS, 0, 0, NULL, 0)


# The worker's new connections find an origin; a fifth is closed at once.
cdef void origins_accept() noexcept nogil:
    cdef long fd
    cdef u32 i
    cdef int small = SNDBUF
    cdef Conn* c
    while True:
        fd = sys_accept(listener, NULL, NULL)
        if fd < 0:
            return
        for i in range(<u32>PEERS):
            if stage.origins[i].fd < 0:
                stage.origins[i].fd = <int>fd
                break
        else:
            sys_close(<int>fd)
        for i in range(stage.w.conns.high):
            c = <Conn*>slab_live(&stage.w.conns, i)
            if c != NULL and c.kind == CONN_UP and c.fd >= 0:
                setsockopt(c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(int))


# ---- laws of what the worker owns

ctypedef struct Census:
    u32 down
    u32 up
    u32 idle
    u32 streams
    u32 of_session
    u32 waiting


# The session's streams are those in its buckets, and those that wait are in its list.
cdef void session_check(Worker* w, Conn* c, Session* s) noexcept nogil:
    cdef u32 i, streams = 0, waiting = 0, listed = 0, before = SLAB_NONE
    cdef Conn* stream
    for i in range(<u32>64):
        stream = <Conn*>slab_live(&w.conns, s.buckets[i])
        while stream != NULL and streams <= w.conns.capacity:
            streams += 1
            if stream.stream & STREAM_WAITING:
                waiting += 1
            if stream.session != c.session or (stream.id >> 1) % 64 != i:
                fail(2)
            stream = <Conn*>slab_live(&w.conns, stream.chain)
    if streams != s.streams:
        fail(3)
    stream = <Conn*>slab_live(&w.conns, s.waiting_first)
    while stream != NULL and listed <= waiting:
        listed += 1
        if stream.newer != before or not stream.stream & STREAM_WAITING:
            fail(4)
        before = slab_index(&w.conns, stream)
        stream = <Conn*>slab_live(&w.conns, stream.older)
    if listed != waiting or s.waiting_last != before:
        fail(5)


cdef void conn_check(Worker* w, Conn* c, Census* found) noexcept nogil:
    cdef Session* s = session_of(w, c)
    if c.session and s == NULL:
        fail(6)
        return
    if c.id:
        found.streams += 1
        return
    if c.kind == CONN_DOWN:
        found.down += 1
    elif c.kind == CONN_UP:
        found.up += 1
        if c.state == UP_IDLE or (s != NULL and c.state == CONN_SESSION and s.streams == 0):
            found.idle += 1
    if s != NULL:
        session_check(w, c, s)


cdef void worker_check(Worker* w) noexcept nogil:
    cdef Census found
    cdef Conn* c
    cdef u32 i
    memset(&found, 0, sizeof(Census))
    for i in range(w.conns.high):
        c = <Conn*>slab_live(&w.conns, i)
        if c != NULL:
            conn_check(w, c, &found)
    if found.down != w.down_count:
        fail(7)
    if found.up != w.up_count:
        fail(8)
    if found.idle != w.up_idle_count:
        fail(9)
    if found.streams != w.stream_count:
        fail(10)
    if w.exchange_count != w.exchanges.takes - w.exchanges.gives:
        fail(11)
    if w.deferred_count > 2 * w.conns.capacity or w.flush_count > w.conns.capacity:
        fail(12)


# ---- turns

# True: nothing happened and nothing is left to do before the next timer.
cdef bint turn() noexcept nogil:
    cdef epoll_event[EVENTS] events
    cdef Worker* w = &stage.w
    cdef long n = sys_epoll_wait(w.epoll_fd, events, EVENTS, 0)
    worker_turn(w, events, n if n > 0 else 0)
    origins_accept()
    peers_read()
    worker_check(w)
    return n <= 0 and w.deferred_count == 0 and w.freed_count == 0


cdef void turns_until_quiet() noexcept nogil:
    cdef u32 i
    for i in range(<u32>QUIET_TURNS):
        if turn():
            return
    fail(1)


# ---- the snapshot

cdef void policy_fill(Snapshot* s) noexcept nogil:
    cdef u8 b = stage.options[1]
    s.policy.http1.head_bytes = 4096 if b & 1 else 65536
    s.policy.http1.line_bytes = 4096
    s.policy.http1.field_line_bytes = 65536
    s.policy.http1.fields = 64
    s.policy.header_timeout_ns = 1000 * MS
    s.policy.idle_timeout_ns = 3000 * MS
    s.policy.stream_timeout_ns = 8000 * MS if b & 2 else 2000 * MS
    s.policy.linger_timeout_ns = 500 * MS
    s.policy.max_connections = 3
    s.policy.keepalive_requests = 3 if b & 4 else 0
    s.policy.forwarded = 3 if b & 8 else 0
    s.policy.http2_streams = 4 if b & 16 else 100
    s.policy.http2_glitches = 5 if b & 32 else 0
    s.policy.http2_window = 1048576 if b & 64 else 65535
    s.policy.grpc_timeout = b >> 7


cdef void backend_fill(Snapshot* s, u32 slot_gen) noexcept nogil:
    cdef u8 b = stage.options[2]
    cdef u8 protocol = b & 3
    s.backends[0].endpoint_count = s.endpoint_count
    s.backends[0].balancer = 2
    s.backends[0].connect_timeout_ns = 500 * MS
    s.backends[0].ewma_default_ns = 30 * MS
    s.backends[0].ewma_decay_ns = 10000 * MS
    s.backends[0].backoff_min_ns = 100 * MS
    s.backends[0].backoff_max_ns = 1000 * MS
    s.backends[0].idle_timeout_ns = 2000 * MS
    s.backends[0].max_connections = 1 if b & 4 else 0
    s.backends[0].max_idle = 2
    s.backends[0].max_pending = 8
    s.backends[0].protocol = UPSTREAM_HTTP1 if protocol == 1 else UPSTREAM_AUTO if protocol == 2 else UPSTREAM_HTTP2
    s.backends[0].max_streams = 2 if b & 8 else 100
    s.backends[0].ping_interval_ns = 300 * MS if b & 16 else 0
    s.backends[0].ping_timeout_ns = 200 * MS
    s.routes[0].per_try_timeout_ns = 700 * MS if b & 32 else 0
    s.routes[0].retry_connect = 1
    s.endpoints[0].slot_gen = slot_gen


cdef void endpoint_fill(Snapshot* s, u32 i, const void* address, u32 n) noexcept nogil:
    cdef Endpoint* e = &s.endpoints[i]
    while s.blob_len % 8:
        snapshot_text(s, <const u8*>b"\0", 1)
    e.address_off = snapshot_text(s, <const u8*>address, n)
    e.address_len = n
    e.name_off = snapshot_text(s, <const u8*>b"unix:x", 6)
    e.name_len = 6
    e.slot = i
    e.slot_gen = 1
    e.weight = 1


# One backend; with options bit 6 a second endpoint that refuses every connection, after a moment.
cdef void publish() noexcept nogil:
    # 127.0.0.1:1
    cdef u16[8] refusing
    cdef u32 endpoints = 2 if stage.options[2] & 64 else 1
    cdef Snapshot* s
    if stage.snapshot_count == SNAPSHOTS:
        return
    s = snapshot_new(1, 1, endpoints, 0, 512)
    if s == NULL:
        abort()
    memset(refusing, 0, sizeof(refusing))
    refusing[0] = AF_INET
    refusing[1] = 0x0100
    refusing[2] = 0x007F
    refusing[3] = 0x0100
    endpoint_fill(s, 0, listener_address, listener_address_n)
    if endpoints == 2:
        endpoint_fill(s, 1, refusing, 16)
    policy_fill(s)
    backend_fill(s, stage.snapshot_count // 2 + 1)
    s.policy.via_off = snapshot_text(s, <const u8*>b"fastmesh", 8)
    s.policy.via_len = 8
    s.version = stage.snapshot_count + 1
    if snapshot_seal(s) != OK:
        abort()
    stage.snapshots[stage.snapshot_count] = s
    stage.snapshot_count += 1
    stage.shared.snapshot = s


# ---- steps

cdef void step_frame(Peer* p, const char** table, const u32* lengths) noexcept nogil:
    cdef u8 type, flags
    cdef u32 id, n = 0
    if table != NULL:
        type = take() & 7
        n = lengths[type]
        memcpy(space, table[type], n)
        type = FRAME_HEADERS
        id = take_stream()
        if id == 0:
            id = p.next_id
            p.next_id += 2
    else:
        type = take() & 15
        id = take_stream()
    flags = take()
    n += take_bytes(space + n)
    peer_frame(p, type, flags, id, space, n)


cdef void step_data(Peer* p) noexcept nogil:
    cdef u32 id = take_stream()
    cdef u8 flags = take()
    cdef u32 n = <u32>64 * take()
    memset(space, 2, n)
    peer_frame(p, FRAME_DATA, flags, id, space, n)


cdef void step_close(Peer* p) noexcept nogil:
    if take() & 1 and p.fd >= 0:
        sys_shutdown(p.fd, SHUT_WR)
    else:
        peer_close(p)


cdef void windows_open(Peer* p, u32 id) noexcept nogil:
    cdef u8[4] more
    put32(more, 1 << 20)
    peer_frame(p, FRAME_WINDOW_UPDATE, 0, 0, more, 4)
    if id:
        peer_frame(p, FRAME_WINDOW_UPDATE, 0, id, more, 4)


cdef void step_other(Peer* client, Peer* origin) noexcept nogil:
    cdef u8 what = take() & 7
    cdef Command command
    if what == 0:
        client.deaf ^= 1
    elif what == 1:
        origin.deaf ^= 1
    elif what == 2:
        memset(&command, 0, sizeof(Command))
        command.kind = COMMAND_DRAIN
        worker_command(&stage.w, &command)
    elif what == 3:
        publish()
    elif what == 4:
        windows_open(client, take_stream())
    elif what == 5:
        windows_open(origin, take_stream())
    elif what == 6:
        origin.helpful ^= 1
    else:
        turns_until_quiet()


cdef void step_text(Peer* p, const char** texts) noexcept nogil:
    cdef const char* text = texts[take() & 7]
    peer_send(p, <const u8*>text, strlen(text))


cdef void step() noexcept nogil:
    cdef u8 op = take()
    cdef u8 kind = op & 15
    cdef Peer* client = &stage.clients[(op >> 4) & 3]
    cdef Peer* origin = &stage.origins[(op >> 4) & 3]
    cdef Peer* p = client if kind < 4 or kind == 8 else origin
    if kind == 0 or kind == 4:
        peer_send(p, space, take_bytes(space))
    elif kind == 1 or kind == 5:
        step_frame(p, NULL, NULL)
    elif kind == 2:
        step_frame(p, REQUESTS, REQUEST_N)
    elif kind == 6:
        step_frame(p, RESPONSES, RESPONSE_N)
    elif kind == 3 or kind == 7:
        step_data(p)
    elif kind == 8:
        step_text(p, CLIENT_TEXTS)
    elif kind == 9:
        step_text(p, ORIGIN_TEXTS)
    elif kind == 10:
        stage.w.now_ns += MS << (take() & 15)
    elif kind == 11:
        step_close(client)
    elif kind == 12:
        step_close(origin)
    elif kind == 13:
        client_open(client, take() & 1)
    elif kind == 14:
        step_other(client, origin)
    if not op & 128:
        turn()


# ---- one input

# A Unix socket with a name that the kernel chooses.
cdef void listener_init() noexcept nogil:
    global listener, listener_address_n
    cdef sockaddr address
    if listener >= 0:
        return
    memset(&address, 0, sizeof(sockaddr))
    address.sa_family = AF_UNIX
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)
    listener_address_n = ADDRESS_MAX
    if listener < 0 or bind(listener, &address, sizeof(u16)) < 0 or listen(listener, 64) < 0 or (
            getsockname(listener, <sockaddr*>listener_address, &listener_address_n) < 0):
        abort()


cdef void stage_open(const u8* data, size_t n) noexcept nogil:
    cdef Worker* w = &stage.w
    cdef bint tight = data[0] & 1
    cdef Text date
    cdef u32 i
    memset(stage, 0, sizeof(Stage))
    memcpy(stage.options, data, 4)
    stage.data = data
    stage.n = n
    stage.at = 4
    stage.shared.workers = 1
    for i in range(<u32>PEERS):
        peer_init(&stage.clients[i], 0)
        peer_init(&stage.origins[i], 1)
    if worker_init(w, &stage.shared, 0, 40 if tight else 200, 16 if tight else 80, 10 if tight else 100,
                   3 if tight else 20, 4, 4, 4) != OK:
        abort()
    w.now_ns = START_NS
    w.balancer.rng = 1
    wheel_init(&w.wheel, &(<Conn*>w.conns.base).timer, sizeof(Conn), 1 << 20, START_NS)
    text_init(&date, w.date, 32)
    text_date(&date, START_NS)
    publish()
    turn()


# Requests that the origins of io_upstream find.
cdef void requests_begin() noexcept nogil:
    cdef Peer* p = &stage.clients[0]
    cdef u32 i
    for i in range(stage.options[3] & 3):
        peer_frame(p, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, p.next_id, <const u8*>REQUESTS[0], REQUEST_N[0])
        p.next_id += 2
    peer_frame(p, FRAME_HEADERS, FLAG_END_HEADERS, p.next_id, <const u8*>REQUESTS[2], REQUEST_N[2])
    peer_frame(p, FRAME_DATA, FLAG_END_STREAM, p.next_id, <const u8*>b"0123456789", 10)
    peer_frame(p, FRAME_HEADERS, FLAG_END_HEADERS, p.next_id + 2, <const u8*>REQUESTS[3], REQUEST_N[3])
    p.next_id += 4
    turns_until_quiet()


cdef void peers_close(Peer* peers) noexcept nogil:
    cdef u32 i
    for i in range(<u32>PEERS):
        peer_close(&peers[i])


# All peers leave, and every timeout passes: nothing may stay. What the worker still has to ask of an origin is not answered;
# requests that wait for one connection time out one after the other, so in the end it is refused.
cdef void stage_leave() noexcept nogil:
    cdef Worker* w = &stage.w
    cdef u32 i
    peers_close(stage.clients)
    peers_close(stage.origins)
    for i in range(<u32>END_TICKS):
        turns_until_quiet()
        if i > END_TICKS // 2:
            peers_close(stage.origins)
        stage.w.now_ns += 250 * MS
        if w.down_count == 0 and w.up_count == 0 and w.stream_count == 0 and w.exchange_count == 0:
            return
    if w.exchange_count:
        fail(30)
    elif w.stream_count:
        fail(31)
    elif w.down_count:
        fail(32)
    elif w.up_count:
        fail(33)


cdef void account() noexcept nogil:
    cdef Worker* w = &stage.w
    if w.exchanges.takes != w.exchanges.gives or w.exchange_count:
        fail(40)
    if w.sessions.takes != w.sessions.gives:
        fail(41)
    if w.conns.takes != w.conns.gives or w.stream_count or w.down_count or w.up_count:
        fail(42)
    if (w.pools.small.takes != w.pools.small.gives or w.pools.large.takes != w.pools.large.gives
            or w.pools.huge.takes != w.pools.huge.gives):
        fail(43)
    if w.opened != w.closed:
        fail(44)
    if w.up_idle_count or w.pending_count or w.tunnel_count:
        fail(45)
    if w.balancer.slots[0].in_flight or w.balancer.slots[0].open_count or w.balancer.slots[0].idle_count:
        fail(46)
    if w.wheel.count:
        fail(47)


cdef int play(const u8* data, size_t n, bint upstream) noexcept nogil:
    cdef u32 i
    if n < 4 or n > INPUT_MAX:
        return 0
    listener_init()
    stage_open(data, n)
    for i in range(<u32>PEERS):
        stage.origins[i].helpful = not upstream
    client_open(&stage.clients[0], not stage.options[3] & 4)
    if upstream:
        requests_begin()
    for i in range(<u32>STEPS_MAX):
        if stage.at >= n or stage.law:
            break
        step()
    # An end that comes in the middle is another way out.
    if not stage.options[3] & 8:
        stage_leave()
    worker_stop(&stage.w)
    account()
    peers_close(stage.clients)
    peers_close(stage.origins)
    origins_accept()
    peers_close(stage.origins)
    worker_free(&stage.w)
    for i in range(stage.snapshot_count):
        snapshot_free(stage.snapshots[i])
    return stage.law


cdef int fuzz_io_session(const u8* data, size_t n) noexcept nogil:
    return play(data, n, 0)


cdef int fuzz_io_upstream(const u8* data, size_t n) noexcept nogil:
    return play(data, n, 1)


TARGETS = ("io_session", "io_upstream")


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    if target == "io_session":
        return fuzz_io_session(<const u8*>data, <size_t>len(data))
    if target == "io_upstream":
        return fuzz_io_upstream(<const u8*>data, <size_t>len(data))
    raise ValueError(target)
