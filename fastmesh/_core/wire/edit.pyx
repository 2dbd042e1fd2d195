from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.wire.edit cimport EDIT_XFF_REPLACE, XFF_CHAIN, XFF_PROTO, HeadEdit
from fastmesh._core.wire.headers cimport FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO, Field
from fastmesh._core.wire.http1_types cimport Http1Head
from fastmesh._core.wire.out cimport Out, put, put_text


cdef void put_forwarded(Out* out, const HeadEdit* edit) noexcept nogil:
    """An IPv6 address in brackets and quotes (RFC 7239 6)."""
    cdef bint v6 = False
    cdef u32 i
    for i in range(edit.client_len):
        v6 |= edit.client[i] == 0x3A
    put_text(out, b'for="[' if v6 else b"for=")
    if edit.client_len:
        put(out, edit.client, edit.client_len)
    else:
        put_text(out, b"unknown")
    if v6:
        put_text(out, b']"')
    put_text(out, b";proto=https" if edit.https else b";proto=http")


cdef u32 put_xff(Out* out, const char* before, const Http1Head* head, const u8* data,
                 const HeadEdit* edit) noexcept nogil:
    """What came, and the client, as one line: many receivers read only one. Without a client address, what came."""
    cdef const Field* field
    cdef const char* between = before
    cdef bint proto = False
    cdef u16 i
    for i in range(head.nfields):
        field = &head.fields[i]
        if edit.flags & EDIT_XFF_REPLACE or field.drop:
            continue
        proto |= field.id == FIELD_X_FORWARDED_PROTO
        if field.id == FIELD_X_FORWARDED_FOR and field.value_len:
            put_text(out, between)
            put(out, data + field.value_off, field.value_len)
            between = b", "
    if edit.client_len:
        put_text(out, between)
        put(out, edit.client, edit.client_len)
        between = b", "
    return (<u32>0 if proto else <u32>XFF_PROTO) | (<u32>XFF_CHAIN if between != before else <u32>0)
