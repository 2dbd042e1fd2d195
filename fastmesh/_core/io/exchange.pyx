from fastmesh._core.base.types cimport i64, u32
from fastmesh._core.io.connection cimport conn_deadline, conn_get
from fastmesh._core.io.detect cimport detect_drive, detect_ready, detect_timer
from fastmesh._core.io.fault cimport (
    FAULT_CLIENT_TIMEOUT, FAULT_OVERLOAD, FAULT_PER_TRY_TIMEOUT, FAULT_REQUEST_TIMEOUT, FAULT_STREAM_TIMEOUT,
)
from fastmesh._core.io.finish cimport STARVED_MOST_NS, exchange_abort, exchange_fail
from fastmesh._core.io.pipe cimport pipe_over
from fastmesh._core.io.relay cimport relay_connecting
from fastmesh._core.io.request cimport request_body, request_connecting, request_send
from fastmesh._core.io.response cimport response_body, response_head
from fastmesh._core.io.state cimport EX_EARLY, EX_STARVED, EX_TCP, PHASE_BODY, PHASE_CONNECT, PHASE_RESPONSE, PHASE_TUNNEL
from fastmesh._core.io.tunnel cimport tunnel_drive

cdef void exchange_drive(Worker* w, Exchange* x) noexcept nogil:
    cdef Conn* down = conn_get(w, x.down)
    cdef Conn* up = conn_get(w, x.up)
    if up == NULL:
        if x.flags & EX_EARLY:
            detect_ready(w, down)
        return
    if x.phase == PHASE_CONNECT and up.id:
        # Its head found no room.
        request_send(w, x, down, up)
        return
    if x.phase == PHASE_RESPONSE:
        if not response_head(w, x, down, up):
            return
        # A repeated request has another connection now, and its own events.
        up = conn_get(w, x.up)
        if up == NULL:
            return
    if x.phase == PHASE_BODY and not response_body(w, x, down, up):
        return
    if x.phase == PHASE_TUNNEL:
        tunnel_drive(w, x, down, up)
    elif x.phase == PHASE_BODY or x.phase == PHASE_RESPONSE:
        if not request_body(w, x, down, up):
            return
        # An early answer waits for the end of its request.
        if x.phase == PHASE_BODY and pipe_over(&x.request) and pipe_over(&x.response):
            response_body(w, x, down, up)
    elif x.flags & EX_EARLY:
        detect_drive(w, x, down, up)


cdef void exchange_connecting(Worker* w, Exchange* x, Conn* up, bint timed_out) noexcept nogil:
    if x.flags & EX_TCP:
        relay_connecting(w, x, up, timed_out)
    else:
        request_connecting(w, x, up, timed_out)


cdef void exchange_down_event(Worker* w, Exchange* x, bint gone) noexcept nogil:
    if gone and x.phase != PHASE_TUNNEL:
        exchange_abort(w, x)
    else:
        exchange_drive(w, x)


# Whose turn it is: the client's while it does not read its response, or its request is neither here nor on its way.
cdef inline bint is_client_late(const Exchange* x) noexcept nogil:
    if x.phase == PHASE_BODY:
        return x.response.ready > 0 or x.response.done
    return x.phase == PHASE_RESPONSE and not x.request.done and x.request.ready == 0


# A tunnel may be silent, but bytes that nobody takes hold buffers.
cdef void tunnel_timer(Worker* w, Exchange* x, i64 stream) noexcept nogil:
    if stream == 0:
        return
    if (x.request.ready or x.response.ready) and w.now_ns >= x.active_ns + stream:
        exchange_fail(w, x, FAULT_CLIENT_TIMEOUT if x.response.ready else FAULT_STREAM_TIMEOUT)
    else:
        conn_deadline(w, conn_get(w, x.down), w.now_ns + stream)


cdef void exchange_down_timer(Worker* w, Exchange* x) noexcept nogil:
    cdef i64 stream = w.snap.policy.stream_timeout_ns
    cdef i64 at = x.active_ns + stream if stream else 0
    if x.flags & EX_EARLY:
        detect_timer(w, conn_get(w, x.down))
        return
    if x.phase == PHASE_TUNNEL:
        tunnel_timer(w, x, stream)
        return
    if x.deadline_ns and w.now_ns >= x.deadline_ns:
        exchange_fail(w, x, FAULT_CLIENT_TIMEOUT if is_client_late(x) else FAULT_REQUEST_TIMEOUT)
        return
    if at and w.now_ns >= at:
        exchange_fail(w, x, FAULT_CLIENT_TIMEOUT if is_client_late(x) else FAULT_STREAM_TIMEOUT)
        return
    if x.deadline_ns and (at == 0 or x.deadline_ns < at):
        at = x.deadline_ns
    if at:
        conn_deadline(w, conn_get(w, x.down), at)


cdef void exchange_up_timer(Worker* w, Exchange* x) noexcept nogil:
    cdef i64 per_try = x.sent_ns + x.per_try_ns if x.per_try_ns and x.phase == PHASE_RESPONSE else 0
    if per_try and w.now_ns >= per_try:
        exchange_fail(w, x, FAULT_PER_TRY_TIMEOUT)
    elif x.flags & EX_STARVED and w.now_ns >= x.starved_ns + <i64>STARVED_MOST_NS and x.active_ns <= x.starved_ns:
        # Exchanges that wait for each other's buffers would wait for ever.
        exchange_fail(w, x, FAULT_OVERLOAD)
    elif x.flags & EX_STARVED:
        if per_try:
            conn_deadline(w, conn_get(w, x.up), per_try)
        x.flags &= ~<u32>EX_STARVED
        exchange_drive(w, x)
    elif per_try:
        conn_deadline(w, conn_get(w, x.up), per_try)
