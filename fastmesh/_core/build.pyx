"""From a SnapshotSpec, as Python keeps it, to the flat Snapshot that workers read. ValueError for what is impossible."""

import socket
import struct

from libc.stdint cimport INT32_MAX, INT64_MAX, UINT32_MAX
from libc.string cimport memcpy, memset

from fastmesh._core.base.status cimport OK
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.io.state cimport HEAD_BYTES_MAX, LISTENERS_MAX
from fastmesh._core.routing.original cimport address_key
from fastmesh._core.routing.snapshot cimport (
    ADDRESS_KEY_BYTES, HTTP2_STREAMS_MAX, HTTP2_WINDOW_MAX, HTTP2_WINDOW_MIN, LISTENER_HTTP, LISTENER_TLS, PROXY_V2,
    RETRY_GRPC_MASK, ROLE_MAX, UPSTREAM_HTTP2, Backend, Endpoint, HeaderMatch, Listener, Policy, ProtocolRule, Route,
    Snapshot, snapshot_free, snapshot_new, snapshot_originals, snapshot_seal, snapshot_text,
)
from fastmesh._core.wire.headers cimport HEADERS_MAX

METHODS = (b"", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH")


def pack_address(address: str) -> bytes:
    """The struct sockaddr of "1.2.3.4:80", "[::1]:80" or "unix:/path". Raises ValueError."""
    if address.startswith("unix:"):
        path = address[5:].encode()
        if not 0 < len(path) < 108:
            raise ValueError(f"unix socket path of {len(path)} bytes: must be 1 to 107")
        return struct.pack("=H", socket.AF_UNIX) + path + b"\0"
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError
        if host.startswith("["):
            packed = socket.inet_pton(socket.AF_INET6, host.removeprefix("[").removesuffix("]"))
            return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", number, 0, packed, 0)
        packed = socket.inet_pton(socket.AF_INET, host)
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", number, packed)
    except (OSError, ValueError):
        raise ValueError(f"not a numeric address: {address!r}") from None


cdef u32 put_text(Snapshot* s, bytes text) except? 0xFFFFFFFFu:
    cdef u32 at = snapshot_text(s, <const u8*><char*>text, <u32>len(text))
    if at == <u32>0xFFFFFFFFu:
        raise ValueError("snapshot text does not fit")
    return at


cdef int check_range(str name, value, least, most) except -1:
    if not least <= value <= most:
        raise ValueError(f"{name} {value}: must be {least} to {most}")
    return 0


cdef int fill_policy(Snapshot* s, spec) except -1:
    cdef Policy* p = &s.policy
    if not 64 <= spec.head_bytes <= HEAD_BYTES_MAX:
        raise ValueError(f"head_bytes {spec.head_bytes}: must be 64 to {HEAD_BYTES_MAX}")
    if not 1 <= spec.fields <= HEADERS_MAX:
        raise ValueError(f"fields {spec.fields}: must be 1 to {HEADERS_MAX}")
    check_range("http2_streams", spec.http2_streams, 1, HTTP2_STREAMS_MAX)
    check_range("http2_glitches", spec.http2_glitches, 0, UINT32_MAX)
    check_range("http2_window", spec.http2_window, HTTP2_WINDOW_MIN, HTTP2_WINDOW_MAX)
    p.http1.head_bytes = spec.head_bytes
    p.http1.line_bytes = spec.line_bytes
    p.http1.field_line_bytes = spec.field_line_bytes
    p.http1.fields = spec.fields
    p.header_timeout_ns = spec.header_timeout_ns
    p.idle_timeout_ns = spec.idle_timeout_ns
    p.stream_timeout_ns = spec.stream_timeout_ns
    p.linger_timeout_ns = spec.linger_timeout_ns
    p.max_connections = spec.max_connections
    p.keepalive_requests = spec.keepalive_requests
    p.via_off = put_text(s, spec.via)
    p.via_len = <u32>len(spec.via)
    p.via_response = spec.via_response
    p.forwarded = spec.forwarded
    p.forwarded_replace = spec.forwarded_replace
    p.access_log = spec.access_log
    p.http2_streams = spec.http2_streams
    p.http2_glitches = spec.http2_glitches
    p.http2_window = spec.http2_window
    p.grpc_timeout = spec.grpc_timeout
    check_range("tcp_user_timeout_ns", spec.tcp_user_timeout_ns, 0, INT32_MAX * <u64>1000000)
    p.tcp_idle_timeout_ns = spec.tcp_idle_timeout_ns
    p.splice = spec.splice
    p.tcp_user_timeout_ms = spec.tcp_user_timeout_ns // 1000000
    p.detect_timeout_ns = spec.detect_timeout_ns
    return 0


cdef int fill_listener(Snapshot* s, u32 index, spec) except -1:
    cdef Listener* listener = &s.listeners[index]
    check_range("protocol", spec.protocol, 0, LISTENER_TLS)
    listener.name_off = put_text(s, spec.name)
    listener.name_len = <u32>len(spec.name)
    listener.protocol = spec.protocol
    check_range("role", spec.role, 0, ROLE_MAX - 1)
    listener.role = spec.role
    listener.special = spec.protocol != LISTENER_HTTP or spec.proxy_protocol or spec.role != 0
    listener.proxy = spec.proxy_protocol
    return 0


cdef int fill_route(Snapshot* s, u32 index, spec, u32* header) except -1:
    cdef Route* r = &s.routes[index]
    cdef HeaderMatch* match
    r.host_kind = spec.host_kind
    r.host_off = put_text(s, spec.host)
    r.host_len = <u16>len(spec.host)
    r.path_kind = spec.path_kind
    r.path_off = put_text(s, spec.path)
    r.path_len = <u16>len(spec.path)
    r.methods = 0
    for method in spec.methods:
        r.methods |= <u16>(1 << (METHODS.index(method) if method and method in METHODS else 0))
    r.header_first = header[0]
    r.header_count = <u32>len(spec.headers)
    for want in spec.headers:
        match = &s.headers[header[0]]
        match.name_off = put_text(s, want.name)
        match.name_len = <u16>len(want.name)
        match.value_off = put_text(s, want.value)
        match.value_len = <u16>len(want.value)
        match.kind = want.kind
        header[0] += 1
    if not 0 <= spec.backend < <int>s.backend_count:
        raise ValueError(f"route names backend {spec.backend} of {s.backend_count}")
    check_range("retry_grpc", spec.retry_grpc, 0, RETRY_GRPC_MASK)
    r.listener_mask = spec.listener_mask
    r.backend = spec.backend
    r.meter = spec.meter
    r.tls_meter = spec.tls_meter if spec.tls_meter >= 0 else spec.meter
    r.request_timeout_ns = spec.request_timeout_ns
    r.per_try_timeout_ns = spec.per_try_timeout_ns
    r.retry_connect = spec.retry_connect
    r.grpc_web = spec.grpc_web
    r.retry_grpc = spec.retry_grpc
    r.name_off = put_text(s, spec.name)
    r.name_len = <u32>len(spec.name)
    r.order = index
    return 0


cdef int fill_endpoint(Snapshot* s, u32 index, spec) except -1:
    cdef Endpoint* e = &s.endpoints[index]
    cdef bytes packed = pack_address(spec.address)
    cdef bytes name = spec.address.encode()
    if spec.weight < 1 or spec.slot_gen < 1:
        raise ValueError(f"endpoint {spec.address}: weight and generation must be at least 1")
    # A sockaddr is read as a struct: it starts where a struct may.
    while s.blob_len % 8:
        put_text(s, b"\0")
    e.address_off = put_text(s, packed)
    e.address_len = <u32>len(packed)
    e.name_off = put_text(s, name)
    e.name_len = <u32>len(name)
    e.slot = spec.slot
    e.slot_gen = spec.slot_gen
    e.weight = spec.weight
    return 0


cdef int fill_backend(Snapshot* s, u32 index, spec, u32* endpoint) except -1:
    cdef Backend* b = &s.backends[index]
    check_range("protocol", spec.protocol, 0, UPSTREAM_HTTP2)
    check_range("max_streams", spec.max_streams, 1, HTTP2_STREAMS_MAX)
    check_range("ping_interval_ns", spec.ping_interval_ns, 0, INT64_MAX)
    check_range("ping_timeout_ns", spec.ping_timeout_ns, 1, INT64_MAX)
    b.name_off = put_text(s, spec.name)
    b.name_len = <u32>len(spec.name)
    b.endpoint_first = endpoint[0]
    b.endpoint_count = <u32>len(spec.endpoints)
    for each in spec.endpoints:
        fill_endpoint(s, endpoint[0], each)
        endpoint[0] += 1
    b.balancer = spec.balancer
    b.connect_timeout_ns = spec.connect_timeout_ns
    b.ewma_default_ns = spec.ewma_default_ns
    b.ewma_decay_ns = spec.ewma_decay_ns
    b.ramp_ns = spec.ramp_ns
    b.backoff_min_ns = spec.backoff_min_ns
    b.backoff_max_ns = spec.backoff_max_ns
    b.idle_timeout_ns = spec.idle_timeout_ns
    b.max_connections = spec.max_connections
    b.max_idle = spec.max_idle
    b.max_pending = spec.max_pending
    b.protocol = spec.protocol
    b.max_streams = spec.max_streams
    b.ping_interval_ns = spec.ping_interval_ns
    b.ping_timeout_ns = spec.ping_timeout_ns
    check_range("send_proxy_protocol", spec.send_proxy_protocol, 0, PROXY_V2)
    if spec.send_proxy_protocol and spec.protocol == UPSTREAM_HTTP2:
        raise ValueError("a PROXY protocol header is one client's, and HTTP/2 shares connections")
    b.send_proxy = spec.send_proxy_protocol
    return 0


def pack_key(address: str) -> bytes:
    """What the core knows the address "1.2.3.4:80" or "[::1]:80" by. Raises ValueError."""
    cdef u8[ADDRESS_KEY_BYTES] key
    cdef bytes packed = pack_address(address)
    cdef const u8* raw = packed
    if address.startswith("unix:"):
        raise ValueError(f"no IP address: {address!r}")
    v6 = address.startswith("[")
    address_key(key, 6 if v6 else 4, raw + (8 if v6 else 4), <u16>(raw[2] << 8 | raw[3]))
    return bytes(key[:ADDRESS_KEY_BYTES])


cdef int fill_rule(ProtocolRule* rule, spec) except -1:
    cdef bytes packed
    memset(rule, 0, sizeof(ProtocolRule))
    if spec.address:
        v6 = ":" in spec.address
        packed = socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, spec.address)
        check_range("bits", spec.bits, 0, 8 * len(packed))
        rule.family = 6 if v6 else 4
        rule.bits = spec.bits
        memcpy(rule.address, <const u8*>packed, <size_t>len(packed))
    check_range("port", spec.first_port, 0, spec.last_port)
    check_range("port", spec.last_port, 0, 65535)
    check_range("protocol", spec.protocol, 0, LISTENER_TLS)
    rule.first_port = spec.first_port
    rule.last_port = spec.last_port
    rule.protocol = spec.protocol
    return 0


cdef int fill_original(Snapshot* s, spec) except -1:
    cdef u32 index
    cdef bytes key
    if len(spec.routes) != <Py_ssize_t>s.backend_count or s.backends[s.backend_count - 1].endpoint_count:
        raise ValueError("one route for each backend, the last without endpoints")
    if snapshot_originals(s, <u32>len(spec.targets), <u32>len(spec.rules)) != OK:
        raise MemoryError
    s.original_count = s.backend_count
    for index, (key, backend) in enumerate(sorted((pack_key(address), backend) for address, backend in spec.targets)):
        check_range("backend", backend, 0, s.backend_count - 1)
        memcpy(s.targets[index].key, <const u8*>key, ADDRESS_KEY_BYTES)
        s.targets[index].backend = backend
    for index, rule in enumerate(spec.rules):
        fill_rule(&s.rules[index], rule)
    return 0


def _routes(spec) -> tuple:
    """All of them, in the order of the core."""
    return spec.routes + spec.tcp_routes + (spec.original.routes if spec.original else ())


def _text_bytes(spec) -> int:
    """Bytes of text a snapshot needs, with room to align every address."""
    total = len(spec.policy.via) + sum(len(listener.name) for listener in spec.listeners)
    for route in _routes(spec):
        total += len(route.host) + len(route.path) + len(route.name)
        total += sum(len(match.name) + len(match.value) for match in route.headers)
    for backend in spec.backends:
        total += len(backend.name) + sum(2 * len(each.address) + 64 for each in backend.endpoints)
    return total


cdef Snapshot* build(spec) except NULL:
    cdef u32 index, header = 0, endpoint = 0
    cdef Snapshot* s
    if len(spec.listeners) > LISTENERS_MAX:
        raise ValueError(f"{len(spec.listeners)} listeners: at most {LISTENERS_MAX}")
    routes = _routes(spec)
    s = snapshot_new(<u32>len(routes), <u32>len(spec.backends),
                     <u32>sum(len(backend.endpoints) for backend in spec.backends),
                     <u32>sum(len(route.headers) for route in routes), <u32>_text_bytes(spec))
    if s == NULL:
        raise MemoryError
    try:
        s.version = spec.version
        fill_policy(s, spec.policy)
        s.route_count = <u32>len(spec.routes)
        s.tcp_count = <u32>len(spec.tcp_routes)
        for index, listener in enumerate(spec.listeners):
            fill_listener(s, index, listener)
        for index, backend in enumerate(spec.backends):
            fill_backend(s, index, backend, &endpoint)
        for index, route in enumerate(routes):
            fill_route(s, index, route, &header)
        if spec.original:
            fill_original(s, spec.original)
        if snapshot_seal(s) != OK:
            raise MemoryError
    except BaseException:
        snapshot_free(s)
        raise
    return s
