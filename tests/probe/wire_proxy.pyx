"""Shows the PROXY protocol to the tests. Input lies as in wire_sniff."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.types cimport i64, u8, u16
from fastmesh._core.wire.proxy_protocol cimport (
    PROXY_INET, PROXY_INET6, PROXY_NONE, PROXY_PATH_BYTES, PROXY_UNIX, ProxyHeader, proxy_parse, proxy_v1_write,
    proxy_v2_write,
)


cdef u8* exact(bytes data) except NULL:
    cdef size_t n = <size_t>len(data)
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const u8*>data, n)
    return copy


def proxy_at(size_t at, size_t n):
    """(bytes, version, family, local, datagram, source, source port, destination, destination port), or the status."""
    cdef ProxyHeader h
    cdef int rc
    cdef size_t size
    memset(&h, 0xA5, sizeof(h))
    rc = proxy_parse(&h, <const u8*>at, n)
    if rc != 0:
        return rc
    size = {PROXY_NONE: 0, PROXY_UNIX: PROXY_PATH_BYTES, PROXY_INET: 4, PROXY_INET6: 16}[h.family]
    source, destination = (<char*>h.source)[:PROXY_PATH_BYTES], (<char*>h.destination)[:PROXY_PATH_BYTES]
    assert not any(source[size:]) and not any(destination[size:])
    return (h.bytes, h.version, h.family, bool(h.local), bool(h.datagram), source[:size], h.source_port,
            destination[:size], h.destination_port)


def proxy(bytes data):
    cdef u8* copy = exact(data)
    found = proxy_at(<size_t>copy, <size_t>len(data))
    free(copy)
    return found


def proxy_write(int version, int family=0, bint local=False, bint datagram=False, bytes source=b"", int source_port=0,
                bytes destination=b"", int destination_port=0, size_t room=232, size_t out_at=0):
    """The header's bytes, or the status."""
    cdef ProxyHeader h
    cdef u8[232] space
    cdef u8* out = <u8*>out_at if out_at else space
    cdef i64 rc
    memset(&h, 0, sizeof(h))
    h.family = <u8>family
    h.local = local
    h.datagram = datagram
    h.source_port = <u16>source_port
    h.destination_port = <u16>destination_port
    assert len(source) <= PROXY_PATH_BYTES and len(destination) <= PROXY_PATH_BYTES
    memcpy(h.source, <const u8*>source, <size_t>len(source))
    memcpy(h.destination, <const u8*>destination, <size_t>len(destination))
    rc = proxy_v1_write(out, room, &h) if version == 1 else proxy_v2_write(out, room, &h)
    return rc if rc < 0 else (<char*>out)[:rc]
