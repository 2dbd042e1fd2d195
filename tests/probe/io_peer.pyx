"""The peers of a worker in a fuzzer's process: what they can say, and what they look at in what they hear."""
from libc.stdlib cimport malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from fastmesh._core.ffi.linux cimport sys_close, sys_recv, sys_send
from fastmesh._core.wire.http2_frame cimport (
    FLAG_END_HEADERS, FLAG_END_STREAM, FRAME_DATA, FRAME_HEADERS, FRAME_PAYLOAD_LEAST, FRAME_SETTINGS,
    PREFACE_BYTES, Frame, frame_read, frame_write, preface,
)

cdef enum:
    READ_BYTES = 1 << 16
    PAYLOAD_MOST = 1 << 16

cdef u8* space = <u8*>malloc(READ_BYTES)
cdef u8* outgoing = <u8*>malloc(PAYLOAD_MOST + 9)


cdef void block(const char** table, u32* lengths, u32 i, const char* text, u32 n) noexcept nogil:
    table[i] = text
    lengths[i] = n


# Header blocks from the static table, so that any of them may come at any time.
cdef void blocks_init() noexcept nogil:
    block(REQUESTS, REQUEST_N, 0, b"\x82\x86\x84\x41\x01a", 6)
    block(REQUESTS, REQUEST_N, 1, b"\x83\x86\x84\x41\x01a", 6)
    block(REQUESTS, REQUEST_N, 2, b"\x83\x86\x84\x41\x01a\x0f\x0d\x0210", 10)
    block(REQUESTS, REQUEST_N, 3, b"\x83\x86\x84\x41\x01a\x0f\x10\x10" b"application/grpc\x00\x02te\x08trailers", 38)
    block(REQUESTS, REQUEST_N, 4, b"\x02\x07" b"CONNECT\x41\x01a", 12)
    block(REQUESTS, REQUEST_N, 5, b"\x02\x07" b"CONNECT\x86\x84\x41\x01a\x00\x09:protocol\x09websocket", 35)
    block(REQUESTS, REQUEST_N, 6, b"\x00\x01x\x01y", 5)
    block(REQUESTS, REQUEST_N, 7, b"\x02\x04HEAD\x86\x84\x41\x01a", 11)
    block(RESPONSES, RESPONSE_N, 0, b"\x88", 1)
    block(RESPONSES, RESPONSE_N, 1, b"\x88\x0f\x0d\x015", 5)
    block(RESPONSES, RESPONSE_N, 2, b"\x89", 1)
    block(RESPONSES, RESPONSE_N, 3, b"\x08\x03" b"103", 5)
    block(RESPONSES, RESPONSE_N, 4, b"\x88\x0f\x10\x10" b"application/grpc", 20)
    block(RESPONSES, RESPONSE_N, 5, b"\x00\x0b" b"grpc-status\x01" b"0", 15)
    block(RESPONSES, RESPONSE_N, 6, b"\x8b", 1)
    block(RESPONSES, RESPONSE_N, 7, b"\x10\x01x\x01y", 5)


cdef void texts_init() noexcept nogil:
    CLIENT_TEXTS[0] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    CLIENT_TEXTS[1] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    CLIENT_TEXTS[2] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    CLIENT_TEXTS[3] = b"5\r\nhello\r\n"
    CLIENT_TEXTS[4] = b"0\r\nx: y\r\n\r\n"
    CLIENT_TEXTS[5] = b"0\r\n\r\n"
    CLIENT_TEXTS[6] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    CLIENT_TEXTS[7] = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
    ORIGIN_TEXTS[0] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    ORIGIN_TEXTS[1] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ORIGIN_TEXTS[2] = b"5\r\nhello\r\n"
    ORIGIN_TEXTS[3] = b"0\r\nx: y\r\n\r\n"
    ORIGIN_TEXTS[4] = b"0\r\n\r\n"
    ORIGIN_TEXTS[5] = b"HTTP/1.1 200 OK\r\n\r\n"
    ORIGIN_TEXTS[6] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    ORIGIN_TEXTS[7] = b"HTTP/1.1 103 Early Hints\r\n\r\n"


cdef void peer_init(Peer* p, bint origin) noexcept nogil:
    cdef int law = p.law
    cdef u8 helpful = p.helpful
    memset(p, 0, sizeof(Peer))
    p.fd = -1
    p.origin = <u8>origin
    p.helpful = helpful
    p.law = law


cdef void peer_send(Peer* p, const u8* data, size_t n) noexcept nogil:
    # What does not fit is lost: that is an input too.
    if p.fd >= 0 and n:
        sys_send(p.fd, data, n)


cdef void peer_frame(Peer* p, u8 type, u8 flags, u32 id, const u8* payload, u32 n) noexcept nogil:
    if n > PAYLOAD_MOST:
        n = PAYLOAD_MOST
    frame_write(outgoing, n, type, flags, id)
    if n:
        memcpy(outgoing + 9, payload, n)
    peer_send(p, outgoing, n + 9)


cdef void peer_close(Peer* p) noexcept nogil:
    if p.fd >= 0:
        sys_close(p.fd)
    peer_init(p, p.origin)


cdef void answer(Peer* p, u32 id) noexcept nogil:
    peer_frame(p, FRAME_HEADERS, FLAG_END_HEADERS, id, <const u8*>RESPONSES[0], RESPONSE_N[0])
    peer_frame(p, FRAME_DATA, FLAG_END_STREAM, id, <const u8*>b"hello", 5)


# The head of a frame that the worker wrote.
cdef void frame_seen(Peer* p) noexcept nogil:
    cdef Frame f
    cdef u64 bit
    frame_read(p.head, &f)
    p.skip = f.n
    bit = <u64>1 << ((f.stream >> 1) & 63)
    if f.n > FRAME_PAYLOAD_LEAST:
        p.law = 20
    if not p.origin or f.stream >= 128:
        return
    if f.type == FRAME_HEADERS and not p.seen & bit:
        # RFC 9113 5.1.1: a stream's id is above those of all that began before.
        if f.stream < p.top or not f.stream & 1:
            p.law = 21
        p.top = f.stream
        p.seen |= bit
        if p.helpful:
            answer(p, f.stream)
    elif f.stream and not p.seen & bit:
        # Nothing may be said of a stream that is idle (RFC 9113 5.1).
        p.law = 22


cdef void frames_scan(Peer* p, const u8* data, size_t n) noexcept nogil:
    cdef size_t most
    while n:
        most = n if n < p.skip else p.skip
        if most == 0 and p.have < 9:
            p.head[p.have] = data[0]
            p.have += 1
            most = 1
        elif p.skip:
            p.skip -= <u32>most
        data += most
        n -= most
        if p.have == 9:
            p.have = 0
            frame_seen(p)


cdef void peer_read(Peer* p) noexcept nogil:
    cdef long n
    while p.fd >= 0 and not p.deaf:
        n = sys_recv(p.fd, space, READ_BYTES)
        if n <= 0:
            return
        if p.origin and p.top == 0 and n >= PREFACE_BYTES and memcmp(space, preface(), PREFACE_BYTES) == 0:
            p.http2 = 1
            p.skip = PREFACE_BYTES
            p.top = 1
            peer_frame(p, FRAME_SETTINGS, 0, 0, NULL, 0)
        if not p.origin and p.top == 0 and n >= 6 and memcmp(space, <const u8*>b"HTTP/1", 6) == 0:
            # It had no buffer to read the client's preface into.
            p.http2 = 0
        if p.http2:
            p.top = p.top if p.top else 1
            frames_scan(p, space, <size_t>n)
        elif p.origin and p.helpful:
            peer_send(p, <const u8*>ORIGIN_TEXTS[0], strlen(ORIGIN_TEXTS[0]))


blocks_init()
texts_init()
