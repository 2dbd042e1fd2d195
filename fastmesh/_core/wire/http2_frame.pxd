# HTTP/2 frames (RFC 9113 4 and 6): the nine bytes before every payload, read and written; names of types, flags, errors.
# Law: a frame header says what it says; what is lawful on which stream is io/session's matter.
from libc.string cimport memcmp

from fastmesh._core.base.status cimport AGAIN, BAD, OK
from fastmesh._core.base.types cimport u8, u16, u32, i64

cdef enum:
    FRAME_HEADER_BYTES = 9
    FRAME_PAYLOAD_LEAST = 16384     # SETTINGS_MAX_FRAME_SIZE as it begins, and all we accept
    WINDOW_FIRST = 65535            # RFC 9113 6.9.2
    WINDOW_MOST = 0x7FFFFFFF
    PREFACE_BYTES = 24

cdef enum FrameType:
    FRAME_DATA = 0
    FRAME_HEADERS
    FRAME_PRIORITY
    FRAME_RST_STREAM
    FRAME_SETTINGS
    FRAME_PUSH_PROMISE
    FRAME_PING
    FRAME_GOAWAY
    FRAME_WINDOW_UPDATE
    FRAME_CONTINUATION

cdef enum FrameFlag:
    FLAG_ACK = 1
    FLAG_END_STREAM = 1
    FLAG_END_HEADERS = 4
    FLAG_PADDED = 8
    FLAG_PRIORITY = 32

cdef enum SettingId:
    SETTING_HEADER_TABLE_SIZE = 1
    SETTING_ENABLE_PUSH
    SETTING_MAX_CONCURRENT_STREAMS
    SETTING_INITIAL_WINDOW_SIZE
    SETTING_MAX_FRAME_SIZE
    SETTING_MAX_HEADER_LIST_SIZE
    SETTING_ENABLE_CONNECT_PROTOCOL = 8     # RFC 8441

cdef enum Http2Error:
    H2_NO_ERROR = 0
    H2_PROTOCOL_ERROR
    H2_INTERNAL_ERROR
    H2_FLOW_CONTROL_ERROR
    H2_SETTINGS_TIMEOUT
    H2_STREAM_CLOSED
    H2_FRAME_SIZE_ERROR
    H2_REFUSED_STREAM
    H2_CANCEL
    H2_COMPRESSION_ERROR
    H2_CONNECT_ERROR
    H2_ENHANCE_YOUR_CALM
    H2_INADEQUATE_SECURITY
    H2_HTTP_1_1_REQUIRED

ctypedef struct Frame:
    u32 n               # payload bytes
    u32 stream          # the reserved bit is left out (RFC 9113 4.1)
    u8 type             # FrameType, or one we do not know
    u8 flags            # FrameFlag

cdef inline u32 be32(const u8* p) noexcept nogil:
    return (<u32>p[0] << 24) | (<u32>p[1] << 16) | (<u32>p[2] << 8) | p[3]

cdef inline u16 be16(const u8* p) noexcept nogil:
    return <u16>((<u32>p[0] << 8) | p[1])

cdef inline void put32(u8* p, u32 v) noexcept nogil:
    p[0] = <u8>(v >> 24)
    p[1] = <u8>(v >> 16)
    p[2] = <u8>(v >> 8)
    p[3] = <u8>v

# Reads FRAME_HEADER_BYTES at p.
cdef inline void frame_read(const u8* p, Frame* f) noexcept nogil:
    f.n = (<u32>p[0] << 16) | (<u32>p[1] << 8) | p[2]
    f.type = p[3]
    f.flags = p[4]
    f.stream = be32(p + 5) & 0x7FFFFFFF

# Writes FRAME_HEADER_BYTES at p.
cdef inline void frame_write(u8* p, u32 n, u8 type, u8 flags, u32 stream) noexcept nogil:
    p[0] = <u8>(n >> 16)
    p[1] = <u8>(n >> 8)
    p[2] = <u8>n
    p[3] = type
    p[4] = flags
    put32(p + 5, stream)

# What a client sends first (RFC 9113 3.4): PREFACE_BYTES.
cdef inline const u8* preface() noexcept nogil:
    return <const u8*>b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Whether the n bytes are the beginning of the client's preface (RFC 9113 3.4): OK all of it, AGAIN so far, BAD not.
cdef inline int preface_match(const u8* p, size_t n) noexcept nogil:
    cdef size_t seen = n if n < PREFACE_BYTES else <size_t>PREFACE_BYTES
    if memcmp(p, preface(), seen) != 0:
        return BAD
    return OK if n >= PREFACE_BYTES else AGAIN
