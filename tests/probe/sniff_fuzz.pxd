# What a fuzzer calls, as in wire_fuzz.pxd: 0, or the number of the broken law.
from fastmesh._core.base.types cimport u8

cdef int fuzz_wire_sniff(const u8* data, size_t n) noexcept nogil
cdef int fuzz_wire_client_hello(const u8* data, size_t n) noexcept nogil
cdef int fuzz_wire_proxy(const u8* data, size_t n) noexcept nogil
