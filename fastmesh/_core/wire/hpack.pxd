# HPACK (RFC 7541): header blocks into fields, fields into header blocks, and the dynamic table of each direction.
# Law: read(write(fields)) == fields with both tables equal after every block; a decoder that refused a block is of no more
# use (the connection ends with COMPRESSION_ERROR).
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64

cdef enum:
    HPACK_TABLE_BYTES = 4096        # what we advertise and what we use of a peer's at most (RFC 7541 4.1 sizes)
    HPACK_ENTRIES = 128             # 4096 / 32
    HPACK_TEXT_BYTES = 8192         # twice the table: entries stay in one piece, and are moved to the front now and then
    HPACK_SLOTS = 256               # of each of the encoder's two indices
    HPACK_SEEN = 64                 # literals the encoder remembers
    HPACK_NO_UPDATE = 0x7FFFFFFF

ctypedef struct HpackEntry:
    u16 off             # of the name in text; the value follows it
    u16 name_len
    u16 value_len
    u8 index            # as HpackField.index
    u32 hash            # encoder: of name and value

# Entries are a ring, the newest first by index 62.
ctypedef struct HpackTable:
    u32 size            # RFC 7541 4.1: lengths and 32 for each entry
    u32 size_max        # as the last size update says
    u32 first           # position in entries of the oldest
    u32 count
    u32 text_end        # where the next entry's text goes
    HpackEntry entries[HPACK_ENTRIES]
    u8 text[HPACK_TEXT_BYTES]

ctypedef struct HpackDecoder:
    u32 limit           # SETTINGS_HEADER_TABLE_SIZE that the peer has acknowledged from us; <= HPACK_TABLE_BYTES
    HpackTable table

# A field is found by the hash of what it is, a name that is not static by the hash of the name: the indices say where in the
# ring the newest of a hash was put. What they say is only a hint, an entry is compared before it is believed.
ctypedef struct HpackEncoder:
    u32 pending_min     # smallest size since the last block; HPACK_NO_UPDATE: none is owed
    u32 pending_last
    HpackTable table
    u8 slots[HPACK_SLOTS]           # private
    u8 name_slots[HPACK_SLOTS]      # private
    u16 seen[HPACK_SEEN]            # private: a part of the hash of each of the last literals, a ring
    u32 seen_at                     # private: how many there were

# One field as the decoder gives it. The pointers hold until the next call on the same decoder, or until the block or the
# space they may point into changes.
ctypedef struct HpackField:
    const u8* name
    const u8* value
    u32 name_len
    u32 value_len
    u8 index            # 1..61: the first static entry of this name, however the peer wrote it; 0: no static entry has it
    u8 never            # 1: never-indexed literal: must be written so again (RFC 7541 6.2.3)

# Where a block is read. Zero `at` and `begun` for a new block.
ctypedef struct HpackReader:
    const u8* data      # borrows the caller's bytes
    size_t n
    size_t at
    u8* space           # borrows: where Huffman text is undone, at least `room` bytes
    size_t room         # >= HPACK_TABLE_BYTES: a field that does not fit here does not fit into the table either
    u8 begun            # a field was read: no size update may follow (RFC 7541 4.2)

cdef enum HpackPolicy:
    HPACK_INDEX = 0     # into the dynamic table when that pays
    HPACK_PLAIN         # literal without indexing (or a static entry)
    HPACK_NEVER         # never-indexed

# Where a block is written. Once something did not fit, nothing more is written and `full` stays set.
ctypedef struct HpackOut:
    u8* p
    u8* end
    u8 full

# The table begins at the size `limit`.
cdef void hpack_decoder_init(HpackDecoder* d, u32 limit) noexcept nogil
# OK: *f is the next field. CLOSED: the block is over. BAD: COMPRESSION_ERROR. LIMIT: Huffman text of name and value is longer
# than `room`; the field was passed over (*f is empty), the table is in step and the next call goes on behind it.
cdef int hpack_read(HpackDecoder* d, HpackReader* r, HpackField* f) noexcept nogil
cdef void hpack_encoder_init(HpackEncoder* e) noexcept nogil
# The peer's SETTINGS_HEADER_TABLE_SIZE; at most HPACK_TABLE_BYTES of it are used. The next block says so (RFC 7541 4.2).
cdef void hpack_encoder_limit(HpackEncoder* e, u32 size) noexcept nogil
# Begins a block: size updates that are owed.
cdef void hpack_begin(HpackEncoder* e, HpackOut* out) noexcept nogil
# One field; the name is lower case. The table changes even when the output is full: such a block must not be dropped
# while its connection lives.
cdef void hpack_write(HpackEncoder* e, HpackOut* out, const u8* name, u32 name_len, const u8* value, u32 value_len,
                      u8 policy) noexcept nogil
# Bytes hpack_write may need for one field at most. hpack_begin needs at most 6.
cdef inline size_t hpack_bound(u32 name_len, u32 value_len) noexcept nogil:
    return <size_t>name_len + value_len + 16
