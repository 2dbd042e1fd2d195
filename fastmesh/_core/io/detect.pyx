from fastmesh._core.base.buffer cimport buf_give, buf_head, buf_len
from fastmesh._core.base.key cimport key_mix
from fastmesh._core.base.meter cimport (
    COUNT_DETECT_TIMEOUTS, COUNT_DETECTED_HTTP1, COUNT_DETECTED_HTTP2, COUNT_DETECTED_OPAQUE, COUNT_DETECTED_SERVER,
    COUNT_DETECTED_TLS, COUNT_EARLY_DIALS, COUNT_HEADER_TIMEOUTS, METER_NONE, meters_count,
)
from fastmesh._core.base.status cimport AGAIN, IO, OK
from fastmesh._core.base.types cimport i64, u8, u32, u64
from fastmesh._core.ffi.atomic cimport meter_add
from fastmesh._core.io.client cimport client_close
from fastmesh._core.io.connection cimport conn_deadline, conn_defer, conn_recv, conn_room
from fastmesh._core.io.fault cimport FAULT_HEADER_TIMEOUT, FAULT_NO_ROUTE, FAULT_OVERLOAD
from fastmesh._core.io.finish cimport (
    exchange_abort, exchange_end_relay, exchange_forget_relay, exchange_get, exchange_starve,
)
from fastmesh._core.io.meters cimport block_of
from fastmesh._core.io.originals cimport original_listens, original_of
from fastmesh._core.io.relay cimport relay_begin, relay_decide, relay_suits
from fastmesh._core.io.state cimport (
    CONN_EOF, CONN_READABLE, DESTINATIONS, DOWN_IDLE, DRIVE_STEPS, EX_EARLY, EX_TLS, SNIFF_DIALLED, SNIFF_FAILED,
    SNIFF_HELLO, SNIFF_WAITING, UP_BUSY, Destination, Original,
)
from fastmesh._core.routing.snapshot cimport LISTENER_HTTP, LISTENER_OPAQUE, LISTENER_TLS
from fastmesh._core.wire.client_hello cimport ClientHello, client_hello_parse
from fastmesh._core.wire.sniff cimport SNIFF_HTTP1, SNIFF_MORE, SNIFF_OPAQUE, SNIFF_TLS, sniff, sniff_http2_server

cdef enum:
    PATIENCE_NS = 5000000           # a client of a destination that is known for HTTP may be silent before one dials for it
    REMEMBERED_NS = 600000000000    # for how long it is known


cdef inline u8 protocol_of(Worker* w, const Conn* down) noexcept nogil:
    return original_listens(w, down)


# Where the destination of this connection is remembered. *key: what names it.
cdef Destination* destination_of(Worker* w, const Conn* down, u64* key) noexcept nogil:
    cdef const Original* original = original_of(w, down)
    key[0] = key_mix(<u64>down.listener + 1, original.hash if original != NULL else 0) | 1
    return &w.destinations[(key[0] >> 8) & (DESTINATIONS - 1)]


cdef bint is_known_for_http(Worker* w, const Conn* down) noexcept nogil:
    cdef u64 key = 0
    cdef const Destination* destination = destination_of(w, down, &key)
    return destination.key == key and w.now_ns < destination.until_ns


cdef void remember(Worker* w, const Conn* down, bint http) noexcept nogil:
    cdef u64 key = 0
    cdef Destination* destination = destination_of(w, down, &key)
    if http:
        destination.key = key
        destination.until_ns = w.now_ns + <i64>REMEMBERED_NS
    elif destination.key == key:
        destination.key = 0


# It is closed without having become anything; counted with the listener.
cdef void detect_refuse(Worker* w, Conn* down, u32 fault) noexcept nogil:
    cdef Exchange* x = exchange_get(w, down.exchange)
    meter_add(&block_of(w, down.listener, METER_NONE).faults[fault], 1)
    if x != NULL:
        exchange_forget_relay(w, x, 0)
    client_close(w, down, 1)


# The client has reset.
cdef void detect_abort(Worker* w, Conn* down) noexcept nogil:
    cdef Exchange* x = exchange_get(w, down.exchange)
    if x != NULL:
        exchange_abort(w, x)
    else:
        client_close(w, down, 0)


# It speaks HTTP: from here on it is as if it had come to a listener for that.
cdef void detect_http(Worker* w, Conn* down) noexcept nogil:
    cdef Exchange* x = exchange_get(w, down.exchange)
    remember(w, down, 1)
    if x != NULL:
        exchange_forget_relay(w, x, 1)
    down.state = DOWN_IDLE
    conn_deadline(w, down, w.now_ns + w.snap.policy.header_timeout_ns)
    conn_defer(w, down)


# It is relayed. flags: EX_TLS when its ClientHello is whole.
cdef void detect_relay(Worker* w, Conn* down, u32 flags) noexcept nogil:
    cdef Exchange* x = exchange_get(w, down.exchange)
    remember(w, down, 0)
    if x != NULL and flags & EX_TLS and not relay_suits(w, x, down):
        # Dialled before it was known which name is asked for.
        exchange_forget_relay(w, x, 0)
        x = NULL
    if x == NULL:
        relay_begin(w, down, flags)
    else:
        relay_decide(w, x, down)


# First bytes are there that do not say enough. The time runs from the first of them.
cdef void detect_wait(Worker* w, Conn* down, u8 flags, i64 ns) noexcept nogil:
    if down.sniffed & flags != flags:
        down.sniffed |= flags
        conn_deadline(w, down, w.now_ns + ns)


# A whole ClientHello has a route of its own; what is none after all is bytes like any other. False: it is not whole.
cdef bint detect_tls(Worker* w, Conn* down) noexcept nogil:
    cdef ClientHello hello
    cdef int r = client_hello_parse(&hello, buf_head(&down.inb), buf_len(&down.inb))
    if r == AGAIN and not down.flags & CONN_EOF:
        detect_wait(w, down, SNIFF_WAITING | SNIFF_HELLO, w.snap.policy.header_timeout_ns)
        return 0
    meters_count(&w.meters, COUNT_DETECTED_TLS if r == OK else COUNT_DETECTED_OPAQUE, 1)
    if r == OK:
        detect_relay(w, down, EX_TLS)
    elif protocol_of(w, down) == LISTENER_TLS:
        detect_refuse(w, down, FAULT_NO_ROUTE)
    else:
        detect_relay(w, down, 0)
    return 1


# Acts on what the first bytes say. False: they do not say enough.
cdef bint detect_verdict(Worker* w, Conn* down) noexcept nogil:
    cdef int verdict = sniff(buf_head(&down.inb), buf_len(&down.inb)) if buf_len(&down.inb) else SNIFF_MORE
    if verdict == SNIFF_MORE and down.flags & CONN_EOF:
        verdict = SNIFF_OPAQUE
    if verdict == SNIFF_MORE:
        return 0
    if verdict == SNIFF_TLS:
        return detect_tls(w, down)
    if protocol_of(w, down) == LISTENER_TLS:
        detect_refuse(w, down, FAULT_NO_ROUTE)
    elif verdict == SNIFF_OPAQUE:
        meters_count(&w.meters, COUNT_DETECTED_OPAQUE, 1)
        detect_relay(w, down, 0)
    else:
        meters_count(&w.meters, COUNT_DETECTED_HTTP1 if verdict == SNIFF_HTTP1 else COUNT_DETECTED_HTTP2, 1)
        detect_http(w, down)
    return 1


cdef void detect_dial(Worker* w, Conn* down) noexcept nogil:
    down.sniffed |= SNIFF_DIALLED
    meters_count(&w.meters, COUNT_EARLY_DIALS, 1)
    relay_begin(w, down, EX_EARLY)


# Nothing decides yet. While the client is silent, its server may be the one to speak.
cdef void detect_undecided(Worker* w, Conn* down) noexcept nogil:
    cdef bint silent = buf_len(&down.inb) == 0
    if silent:
        buf_give(&w.pools, &down.inb)
    if protocol_of(w, down) == LISTENER_TLS:
        detect_wait(w, down, SNIFF_WAITING | SNIFF_HELLO, w.snap.policy.header_timeout_ns)
        return
    if not silent:
        detect_wait(w, down, SNIFF_WAITING, w.snap.policy.detect_timeout_ns)
    if down.sniffed & (SNIFF_DIALLED | SNIFF_HELLO):
        return
    if silent and is_known_for_http(w, down):
        conn_deadline(w, down, w.now_ns + <i64>PATIENCE_NS)
    else:
        detect_dial(w, down)


cdef void detect_ready(Worker* w, Conn* down) noexcept nogil:
    cdef u32 step
    cdef i64 n
    cdef u8 protocol = protocol_of(w, down)
    if protocol == LISTENER_OPAQUE:
        relay_begin(w, down, 0)
        return
    if protocol == LISTENER_HTTP:
        detect_http(w, down)
        return
    # What came behind a PROXY protocol header was read with it.
    if buf_len(&down.inb) and detect_verdict(w, down):
        return
    for step in range(<u32>DRIVE_STEPS):
        if not down.flags & CONN_READABLE:
            break
        if conn_room(w, down, 0, 1) != OK:
            detect_refuse(w, down, FAULT_OVERLOAD)
            return
        n = conn_recv(w, down)
        if n == IO:
            detect_abort(w, down)
            return
        if n == AGAIN:
            break
        if detect_verdict(w, down):
            return
    detect_undecided(w, down)


cdef void detect_event(Worker* w, Conn* down, bint gone) noexcept nogil:
    if gone:
        detect_abort(w, down)
    else:
        detect_ready(w, down)


cdef void detect_drive(Worker* w, Exchange* x, Conn* down, Conn* up) noexcept nogil:
    cdef i64 n
    if up.state == UP_BUSY and up.flags & CONN_READABLE:
        if conn_room(w, up, 0, 1) != OK:
            exchange_starve(w, x, up)
            return
        n = conn_recv(w, up)
        if n == IO:
            exchange_end_relay(w, x, 1)
            return
        if n != AGAIN and not (n > 0 and sniff_http2_server(buf_head(&up.inb), buf_len(&up.inb))):
            if n > 0:
                meters_count(&w.meters, COUNT_DETECTED_SERVER, 1)
            detect_relay(w, down, 0)
            return
        if n == AGAIN and buf_len(&up.inb) == 0:
            buf_give(&w.pools, &up.inb)
        elif n != AGAIN:
            # A server of HTTP/2: its client is about to speak. Should it not, the bytes are for it after all.
            detect_wait(w, down, SNIFF_WAITING, w.snap.policy.detect_timeout_ns)
    detect_ready(w, down)


cdef void detect_timer(Worker* w, Conn* down) noexcept nogil:
    cdef Exchange* x = exchange_get(w, down.exchange)
    if w.draining and buf_len(&down.inb) == 0:
        if x != NULL:
            exchange_forget_relay(w, x, 0)
        client_close(w, down, 0)
    elif down.sniffed & SNIFF_HELLO:
        meters_count(&w.meters, COUNT_HEADER_TIMEOUTS, 1)
        detect_refuse(w, down, FAULT_HEADER_TIMEOUT)
    elif not down.sniffed & SNIFF_DIALLED:
        detect_dial(w, down)
    elif down.sniffed & SNIFF_WAITING:
        meters_count(&w.meters, COUNT_DETECT_TIMEOUTS, 1)
        detect_relay(w, down, 0)
    elif down.sniffed & SNIFF_FAILED:
        # Silent all the while, as with a server that is to speak first: it sees that there is none.
        detect_relay(w, down, 0)
