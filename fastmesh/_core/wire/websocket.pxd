# The opening handshake's key and its answer (RFC 6455 4), for upgrades that cross HTTP/2, where there is neither.
from fastmesh._core.base.types cimport u8, u64

cdef enum:
    WEBSOCKET_KEY_BYTES = 24
    WEBSOCKET_ACCEPT_BYTES = 28

# Sec-WebSocket-Accept of a key (RFC 6455 4.2.2): 28 bytes.
cdef void websocket_accept(const u8* key, size_t n, u8* out) noexcept nogil
# A Sec-WebSocket-Key from a seed: 24 bytes. It needs no secrecy: it shows a client that whoever answers has read this
# request and speaks WebSocket, and this client is us. Any value that differs from the last one does that.
cdef void websocket_key(u64 seed, u8* out) noexcept nogil
