"""The timer wheel, shown to Python tests: a wheel over `capacity` objects."""

from libc.stdlib cimport calloc, free

from fastmesh._core.base.types cimport u8, u32, i64
from fastmesh._core.base.wheel cimport (
    Timer, Wheel, WHEEL_NONE, WHEEL_SLOTS, timer_init, wheel_cancel, wheel_init, wheel_pop, wheel_set, wheel_wait_ns,
)

SLOTS = WHEEL_SLOTS


# The timer sits in the middle of its object, as it does in the core.
cdef struct Object:
    i64 before
    Timer timer
    i64 after


cdef class WheelProbe:
    cdef Wheel wheel
    cdef Object* objects
    cdef u32 capacity

    def __cinit__(self, u32 capacity, i64 tick_ns, i64 now_ns):
        cdef u32 i
        self.objects = <Object*>calloc(capacity, sizeof(Object))
        if self.objects == NULL:
            raise MemoryError
        self.capacity = capacity
        for i in range(capacity):
            timer_init(&self.objects[i].timer)
        wheel_init(&self.wheel, &self.objects[0].timer, sizeof(Object), tick_ns, now_ns)

    def __dealloc__(self):
        free(self.objects)

    cdef int check(self, u32 index) except -1:
        if index >= self.capacity:
            raise IndexError(index)
        return 0

    def tick_ns(self):
        return self.wheel.tick_ns

    def count(self):
        return self.wheel.count

    def set(self, u32 index, i64 deadline_ns):
        self.check(index)
        wheel_set(&self.wheel, index, deadline_ns)

    def cancel(self, u32 index):
        self.check(index)
        wheel_cancel(&self.wheel, index)

    def deadline_ns(self, u32 index):
        self.check(index)
        return self.objects[index].timer.deadline_ns

    def slot(self, u32 index):
        """The slot a timer is linked in; None when it is not."""
        self.check(index)
        return None if self.objects[index].timer.slot == <u32>WHEEL_NONE else self.objects[index].timer.slot

    def pop(self, i64 now_ns):
        """The next due timer's index, None when no more are due."""
        cdef u32 index = wheel_pop(&self.wheel, now_ns)
        return None if index == <u32>WHEEL_NONE else index

    def wait_ns(self, i64 now_ns):
        return wheel_wait_ns(&self.wheel, now_ns)

    def untouched(self):
        """Whether no write strayed into what surrounds the timers."""
        cdef u32 i
        for i in range(self.capacity):
            if self.objects[i].before != 0 or self.objects[i].after != 0:
                return False
        return True

    def churn(self, i64 now_ns, i64 step_ns, i64 timeout_ns, long rounds):
        """Bench: `rounds` times one timer moves later and time steps on; returns how many fired."""
        cdef long i
        cdef long fired = 0
        for i in range(rounds):
            wheel_set(&self.wheel, <u32>(i % self.capacity), now_ns + timeout_ns)
            now_ns += step_ns
            while wheel_pop(&self.wheel, now_ns) != <u32>WHEEL_NONE:
                fired += 1
        return fired

    def rearm(self, i64 now_ns, i64 step_ns, i64 timeout_ns, long rounds):
        """Bench: `rounds` times one timer is cancelled and set anew, and the wait is asked for."""
        cdef long i
        cdef i64 total = 0
        cdef u32 index
        for i in range(rounds):
            index = <u32>(i % self.capacity)
            wheel_cancel(&self.wheel, index)
            wheel_set(&self.wheel, index, now_ns + timeout_ns)
            total ^= wheel_wait_ns(&self.wheel, now_ns)
            now_ns += step_ns
            while wheel_pop(&self.wheel, now_ns) != <u32>WHEEL_NONE:
                pass
        return total
