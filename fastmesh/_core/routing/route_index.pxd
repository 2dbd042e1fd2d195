# The router's compiled look-up: one hash table of nodes, and routes in buckets sorted by precedence.
# Law: built once, then only read; a look-up walks at most `probe_max` entries of the table.
# A node is either a whole host or path (exact rules, found with one look-up) or one step of a trie: a label of a wildcard
# host from the right, a segment of a path prefix from the left. Its parent tells which.
from fastmesh._core.base.key cimport key_equal, key_hash, key_mix
from fastmesh._core.base.types cimport u8, u32, u64
from fastmesh._core.routing.snapshot cimport Snapshot

cdef enum:
    NODE_NONE = 0xFFFFFFFF
    NODE_HOSTS = 0xFFFFFFFE      # parent of whole hosts
    NODE_PATHS = 0x80000000      # | group: parent of the group's whole paths
    NODE_SUFFIXES = 0            # node: root of the trie of wildcard hosts

ctypedef struct Entry:
    u32 tag                 # of the node's hash
    u32 node                # NODE_NONE: empty

ctypedef struct Node:
    u32 parent
    u32 text_off            # in the snapshot's blob
    u32 text_len
    u32 value               # hosts: group; paths: bucket; NODE_NONE: only a step on the way
    u32 up                  # the next less specific node with a value; NODE_NONE: none
    u32 steps               # nodes that have this one as their parent

# All routes of one host rule.
ctypedef struct Group:
    u32 root                # of its trie of path prefixes; NODE_NONE: it has none
    u32 any_bucket          # of its routes for any path; NODE_NONE: none
    u32 exact_count         # of its whole paths

# All routes of one host rule and one path rule: candidates[first .. first + count), best first.
ctypedef struct Bucket:
    u32 first
    u32 count

ctypedef struct RouteIndex:
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
    Bucket* buckets         # owns
    u32* candidates         # owns
    u32 node_count
    u32 group_count
    u32 bucket_count

cdef inline u32 index_tag(const RouteIndex* index, u32 parent, const u8* text, u32 n, u32 fold) noexcept nogil:
    return <u32>key_mix(key_hash(index.seed, text, n, fold), parent)

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
# Compiles a snapshot's routes; NULL when there is no memory.
cdef RouteIndex* index_new(const Snapshot* s) noexcept nogil
cdef void index_free(RouteIndex* index) noexcept nogil
