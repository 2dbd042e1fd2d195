"""The balancer's laws: who may be picked, what is counted, and in which proportions."""

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.probe.routing_balancer import BalancerProbe

P2C, LEAST, ROUND_ROBIN, RANDOM = range(4)
KINDS = [P2C, LEAST, ROUND_ROBIN, RANDOM]
READY, OUT, PROBING = range(3)
MS = 1_000_000
SETTINGS = {
    "backoff_min_ns": 100 * MS, "backoff_max_ns": 1000 * MS, "connect_timeout_ns": 300 * MS, "ramp_ns": 2000 * MS,
}
SEED = 0x1234_5678_9ABC_DEF1
START = 10**12


def probe(kind: int, weights: list[int], seed: int = SEED, **settings_ns: int) -> BalancerProbe:
    balancer = BalancerProbe(max(len(weights), 1), seed)
    balancer.publish([(kind, [(slot, 1, weight) for slot, weight in enumerate(weights)], settings_ns)], START)
    return balancer


# --- health: a model that learns of time only through the state the core shows ---


@dataclass
class Slot:
    gen: int
    health: int = READY
    failures: int = 0
    retry: int = 0
    in_flight: int = 0


@dataclass
class World:
    kind: int
    count: int
    seed: int
    now: int = START
    slots: dict[int, Slot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.core = BalancerProbe(self.count, self.seed)
        self.members: list[int] = []
        self.publish(list(range(self.count)), {})

    def publish(self, members: list[int], renewed: dict[int, bool]) -> None:
        for slot in members:
            if slot not in self.slots:
                self.slots[slot] = Slot(1)
            elif renewed.get(slot):
                self.slots[slot] = Slot(self.slots[slot].gen + 1)
        self.members = members
        self.core.publish([(self.kind, [(slot, self.slots[slot].gen, 1) for slot in members], SETTINGS)], self.now)
        for slot in members:
            self.check(slot)

    def check(self, slot: int) -> None:
        seen, known = self.core.state_of(slot), self.slots[slot]
        assert (seen["slot_gen"], seen["health"], seen["failures"], seen["in_flight"]) == (
            known.gen, known.health, known.failures, known.in_flight,
        )

    def due(self, slot: int) -> bool:
        known = self.slots[slot]
        return known.health != READY and self.now >= known.retry

    def pick(self, avoid_at: int | None) -> None:
        avoid = None if avoid_at is None or not self.members else avoid_at % len(self.members)
        ready = [at for at, slot in enumerate(self.members) if self.slots[slot].health == READY]
        due = [at for at, slot in enumerate(self.members) if self.due(slot)]
        picked = self.core.pick(0, self.now, avoid)
        if picked is None:
            assert not ready
            assert not due
            return
        assert picked in ready + due
        if avoid is not None:
            if set(ready) - {avoid}:
                assert picked in set(ready) - {avoid}
            elif ready:
                assert picked in ready
        if picked in due:
            self.expect_probe(self.members[picked])
        for slot in self.members:
            self.check(slot)

    def expect_probe(self, slot: int) -> None:
        known = self.slots[slot]
        known.health = PROBING
        known.retry = self.core.state_of(slot)["retry_ns"]
        wait = known.retry - self.now
        assert SETTINGS["connect_timeout_ns"] <= wait <= max(1000 * MS, SETTINGS["connect_timeout_ns"])

    def failed(self, slot: int) -> None:
        known = self.slots[slot]
        self.core.connect_failed(0, slot, known.gen, self.now)
        if known.health != OUT:
            known.failures += 1
            known.health = OUT
            known.retry = self.core.state_of(slot)["retry_ns"]
            base = min(1000 * MS, 100 * MS * 2 ** (known.failures - 1))
            assert 0.75 * base - 1 <= known.retry - self.now <= base
        self.check(slot)

    def connected(self, slot: int) -> None:
        known = self.slots[slot]
        self.core.connected(slot, known.gen, self.now)
        if known.health != READY:
            self.slots[slot] = Slot(known.gen, in_flight=known.in_flight)
            assert self.core.state_of(slot)["born_ns"] == self.now
        self.check(slot)

    def end(self, slot: int, gen: int, rtt: int, ok: bool) -> None:
        known = self.slots[slot]
        self.core.end(0, slot, gen, rtt, ok, self.now)
        if gen == known.gen:
            known.in_flight = max(0, known.in_flight - 1)
            if ok and rtt >= 0 and known.health == PROBING:
                self.slots[slot] = Slot(gen, in_flight=known.in_flight)
        self.check(slot)


slot_numbers = st.integers(0, 4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.one_of(st.none(), slot_numbers)),
        st.tuples(st.just("pick"), st.none()),
        st.tuples(st.just("fail"), slot_numbers),
        st.tuples(st.just("connect"), slot_numbers),
        st.tuples(st.just("stale"), slot_numbers),
        st.tuples(st.just("begin"), slot_numbers),
        st.tuples(st.just("end"), slot_numbers, st.integers(-1, 100 * MS), st.booleans()),
        st.tuples(st.just("wait"), st.integers(0, 1500 * MS)),
        st.tuples(st.just("publish"), st.sets(slot_numbers), st.sets(slot_numbers)),
    ),
    max_size=80,
)


@settings(max_examples=500, deadline=None)
@given(kind=st.sampled_from(KINDS), count=st.integers(1, 5), seed=st.integers(1, 2**64 - 1), steps=actions)
def test_health_and_counts_equal_model(
    kind: int, count: int, seed: int, steps: list[tuple[object, ...]]
) -> None:
    world = World(kind, count, seed)
    for step in steps:
        run_step(world, *step)
    for slot, known in world.slots.items():
        for _ in range(known.in_flight):
            world.end(slot, known.gen, 1, True)
        assert world.core.state_of(slot)["in_flight"] == 0


def run_step(world: World, what: object, *args: object) -> None:
    match what, *args:
        case "pick", avoid:
            world.pick(avoid)
        case "wait", amount:
            world.now += amount
        case "publish", members, renewed:
            chosen = sorted(slot for slot in members if slot < world.count)
            world.publish(chosen, dict.fromkeys(renewed, True))
        case _, slot, *rest:
            if slot < world.count and slot in world.slots:
                run_slot_step(world, what, slot, rest)


def run_slot_step(world: World, what: object, slot: int, rest: list[object]) -> None:
    known = world.slots[slot]
    if not world.members:
        return
    if what == "fail":
        world.failed(slot)
    elif what == "connect":
        world.connected(slot)
    elif what == "begin":
        world.core.begin(slot)
        known.in_flight += 1
        world.check(slot)
    elif what == "end":
        world.end(slot, known.gen, *rest)
    else:  # an exchange of an older generation ends: nothing may change
        world.end(slot, known.gen + 7, 5, False)
        world.core.connected(slot, known.gen + 7, world.now)
        world.core.connect_failed(0, slot, known.gen + 7, world.now)
        world.check(slot)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_one_probe_at_a_time_and_none_before_its_time(kind: int, count: int) -> None:
    balancer = probe(kind, [1] * count, **SETTINGS)
    for slot in range(count):
        balancer.connect_failed(0, slot, 1, START)
    assert balancer.count(0) == (0, count)
    first_retry = min(balancer.state_of(slot)["retry_ns"] for slot in range(count))
    assert balancer.pick(0, first_retry - 1) is None
    now = START + 100 * MS
    probes = [balancer.pick(0, now) for _ in range(count)]
    assert sorted(probes) == list(range(count))
    assert balancer.pick(0, now) is None
    # Undecided probes (their exchanges were cancelled) may be made again, but not before a connect could time out.
    assert balancer.pick(0, now + 299 * MS) is None
    assert balancer.pick(0, now + 1000 * MS) is not None


def test_backoff_doubles_to_its_cap_and_one_outage_counts_once() -> None:
    balancer = probe(P2C, [1], **SETTINGS)
    now = START
    for failures in range(1, 80):
        for _ in range(50):  # all exchanges that were connecting fail together
            balancer.connect_failed(0, 0, 1, now)
        seen = balancer.state_of(0)
        assert seen["failures"] == failures
        base = min(1000 * MS, 100 * MS * 2 ** (failures - 1))
        assert 0.75 * base - 1 <= seen["retry_ns"] - now <= base
        now = seen["retry_ns"]
        assert balancer.pick(0, now - 1) is None
        assert balancer.pick(0, now) == 0
    balancer.connected(0, 1, now)
    assert balancer.state_of(0)["failures"] == 0
    assert balancer.pick(0, now) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_ready_endpoint_among_many_is_found(kind: int) -> None:
    count = 3000
    balancer = probe(kind, [1 + slot % 3 for slot in range(count)])
    for slot in range(count):
        if slot != 1234:
            balancer.connect_failed(0, slot, 1, START)
    assert {balancer.pick(0, START) for _ in range(50)} == {1234}
    assert balancer.pick(0, START, 1234) == 1234
    assert balancer.count(0) == (1, count - 1)
    balancer.connect_failed(0, 1234, 1, START)
    assert balancer.pick(0, START) is None


@pytest.mark.parametrize("kind", KINDS)
def test_slots_beyond_the_region_and_empty_backends_are_never_picked(kind: int) -> None:
    balancer = BalancerProbe(2, SEED)
    balancer.publish([(kind, [(0, 1, 1), (1, 1, 1), (2, 1, 1), (2**32 - 1, 1, 9)], {}), (kind, [], {})], START)
    assert {balancer.pick(0, START) for _ in range(200)} == {0, 1}
    assert balancer.pick(1, START) is None
    assert balancer.count(0) == (2, 2)
    assert balancer.count(1) == (0, 0)


# --- what a snapshot changes ---


def test_adopt_keeps_what_was_learnt_and_resets_a_new_generation() -> None:
    balancer = BalancerProbe(8, SEED)
    balancer.publish([(P2C, [(0, 1, 1), (1, 1, 1)], SETTINGS)], START)
    balancer.begin(0)
    balancer.begin(1)
    balancer.end(0, 0, 1, 7 * MS, True, START)
    balancer.connect_failed(0, 1, 1, START)
    kept = balancer.state_of(0), balancer.state_of(1)
    balancer.publish([(P2C, [(1, 1, 1), (0, 1, 1), (5, 1, 1)], SETTINGS)], START + 1)
    assert (balancer.state_of(0), balancer.state_of(1)) == kept
    assert balancer.state_of(5)["born_ns"] == START + 1  # it joins others, so it ramps
    balancer.publish([(P2C, [(0, 1, 1), (1, 2, 1)], SETTINGS)], START + 2)
    fresh = balancer.state_of(1)
    assert (fresh["slot_gen"], fresh["health"], fresh["in_flight"], fresh["failures"]) == (2, READY, 0, 0)
    assert fresh["value_ns"] == 30 * MS
    assert fresh["idle_head"] == 0xFFFFFFFF
    assert balancer.state_of(0) == kept[0]
    balancer.end(0, 1, 1, 7 * MS, True, START + 3)  # an exchange of the old generation ends late
    assert balancer.state_of(1)["in_flight"] == 0


def test_an_endpoint_is_one_cache_line() -> None:
    assert probe(0, [1]).state_bytes() == 64


def test_a_wholly_new_backend_does_not_ramp() -> None:
    balancer = probe(RANDOM, [1, 1], **SETTINGS)
    assert {balancer.state_of(slot)["born_ns"] for slot in (0, 1)} == {START - SETTINGS["ramp_ns"]}


# --- load: which of two is lighter ---


@dataclass
class Standing:
    value_ns: float
    in_flight: int
    weight: int
    age_ms: int
    oldest_ms: int | None  # how long its oldest exchange has waited
    silent_ms: int  # since the last sample

    def latency(self) -> float:
        estimate = self.value_ns * math.exp(-self.silent_ms / 10_000)
        return max(estimate, 30 * MS / 1024, 0 if self.oldest_ms is None else self.oldest_ms * MS)

    def load(self, other: "Standing", kind: int) -> float:
        share = 1.0 if self.age_ms >= 2000 else max(0.1, self.age_ms / 2000)
        queue = (self.in_flight + 1) / (self.weight * share)
        if kind == LEAST:
            return queue
        known = max(other.latency(), other.value_ns)
        return queue * self.latency() * max(1.0, self.latency() / (2 * known)) ** 2


endpoints = st.builds(
    Standing,
    value_ns=st.floats(0, 1e9),
    in_flight=st.integers(0, 30),
    weight=st.integers(1, 1000),
    age_ms=st.sampled_from([0, 50, 200, 1000, 1999, 2000, 5000]),
    oldest_ms=st.one_of(st.none(), st.integers(-5, 3000)),
    silent_ms=st.one_of(st.just(0), st.integers(0, 60_000)),
)


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from([P2C, LEAST]), pair=st.tuples(endpoints, endpoints), seed=st.integers(1, 2**64 - 1))
def test_the_lighter_of_two_is_taken(kind: int, pair: tuple[Standing, Standing], seed: int) -> None:
    balancer = BalancerProbe(3, seed)
    members = [(slot, 1, one.weight) for slot, one in enumerate(pair)]
    balancer.publish([(kind, [(2, 1, 1)], SETTINGS)], START - 10**11)  # one there before, so that the others ramp
    now = START
    for slot, one in sorted(enumerate(pair), key=lambda item: -item[1].age_ms):
        kept = [(2, 1, 1)] + [m for m in members if balancer.state_of(m[0])["slot_gen"]]
        balancer.publish([(kind, [*kept, members[slot]], SETTINGS)], now - one.age_ms * MS)
    balancer.publish([(kind, members, SETTINGS)], now)
    for slot, one in enumerate(pair):
        balancer.set_value_ns(slot, one.value_ns, now - one.silent_ms * MS)
        balancer.set_oldest(slot, 0 if one.oldest_ms is None else now - one.oldest_ms * MS)
        for _ in range(one.in_flight):
            balancer.begin(slot)
    loads = [pair[0].load(pair[1], kind), pair[1].load(pair[0], kind)]
    picked = {balancer.pick(0, now) for _ in range(8)}
    if not math.isclose(*loads, rel_tol=1e-9):
        assert picked == {loads.index(min(loads))}


def test_an_endpoint_is_late_before_it_answers() -> None:
    balancer = probe(P2C, [1, 1])
    for slot, in_flight in enumerate((5, 3)):
        balancer.set_value_ns(slot, 100 * MS, START)
        for _ in range(in_flight):
            balancer.begin(slot)
    for oldest_ms, expected in ((None, 1), (90, 1), (140, 1), (160, 0), (2000, 0)):
        balancer.set_oldest(1, 0 if oldest_ms is None else START - oldest_ms * MS)
        assert {balancer.pick(0, START) for _ in range(20)} == {expected}, oldest_ms
    balancer.set_oldest(1, 0)
    assert {balancer.pick(0, START) for _ in range(20)} == {1}


def test_a_late_endpoint_is_not_tried_only_because_it_is_idle() -> None:
    """2 s against 167 ms with 15 in flight: the product alone would take it at once; it waits until its ratio is 4."""
    balancer = probe(P2C, [1, 1])
    for _ in range(15):
        balancer.begin(0)
    balancer.set_value_ns(1, 2000 * MS, START)
    tried_s = None
    for second in range(40):
        now = START + second * 1000 * MS
        balancer.set_value_ns(0, 167 * MS, now)
        if balancer.pick(0, now) == 1:
            tried_s = second
            break
    assert tried_s == math.ceil(10 * math.log(2000 / (167 * 4)))


def test_a_tie_goes_to_the_first_drawn() -> None:
    balancer = probe(P2C, [1, 1])
    assert 400 < Counter(balancer.pick(0, START) for _ in range(1000))[0] < 600


def test_an_endpoint_of_which_nothing_is_known_gets_one_exchange_to_learn_it() -> None:
    balancer = probe(P2C, [1, 1])
    balancer.set_value_ns(0, 1 * MS, START)
    assert {balancer.pick(0, START) for _ in range(20)} == {1}
    balancer.begin(1)
    assert {balancer.pick(0, START) for _ in range(20)} == {0}  # 30 ms * 2 against 1 ms
    balancer.end(0, 1, 1, 500_000, True, START)
    assert balancer.state_of(1)["value_ns"] == 500_000
    assert {balancer.pick(0, START) for _ in range(20)} == {1}


def test_an_endpoint_that_never_answers_is_left_alone() -> None:
    """Its estimate decays while nothing comes back; what is in flight must speak against it."""
    balancer = probe(P2C, [1, 1])
    balancer.set_value_ns(0, 1 * MS, START)
    balancer.set_value_ns(1, 1 * MS, START)
    now, picks = START, Counter()
    for _ in range(20_000):
        now += MS
        slot = balancer.pick(0, now)
        picks[slot] += 1
        balancer.begin(slot)
        if slot == 0:
            balancer.end(0, 0, 1, 1 * MS, True, now)
    assert picks[1] < 60


@settings(max_examples=200, deadline=None)
@given(value=st.floats(0, 1e10), rtt=st.integers(-1, 10**10), age=st.integers(0, 10**11))
def test_a_failure_is_a_slow_sample(value: float, rtt: int, age: int) -> None:
    balancer = probe(P2C, [1, 1])
    balancer.set_value_ns(0, value, START)
    before = balancer.estimate_ns(0, START + age, 1e10)
    balancer.begin(0)
    balancer.end(0, 0, 1, rtt, False, START + age)
    after = balancer.estimate_ns(0, START + age, 1e10)
    sample = max(rtt, min(max(2 * before, 30 * MS), 3000 * MS))
    if sample >= value:
        assert after == pytest.approx(sample, rel=1e-9)
    else:
        share = math.exp(-age / 1e10)
        mean = value * share + sample * (1 - share) if age * 64 < 1e10 else value**share * sample ** (1 - share)
        assert after == pytest.approx(mean, rel=1e-9)


# --- proportions ---


def chi_square(counts: Counter[int], weights: list[int]) -> float:
    total, sum_of = sum(counts.values()), sum(weights)
    return sum((counts[i] - total * w / sum_of) ** 2 / (total * w / sum_of) for i, w in enumerate(weights))


def bound(degrees: int) -> float:
    """Beyond the 99.99% point of chi-square (Wilson and Hilferty)."""
    return degrees * (1 - 2 / (9 * degrees) + 3.72 * math.sqrt(2 / (9 * degrees))) ** 3


@pytest.mark.parametrize("weights", [[1] * 2, [1] * 50, [1, 2, 3, 4], [100, 1, 1, 7, 30], [70_000, 10_001, 999]])
@pytest.mark.parametrize("seed", [SEED, 1, 2**63])
def test_random_respects_weights(weights: list[int], seed: int) -> None:
    balancer = probe(RANDOM, weights, seed)
    counts = Counter(balancer.pick(0, START) for _ in range(40_000))
    assert chi_square(counts, weights) < bound(len(weights) - 1)


def test_random_spreads_what_an_outage_leaves_by_weight() -> None:
    balancer = probe(RANDOM, [5, 1, 2, 4])
    balancer.connect_failed(0, 0, 1, START)
    counts = Counter(balancer.pick(0, START) - 1 for _ in range(40_000))
    assert chi_square(counts, [1, 2, 4]) < bound(2)


def test_pairs_are_drawn_evenly() -> None:
    balancer = probe(P2C, [1] * 20)
    counts = Counter(balancer.pick(0, START) for _ in range(40_000))
    assert chi_square(counts, [1] * 20) < bound(19)


@pytest.mark.parametrize("kind", [P2C, LEAST])
def test_what_is_in_flight_settles_by_weight(kind: int) -> None:
    weights = [1, 2, 4]
    balancer = probe(kind, weights)
    for slot in range(3):
        balancer.set_value_ns(slot, 5 * MS, START)
    queue: list[int] = []
    for _ in range(3000):
        picked = balancer.pick(0, START)
        balancer.begin(picked)
        queue.append(picked)
        if len(queue) > 140:
            balancer.end(0, queue.pop(0), 1, -1, True, START)
    flights = [balancer.state_of(slot)["in_flight"] for slot in range(3)]
    assert sum(flights) == 140
    for flight, weight in zip(flights, weights, strict=True):
        assert flight == pytest.approx(140 * weight / 7, rel=0.15)


# The small totals take a listed order, the large ones a guided walk.
weight_lists = st.one_of(
    st.lists(st.integers(1, 9), min_size=2, max_size=12),
    st.lists(st.sampled_from([1, 2, 10, 100, 250, 4000]), min_size=2, max_size=40),
)


@settings(max_examples=60, deadline=None)
@given(weights=weight_lists, seed=st.integers(1, 2**64 - 1))
def test_round_robin_is_exact_over_a_period_from_anywhere(weights: list[int], seed: int) -> None:
    balancer = probe(ROUND_ROBIN, weights, seed)
    common = math.gcd(*weights)
    period = balancer.period(0)
    assert period == sum(weights) // common
    for _ in range(2):
        counts = Counter(balancer.pick(0, START) for _ in range(period))
        assert counts == {slot: weight // common for slot, weight in enumerate(weights)}


@settings(max_examples=60, deadline=None)
@given(weights=weight_lists)
def test_round_robin_is_smooth(weights: list[int]) -> None:
    """No endpoint waits longer than five times its fair distance for a turn."""
    balancer = probe(ROUND_ROBIN, weights)
    turns = [balancer.pick(0, START) for _ in range(min(2 * balancer.period(0), 20_000))]
    last: dict[int, int] = {}
    for at, slot in enumerate(turns):
        if slot in last:
            assert at - last[slot] <= 5 * sum(weights) / weights[slot] + 1
        last[slot] = at


def test_round_robin_of_equals_goes_in_config_order_and_skips_what_is_out() -> None:
    balancer = probe(ROUND_ROBIN, [3, 3, 3, 3])
    turns = [balancer.pick(0, START) for _ in range(8)]
    assert all((after - before) % 4 == 1 for before, after in itertools.pairwise(turns))
    balancer.connect_failed(0, 2, 1, START)
    assert Counter(balancer.pick(0, START) for _ in range(400))[2] == 0


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.one_of(st.integers(1, 5), st.integers(1, 2**32 - 1)), min_size=2, max_size=300),
    numbers=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40),
)
def test_guided_table_equals_cumulative_weights(weights: list[int], numbers: list[float]) -> None:
    balancer = probe(RANDOM, [*weights, 2**32 - 1, 2**32 - 2])
    weights = [*weights, 2**32 - 1, 2**32 - 2]
    common = math.gcd(*weights)
    ends = list(itertools.accumulate(weight // common for weight in weights))
    assert balancer.period(0) == ends[-1]
    edges = [edge + step for edge in ends[:-1] for step in (-1, 0)]
    for number in [int(share * ends[-1]) for share in numbers] + edges + [0, ends[-1] - 1]:
        owner = balancer.owner(0, number)
        assert number < ends[owner]
        assert owner == 0 or number >= ends[owner - 1]


@pytest.mark.parametrize("kind", [ROUND_ROBIN, RANDOM])
@pytest.mark.parametrize(("age_ms", "share"), [(0, 0.1), (100, 0.1), (1000, 0.5), (1999, 1.0), (2000, 1.0)])
def test_a_newcomer_ramps_up(kind: int, age_ms: int, share: float) -> None:
    balancer = BalancerProbe(8, SEED)
    members = [(slot, 1, 1) for slot in range(4)]
    balancer.publish([(kind, members[:3], SETTINGS)], START)
    balancer.publish([(kind, members, SETTINGS)], START + 10**10)
    now = START + 10**10 + age_ms * MS
    total = 40_000
    counts = Counter(balancer.pick(0, now) for _ in range(total))
    expected = total * share / (3 + share)
    assert abs(counts[3] - expected) < 5 * math.sqrt(expected)


def test_a_returned_endpoint_ramps_up_again() -> None:
    balancer = probe(RANDOM, [1, 1, 1], **SETTINGS)
    balancer.connect_failed(0, 0, 1, START)
    now = START + 100 * MS
    while balancer.pick(0, now) != 0:
        pass
    balancer.connected(0, 1, now)
    early = Counter(balancer.pick(0, now) for _ in range(20_000))
    assert early[0] == pytest.approx(20_000 * 0.1 / 2.1, rel=0.15)
    late = Counter(balancer.pick(0, now + 2000 * MS) for _ in range(20_000))
    assert late[0] == pytest.approx(20_000 / 3, rel=0.1)


def test_workers_with_other_seeds_begin_at_other_turns() -> None:
    first = {probe(ROUND_ROBIN, [1] * 100, seed).pick(0, START) for seed in range(1, 40)}
    assert len(first) > 20
