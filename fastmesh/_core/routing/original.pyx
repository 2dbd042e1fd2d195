from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.routing.snapshot cimport ADDRESS_KEY_BYTES, ProtocolRule

cdef enum:
    PORT_AT = 2         # in a key
    ADDRESS_AT = 4


cdef void address_key(u8* key, u8 family, const u8* address, u16 port) noexcept nogil:
    memset(key, 0, ADDRESS_KEY_BYTES)
    key[0] = family
    key[PORT_AT] = <u8>(port >> 8)
    key[PORT_AT + 1] = <u8>(port & 0xFF)
    memcpy(key + ADDRESS_AT, address, 4 if family == 4 else 16)


cdef u32 original_backend(const Snapshot* s, const u8* key) noexcept nogil:
    cdef u32 low = 0, high = s.target_count, middle
    cdef int order
    while low < high:
        middle = low + (high - low) // 2
        order = memcmp(s.targets[middle].key, key, ADDRESS_KEY_BYTES)
        if order == 0:
            return s.targets[middle].backend
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return s.backend_count - 1


cdef bint rule_fits(const ProtocolRule* rule, const u8* key) noexcept nogil:
    cdef u16 port = <u16>(key[PORT_AT] << 8 | key[PORT_AT + 1])
    cdef u32 whole = rule.bits >> 3
    cdef u32 rest = rule.bits & 7
    cdef const u8* address = key + ADDRESS_AT
    if port < rule.first_port or port > rule.last_port:
        return 0
    if rule.family == 0:
        return 1
    if rule.family != key[0] or memcmp(rule.address, address, whole) != 0:
        return 0
    return rest == 0 or (rule.address[whole] ^ address[whole]) >> (8 - rest) == 0


cdef u8 original_protocol(const Snapshot* s, const u8* key) noexcept nogil:
    cdef u32 i
    for i in range(s.rule_count):
        if rule_fits(&s.rules[i], key):
            return s.rules[i].protocol
    return <u8>PROTOCOL_NONE
