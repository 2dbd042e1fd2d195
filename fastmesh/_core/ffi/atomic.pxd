# Orders between threads. Law: acquire/release for a door, relaxed for a meter that has one writer.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "atomic.h" nogil:
    uint64_t atomic_load_u64(const uint64_t* p) noexcept
    void atomic_store_u64(uint64_t* p, uint64_t v) noexcept
    void* atomic_load_ptr(void** p) noexcept
    void atomic_store_ptr(void** p, void* v) noexcept
    uint64_t meter_read(const uint64_t* p) noexcept
    uint32_t meter_read_u32(const uint32_t* p) noexcept
    uint8_t meter_read_u8(const uint8_t* p) noexcept
    double meter_read_f64(const double* p) noexcept
    void meter_add(uint64_t* p, uint64_t n) noexcept
    void meter_set(uint64_t* p, uint64_t v) noexcept
