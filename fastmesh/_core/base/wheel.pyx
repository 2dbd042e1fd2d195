from fastmesh._core.base.types cimport u8, u32, u64, i64

cdef extern from * nogil:
    int wheel_ctz "__builtin_ctzll"(unsigned long long value) noexcept


cdef inline Timer* timer_at(const Wheel* w, u32 index) noexcept nogil:
    return <Timer*>(w.base + <size_t>index * w.stride)


# A deadline belongs to the first tick that begins at or after it: scanned then, it cannot fire early.
cdef inline i64 tick_of(const Wheel* w, i64 deadline_ns) noexcept nogil:
    cdef i64 tick = deadline_ns >> w.tick_shift
    return tick + (1 if (tick << w.tick_shift) < deadline_ns else 0)


# The next tick at which a slot is scanned.
cdef inline i64 visit_of(const Wheel* w, u32 slot) noexcept nogil:
    cdef i64 first = w.last_tick + 1
    return first + ((<i64>slot - first) & (WHEEL_SLOTS - 1))


cdef void link(Wheel* w, Timer* t, u32 index, i64 tick) noexcept nogil:
    cdef u32 slot = <u32>(tick & (WHEEL_SLOTS - 1))
    cdef u32 head = w.heads[slot]
    # At the head: a scan of this slot that is under way has passed it.
    t.slot = slot
    t.prev = <u32>WHEEL_NONE
    t.next = head
    if head != <u32>WHEEL_NONE:
        timer_at(w, head).prev = index
    w.heads[slot] = index
    w.occupied[slot >> 6] |= <u64>1 << (slot & 63)
    w.summary |= <u64>1 << (slot >> 6)
    w.count += 1


cdef void unlink(Wheel* w, Timer* t, u32 index) noexcept nogil:
    cdef u32 slot = t.slot
    if w.scan == index:
        w.scan = t.next
    if t.next != <u32>WHEEL_NONE:
        timer_at(w, t.next).prev = t.prev
    if t.prev != <u32>WHEEL_NONE:
        timer_at(w, t.prev).next = t.next
    else:
        w.heads[slot] = t.next
        if t.next == <u32>WHEEL_NONE:
            w.occupied[slot >> 6] &= ~(<u64>1 << (slot & 63))
            if w.occupied[slot >> 6] == 0:
                w.summary &= ~(<u64>1 << (slot >> 6))
    t.slot = <u32>WHEEL_NONE
    w.count -= 1


# The tick at which the next occupied slot is scanned; the wheel is not empty.
cdef i64 next_visit(const Wheel* w) noexcept nogil:
    cdef u32 start = <u32>((w.last_tick + 1) & (WHEEL_SLOTS - 1))
    cdef u32 word = start >> 6
    cdef u64 bits = w.occupied[word] & (~<u64>0 << (start & 63))
    cdef u64 words
    if bits == 0:
        # Words after this one, else from the wheel's first on (this one again included: its bits below `start`).
        words = w.summary & (~<u64>1 << word)
        if words == 0:
            words = w.summary
        word = <u32>wheel_ctz(words)
        bits = w.occupied[word]
    return visit_of(w, (word << 6) + <u32>wheel_ctz(bits))


cdef void wheel_init(Wheel* w, void* first_timer, u32 stride, i64 tick_ns, i64 now_ns) noexcept nogil:
    cdef u32 i
    w.base = <u8*>first_timer
    w.stride = stride
    w.count = 0
    w.tick_shift = 0
    while w.tick_shift < 40 and (tick_ns >> (w.tick_shift + 1)) > 0:
        w.tick_shift += 1
    w.tick_ns = <i64>1 << w.tick_shift
    w.last_tick = now_ns >> w.tick_shift
    w.scan = <u32>WHEEL_NONE
    w.summary = 0
    for i in range(<u32>WHEEL_SLOTS):
        w.heads[i] = <u32>WHEEL_NONE
    for i in range(<u32>64):
        w.occupied[i] = 0


cdef void timer_init(Timer* t) noexcept nogil:
    t.deadline_ns = 0
    t.next = <u32>WHEEL_NONE
    t.prev = <u32>WHEEL_NONE
    t.slot = <u32>WHEEL_NONE


cdef void wheel_set(Wheel* w, u32 index, i64 deadline_ns) noexcept nogil:
    cdef Timer* t = timer_at(w, index)
    cdef i64 tick
    if t.slot != <u32>WHEEL_NONE and deadline_ns >= t.deadline_ns:
        # Its slot comes no later than the old deadline did: what is put off, as most are, stays where it is.
        t.deadline_ns = deadline_ns
        return
    t.deadline_ns = deadline_ns if deadline_ns > 0 else 1
    tick = tick_of(w, t.deadline_ns)
    if tick <= w.last_tick:
        tick = w.last_tick + 1
    if t.slot != <u32>WHEEL_NONE:
        if tick >= visit_of(w, t.slot):
            return
        unlink(w, t, index)
    link(w, t, index, tick)


cdef void wheel_cancel(Wheel* w, u32 index) noexcept nogil:
    cdef Timer* t = timer_at(w, index)
    t.deadline_ns = 0
    if t.slot != <u32>WHEEL_NONE:
        unlink(w, t, index)


# Begins the scan of the next occupied slot up to now_tick; 0 when there is none.
cdef inline int scan_next(Wheel* w, i64 now_tick) noexcept nogil:
    cdef i64 tick
    # After a long sleep one revolution sees every slot.
    if w.last_tick < now_tick - WHEEL_SLOTS:
        w.last_tick = now_tick - WHEEL_SLOTS
    if w.last_tick >= now_tick:
        return 0
    if w.count == 0:
        w.last_tick = now_tick
        return 0
    tick = next_visit(w)
    if tick > now_tick:
        w.last_tick = now_tick
        return 0
    w.last_tick = tick
    w.scan = w.heads[tick & (WHEEL_SLOTS - 1)]
    return 1


cdef u32 wheel_pop(Wheel* w, i64 now_ns) noexcept nogil:
    cdef i64 now_tick = now_ns >> w.tick_shift
    cdef i64 due_ns = now_tick << w.tick_shift
    cdef Timer* t
    cdef u32 index
    cdef i64 tick
    while True:
        while w.scan != <u32>WHEEL_NONE:
            index = w.scan
            t = timer_at(w, index)
            if t.deadline_ns <= due_ns:
                unlink(w, t, index)
                t.deadline_ns = 0
                return index
            tick = tick_of(w, t.deadline_ns)
            if <u32>(tick & (WHEEL_SLOTS - 1)) == t.slot:
                w.scan = t.next
            else:
                unlink(w, t, index)
                link(w, t, index, tick)
        if scan_next(w, now_tick) == 0:
            return <u32>WHEEL_NONE


cdef i64 wheel_wait_ns(Wheel* w, i64 now_ns) noexcept nogil:
    cdef i64 wait
    if w.count == 0:
        return -1
    if w.scan != <u32>WHEEL_NONE:
        return 0
    wait = (next_visit(w) << w.tick_shift) - now_ns
    return wait if wait > 0 else 0
