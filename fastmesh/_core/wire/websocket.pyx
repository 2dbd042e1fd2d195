from libc.string cimport memcpy, memset
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.ffi.atomic cimport meter_add, meter_read

cdef enum:
    GUID_BYTES = 36
    BLOCK_BYTES = 64

cdef const char* GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
cdef const char* BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# Keys made by all workers. Two that count at once may lose one: their seeds differ.
cdef u64 made = 0
cdef u64 GOLDEN = 0x9E3779B97F4A7C15

# SHA-1 (FIPS 180-4 6.1). RFC 6455 asks for it and for nothing that SHA-1 no longer gives.
ctypedef struct Sha1:
    u32 state[5]
    u64 total           # bytes taken
    u8 pending[BLOCK_BYTES]


cdef inline u32 rotate(u32 value, u32 bits) noexcept nogil:
    return (value << bits) | (value >> (32 - bits))


cdef inline u32 word_at(const u8* p) noexcept nogil:
    return <u32>p[0] << 24 | <u32>p[1] << 16 | <u32>p[2] << 8 | p[3]


cdef inline u32 mixed(u32 i, u32 b, u32 c, u32 d) noexcept nogil:
    """The function and constant of round i."""
    if i < 20:
        return ((b & c) | (~b & d)) + <u32>0x5A827999
    if i < 40:
        return (b ^ c ^ d) + <u32>0x6ED9EBA1
    if i < 60:
        return ((b & c) | (b & d) | (c & d)) + <u32>0x8F1BBCDC
    return (b ^ c ^ d) + <u32>0xCA62C1D6


cdef void sha1_block(Sha1* s, const u8* p) noexcept nogil:
    cdef u32[80] w
    cdef u32 a = s.state[0], b = s.state[1], c = s.state[2], d = s.state[3], e = s.state[4], next, i
    for i in range(16):
        w[i] = word_at(p + 4 * i)
    for i in range(16, 80):
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1)
    for i in range(80):
        next = rotate(a, 5) + mixed(i, b, c, d) + e + w[i]
        e = d
        d = c
        c = rotate(b, 30)
        b = a
        a = next
    s.state[0] += a
    s.state[1] += b
    s.state[2] += c
    s.state[3] += d
    s.state[4] += e


cdef void sha1_init(Sha1* s) noexcept nogil:
    memset(s, 0, sizeof(Sha1))
    s.state[0] = 0x67452301
    s.state[1] = 0xEFCDAB89
    s.state[2] = 0x98BADCFE
    s.state[3] = 0x10325476
    s.state[4] = 0xC3D2E1F0


cdef void sha1_take(Sha1* s, const u8* p, size_t n) noexcept nogil:
    cdef size_t held = <size_t>(s.total % BLOCK_BYTES), take
    s.total += n
    while n:
        take = BLOCK_BYTES - held
        if take > n:
            take = n
        memcpy(s.pending + held, p, take)
        held += take
        p += take
        n -= take
        if held == BLOCK_BYTES:
            sha1_block(s, s.pending)
            held = 0


cdef void sha1_end(Sha1* s, u8* out) noexcept nogil:
    """20 bytes. The padding: a one bit, zeros, and the length in bits."""
    cdef u8[72] padding
    cdef u64 bits = s.total * 8
    cdef size_t held = <size_t>(s.total % BLOCK_BYTES), zeros = (119 - held) % BLOCK_BYTES, i
    memset(padding, 0, 72)
    padding[0] = 0x80
    for i in range(8):
        padding[1 + zeros + i] = <u8>(bits >> (56 - 8 * i))
    sha1_take(s, padding, 1 + zeros + 8)
    for i in range(20):
        out[i] = <u8>(s.state[i // 4] >> (24 - 8 * (i % 4)))


cdef void base64_put(const u8* p, size_t n, u8* out) noexcept nogil:
    """4 * ceil(n / 3) bytes (RFC 4648 4)."""
    cdef size_t i = 0, left
    cdef u32 bits
    while i < n:
        left = n - i
        bits = <u32>p[i] << 16
        if left > 1:
            bits |= <u32>p[i + 1] << 8
        if left > 2:
            bits |= p[i + 2]
        out[0] = <u8>BASE64[bits >> 18]
        out[1] = <u8>BASE64[(bits >> 12) & 63]
        out[2] = <u8>BASE64[(bits >> 6) & 63] if left > 1 else <u8>0x3D
        out[3] = <u8>BASE64[bits & 63] if left > 2 else <u8>0x3D
        out += 4
        i += 3


cdef void websocket_accept(const u8* key, size_t n, u8* out) noexcept nogil:
    cdef Sha1 s
    cdef u8[20] digest
    sha1_init(&s)
    sha1_take(&s, key, n)
    sha1_take(&s, <const u8*>GUID, GUID_BYTES)
    sha1_end(&s, digest)
    base64_put(digest, 20, out)


cdef inline u64 spread(u64 x) noexcept nogil:
    """The finalizer of SplitMix64: every bit of x moves every bit of the answer."""
    x = (x ^ (x >> 30)) * <u64>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <u64>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef void websocket_key(u64 seed, u8* out) noexcept nogil:
    cdef u64[2] bits
    meter_add(&made, 1)
    bits[0] = spread(seed + meter_read(&made) * GOLDEN)
    bits[1] = spread(bits[0] + GOLDEN)
    base64_put(<const u8*>bits, 16, out)
