from fastmesh._core.base.buffer cimport BUFFER_SMALL, Buf, buf_append, buf_give, buf_head, buf_len, buf_take
from fastmesh._core.base.meter cimport METER_GRPC
from fastmesh._core.base.ring cimport ring_write
from fastmesh._core.base.status cimport OK
from fastmesh._core.base.text cimport (
    Text, text_clf_date, text_init, text_ip, text_iso_date, text_ms, text_put, text_quoted, text_str, text_u64,
)
from fastmesh._core.ffi.atomic cimport atomic_load_ptr
from fastmesh._core.io.fault cimport fault_row
from fastmesh._core.io.state cimport EX_HTTP2, EX_TCP, EX_TLS, LISTENERS_MAX, OFFERED_BYTES
from fastmesh._core.io.upstream cimport upstream_name
from fastmesh._core.routing.balancer cimport PICK_NONE
from fastmesh._core.routing.snapshot cimport ROUTE_NONE, Snapshot
from fastmesh._core.wire.headers cimport FIELD_REFERER, FIELD_USER_AGENT, Field
from fastmesh._core.wire.http1_head cimport Http1Head

# What a line says of an exchange, or of a request that did not become one.
ctypedef struct Line:
    const Conn* down
    const Buf* kept         # NULL: nothing was kept of the request
    u32 kept_off            # next kept text, behind kept.r
    u32 route
    u32 slot
    u32 slot_gen
    u32 fault
    u32 retries
    u16 status
    u16 grpc_status         # and one; 0: none
    i64 duration_ns
    i64 upstream_ns         # < 0: no response head came
    i64 start_wall_ns
    unsigned long long request_bytes
    unsigned long long response_bytes
    unsigned long long body_bytes


cdef inline bint lower_equal(const u8* mixed, const u8* lower, u32 n) noexcept nogil:
    cdef u32 i
    cdef u8 c
    for i in range(n):
        c = mixed[i]
        if 65 <= c <= 90:
            c += 32
        if c != lower[i]:
            return 0
    return 1


cdef void keep(Buf* log, const u8* text, u32 n, u32 most) noexcept nogil:
    cdef u16 length
    if n > most:
        n = most
    if n + 2 > log.cap - log.w:
        n = 0
    length = <u16>n
    if buf_append(log, <const u8*>&length, 2) == OK:
        buf_append(log, text, n)


cdef void keep_field(Buf* log, const Http1Head* head, const u8* data, u8 id, const u8* name, u32 n) noexcept nogil:
    cdef u32 i
    cdef const Field* f
    for i in range(head.nfields):
        f = &head.fields[i]
        if (id and f.id == id) or (not id and f.name_len == n and lower_equal(data + f.name_off, name, n)):
            keep(log, data + f.value_off, f.value_len, LOG_FIELD_MAX)
            return
    keep(log, data, 0, LOG_FIELD_MAX)


cdef void access_log_begin(Worker* w, Exchange* x, const u8* data) noexcept nogil:
    cdef const LogTemplate* template = <const LogTemplate*>atomic_load_ptr(&w.log_template)
    cdef const Http1Head* head = &w.head
    cdef const LogPart* part
    cdef u32 i
    if w.log == NULL or template == NULL or buf_take(&w.pools, &x.log, BUFFER_SMALL) != OK:
        return
    # A template swapped before the end of the exchange makes this line's texts meaningless: the line then says "-".
    buf_append(&x.log, <const u8*>&template, sizeof(void*))
    for i in range(template.count):
        part = &template.parts[i]
        if part.field == LOG_METHOD:
            keep(&x.log, data + head.line_off, head.method_len, LOG_FIELD_MAX)
        elif part.field == LOG_TARGET:
            keep(&x.log, data + head.target_off, head.target_len, LOG_TARGET_MAX)
        elif part.field == LOG_VERSION:
            keep(&x.log, <const u8*>"HTTP/2.0" if x.flags & EX_HTTP2 else
                 <const u8*>"HTTP/1.1" if head.minor else <const u8*>"HTTP/1.0", 8, 8)
        elif part.field == LOG_HOST:
            keep(&x.log, data + head.authority_off, head.authority_len, LOG_FIELD_MAX)
        elif part.field == LOG_USER_AGENT:
            keep_field(&x.log, head, data, FIELD_USER_AGENT, NULL, 0)
        elif part.field == LOG_REFERER:
            keep_field(&x.log, head, data, FIELD_REFERER, NULL, 0)
        elif part.field == LOG_HEADER:
            keep_field(&x.log, head, data, 0, template.blob + part.off, part.n)


# What the line needs is kept for the moment it is written: a connection may last for days, and a buffer with it.
cdef void keep_tcp(Worker* w, Exchange* x) noexcept nogil:
    cdef const LogTemplate* template = <const LogTemplate*>atomic_load_ptr(&w.log_template)
    cdef u32 i
    if w.log == NULL or template == NULL or buf_take(&w.pools, &x.log, BUFFER_SMALL) != OK:
        return
    buf_append(&x.log, <const u8*>&template, sizeof(void*))
    for i in range(template.count):
        if template.parts[i].field == LOG_VERSION:
            keep(&x.log, <const u8*>"TLS" if x.flags & EX_TLS else <const u8*>"TCP", 3, 3)
        elif template.parts[i].field >= LOG_REQUEST:
            keep(&x.log, x.offered, x.offered_len if template.parts[i].field == LOG_HOST else 0, OFFERED_BYTES)


cdef void put_kept(Text* t, Line* line, u8 escape) noexcept nogil:
    cdef u16 n = 0
    cdef const u8* at
    if line.kept != NULL and line.kept_off + 2 <= buf_len(line.kept):
        at = buf_head(line.kept) + line.kept_off
        n = <u16>(at[0] | (at[1] << 8))
        line.kept_off += 2
        if n > buf_len(line.kept) - line.kept_off:
            n = 0
        text_quoted(t, at + 2, n, escape)
        line.kept_off += n
    if n == 0 and not escape:
        text_str(t, "-")


cdef void put_name(Worker* w, Text* t, const Line* line, u8 field, u8 escape) noexcept nogil:
    cdef const Snapshot* s = w.snap
    cdef const u8* name
    cdef u32 n = 0
    cdef u32 start = t.n
    if field == LOG_ROUTE and line.route < s.route_count + s.tcp_count + s.original_count:
        text_quoted(t, s.blob + s.routes[line.route].name_off, s.routes[line.route].name_len, escape)
    elif field == LOG_LISTENER and line.down.listener < LISTENERS_MAX:
        text_quoted(t, s.blob + s.listeners[line.down.listener].name_off, s.listeners[line.down.listener].name_len, escape)
    elif field == LOG_UPSTREAM_ADDR and line.slot != PICK_NONE:
        name = upstream_name(w, line.slot, line.slot_gen, &n)
        if name != NULL:
            text_quoted(t, name, n, escape)
    elif field == LOG_FAULT and line.fault:
        text_str(t, fault_row(line.fault).name)
    elif field == LOG_GRPC_STATUS and line.grpc_status:
        if line.grpc_status < METER_GRPC:
            text_u64(t, line.grpc_status - 1)
        else:
            text_str(t, "other")
    if t.n == start and not escape:
        text_str(t, "-")


cdef void put_part(Worker* w, Text* t, Line* line, u8 field, u8 escape) noexcept nogil:
    if field >= LOG_REQUEST:
        put_kept(t, line, escape)
    elif field == LOG_CLIENT_ADDR:
        text_ip(t, line.down.family, line.down.address)
    elif field == LOG_CLIENT_PORT:
        text_u64(t, line.down.port)
    elif field == LOG_TIME_LOCAL:
        text_clf_date(t, line.start_wall_ns)
    elif field == LOG_TIME_ISO:
        text_iso_date(t, line.start_wall_ns)
    elif field == LOG_STATUS:
        text_u64(t, line.status)
    elif field == LOG_REQUEST_BYTES:
        text_u64(t, line.request_bytes)
    elif field == LOG_RESPONSE_BYTES:
        text_u64(t, line.response_bytes)
    elif field == LOG_BODY_BYTES:
        text_u64(t, line.body_bytes)
    elif field == LOG_DURATION_MS:
        text_ms(t, line.duration_ns)
    elif field == LOG_DURATION_US:
        text_u64(t, <unsigned long long>(line.duration_ns // 1000))
    elif field == LOG_UPSTREAM_MS:
        text_ms(t, line.upstream_ns if line.upstream_ns > 0 else 0)
    elif field == LOG_RETRIES:
        text_u64(t, line.retries)
    else:
        put_name(w, t, line, field, escape)


cdef void write_line(Worker* w, Line* line) noexcept nogil:
    cdef const LogTemplate* template = <const LogTemplate*>atomic_load_ptr(&w.log_template)
    cdef const LogPart* part
    cdef Text t
    cdef u32 i
    if w.log == NULL or template == NULL:
        return
    text_init(&t, w.scratch, LOG_LINE_MAX)
    if line.kept != NULL:
        if (<const void* const*>buf_head(line.kept))[0] == template:
            line.kept_off = sizeof(void*)
        else:
            line.kept = NULL
    for i in range(template.count):
        part = &template.parts[i]
        if part.field == LOG_LITERAL:
            text_put(&t, template.blob + part.off, part.n)
        else:
            put_part(w, &t, line, part.field, template.escape)
    if t.n == LOG_LINE_MAX:
        t.n -= 1
    text_str(&t, "\n")
    ring_write(w.log, w.scratch, t.n)


cdef void access_log_end(Worker* w, Exchange* x, const Conn* down) noexcept nogil:
    cdef Line line
    if x.flags & EX_TCP:
        keep_tcp(w, x)
    line.down = down
    line.kept = &x.log if x.log.data != NULL else NULL
    line.kept_off = 0
    line.route = x.route if x.version == w.snap.version else ROUTE_NONE
    line.slot = x.slot if x.endpoint != PICK_NONE else PICK_NONE
    line.slot_gen = x.slot_gen
    line.fault = x.fault
    line.retries = x.retries
    line.status = x.status
    line.grpc_status = x.grpc_status
    line.duration_ns = w.now_ns - x.start_ns
    line.upstream_ns = x.first_ns - x.sent_ns if x.first_ns else -1
    line.start_wall_ns = w.wall_ns - line.duration_ns
    line.request_bytes = x.request_bytes
    line.response_bytes = x.response_bytes
    line.body_bytes = x.response.moved_bytes
    write_line(w, &line)
    buf_give(&w.pools, &x.log)


cdef void access_log_refused(Worker* w, const Conn* down, u16 status, u16 grpc_status, u32 fault, u32 head_bytes,
                             u32 body_bytes) noexcept nogil:
    cdef Line line
    line.down = down
    line.kept = NULL
    line.kept_off = 0
    line.route = ROUTE_NONE
    line.slot = PICK_NONE
    line.slot_gen = 0
    line.fault = fault
    line.retries = 0
    line.status = status
    line.grpc_status = grpc_status
    line.duration_ns = 0
    line.upstream_ns = -1
    line.start_wall_ns = w.wall_ns
    line.request_bytes = 0
    line.response_bytes = head_bytes + body_bytes
    line.body_bytes = body_bytes
    write_line(w, &line)
