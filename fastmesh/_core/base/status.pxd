# What a core function answers. Law: >= 0 is progress, < 0 is one of these; 0 alone never means success of a parse.

cdef enum Status:
    OK = 0
    AGAIN = -1       # needs more input; nothing was decided
    BLOCKED = -2     # the socket or the peer cannot take more now
    FULL = -3        # a pool, ring or buffer has no room
    BAD = -4         # the input breaks the grammar
    LIMIT = -5       # the input is lawful but over a limit
    CLOSED = -6      # end of stream
    STALE = -7       # the handle's object is gone
    DENIED = -8      # policy said no
    IO = -9          # a system call failed; errno says why
