# HTTP/1 heads out: a parsed head and an edit become bytes. Untouched runs of fields are copied whole.
# Law: write then parse == identity on everything the edit does not name. Never writes past out[room-1].
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64
from fastmesh._core.wire.http1_head cimport Http1Head

cdef enum EditFlag:
    EDIT_CLOSE = 1           # add Connection: close
    EDIT_KEEP_ALIVE = 2      # add Connection: keep-alive (an HTTP/1.0 client that asked for it)
    EDIT_UPGRADE = 4         # forward Upgrade with Connection: Upgrade
    EDIT_DROP_CODING = 8     # leave out Transfer-Encoding and Trailer (chunks are being undone)
    EDIT_DROP_LENGTH = 16    # leave out Content-Length (204, 1xx, 2xx to CONNECT)
    EDIT_DROP_EXPECT = 32    # leave out Expect
    EDIT_TE_TRAILERS = 64    # add TE: trailers and name TE in Connection
    EDIT_MAX_FORWARDS = 128  # write Max-Forwards as max_forwards instead of what came
    EDIT_FORWARDED = 256     # add an element to Forwarded (RFC 7239)
    EDIT_XFF = 512           # add client to X-Forwarded-For; X-Forwarded-Proto where none came (or none is trusted)
    EDIT_XFF_REPLACE = 1024  # with EDIT_XFF / EDIT_FORWARDED: what the client sent is left out, not added to
    EDIT_CHUNKED = 2048      # add Transfer-Encoding: chunked (a body of unknown length that came by HTTP/2); HTTP/1 only
    EDIT_NEVER = 4096        # every field as a never-indexed literal; HTTP/2 only

ctypedef struct HeadEdit:
    u32 flags                # EditFlag
    const u8* via            # borrows config for the call: the pseudonym for Via, NULL for none
    u32 via_len
    const u8* host           # borrows config for the call: Host of an HTTP/1.0 request that came without; NULL: empty
    u32 host_len
    const u8* client         # borrows the connection for the call: text of the client's IP address, no brackets
    u32 client_len
    const u8* date           # response: borrows the worker's clock text (29 bytes), written when Date is missing
    u8 https                 # 1: the client came by TLS
    u8 max_forwards

# Bytes written, or FULL. Request: always HTTP/1.1, origin form ("*" for OPTIONS, authority form for CONNECT); for an
# absolute target Host becomes its authority. Existing Via is kept and ours appended as one more line.
cdef i64 http1_request_write(u8* out, size_t room, const Http1Head* head, const u8* data,
                             const HeadEdit* edit) noexcept nogil
cdef i64 http1_response_write(u8* out, size_t room, const Http1Head* head, const u8* data,
                              const HeadEdit* edit) noexcept nogil
# The trailer section without dropped fields, with its empty line.
cdef i64 http1_trailers_write(u8* out, size_t room, const Http1Head* head, const u8* data) noexcept nogil
# A proxy-made response with a text/plain body. `error` goes to the fastmesh-error field and the body.
cdef i64 http1_error_write(u8* out, size_t room, u16 status, const u8* error, size_t error_len, const u8* date,
                           bint close, bint head_only) noexcept nogil
