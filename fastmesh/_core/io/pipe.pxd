# One direction of a body: from the source's inb, as its framing allows, to the sink. Requests, responses and tunnels alike.
# Law: only bytes proved to belong to this message are forwarded; no byte is lost or sent twice; a sink that cannot take more
# stops the source's reads, so that one buffer bounds the memory.
from fastmesh._core.base.types cimport i64, u32, u64, u8
from fastmesh._core.io.side cimport side_head
from fastmesh._core.io.state cimport PIPE_BINARY, Conn, Pipe, Worker
from fastmesh._core.wire.http1_types cimport Http1Head

cdef enum:
    PUMP_DONE = 1           # the whole message was taken and forwarded
    PUMP_WAIT_SOURCE        # nothing to read now
    PUMP_WAIT_SINK          # the sink is full
    PUMP_YIELD              # a turn's worth was moved: go on in the next turn
    PUMP_SOURCE_END         # the source ended inside the message
    PUMP_SOURCE_FAILED
    PUMP_SINK_FAILED
    PUMP_BAD                # the body breaks its grammar: pipe.fault
    PUMP_FULL               # no buffer, or a trailer section over every limit

cdef enum Strip:
    STRIP_ALL = 1           # chunk framing and trailers are left out: the receiver speaks HTTP/1.0
    STRIP_FRAMING           # trailers go on in another form: the receiver speaks HTTP/2

cdef void pipe_init(Pipe* p, u8 framing, u64 length) noexcept nogil
# Moves lawful bytes that are in inb into `ready`. OK: some, or the message is done. AGAIN: none without more input. BAD.
# FULL: not now.
cdef int pipe_take(Worker* w, Pipe* p, Conn* source) noexcept nogil
# Send the composed head (the first head_n bytes of the scratch: text, or a header block for a stream) and what is ready of the
# body, in one call when it is small. A head that does not go out whole is kept. OK; IO; FULL: no buffer, the sink is of no
# more use.
cdef int start_bytes(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil
cdef int start_chunks(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil
cdef int start_stream(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil
cdef inline int pipe_start(Worker* w, Pipe* p, Conn* source, Conn* sink, size_t head_n) noexcept nogil:
    cdef i64 n
    if p.web > PIPE_BINARY:
        # Its body is made in the scratch, where the head is.
        n = side_head(w, sink, head_n)
        return <int>n if n < 0 else 0
    if sink.id:
        return start_stream(w, p, source, sink, head_n)
    return start_chunks(w, p, source, sink, head_n) if p.wrap else start_bytes(w, p, source, sink, head_n)
# Drives until something stops it. sink NULL: thrown away. *flags has EX_REPLAY while sent bytes are to be kept in inb;
# it is cleared when they stand in the way.
cdef int pipe_pump(Worker* w, Pipe* p, Conn* source, Conn* sink, u32* flags) noexcept nogil
# grpc-status of the head or trailer section that was parsed into `head`.
cdef void pipe_note_grpc(Pipe* p, const Http1Head* head, const u8* data) noexcept nogil
# Forgets what was sent (it was kept for a replay).
cdef void pipe_forget(Worker* w, Pipe* p, Conn* source) noexcept nogil

# Whether the receiver has all of it.
cdef inline bint pipe_over(const Pipe* p) noexcept nogil:
    return p.done and p.ready == 0 and p.ended
