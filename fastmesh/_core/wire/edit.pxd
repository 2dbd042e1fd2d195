# What a hop changes in a head, whichever form it goes out in: the fields that stay behind and the values that are added.
# Law: nothing here knows how a field is written; a writer asks here what and writes it its own way.
from fastmesh._core.base.types cimport u8, u16, u32
from fastmesh._core.wire.headers cimport (
    FIELD_CONTENT_LENGTH, FIELD_EXPECT, FIELD_FORWARDED, FIELD_HOST, FIELD_MAX_FORWARDS, FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO,
)
from fastmesh._core.wire.http1_types cimport HEAD_UPGRADE, Http1Head
from fastmesh._core.wire.out cimport Out
from fastmesh._core.wire.token cimport is_word

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
    EDIT_CHUNKED = 2048      # frame the body by Transfer-Encoding: chunked, and by nothing else (a body of unknown length
                             # that came by HTTP/2); HTTP/1 only
    EDIT_TYPE = 8192         # add a Content-Type; the one that came is to be dropped by the caller
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
    const char* type         # EDIT_TYPE: a static media type, and bytes of the head that follow it
    u32 type_off
    u32 type_len
    u8 https                 # 1: the client came by TLS
    u8 max_forwards
    u8 received_http2        # 1: the head came by HTTP/2, which Via says (RFC 9110 7.6.3)

cdef enum:
    DATE_BYTES = 29         # IMF-fixdate (RFC 9110 5.6.7)
    XFF_CHAIN = 1           # put_xff wrote a value
    XFF_PROTO = 2           # X-Forwarded-Proto is to be added

cdef inline u32 bits_if(u32 flags, u32 all_of, u32 bits) noexcept nogil:
    """bits when every one of those flags is set, else none; as arithmetic, for -O3 makes a maze of such branches."""
    return bits & (<u32>0 - <u32>((flags & all_of) == all_of))

# Bit per FieldId that an edit with these flags leaves out or writes anew.
cdef inline u32 edit_drops(u32 flags, bint new_host) noexcept nogil:
    return (
        bits_if(flags, EDIT_DROP_CODING, 1 << FIELD_TRANSFER_ENCODING | 1 << FIELD_TRAILER)
        | bits_if(flags, EDIT_DROP_LENGTH, 1 << FIELD_CONTENT_LENGTH)
        | bits_if(flags, EDIT_CHUNKED, 1 << FIELD_TRANSFER_ENCODING | 1 << FIELD_CONTENT_LENGTH)
        | bits_if(flags, EDIT_DROP_EXPECT, 1 << FIELD_EXPECT)
        | bits_if(flags, EDIT_MAX_FORWARDS, 1 << FIELD_MAX_FORWARDS)
        | bits_if(flags, EDIT_XFF, 1 << FIELD_X_FORWARDED_FOR)
        | bits_if(flags, EDIT_XFF | EDIT_XFF_REPLACE, 1 << FIELD_X_FORWARDED_PROTO)
        | bits_if(flags, EDIT_FORWARDED | EDIT_XFF_REPLACE, 1 << FIELD_FORWARDED)
        | <u32>new_host << FIELD_HOST
    )

# The flags that apply: without an upgrade in the head there is none to forward.
cdef inline u32 edit_flags(const HeadEdit* edit, const Http1Head* head) noexcept nogil:
    return edit.flags if head.flags & HEAD_UPGRADE else edit.flags & ~<u32>EDIT_UPGRADE

# The received-protocol of Via with its blank.
cdef inline const char* via_version(const HeadEdit* edit, const Http1Head* head) noexcept nogil:
    return b"2.0 " if edit.received_http2 else b"1.1 " if head.minor else b"1.0 "

# Whether an upgrade token is h2c, with or without a version: such an offer ends at this hop.
cdef inline bint is_h2c(const u8* p, size_t n) noexcept nogil:
    return is_word(p, 3 if n > 3 and p[3] == 0x2F else n, b"h2c")

# One element for Forwarded (RFC 7239 4).
cdef void put_forwarded(Out* out, const HeadEdit* edit) noexcept nogil
# The value of X-Forwarded-For, after `before` when there is one: XFF_* bits.
cdef u32 put_xff(Out* out, const char* before, const Http1Head* head, const u8* data,
                 const HeadEdit* edit) noexcept nogil
