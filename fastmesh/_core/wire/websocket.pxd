# The opening handshake's key and its answer (RFC 6455 4), for upgrades that cross HTTP/2, where there is neither.
from fastmesh._core.base.types cimport u8, u64

cdef enum:
    WEBSOCKET_KEY_BYTES = 24
    WEBSOCKET_ACCEPT_BYTES = 28

# Sec-WebSocket-Accept of a key (RFC 6455 4.2.2): 28 bytes.
cdef void websocket_accept(const u8* key, size_t n, u8* out) noexcept nogil
# A Sec-WebSocket-Key, 24 bytes, another each time. It needs no secrecy: by its answer a client sees that the other side has
# read this request and speaks WebSocket (RFC 6455 1.3), and the client is this proxy. seed: whatever tells workers apart.
cdef void websocket_key(u64 seed, u8* out) noexcept nogil
