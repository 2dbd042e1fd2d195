from fastmesh._core.base.types cimport u8
from fastmesh._core.ffi.simd cimport fm_field_id, fm_is_token


cdef u8 field_id(const u8* name, size_t n) noexcept nogil:
    return fm_field_id(name, n) if fm_is_token(name, n, n) else <u8>0
