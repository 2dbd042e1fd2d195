"""The timer wheel equals a sorted list of deadlines rounded up to a tick."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.probe.base_wheel import SLOTS, WheelProbe

TICK_NS = 1 << 20
REVOLUTION_NS = TICK_NS * SLOTS
CAPACITY = 12


@dataclass
class Model:
    """Deadlines by index, each as the tick from which on it is due."""

    last_tick: int
    due_tick: dict[int, int] = field(default_factory=dict)

    def put(self, index: int, deadline_ns: int) -> None:
        self.due_tick[index] = max(-(-deadline_ns // TICK_NS), self.last_tick + 1)

    def advance(self, now_ns: int) -> set[int]:
        self.last_tick = max(self.last_tick, now_ns // TICK_NS)
        due = {index for index, tick in self.due_tick.items() if tick <= self.last_tick}
        for index in due:
            del self.due_tick[index]
        return due


# Steps near the edges of a tick and of a revolution, tiny ones, and leaps.
distances = st.one_of(
    st.integers(0, 4 * TICK_NS),
    st.integers(0, 3 * SLOTS).map(lambda ticks: ticks * TICK_NS),
    st.tuples(st.integers(0, 4), st.integers(-2, 2), st.integers(-1, 1)).map(
        lambda t: max(0, t[0] * REVOLUTION_NS + t[1] * TICK_NS + t[2])
    ),
    st.integers(0, 5 * REVOLUTION_NS),
    st.just(10_000 * REVOLUTION_NS),
)
indexes = st.integers(0, CAPACITY - 1)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), indexes, distances),
        st.tuples(st.just("past"), indexes, st.integers(0, 3 * TICK_NS)),
        st.tuples(st.just("cancel"), indexes, st.just(0)),
        st.tuples(st.just("advance"), st.just(0), distances),
        st.tuples(st.just("wait"), st.just(0), st.just(0)),
    ),
    max_size=120,
)


def drain(wheel: WheelProbe, now_ns: int) -> set[int]:
    fired: set[int] = set()
    while (index := wheel.pop(now_ns)) is not None:
        assert index not in fired
        assert wheel.deadline_ns(index) == 0
        assert wheel.slot(index) is None
        fired.add(index)
    return fired


@settings(max_examples=600, deadline=None)
@given(start=st.integers(1, 3 * REVOLUTION_NS), steps=operations)
def test_wheel_equals_model(start: int, steps: list[tuple[str, int, int]]) -> None:
    now = start
    wheel = WheelProbe(CAPACITY, TICK_NS, now)
    model = Model(now // TICK_NS)
    for kind, index, amount in steps:
        if kind == "set":
            wheel.set(index, now + amount)
            model.put(index, now + amount)
        elif kind == "past":
            wheel.set(index, max(1, now - amount))
            model.put(index, max(1, now - amount))
        elif kind == "cancel":
            wheel.cancel(index)
            model.due_tick.pop(index, None)
            assert wheel.deadline_ns(index) == 0
        elif kind == "advance":
            now += amount
            assert drain(wheel, now) == model.advance(now)
        else:
            check_wait(wheel, model, now)
        assert wheel.count() == len(model.due_tick)
    assert wheel.untouched()


def check_wait(wheel: WheelProbe, model: Model, now: int) -> None:
    wait = wheel.wait_ns(now)
    if not model.due_tick:
        assert wait == -1
        return
    due = min(model.due_tick.values()) * TICK_NS
    assert 0 <= wait <= max(0, due - now)


@settings(max_examples=300, deadline=None)
@given(
    timeouts=st.lists(distances, min_size=1, max_size=CAPACITY),
    reactions=st.lists(st.tuples(indexes, st.one_of(st.none(), distances)), max_size=60),
    jumps=st.lists(distances, min_size=1, max_size=20),
)
def test_sets_and_cancels_between_pops(
    timeouts: list[int], reactions: list[tuple[int, int | None]], jumps: list[int]
) -> None:
    """What a handler does to other timers (or its own) while the wheel is being popped keeps the law."""
    now = 7 * TICK_NS + 3
    wheel = WheelProbe(CAPACITY, TICK_NS, now)
    deadline: dict[int, int] = {}
    for index, timeout in enumerate(timeouts):
        wheel.set(index, now + timeout)
        deadline[index] = now + timeout
    for jump in jumps:
        now += jump
        pops = 0
        while (index := wheel.pop(now)) is not None:
            assert deadline.pop(index) <= now
            pops += 1
            if reactions:
                other, timeout = reactions.pop()
                if timeout is None:
                    wheel.cancel(other)
                    deadline.pop(other, None)
                else:
                    wheel.set(other, now + timeout)
                    deadline[other] = now + timeout
        assert pops <= CAPACITY + 60 + len(jumps)
        # Nothing that was due a full tick ago was left behind.
        assert all(due > now - TICK_NS for due in deadline.values())
        assert wheel.count() == len(deadline)
    now += TICK_NS + max(deadline.values(), default=0)
    assert drain(wheel, now) == set(deadline)


@settings(max_examples=200, deadline=None)
@given(timeouts=st.lists(distances, min_size=1, max_size=CAPACITY))
def test_sleeping_for_wait_fires_everything_in_order(timeouts: list[int]) -> None:
    """A loop that only ever sleeps for wheel_wait_ns is never late by more than a tick and never spins."""
    now = 5 * TICK_NS
    wheel = WheelProbe(CAPACITY, TICK_NS, now)
    deadline = {index: now + min(timeout, 6 * REVOLUTION_NS) for index, timeout in enumerate(timeouts)}
    for index, due in deadline.items():
        wheel.set(index, due)
    turns = 0
    while (wait := wheel.wait_ns(now)) >= 0:
        now += wait
        for index in drain(wheel, now):
            due = deadline.pop(index)
            assert 0 <= now - due <= TICK_NS
        turns += 1
        assert turns < CAPACITY * 10
    assert not deadline


def test_later_deadline_stays_linked_and_earlier_moves() -> None:
    wheel = WheelProbe(1, TICK_NS, 0)
    wheel.set(0, 10 * TICK_NS)
    assert wheel.slot(0) == 10
    wheel.set(0, 500 * TICK_NS)
    assert wheel.slot(0) == 10  # lazily: one store
    wheel.set(0, 100 * TICK_NS)
    assert wheel.slot(0) == 10  # still later than where it is linked
    wheel.set(0, 9 * TICK_NS)
    assert wheel.slot(0) == 9
    wheel.set(0, 100 * TICK_NS)
    assert wheel.pop(9 * TICK_NS) is None
    assert wheel.slot(0) == 100
    assert wheel.pop(100 * TICK_NS - 1) is None
    assert wheel.pop(100 * TICK_NS) == 0


def test_a_timer_that_sets_itself_to_now_does_not_trap_pop() -> None:
    wheel = WheelProbe(1, TICK_NS, 0)
    now = 3 * TICK_NS
    wheel.set(0, now)
    assert wheel.pop(now) == 0
    wheel.set(0, now)
    assert wheel.pop(now) is None
    assert wheel.wait_ns(now) == TICK_NS
    assert wheel.pop(now + TICK_NS) == 0


@pytest.mark.parametrize(("asked", "given_ns"), [(1 << 20, 1 << 20), (1_000_000, 1 << 19), (1, 1), (0, 1), (-5, 1)])
def test_tick_is_rounded_down_to_a_power_of_two(asked: int, given_ns: int) -> None:
    assert WheelProbe(1, asked, 0).tick_ns() == given_ns
