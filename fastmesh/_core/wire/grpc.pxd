# The words of gRPC over HTTP/2 (grpc.io, PROTOCOL-HTTP2.md): its deadline and its status.
# Law: what is not lawful is told apart from every lawful value.
from fastmesh._core.base.types cimport i64, u8, u16, u32

cdef enum:
    GRPC_STATUS_OTHER = 17      # none of the codes 0 to 16

# Nanoseconds of a grpc-timeout (at most eight digits and a unit), 0 when it is none.
cdef i64 grpc_timeout_ns(const u8* p, u32 n) noexcept nogil
# The code of a grpc-status, or GRPC_STATUS_OTHER.
cdef u16 grpc_status_parse(const u8* p, u32 n) noexcept nogil
