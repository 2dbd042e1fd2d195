"""The text writer, shown to Python tests: into `room` bytes at an address of the caller's."""

from fastmesh._core.base.text cimport (
    Text, text_clf_date, text_date, text_digits, text_init, text_ip, text_iso_date, text_ms, text_put, text_quoted,
    text_str, text_u64,
)
from fastmesh._core.base.types cimport i64, u8, u32, u64

COMBINED, JSON = 0, 1


cdef class TextProbe:
    cdef Text text

    def __cinit__(self, size_t at, u32 room):
        text_init(&self.text, <u8*>at, room)

    def result(self):
        """(what was written, whether something was cut)."""
        return (<char*>self.text.data)[:self.text.n], self.text.cut != 0

    def put_at(self, size_t address, size_t n):
        text_put(&self.text, <const u8*>address, n)

    def string(self, bytes zero_terminated):
        text_str(&self.text, <const char*>zero_terminated)

    def number(self, u64 value):
        text_u64(&self.text, value)

    def digits(self, u64 value, u32 digits):
        text_digits(&self.text, value, digits)

    def ms(self, i64 ns):
        text_ms(&self.text, ns)

    def ip_at(self, u8 family, size_t address):
        text_ip(&self.text, family, <const u8*>address)

    def quoted_at(self, size_t address, size_t n, u8 style):
        text_quoted(&self.text, <const u8*>address, n, style)

    def date(self, i64 wall_ns):
        text_date(&self.text, wall_ns)

    def clf_date(self, i64 wall_ns):
        text_clf_date(&self.text, wall_ns)

    def iso_date(self, i64 wall_ns):
        text_iso_date(&self.text, wall_ns)
