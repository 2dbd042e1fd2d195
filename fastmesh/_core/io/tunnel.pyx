from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.buffer cimport buf_head
from fastmesh._core.base.meter cimport COUNT_TUNNELS, meters_count
from fastmesh._core.base.slab cimport slab_index
from fastmesh._core.base.types cimport i32, u16, u64
from fastmesh._core.base.wheel cimport wheel_cancel
from fastmesh._core.ffi.linux cimport sys_keepalive
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_shut
from fastmesh._core.io.fault cimport FAULT_UPGRADE_FAILED, FAULT_UPGRADE_REFUSED
from fastmesh._core.io.finish cimport exchange_abort, exchange_end_tunnel, exchange_starve
from fastmesh._core.io.pipe cimport (
    PUMP_BAD, PUMP_DONE, PUMP_FULL, PUMP_SINK_FAILED, PUMP_SOURCE_FAILED, PUMP_YIELD, pipe_init, pipe_over, pipe_pump,
)
from fastmesh._core.io.side cimport side_head
from fastmesh._core.io.state cimport (
    CONN_BROKEN, CONN_RELAY, EX_ANSWERED, EX_DOWN_KEEP, EX_EXTENDED, EX_UP_KEEP, EX_UPGRADE, PHASE_TUNNEL, Pipe,
    SCRATCH_BYTES,
)
from fastmesh._core.wire.http1_fields cimport field_find
from fastmesh._core.wire.http1_head cimport FRAMING_CLOSE, HEAD_DROPS, HEAD_UPGRADE, METHOD_CONNECT
from fastmesh._core.wire.http1_write cimport EDIT_UPGRADE, http1_response_write, http1_switch_write
from fastmesh._core.wire.http2_write cimport block_tunnels
from fastmesh._core.wire.token cimport is_word, list_has, list_next
from fastmesh._core.wire.websocket cimport WEBSOCKET_ACCEPT_BYTES, websocket_accept


cdef void tunnel_asked(Worker* w, Exchange* x, const u8* data) noexcept nogil:
    cdef i32 at = field_find(&w.head, data, b"sec-websocket-key")
    x.offered_len = <u8>w.head.upgrade_len
    memcpy(x.offered, data + w.head.upgrade_off, x.offered_len)
    if at >= 0 and list_has(x.offered, x.offered_len, <const u8*>b"websocket", 9):
        websocket_accept(data + w.head.fields[at].value_off, w.head.fields[at].value_len, x.accept)


cdef bint tunnel_extends(Worker* w, const Exchange* x, const u8* data) noexcept nogil:
    cdef HeadEdit edit
    memset(&edit, 0, sizeof(HeadEdit))
    edit.flags = EDIT_UPGRADE if x.offered_len else 0
    return block_tunnels(&w.head, data, &edit)


# 2xx to CONNECT, or 101 to exactly what the request offered (RFC 9110 7.8); h2c was offered by nobody: we removed it.
cdef bint may_tunnel(Worker* w, const Exchange* x, const Conn* up) noexcept nogil:
    cdef size_t at = 0, off = 0, n = 0
    cdef const u8* value = buf_head(&up.inb) + w.head.upgrade_off
    if not x.flags & EX_UPGRADE or not pipe_over(&x.request):
        return 0
    if x.method == METHOD_CONNECT or (up.id and x.flags & EX_EXTENDED):
        return w.head.status != 101
    if not w.head.flags & HEAD_UPGRADE:
        return 0
    while list_next(value, w.head.upgrade_len, &at, &off, &n):
        if n and (is_word(value + off, n, b"h2c") or not list_has(x.offered, x.offered_len, value + off, n)):
            return 0
    return 1


# Whether the upstream's Sec-WebSocket-Accept is the one to the key it got. An HTTP/2 client has no key to hold it against.
cdef bint is_accepted(Worker* w, const Exchange* x, const Conn* up) noexcept nogil:
    cdef const u8* data = buf_head(&up.inb)
    cdef i32 at = field_find(&w.head, data, b"sec-websocket-accept")
    return at >= 0 and w.head.fields[at].value_len == WEBSOCKET_ACCEPT_BYTES and memcmp(
        data + w.head.fields[at].value_off, x.accept, WEBSOCKET_ACCEPT_BYTES) == 0


cdef u32 tunnel_fault(Worker* w, const Exchange* x, const Conn* down, const Conn* up, u8 framing) noexcept nogil:
    if framing != FRAMING_TUNNEL:
        # To an extended CONNECT 2xx says that the tunnel is there (RFC 8441 4): a plain answer to its GET must not.
        return FAULT_UPGRADE_FAILED if down.id and x.offered_len and w.head.status < 300 else 0
    if not may_tunnel(w, x, up):
        return FAULT_UPGRADE_REFUSED
    if down.id and not up.id and x.accept[0] and not is_accepted(w, x, up):
        return FAULT_UPGRADE_FAILED
    return 0


cdef i64 tunnel_compose(Worker* w, const Exchange* x, const Conn* up, const HeadEdit* edit) noexcept nogil:
    cdef const u8* data = buf_head(&up.inb)
    cdef const u8* accept = NULL
    cdef i32 at = field_find(&w.head, data, b"sec-websocket-accept")
    if x.accept[0]:
        accept = &x.accept[0]
    if not x.flags & EX_EXTENDED:
        return http1_response_write(w.scratch, SCRATCH_BYTES, &w.head, data, edit)
    if at >= 0:
        # The client's is another.
        w.head.fields[at].drop = 1
        w.head.flags |= HEAD_DROPS
    return http1_switch_write(w.scratch, SCRATCH_BYTES, &w.head, data, edit, x.offered, x.offered_len, accept)


# What the client is told: there is no 101 in HTTP/2, and its 200 is one in HTTP/1.
cdef u16 status_of(const Exchange* x, const Conn* down, const Conn* up) noexcept nogil:
    if down.id:
        return 200 if x.status == 101 else x.status
    return 101 if up.id and x.flags & EX_EXTENDED else x.status


cdef bint tunnel_begin(Worker* w, Exchange* x, Conn* down, Conn* up, size_t head_n) noexcept nogil:
    x.flags |= EX_ANSWERED
    x.flags &= ~<u32>(EX_DOWN_KEEP | EX_UP_KEEP)
    x.status = status_of(x, down, up)
    x.response_bytes += <u32>head_n
    x.request_bytes += <u32>x.request.moved_bytes
    x.phase = PHASE_TUNNEL
    w.tunnel_count += 1
    meters_count(&w.meters, COUNT_TUNNELS, 1)
    pipe_init(&x.request, FRAMING_CLOSE, 0)
    pipe_init(&x.response, FRAMING_CLOSE, 0)
    down.state = CONN_RELAY
    up.state = CONN_RELAY
    if w.snap.policy.stream_timeout_ns:
        conn_deadline(w, down, w.now_ns + w.snap.policy.stream_timeout_ns)
    else:
        wheel_cancel(&w.wheel, slab_index(&w.conns, down))
    wheel_cancel(&w.wheel, slab_index(&w.conns, up))
    # A tunnel may be silent for as long as it likes, but not outlive its peers.
    if not down.id:
        sys_keepalive(down.fd)
    if not up.id:
        sys_keepalive(up.fd)
    if side_head(w, down, head_n) < 0:
        exchange_abort(w, x)
        return 0
    return 1


# One direction of a tunnel. False: it broke.
cdef bint tunnel_pump(Worker* w, Exchange* x, bint to_upstream, Conn* source, Conn* sink) noexcept nogil:
    cdef Pipe* p = &x.request if to_upstream else &x.response
    cdef u64 before = p.moved_bytes
    cdef u32 flags = 0
    cdef int r = pipe_pump(w, p, source, sink, &flags)
    if p.moved_bytes != before:
        x.active_ns = w.now_ns
    if r == PUMP_YIELD:
        conn_defer(w, source)
    elif r == PUMP_DONE:
        # Half-close: what the other side still has to say goes on. A stream has heard it already; after the second
        # end both are closed at once.
        if not sink.id and not pipe_over(&x.response if to_upstream else &x.request):
            conn_shut(w, sink)
    elif r == PUMP_FULL:
        exchange_starve(w, x, source if to_upstream == 0 else sink)
    return r != PUMP_SOURCE_FAILED and r != PUMP_SINK_FAILED and r != PUMP_BAD


# A stream that was reset: the half that is over already would not notice, and the other only when it has something to say.
cdef inline bint is_reset(const Conn* c) noexcept nogil:
    return c.id and c.flags & CONN_BROKEN


cdef bint tunnel_drive(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef bint whole = not is_reset(down) and not is_reset(up) and tunnel_pump(w, x, 1, down, up)
    whole = whole and tunnel_pump(w, x, 0, up, down)
    if not whole:
        exchange_end_tunnel(w, x, down, up, 1)
        return 0
    if pipe_over(&x.request) and pipe_over(&x.response):
        exchange_end_tunnel(w, x, down, up, 0)
        return 0
    return 1
