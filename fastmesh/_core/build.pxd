# From a SnapshotSpec, as Python keeps it, to the flat Snapshot that workers read.
# Law: what is impossible is refused by ValueError before anything is published; all text and every length is checked here.
from fastmesh._core.routing.snapshot cimport Snapshot

# The caller owns it. Raises ValueError or MemoryError.
cdef Snapshot* build(spec) except NULL
