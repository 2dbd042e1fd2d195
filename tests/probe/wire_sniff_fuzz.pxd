# What a fuzzer calls: each target checks its laws on one input. 0, or the number of the broken law.
from fastmesh._core.base.types cimport u8

cdef int fuzz_wire_sniff(const u8* data, size_t n) noexcept nogil
