from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memchr, memcmp

from fastmesh._core.base.key cimport KEY_EXACT, KEY_FOLD, key_hash, key_mix
from fastmesh._core.base.status cimport OK, FULL
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.ffi.simd cimport fm_load_u64
from fastmesh._core.routing.snapshot cimport (
    HOST_ANY, HOST_EXACT, HOST_SUFFIX, PATH_ANY, PATH_EXACT, PATH_PREFIX, Route, Snapshot,
)

cdef extern from "sys/auxv.h" nogil:
    enum:
        AT_RANDOM
    unsigned long getauxval(unsigned long kind) noexcept

cdef enum:
    DOT = 46
    SLASH = 47
    TABLE_FIRST = 64        # entries; doubles so that at most half are in use
    PROBES_MOST = 16        # a table with a longer run gets another seed
    RESEEDS_MOST = 8

# A route and what decides its place among the others.
ctypedef struct Rank:
    u64 place               # group, then the path rule: less is tried earlier
    const u8* path          # borrows the blob for the build
    u64 order
    u32 path_len
    u32 headers
    u32 named               # 1: it names methods
    u32 route


cdef u32 index_walk_host(const RouteIndex* index, const u8* blob, const u8* host, u32 n) noexcept nogil:
    cdef u32 node = NODE_SUFFIXES
    cdef u32 best = <u32>NODE_NONE
    cdef u32 end = n
    cdef u32 begin
    while index.nodes[node].steps > 0:
        begin = end
        while begin > 0 and host[begin - 1] != DOT:
            begin -= 1
        # The label needs its dot and a byte before that.
        if begin < 2:
            break
        node = index_find(index, blob, node, host + begin, end - begin, KEY_FOLD)
        if node == <u32>NODE_NONE:
            break
        if index.nodes[node].value != <u32>NODE_NONE:
            best = node
        end = begin - 1
    return best


cdef inline u32 segment_end(const u8* path, u32 begin, u32 n) noexcept nogil:
    cdef const u8* slash = <const u8*>memchr(path + begin, SLASH, n - begin)
    return n if slash == NULL else <u32>(slash - path)


cdef u32 index_walk_path(const RouteIndex* index, const u8* blob, u32 root, const u8* path, u32 n) noexcept nogil:
    cdef u32 node = root
    cdef u32 best = <u32>NODE_NONE
    cdef u32 begin = 1
    cdef u32 end
    if n == 0 or path[0] != SLASH:
        return best
    while True:
        if index.nodes[node].value != <u32>NODE_NONE:
            best = node
        if begin > n or index.nodes[node].steps == 0:
            return best
        end = segment_end(path, begin, n)
        node = index_find(index, blob, node, path + begin, end - begin, KEY_EXACT)
        if node == <u32>NODE_NONE:
            return best
        begin = end + 1


cdef inline bint is_step(u32 parent) noexcept nogil:
    return parent < <u32>NODE_PATHS


# The blob holds hosts in lower case already, so that no node needs folding here.
cdef void table_put(RouteIndex* index, const u8* blob, u32 node) noexcept nogil:
    cdef const Node* n = &index.nodes[node]
    cdef u32 tag
    cdef u32 at
    cdef u32 walked = 1
    if n.parent == <u32>NODE_NONE:
        return
    tag = index_tag(index, n.parent, blob + n.text_off, n.text_len, KEY_EXACT)
    at = tag & index.mask
    while index.table[at].node != <u32>NODE_NONE:
        at = (at + 1) & index.mask
        walked += 1
    index.table[at].tag = tag
    index.table[at].node = node
    if walked > index.probe_max:
        index.probe_max = walked


cdef int table_fill(RouteIndex* index, const u8* blob, u32 size) noexcept nogil:
    cdef Entry* table = <Entry*>malloc(size * sizeof(Entry))
    cdef u32 i
    if table == NULL:
        return FULL
    for i in range(size):
        table[i].tag = 0
        table[i].node = <u32>NODE_NONE
    free(index.table)
    index.table = table
    index.mask = size - 1
    index.probe_max = 1
    for i in range(index.node_count):
        table_put(index, blob, i)
    return OK


cdef u32 node_new(RouteIndex* index, const u8* blob, u32 parent, u32 text_off, u32 text_len) noexcept nogil:
    cdef u32 node = index.node_count
    cdef Node* n = &index.nodes[node]
    n.parent = parent
    n.text_off = text_off
    n.text_len = text_len
    n.value = <u32>NODE_NONE
    n.up = <u32>NODE_NONE
    n.steps = 0
    index.node_count += 1
    if is_step(parent):
        index.nodes[parent].steps += 1
    if index.node_count * 2 <= index.mask + 1:
        table_put(index, blob, node)
    elif table_fill(index, blob, (index.mask + 1) * 2) != OK:
        return <u32>NODE_NONE
    return node


cdef u32 node_of(RouteIndex* index, const u8* blob, u32 parent, u32 text_off, u32 text_len) noexcept nogil:
    cdef u32 node = index_find(index, blob, parent, blob + text_off, text_len, KEY_EXACT)
    return node if node != <u32>NODE_NONE else node_new(index, blob, parent, text_off, text_len)


cdef u32 group_new(RouteIndex* index) noexcept nogil:
    cdef Group* g = &index.groups[index.group_count]
    g.rule_first = 0
    g.rule_count = 0
    g.any_rule = <u32>NODE_NONE
    g.root = <u32>NODE_NONE
    g.exact_count = 0
    index.group_count += 1
    return index.group_count - 1


# Node of a wildcard host without its leading dot, last label first.
cdef u32 suffix_node(RouteIndex* index, const u8* blob, u32 off, u32 n) noexcept nogil:
    cdef u32 node = NODE_SUFFIXES
    cdef u32 end = n
    cdef u32 begin
    while True:
        begin = end
        while begin > 0 and blob[off + begin - 1] != DOT:
            begin -= 1
        node = node_of(index, blob, node, off + begin, end - begin)
        if node == <u32>NODE_NONE or begin == 0:
            return node
        end = begin - 1


# Group of a route's host; NODE_NONE when there is no memory.
cdef u32 group_of(RouteIndex* index, const u8* blob, const Route* route) noexcept nogil:
    cdef u32 off = route.host_off
    cdef u32 n = route.host_len
    cdef u32 node
    if route.host_kind == HOST_ANY:
        if index.any_group == <u32>NODE_NONE:
            index.any_group = group_new(index)
        return index.any_group
    if n > 0 and blob[off + n - 1] == DOT:
        n -= 1
    if route.host_kind == HOST_SUFFIX:
        if n > 0 and blob[off] == DOT:
            off += 1
            n -= 1
        node = suffix_node(index, blob, off, n)
    else:
        node = node_of(index, blob, <u32>NODE_HOSTS, off, n)
    if node == <u32>NODE_NONE:
        return node
    if index.nodes[node].value == <u32>NODE_NONE:
        index.nodes[node].value = group_new(index)
        if route.host_kind == HOST_SUFFIX:
            index.suffix_count += 1
        else:
            index.host_count += 1
    return index.nodes[node].value


# Node of a path prefix: the group's root, then segment by segment.
cdef u32 prefix_node(RouteIndex* index, const u8* blob, u32 group, u32 off, u32 n) noexcept nogil:
    cdef u32 node = index.groups[group].root
    cdef u32 begin = 1
    cdef u32 end
    if node == <u32>NODE_NONE:
        node = node_new(index, blob, <u32>NODE_NONE, 0, 0)
        index.groups[group].root = node
    while node != <u32>NODE_NONE and n > 0 and begin <= n:
        end = segment_end(blob + off, begin, n)
        node = node_of(index, blob, node, off + begin, end - begin)
        begin = end + 1
    return node


cdef int compare_rules(const Rank* a, const Rank* b) noexcept nogil:
    if a.place != b.place:
        return -1 if a.place < b.place else 1
    # The place holds the length too.
    return memcmp(a.path, b.path, a.path_len)


cdef int compare_ranks(const void* left, const void* right) noexcept nogil:
    cdef const Rank* a = <const Rank*>left
    cdef const Rank* b = <const Rank*>right
    cdef int rules = compare_rules(a, b)
    if rules != 0:
        return rules
    if a.named != b.named:
        return -1 if a.named > b.named else 1
    if a.headers != b.headers:
        return -1 if a.headers > b.headers else 1
    if a.order != b.order:
        return -1 if a.order < b.order else 1
    return -1 if a.route < b.route else (1 if a.route > b.route else 0)


# A prefix that does not begin with a slash is a prefix of no path.
cdef bint is_reachable(const u8* blob, const Route* route) noexcept nogil:
    return route.path_kind != PATH_PREFIX or route.path_len == 0 or blob[route.path_off] == SLASH


cdef void rank_route(Rank* rank, const u8* blob, const Route* route, u32 which, u32 group) noexcept nogil:
    cdef u32 kind = 2 if route.path_kind == PATH_EXACT else (1 if route.path_kind == PATH_PREFIX else 0)
    cdef u32 n = route.path_len if kind > 0 else 0
    if kind == 1 and n > 0 and blob[route.path_off + n - 1] == SLASH:
        n -= 1
    rank.place = (<u64>group << 32) | (<u32>0xFFFFFFFF - ((kind << 16) | n))
    rank.path = blob + route.path_off
    rank.path_len = n
    rank.headers = route.header_count
    rank.order = route.order
    rank.route = which
    rank.named = 1 if route.methods != 0 else 0


# The routes that can match at all, each with its group: ranks[0 .. *count).
cdef int rank_routes(RouteIndex* index, const Snapshot* s, Rank* ranks, u32* count) noexcept nogil:
    cdef u32 i, group
    count[0] = 0
    for i in range(index.route_first, index.route_first + index.route_total):
        if not is_reachable(s.blob, &s.routes[i]):
            continue
        group = group_of(index, s.blob, &s.routes[i])
        if group == <u32>NODE_NONE:
            return FULL
        rank_route(&ranks[count[0]], s.blob, &s.routes[i], i, group)
        count[0] += 1
    return OK


cdef u32 rule_new(RouteIndex* index, const Snapshot* s, const Rank* rank, u32 first) noexcept nogil:
    cdef u32 which = index.rule_count
    cdef Rule* rule = &index.rules[which]
    cdef Group* group = &index.groups[rank.place >> 32]
    rule.path_off = s.routes[rank.route].path_off
    rule.path_len = <u16>rank.path_len
    rule.path_kind = s.routes[rank.route].path_kind
    rule.first = first
    rule.count = 0
    if group.rule_count == 0:
        group.rule_first = which
    group.rule_count += 1
    if rule.path_kind == PATH_ANY:
        group.any_rule = which
    index.rule_count += 1
    return which


cdef void fill_rules(RouteIndex* index, const Snapshot* s, const Rank* ranks, u32 count) noexcept nogil:
    cdef Rule* rule = NULL
    cdef u32 i
    for i in range(count):
        if i == 0 or compare_rules(&ranks[i - 1], &ranks[i]) != 0:
            rule = &index.rules[rule_new(index, s, &ranks[i], i)]
        rule.count += 1
        index.candidates[i] = ranks[i].route
    for i in range(index.rule_count):
        if index.rules[i].count == 1:
            index.rules[i].first = index.candidates[index.rules[i].first]


cdef int sort_routes(RouteIndex* index, const Snapshot* s) noexcept nogil:
    cdef Rank* ranks = <Rank*>calloc(<size_t>index.route_total + 1, sizeof(Rank))
    cdef u32 count
    if ranks == NULL:
        return FULL
    if rank_routes(index, s, ranks, &count) != OK:
        free(ranks)
        return FULL
    qsort(ranks, count, sizeof(Rank), compare_ranks)
    fill_rules(index, s, ranks, count)
    free(ranks)
    return OK


# Nodes for the paths of a group that has too many rules to read them through.
cdef int index_paths(RouteIndex* index, const u8* blob, u32 which) noexcept nogil:
    cdef Group* group = &index.groups[which]
    cdef const Rule* rule
    cdef u32 i, node
    for i in range(group.rule_first, group.rule_first + group.rule_count):
        rule = &index.rules[i]
        if rule.path_kind == PATH_ANY:
            continue
        if rule.path_kind == PATH_EXACT:
            node = node_of(index, blob, <u32>NODE_PATHS | which, rule.path_off, rule.path_len)
            group.exact_count += 1
        else:
            node = prefix_node(index, blob, which, rule.path_off, rule.path_len)
        if node == <u32>NODE_NONE:
            return FULL
        index.nodes[node].value = i
    return OK


cdef void link_up(RouteIndex* index, const u8* blob) noexcept nogil:
    cdef Node* node
    cdef const Node* parent
    cdef u32 i
    # Parents come before their steps.
    for i in range(index.node_count):
        node = &index.nodes[i]
        if is_step(node.parent):
            parent = &index.nodes[node.parent]
            node.up = node.parent if parent.value != <u32>NODE_NONE else parent.up
    for i in range(index.node_count):
        node = &index.nodes[i]
        if node.parent == <u32>NODE_HOSTS:
            node.up = index_walk_host(index, blob, blob + node.text_off, node.text_len)
        elif node.parent != <u32>NODE_NONE and not is_step(node.parent):
            node.up = index.groups[node.parent & ~<u32>NODE_PATHS].root
            if node.up != <u32>NODE_NONE:
                node.up = index_walk_path(index, blob, node.up, blob + node.text_off, node.text_len)


# A table without long runs: a look-up's cost has a bound, whatever is asked.
cdef int settle_table(RouteIndex* index, const u8* blob) noexcept nogil:
    cdef u32 size = index.mask + 1
    cdef u32 i
    for i in range(<u32>RESEEDS_MOST):
        if index.probe_max <= PROBES_MOST:
            break
        index.seed = key_mix(index.seed, i + 1)
        if i >= RESEEDS_MOST // 2:
            size *= 2
        if table_fill(index, blob, size) != OK:
            return FULL
    return OK


cdef u64 seed_new(const void* salt, u64 version) noexcept nogil:
    # 16 random bytes the kernel gives every process; mixed, because others in the process use them too.
    cdef const u8* random = <const u8*>getauxval(AT_RANDOM)
    cdef u64 seed = key_mix(<u64>salt, version)
    return key_mix(seed, 0) if random == NULL else key_hash(seed, random, 16, KEY_EXACT)


# The most nodes the routes can need: whole texts or steps, a root each, and the suffixes' root.
cdef size_t nodes_most(const RouteIndex* index, const Snapshot* s) noexcept nogil:
    cdef const Route* route
    cdef size_t most = 1
    cdef u32 i, at
    for i in range(index.route_first, index.route_first + index.route_total):
        route = &s.routes[i]
        most += 3
        for at in range(route.host_len):
            most += 1 if s.blob[route.host_off + at] == DOT else 0
        for at in range(route.path_len):
            most += 1 if s.blob[route.path_off + at] == SLASH else 0
    return most


cdef bint matches_all(const Route* route) noexcept nogil:
    return (route.host_kind == HOST_ANY and route.path_kind == PATH_ANY and route.methods == 0
            and route.header_count == 0 and route.listener_mask == 0)


cdef int index_fill(RouteIndex* index, const Snapshot* s) noexcept nogil:
    cdef u32 i
    index.nodes = <Node*>malloc(nodes_most(index, s) * sizeof(Node))
    index.groups = <Group*>malloc((<size_t>index.route_total + 1) * sizeof(Group))
    index.rules = <Rule*>malloc((<size_t>index.route_total + 1) * sizeof(Rule))
    index.candidates = <u32*>malloc((<size_t>index.route_total + 1) * sizeof(u32))
    if index.nodes == NULL or index.groups == NULL or index.rules == NULL or index.candidates == NULL:
        return FULL
    if table_fill(index, s.blob, TABLE_FIRST) != OK:
        return FULL
    node_new(index, s.blob, <u32>NODE_NONE, 0, 0)
    if sort_routes(index, s) != OK:
        return FULL
    for i in range(index.group_count):
        if index.groups[i].rule_count > RULES_READ and index_paths(index, s.blob, i) != OK:
            return FULL
    if settle_table(index, s.blob) != OK:
        return FULL
    link_up(index, s.blob)
    if index.route_total == 1 and matches_all(&s.routes[index.route_first]):
        index.catch_all = index.route_first
    return OK


cdef RouteIndex* index_new(const Snapshot* s, u32 first, u32 total) noexcept nogil:
    cdef RouteIndex* index = <RouteIndex*>calloc(1, sizeof(RouteIndex))
    if index == NULL:
        return NULL
    index.route_first = first
    index.route_total = total
    index.catch_all = <u32>NODE_NONE
    index.any_group = <u32>NODE_NONE
    index.seed = seed_new(index, s.version)
    if index_fill(index, s) != OK:
        index_free(index)
        return NULL
    return index


cdef void index_free(RouteIndex* index) noexcept nogil:
    if index == NULL:
        return
    free(index.table)
    free(index.nodes)
    free(index.groups)
    free(index.rules)
    free(index.candidates)
    free(index)
