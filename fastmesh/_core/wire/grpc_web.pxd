# gRPC-Web (grpc.io, PROTOCOL-WEB.md): media types, the edges of messages, the text form.
# Law: whole == byte-by-byte == every split; what is encoded decodes to itself; nothing is kept of the bytes but where they
# stand, so a call that could not take them all is repeated with the rest.
from fastmesh._core.base.types cimport i32, u8, u32
from fastmesh._core.wire.http1_types cimport Http1Head

cdef enum:
    WEB_FRAME_BYTES = 5     # flags and length before each message
    WEB_TRAILERS = 0x80     # flag of the frame that has the trailers
    WEB_UNIT = 4            # characters of base64, for three bytes
    WEB_GRPC_BYTES = 16     # of application/grpc

cdef enum WebMedia:
    WEB_NONE = 0            # no gRPC-Web
    WEB_BINARY              # application/grpc-web
    WEB_TEXT                # application/grpc-web-text

# Bytes of a Content-Type that say so: the rest is its format and parameters.
cdef inline u32 web_media_bytes(WebMedia media) noexcept nogil:
    return 25 if media == WEB_TEXT else 20 if media == WEB_BINARY else 0

# Where a stream of messages stands. All zero: between two of them.
ctypedef struct WebFrames:
    u32 left                # bytes of the payload; of its length what was read, before that is whole
    u8 have                 # bytes read of the frame's header, WEB_FRAME_BYTES inside the payload

# Which of them the Content-Type of this request is, whatever format and parameters follow. *type: index of that field.
cdef WebMedia web_media(const Http1Head* head, const u8* data, i32* type) noexcept nogil
# Whether the answer is to be text: what Accept names, the request's own form when it names neither.
cdef bint web_wants_text(const Http1Head* head, const u8* data, WebMedia request) noexcept nogil
# Index of the Content-Type of a gRPC response, -1: it is none.
cdef i32 web_grpc_type(const Http1Head* head, const u8* data) noexcept nogil

# Goes on over n bytes of messages.
cdef void web_frames_pass(WebFrames* f, const u8* data, size_t n) noexcept nogil
cdef inline bint web_between(const WebFrames* f) noexcept nogil:
    return f.have == 0
# The header of a frame.
cdef void web_frame_write(u8* out, u8 flags, u32 n) noexcept nogil

# Whether text is base64, padded wherever it likes: OK, or BAD. *state: 0 at first; again 0 where it may end.
cdef int web_text_scan(u8* state, const u8* text, size_t n) noexcept nogil
# Whole units of text that was found lawful, as bytes, while they fit. *used: characters. Bytes written.
cdef size_t web_text_decode(const u8* text, size_t n, u8* out, size_t room, size_t* used) noexcept nogil
# Messages as text, padded at the end of each, so that a receiver has all of it; whole units while they fit. Up to two bytes
# of a message that goes on stay behind unless this is the last. *used: bytes. Characters written.
cdef size_t web_text_encode(WebFrames* f, const u8* data, size_t n, bint last, u8* out, size_t room,
                            size_t* used) noexcept nogil
