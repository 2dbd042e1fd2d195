# What the snapshot says of an original destination. Law: an address is looked up by its key alone, which is canonical: a mapped
# IPv4 address is an IPv4 address.
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.routing.snapshot cimport Snapshot

cdef enum:
    PROTOCOL_NONE = 0xFF

# family: 4 or 6; port in host order.
cdef void address_key(u8* key, u8 family, const u8* address, u16 port) noexcept nogil
# The backend that has the address among its endpoints, else the last: there and nowhere else.
cdef u32 original_backend(const Snapshot* s, const u8* key) noexcept nogil
# The ListenerProtocol that is set for it; PROTOCOL_NONE: the listener's.
cdef u8 original_protocol(const Snapshot* s, const u8* key) noexcept nogil
