# The router's compiled look-up: host groups, each with its path rules in order of precedence, and one hash table to find
# both. Law: built once, then only read; a look-up walks at most `probe_max` entries of the table.
# A group of few rules is read through in order (fewer cache lines than any look-up); a larger one is looked up.
# A node is either a whole host or path (exact rules, found with one look-up) or one step of a trie: a label of a wildcard
# host from the right, a segment of a path prefix from the left. Its parent tells which.
from fastmesh._core.base.key cimport key_equal, key_hash
from fastmesh._core.base.types cimport u8, u16, u32, u64
from fastmesh._core.routing.snapshot cimport Snapshot

cdef enum:
    NODE_NONE = 0xFFFFFFFF
    NODE_HOSTS = 0xFFFFFFFE      # parent of whole hosts
    NODE_PATHS = 0x80000000      # | group: parent of the group's whole paths
    NODE_SUFFIXES = 0            # node: root of the trie of wildcard hosts
    RULES_READ = 8               # a group of at most so many rules is read through

ctypedef struct Entry:
    u32 tag                 # of the node's hash
    u32 node                # NODE_NONE: empty

ctypedef struct Node:
    u32 parent
    u32 text_off            # in the snapshot's blob
    u32 text_len
    u32 value               # hosts: group; paths: rule; NODE_NONE: only a step on the way
    u32 up                  # the next less specific node with a value; NODE_NONE: none
    u32 steps               # nodes that have this one as their parent

# All routes of one host rule: rules[rule_first .. + rule_count), the most specific path first.
ctypedef struct Group:
    u32 rule_first
    u32 rule_count
    u32 any_rule            # the one for any path (it is the last); NODE_NONE: none
    u32 root                # of the trie of path prefixes; NODE_NONE: no prefix
    u32 exact_count         # rules that are whole paths

# All routes of one group with the same path.
ctypedef struct Rule:
    u32 path_off            # in the snapshot's blob
    u16 path_len            # of a prefix: without its trailing slash
    u8 path_kind
    u32 count               # of routes
    u32 first               # the route, when there is one; else candidates[first .. first + count), best first

ctypedef struct RouteIndex:
    u32 route_first         # the snapshot's routes that are in it: [route_first .. + route_total)
    u32 route_total
    u32 catch_all           # the only route, when it matches every request; else NODE_NONE
    u32 mask                # of the table
    u32 probe_max
    u32 any_group           # of routes for any host; NODE_NONE: none
    u32 host_count          # whole hosts
    u32 suffix_count        # wildcard hosts
    u64 seed
    Entry* table            # owns
    Node* nodes             # owns
    Group* groups           # owns
    Rule* rules             # owns
    u32* candidates         # owns
    u32 node_count
    u32 group_count
    u32 rule_count

cdef inline u32 index_tag(const RouteIndex* index, u32 parent, const u8* text, u32 n, u32 fold) noexcept nogil:
    return <u32>key_hash(index.seed + parent * <u64>0xA0761D6478BD642F, text, n, fold)

cdef inline u32 index_find(const RouteIndex* index, const u8* blob, u32 parent, const u8* text, u32 n,
                           u32 fold) noexcept nogil:
    cdef u32 tag = index_tag(index, parent, text, n, fold)
    cdef u32 at = tag & index.mask
    cdef u32 left
    cdef const Entry* entry
    cdef const Node* node
    for left in range(index.probe_max):
        entry = &index.table[at]
        if entry.node == <u32>NODE_NONE:
            return <u32>NODE_NONE
        if entry.tag == tag:
            node = &index.nodes[entry.node]
            if node.parent == parent and node.text_len == n and key_equal(text, blob + node.text_off, n, fold):
                return entry.node
        at = (at + 1) & index.mask
    return <u32>NODE_NONE

# The deepest node with a value on the way from the suffix root along the host's labels, the last label first, that leaves
# at least a byte of the host before it.
cdef u32 index_walk_host(const RouteIndex* index, const u8* blob, const u8* host, u32 n) noexcept nogil
# The deepest node with a value on the way from root along the path's segments. The path is not empty.
cdef u32 index_walk_path(const RouteIndex* index, const u8* blob, u32 root, const u8* path, u32 n) noexcept nogil
# Compiles routes of a snapshot, [first .. first + total); NULL when there is no memory.
cdef RouteIndex* index_new(const Snapshot* s, u32 first, u32 total) noexcept nogil
cdef void index_free(RouteIndex* index) noexcept nogil
