# A hashed timer wheel of object indexes: set, move and cancel in O(1), no allocation.
# Law: fires no timer early, none later than one tick after its deadline at the next advance; equals a sorted-list model
# of deadlines rounded up to a tick. A deadline that has already passed when it is set counts as one at the next tick, so
# that a timer which sets itself again cannot keep wheel_pop busy for ever.
# A timer lives inside its object; the wheel finds it by index: base + index * stride (stride: the object's size).
from fastmesh._core.base.types cimport u8, u16, u32, u64, i64

cdef enum:
    WHEEL_SLOTS = 4096
    WHEEL_NONE = 0xFFFFFFFF

ctypedef struct Timer:
    i64 deadline_ns      # 0 = not set
    u32 next             # index of the next object in the slot
    u32 prev
    u32 slot             # WHEEL_NONE = not linked; may be earlier than the deadline's own slot (it is moved when it comes up)

ctypedef struct Wheel:
    u8* base             # borrows the slab: address of object 0's Timer
    u32 stride
    u32 count            # linked timers
    i64 tick_ns          # 2^20 ns is about 1 ms; slots wrap after WHEEL_SLOTS ticks, longer deadlines go round again
    i64 last_tick        # every slot up to this tick was scanned, this one down to `scan`
    u32 tick_shift       # private: log2(tick_ns)
    u32 scan             # private: next object to look at in last_tick's slot; WHEEL_NONE: the slot is done
    u64 summary          # private: bit per word of `occupied` that is not 0
    u32 heads[WHEEL_SLOTS]
    u64 occupied[64]     # bit per slot, so the next expiry is found without walking empty slots

# tick_ns is rounded down to a power of two (at least 1). first_timer: the Timer inside object 0.
cdef void wheel_init(Wheel* w, void* first_timer, u32 stride, i64 tick_ns, i64 now_ns) noexcept nogil
cdef void timer_init(Timer* t) noexcept nogil
# Sets or moves. A later deadline than the linked slot costs one store (lazy); an earlier one relinks.
cdef void wheel_set(Wheel* w, u32 index, i64 deadline_ns) noexcept nogil
cdef void wheel_cancel(Wheel* w, u32 index) noexcept nogil
# Next object whose deadline <= now, unlinked and with deadline 0; WHEEL_NONE when no more are due. Call until NONE.
# Timers may be set, moved and cancelled between two calls. O(1) amortised over sets and revolutions.
cdef u32 wheel_pop(Wheel* w, i64 now_ns) noexcept nogil
# Nanoseconds until something may be due, 0 when due, -1 when the wheel is empty. Never late; may be early.
cdef i64 wheel_wait_ns(Wheel* w, i64 now_ns) noexcept nogil
