from libc.string cimport memcmp

from fastmesh._core.base.key cimport KEY_EXACT, KEY_FOLD, key_equal
from fastmesh._core.base.status cimport OK, FULL
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.routing.route_index cimport (
    NODE_HOSTS, NODE_NONE, NODE_PATHS, RULES_READ, Group, RouteIndex, Rule, index_find, index_free, index_new,
    index_walk_host, index_walk_path,
)
from fastmesh._core.routing.snapshot cimport (
    HEADER_ABSENT, HEADER_EXACT, PATH_ANY, PATH_EXACT, ROUTE_NONE, HeaderMatch, Route, Snapshot,
)
from fastmesh._core.wire.headers cimport Field

cdef enum:
    DOT = 46
    SLASH = 47

cdef const u8* ROOT_PATH = <const u8*>"/"


cdef bint header_matches(const Snapshot* s, const RouteQuery* query, const HeaderMatch* match) noexcept nogil:
    cdef const Field* field
    cdef u32 i
    for i in range(query.nfields):
        field = &query.fields[i]
        if field.name_len != match.name_len:
            continue
        if not key_equal(query.base + field.name_off, s.blob + match.name_off, match.name_len, KEY_FOLD):
            continue
        if match.kind != HEADER_EXACT:
            return match.kind != HEADER_ABSENT
        if field.value_len == match.value_len and memcmp(
            query.base + field.value_off, s.blob + match.value_off, match.value_len
        ) == 0:
            return 1
    return match.kind == HEADER_ABSENT


cdef bint conditions_hold(const Snapshot* s, const RouteQuery* query, const Route* route) noexcept nogil:
    cdef u32 i
    if route.listener_mask != 0 and (query.listener > 31 or (route.listener_mask >> query.listener) & 1 == 0):
        return 0
    if route.methods != 0 and (query.method > 15 or (route.methods >> query.method) & 1 == 0):
        return 0
    for i in range(route.header_count):
        if not header_matches(s, query, &s.headers[route.header_first + i]):
            return 0
    return 1


cdef u32 try_rule(const RouteIndex* index, const Snapshot* s, const RouteQuery* query, const Rule* rule) noexcept nogil:
    cdef u32 i, route
    if rule.count == 1:
        return rule.first if conditions_hold(s, query, &s.routes[rule.first]) else <u32>ROUTE_NONE
    for i in range(rule.first, rule.first + rule.count):
        route = index.candidates[i]
        if conditions_hold(s, query, &s.routes[route]):
            return route
    return <u32>ROUTE_NONE


cdef inline bint path_fits(const Snapshot* s, const Rule* rule, const u8* path, u32 path_len) noexcept nogil:
    cdef u32 n = rule.path_len
    if rule.path_kind == PATH_ANY:
        return 1
    if n != path_len and (n > path_len or rule.path_kind == PATH_EXACT or path[n] != SLASH):
        return 0
    return key_equal(path, s.blob + rule.path_off, n, KEY_EXACT)


# The group's rules are few: one after another, the most specific first.
cdef u32 read_group(const RouteIndex* index, const Snapshot* s, const RouteQuery* query, const Group* group, const u8* path,
                    u32 path_len) noexcept nogil:
    cdef const Rule* rule
    cdef u32 i, route
    for i in range(group.rule_first, group.rule_first + group.rule_count):
        rule = &index.rules[i]
        if path_fits(s, rule, path, path_len):
            route = try_rule(index, s, query, rule)
            if route != <u32>ROUTE_NONE:
                return route
    return <u32>ROUTE_NONE


# Whole path, then prefixes from the longest, then any path.
cdef u32 try_group(const RouteIndex* index, const Snapshot* s, const RouteQuery* query, u32 which, const u8* path,
                   u32 path_len) noexcept nogil:
    cdef const Group* group = &index.groups[which]
    cdef u32 node = <u32>NODE_NONE
    cdef u32 route
    if group.rule_count <= RULES_READ:
        return read_group(index, s, query, group, path, path_len)
    if group.exact_count > 0:
        node = index_find(index, s.blob, <u32>NODE_PATHS | which, path, path_len, KEY_EXACT)
    if node == <u32>NODE_NONE and group.root != <u32>NODE_NONE:
        node = index_walk_path(index, s.blob, group.root, path, path_len)
    while node != <u32>NODE_NONE:
        route = try_rule(index, s, query, &index.rules[index.nodes[node].value])
        if route != <u32>ROUTE_NONE:
            return route
        node = index.nodes[node].up
    if group.any_rule == <u32>NODE_NONE:
        return <u32>ROUTE_NONE
    return try_rule(index, s, query, &index.rules[group.any_rule])


# The most specific host rule that fits: a whole host, else the longest suffix. Its `up` leads to the others.
cdef u32 find_host(const RouteIndex* index, const Snapshot* s, const RouteQuery* query) noexcept nogil:
    cdef u32 n = query.host_len
    cdef u32 node = <u32>NODE_NONE
    if n > 0 and query.host[n - 1] == DOT:
        n -= 1
    if index.host_count > 0:
        node = index_find(index, s.blob, <u32>NODE_HOSTS, query.host, n, KEY_FOLD)
    if node == <u32>NODE_NONE and index.suffix_count > 0:
        node = index_walk_host(index, s.blob, query.host, n)
    return node


cdef inline u32 match(const RouteIndex* index, const Snapshot* s, const RouteQuery* query) noexcept nogil:
    cdef const u8* path = query.path
    cdef u32 path_len = query.path_len
    cdef u32 node, route
    if index.catch_all != <u32>NODE_NONE:
        return index.catch_all
    if path_len == 0:
        path = ROOT_PATH
        path_len = 1
    node = find_host(index, s, query)
    while node != <u32>NODE_NONE:
        route = try_group(index, s, query, index.nodes[node].value, path, path_len)
        if route != <u32>ROUTE_NONE:
            return route
        node = index.nodes[node].up
    if index.any_group == <u32>NODE_NONE:
        return <u32>ROUTE_NONE
    return try_group(index, s, query, index.any_group, path, path_len)


cdef u32 router_match(const Snapshot* s, const RouteQuery* query) noexcept nogil:
    return match(<const RouteIndex*>s.index, s, query)


cdef u32 router_tcp_match(const Snapshot* s, const RouteQuery* query) noexcept nogil:
    return match(<const RouteIndex*>s.tcp_index, s, query) if s.tcp_index != NULL else <u32>ROUTE_NONE


cdef int router_build(Snapshot* s) noexcept nogil:
    s.index = index_new(s, 0, s.route_count)
    if s.index == NULL:
        return FULL
    if s.tcp_count:
        s.tcp_index = index_new(s, s.route_count, s.tcp_count)
        if s.tcp_index == NULL:
            router_free(s)
            return FULL
    return OK


cdef void router_free(Snapshot* s) noexcept nogil:
    index_free(<RouteIndex*>s.index)
    index_free(<RouteIndex*>s.tcp_index)
    s.index = NULL
    s.tcp_index = NULL
