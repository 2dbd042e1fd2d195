"""The laws of gRPC-Web's text and messages on any input, for libFuzzer (tools/fuzz.py) and for the inputs it once found.

Every piece lies in a heap block of its exact length, so that a sanitizer sees a byte too far. A target answers 0 or the
number of the broken law.
"""
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.base.status cimport BAD, OK
from fastmesh._core.base.types cimport u8, u32
from fastmesh._core.wire.grpc_web cimport (
    WebFrames, web_frames_pass, web_text_decode, web_text_encode, web_text_scan,
)

cdef enum:
    INPUT_MAX = 4096
    # Each message of five bytes at least is padded for itself: eight characters.
    TEXT_MAX = 2 * INPUT_MAX
    NO_VERDICT = 255

cdef enum Call:
    ENCODE = 0
    DECODE


cdef u8* block(const u8* data, size_t n) noexcept nogil:
    cdef u8* copy = <u8*>malloc(n if n else 1)
    if copy == NULL:
        abort()
    memcpy(copy, data, n)
    return copy


# The next piece's bytes; a seed of 0 takes all.
cdef size_t piece(u32* seed, size_t left) noexcept nogil:
    cdef size_t take
    if seed[0] == 0:
        return left
    seed[0] = seed[0] * 1664525 + 1013904223
    take = (seed[0] >> 16) % 9
    return take if take < left else left


# One call with blocks of exactly these sizes: bytes written at out.
cdef size_t call(Call what, WebFrames* frames, const u8* data, size_t n, bint last, u8* out, size_t room,
                 size_t* used) noexcept nogil:
    cdef u8* copy = block(data, n)
    cdef u8* made = <u8*>malloc(room if room else 1)
    cdef size_t written
    if what == ENCODE:
        written = web_text_encode(frames, copy, n, last, made, room, used)
    else:
        written = web_text_decode(copy, n, made, room, used)
    memcpy(out, made, written)
    free(copy)
    free(made)
    return written


# All of it in pieces by seed, each call with `room`: bytes written at out, which has TEXT_MAX. *left: what was not taken.
cdef size_t run_pieces(Call what, const u8* data, size_t n, u32 seed, size_t room, u8* out, size_t* left) noexcept nogil:
    cdef WebFrames frames
    cdef size_t taken = 0, offered = 0, written = 0, used = 0
    memset(&frames, 0, sizeof(WebFrames))
    while True:
        offered += piece(&seed, n - offered)
        while True:
            written += call(what, &frames, data + taken, offered - taken, offered == n, out + written, room, &used)
            taken += used
            if used == 0:
                break
        if offered == n:
            left[0] = n - taken
            return written


# The state a scan ends in, NO_VERDICT where it was no text.
cdef u8 scan_pieces(const u8* data, size_t n, u32 seed) noexcept nogil:
    cdef u8 state = 0
    cdef size_t at = 0, take
    cdef u8* copy
    cdef int rc
    while True:
        take = piece(&seed, n - at)
        copy = block(data + at, take)
        rc = web_text_scan(&state, copy, take)
        free(copy)
        at += take
        if rc == BAD:
            return NO_VERDICT
        if at == n:
            return state


cdef int frames_check(const u8* data, size_t n, u32 seed) noexcept nogil:
    cdef WebFrames whole, pieces
    cdef size_t at = 0, take
    memset(&whole, 0, sizeof(WebFrames))
    memset(&pieces, 0, sizeof(WebFrames))
    web_frames_pass(&whole, data, n)
    while at < n:
        take = piece(&seed, n - at)
        web_frames_pass(&pieces, data + at, take)
        at += take
    return 0 if whole.left == pieces.left and whole.have == pieces.have else 1


cdef int encode_check(const u8* data, size_t n, u32 seed, size_t room, u8* one, u8* two) noexcept nogil:
    cdef size_t left = 0, n_one = run_pieces(ENCODE, data, n, 0, TEXT_MAX, one, &left), n_two
    if left:
        return 2
    n_two = run_pieces(ENCODE, data, n, seed, room, two, &left)
    if left or n_one != n_two or memcmp(one, two, n_one) != 0:
        return 3
    if scan_pieces(one, n_one, seed) != 0:
        return 4
    n_two = run_pieces(DECODE, one, n_one, seed, room, two, &left)
    return 0 if left == 0 and n_two == n and memcmp(two, data, n) == 0 else 5


cdef int decode_check(const u8* data, size_t n, u32 seed, size_t room, u8* one, u8* two) noexcept nogil:
    cdef u8 state = scan_pieces(data, n, 0)
    cdef size_t n_one, n_two, left_one = 0, left_two = 0
    if state != scan_pieces(data, n, seed):
        return 6
    n_one = run_pieces(DECODE, data, n, 0, TEXT_MAX, one, &left_one)
    n_two = run_pieces(DECODE, data, n, seed, room, two, &left_two)
    if n_one != n_two or left_one != left_two or memcmp(one, two, n_one) != 0:
        return 7
    if state != NO_VERDICT and (state == 0) != (left_one == 0):
        return 8
    return 0


cdef int fuzz_wire_grpc_web(const u8* data, size_t n) noexcept nogil:
    """Bytes: seed of the splits, room of a call, messages that are read as text too."""
    cdef u32 seed
    cdef size_t room
    cdef u8* one
    cdef u8* two
    cdef int broken
    if n < 2 or n > INPUT_MAX:
        return 0
    seed = <u32>data[0] + 1
    room = <size_t>4 + data[1] % 32
    one = <u8*>malloc(TEXT_MAX)
    two = <u8*>malloc(TEXT_MAX)
    if one == NULL or two == NULL:
        abort()
    broken = frames_check(data + 2, n - 2, seed)
    if broken == 0:
        broken = encode_check(data + 2, n - 2, seed, room, one, two)
    if broken == 0:
        broken = decode_check(data + 2, n - 2, seed, room, one, two)
    free(one)
    free(two)
    return broken


TARGETS = ("wire_grpc_web",)


def run(str target, bytes data):
    """The number of the law the input breaks, 0 for none."""
    if target != "wire_grpc_web":
        raise ValueError(target)
    return fuzz_wire_grpc_web(<const u8*>data, <size_t>len(data))
