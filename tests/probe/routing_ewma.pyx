"""The peak EWMA, shown to Python tests."""

from fastmesh._core.base.types cimport f64, i64
from fastmesh._core.routing.ewma cimport Ewma, ewma_add, ewma_init, ewma_read


cdef class EwmaProbe:
    cdef Ewma ewma

    def __cinit__(self, f64 value_ns, i64 now_ns):
        ewma_init(&self.ewma, value_ns, now_ns)

    def add(self, f64 rtt_ns, i64 now_ns, f64 decay_ns):
        ewma_add(&self.ewma, rtt_ns, now_ns, decay_ns)

    def read(self, i64 now_ns, f64 decay_ns):
        return ewma_read(&self.ewma, now_ns, decay_ns)

    def value_ns(self):
        return self.ewma.value_ns
