"""Shows HPACK to the tests: one decoder, one encoder, and their tables as Python sees them."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.base.status cimport LIMIT, OK
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.wire.hpack cimport (
    HPACK_ENTRIES, HpackDecoder, HpackEncoder, HpackEntry, HpackField, HpackOut, HpackReader, HpackTable, hpack_begin,
    hpack_bound, hpack_decoder_init, hpack_encoder_init, hpack_encoder_limit, hpack_read, hpack_write,
)


cdef list entries(const HpackTable* t):
    """The table, newest first; its sums are checked on the way."""
    cdef const HpackEntry* entry
    cdef const u8* text
    cdef u32 i, size = 0
    found = []
    for i in range(t.count):
        entry = &t.entries[(t.first + t.count - 1 - i) % HPACK_ENTRIES]
        text = t.text + entry.off
        found.append(((<char*>text)[:entry.name_len], (<char*>text + entry.name_len)[:entry.value_len]))
        size += <u32>entry.name_len + entry.value_len + 32
    assert size == t.size <= t.size_max
    return found


cdef u8* block(bytes data):
    """A heap block of the exact length, so that a sanitizer sees a byte too far."""
    cdef size_t n = <size_t>len(data)
    cdef u8* copy = <u8*>malloc(n if n else 1)
    memcpy(copy, <const u8*>data, n)
    return copy


cdef class Decoder:
    cdef HpackDecoder* d

    def __cinit__(self, u32 limit=4096):
        self.d = <HpackDecoder*>malloc(sizeof(HpackDecoder))
        memset(self.d, 0xA5, sizeof(HpackDecoder))
        hpack_decoder_init(self.d, limit)

    def __dealloc__(self):
        free(self.d)

    def read(self, bytes data, size_t room=65536):
        """(status, [(name, value, index, never)]): a status other than CLOSED is where the block went wrong. Fields
        passed over for want of room are None."""
        cdef u8* copy = block(data)
        try:
            return self.read_at(<size_t>copy, <size_t>len(data), room)
        finally:
            free(copy)

    def read_at(self, size_t address, size_t n, size_t room=65536):
        """The same at an address the caller guards."""
        cdef HpackReader r
        cdef HpackField f
        cdef int rc
        found = []
        memset(&r, 0, sizeof(r))
        memset(&f, 0xA5, sizeof(f))
        r.data = <const u8*>address
        r.n = n
        r.space = <u8*>malloc(room if room else 1)
        r.room = room
        while True:
            rc = hpack_read(self.d, &r, &f)
            if rc == LIMIT:
                assert f.name_len == f.value_len == 0
                found.append(None)
            elif rc == OK:
                name, value = (<char*>f.name)[:f.name_len], (<char*>f.value)[:f.value_len]
                found.append((name, value, f.index, f.never))
            else:
                break
        free(r.space)
        return rc, found

    @property
    def limit(self):
        return self.d.limit

    @limit.setter
    def limit(self, u32 value):
        self.d.limit = value

    @property
    def table(self):
        return entries(&self.d.table)

    @property
    def size_max(self):
        return self.d.table.size_max


cdef class Encoder:
    cdef HpackEncoder* e

    def __cinit__(self):
        self.e = <HpackEncoder*>malloc(sizeof(HpackEncoder))
        memset(self.e, 0xA5, sizeof(HpackEncoder))
        hpack_encoder_init(self.e)

    def __dealloc__(self):
        free(self.e)

    def resize(self, u32 size):
        hpack_encoder_limit(self.e, size)

    def write(self, fields, room=None):
        """A block of (name, value, policy); None: it did not fit into `room`."""
        cdef HpackOut out
        cdef const u8* name
        cdef const u8* value
        cdef u8* n
        cdef u8* v
        size = 6 + sum([hpack_bound(<u32>len(f[0]), <u32>len(f[1])) for f in fields]) if room is None else room
        cdef u8* space = <u8*>malloc(size if size else 1)
        out.p = space
        out.end = space + <size_t>size
        out.full = 0
        hpack_begin(self.e, &out)
        for field in fields:
            n = block(field[0])
            v = block(field[1])
            hpack_write(self.e, &out, n, <u32>len(field[0]), v, <u32>len(field[1]), field[2] if len(field) > 2 else 0)
            free(n)
            free(v)
        assert out.p <= out.end
        result = None if out.full else (<char*>space)[:out.p - space]
        free(space)
        return result

    @property
    def table(self):
        return entries(&self.e.table)

    @property
    def size_max(self):
        return self.e.table.size_max
