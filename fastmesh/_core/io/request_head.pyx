from libc.string cimport memcmp, memset

from fastmesh._core.base.buffer cimport buf_head
from fastmesh._core.base.status cimport IO
from fastmesh._core.base.text cimport Text, text_init, text_ip, text_str
from fastmesh._core.base.types cimport i32, u8, u32
from fastmesh._core.ffi.linux cimport AF_INET, AF_INET6
from fastmesh._core.io.session cimport session_of
from fastmesh._core.io.state cimport EX_HTTP10, EX_HTTP2, EX_NEVER, EX_WEB, SCRATCH_BYTES, SMALL_BODY_BYTES, Session
from fastmesh._core.io.upstream cimport upstream_name
from fastmesh._core.routing.snapshot cimport Policy
from fastmesh._core.wire.grpc_web cimport WEB_NONE, WebMedia, web_media, web_media_bytes
from fastmesh._core.wire.http1_head cimport (
    HEAD_DROPS, HEAD_MAX_FORWARDS, HEAD_TE_TRAILERS, METHOD_OPTIONS, METHOD_TRACE, Http1Head,
)
from fastmesh._core.wire.http1_write cimport (
    EDIT_CHUNKED, EDIT_DROP_EXPECT, EDIT_DROP_LENGTH, EDIT_FORWARDED, EDIT_MAX_FORWARDS, EDIT_NEVER, EDIT_TE_TRAILERS,
    EDIT_TYPE, EDIT_UPGRADE, EDIT_XFF, EDIT_XFF_REPLACE, HeadEdit, http1_request_write,
)
from fastmesh._core.wire.http2_write cimport block_request_write


cdef void forwarded_edit(Worker* w, const Conn* down, HeadEdit* edit, Text* client) noexcept nogil:
    cdef const Policy* policy = &w.snap.policy
    if policy.forwarded == 0:
        return
    if down.family == AF_INET or down.family == AF_INET6:
        text_ip(client, down.family, down.address)
    else:
        # A client on a Unix socket has no address (RFC 7239 6.2).
        text_str(client, "unknown")
    edit.client = client.data
    edit.client_len = client.n
    if policy.forwarded & 1:
        edit.flags |= EDIT_XFF
    if policy.forwarded & 2:
        edit.flags |= EDIT_FORWARDED
    if policy.forwarded_replace:
        edit.flags |= EDIT_XFF_REPLACE


# An HTTP/1.0 request may come without Host, but an HTTP/1.1 server wants one: the endpoint is named.
cdef void host_edit(Worker* w, const Exchange* x, HeadEdit* edit) noexcept nogil:
    cdef const u8* name
    cdef u32 n = 0
    if not x.flags & EX_HTTP10:
        return
    name = upstream_name(w, x.slot, x.slot_gen, &n)
    if name == NULL:
        return
    edit.host = name
    edit.host_len = n
    if n > 5 and memcmp(edit.host, <const u8*>"unix:", 5) == 0:
        edit.host = <const u8*>"localhost"
        edit.host_len = 9


# From gRPC-Web to gRPC: Content-Type without "-web" and "-text", whose formats and parameters stay; no length, for text has
# another.
cdef void web_edit(Worker* w, const u8* data, HeadEdit* edit) noexcept nogil:
    cdef i32 at = -1
    cdef WebMedia media = web_media(&w.head, data, &at)
    cdef u32 own = web_media_bytes(media)
    if media == WEB_NONE:
        return
    w.head.fields[at].drop = 1
    w.head.flags |= HEAD_DROPS
    edit.type = b"application/grpc"
    edit.type_off = w.head.fields[at].value_off + own
    edit.type_len = w.head.fields[at].value_len - own
    edit.flags |= EDIT_TYPE | EDIT_TE_TRAILERS | EDIT_DROP_LENGTH


cdef i64 request_compose(Worker* w, Exchange* x, const Conn* down, const Conn* up) noexcept nogil:
    cdef HeadEdit edit
    cdef u8[64] space
    cdef Text client
    cdef const Http1Head* head = &w.head
    cdef Session* s
    memset(&edit, 0, sizeof(HeadEdit))
    text_init(&client, space, 64)
    if x.offered_len:
        edit.flags |= EDIT_UPGRADE
    if head.flags & HEAD_TE_TRAILERS:
        edit.flags |= EDIT_TE_TRAILERS
    if head.minor == 0:
        # It does not know 1xx; its Expect is ignored (RFC 9110 10.1.1).
        edit.flags |= EDIT_DROP_EXPECT
    if head.flags & HEAD_MAX_FORWARDS and (x.method == METHOD_TRACE or x.method == METHOD_OPTIONS):
        edit.flags |= EDIT_MAX_FORWARDS
        edit.max_forwards = head.max_forwards - 1
    if x.request.wrap:
        edit.flags |= EDIT_CHUNKED
    if x.flags & EX_NEVER:
        edit.flags |= EDIT_NEVER
    if x.flags & EX_WEB:
        web_edit(w, buf_head(&down.inb), &edit)
    if w.snap.policy.via_len:
        edit.via = w.snap.blob + w.snap.policy.via_off
        edit.via_len = w.snap.policy.via_len
    edit.received_http2 = 1 if x.flags & EX_HTTP2 else 0
    host_edit(w, x, &edit)
    forwarded_edit(w, down, &edit, &client)
    if up.id:
        s = session_of(w, up)
        return block_request_write(&s.encoder, w.scratch, SCRATCH_BYTES - SMALL_BODY_BYTES, head, buf_head(&down.inb),
                                   &edit) if s != NULL else IO
    return http1_request_write(w.scratch, SCRATCH_BYTES - SMALL_BODY_BYTES, head, buf_head(&down.inb), &edit)
