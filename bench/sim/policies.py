"""The balancers under test: the compiled ones, and formulas in Python that were tried before one was compiled."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bench.sim.world import MS, START, Policy
from tests.probe.routing_balancer import BalancerProbe

KINDS = {"p2c_ewma": 0, "least_request": 1, "round_robin": 2, "random": 3}
DEFAULT, DECAY = 30 * MS, 10_000 * MS


class Core:
    """The balancer as it is compiled."""

    def __init__(self, kind: str, weights: list[int], seed: int) -> None:
        self.core = BalancerProbe(len(weights), seed * 2 + 1)
        self.core.publish([(KINDS[kind], [(slot, 1, weight) for slot, weight in enumerate(weights)], {})], START)

    def pick(self, now: int) -> int:
        return int(self.core.pick(0, now))

    def begin(self, endpoint: int, now: int) -> None:
        self.core.begin(endpoint)

    def oldest(self, endpoint: int, sent: int) -> None:
        self.core.set_oldest(endpoint, sent)

    def end(self, endpoint: int, rtt: int, ok: bool, now: int) -> None:
        self.core.end(0, endpoint, 1, rtt, ok, now)


@dataclass
class State:
    weight: int
    log_after: float  # a sample after this long a silence, ns, is mixed in by logarithm
    value: float = DEFAULT
    stamp: int = START
    flight: int = 0
    oldest: int = 0
    measured: bool = False

    def estimate(self, now: int) -> float:
        return max(self.value * math.exp(-(now - self.stamp) / DECAY), DEFAULT / 1024)

    def risen(self, now: int) -> float:
        """The estimate, or the age of the oldest exchange that waits where that is more."""
        estimate = self.estimate(now)
        return max(estimate, now - self.oldest) if self.oldest else estimate

    def sample(self, rtt: float, now: int) -> None:
        share = math.exp(-(now - self.stamp) / DECAY)
        if rtt >= self.value or not self.measured:
            self.value = rtt
        elif now - self.stamp >= self.log_after:
            self.value = self.value**share * max(rtt, 1.0) ** (1 - share)
        else:
            self.value = self.value * share + rtt * (1 - share)
        self.stamp, self.measured = now, True


# 1 when the second is the lighter
Compare = Callable[[State, State, int], bool]


@dataclass
class Formula:
    """The least of some drawn ones by a comparison; failures and what is unknown are treated as by the compiled one."""

    compare: Compare
    choices: int = 2
    keep: bool = False  # an age beyond the estimate becomes the estimate
    log_after: float = math.inf
    states: list[State] = field(default_factory=list)
    numbers: random.Random = field(default_factory=random.Random)

    def start(self, weights: list[int], seed: int) -> "Formula":
        states = [State(weight, self.log_after) for weight in weights]
        return replace(self, states=states, numbers=random.Random(seed))

    def pick(self, now: int) -> int:
        drawn = self.numbers.sample(range(len(self.states)), min(self.choices, len(self.states)))
        best = drawn[0]
        for other in drawn[1:]:
            if self.is_better(self.states[best], self.states[other], now):
                best = other
        return best

    def is_better(self, one: State, two: State, now: int) -> bool:
        if self.keep:
            for state in (one, two):
                if state.oldest and now - state.oldest > state.estimate(now):
                    state.value, state.stamp = now - state.oldest, now
        if one.measured != two.measured:
            if not one.measured and not one.flight:
                return False
            if not two.measured and not two.flight:
                return True
        return self.compare(one, two, now)

    def begin(self, endpoint: int, now: int) -> None:
        self.states[endpoint].flight += 1

    def oldest(self, endpoint: int, sent: int) -> None:
        self.states[endpoint].oldest = sent

    def end(self, endpoint: int, rtt: int, ok: bool, now: int) -> None:
        state = self.states[endpoint]
        state.flight -= 1
        slow = min(max(2 * state.value * math.exp(-(now - state.stamp) / DECAY), DEFAULT), 100 * DEFAULT)
        state.sample(rtt if ok else max(slow, rtt), now)


def power(exponent: float, risen: bool = True) -> Compare:
    """latency^exponent * (in flight + 1) / weight"""

    def compare(one: State, two: State, now: int) -> bool:
        a = one.risen(now) if risen else one.estimate(now)
        b = two.risen(now) if risen else two.estimate(now)
        return bool((b / a) ** exponent * (two.flight + 1) * one.weight < (one.flight + 1) * two.weight)

    return compare


def late(ratio: float, exponent: float) -> Compare:
    """What one is slower beyond so many times what is known of the other counts to that power."""

    def beyond(latency: float, other: State, other_latency: float) -> float:
        return float(max(1.0, latency / (ratio * max(other_latency, other.value))) ** (exponent - 1))

    def compare(one: State, two: State, now: int) -> bool:
        a, b = one.risen(now), two.risen(now)
        a_load = a * (one.flight + 1) * two.weight * beyond(a, two, b)
        return b * (two.flight + 1) * one.weight * beyond(b, one, a) < a_load

    return compare


def follow(ratio: float) -> Compare:
    """One that is slower by the ratio counts at least as many in flight as the other has."""

    def compare(one: State, two: State, now: int) -> bool:
        a, b = one.risen(now), two.risen(now)
        n, m = one.flight, two.flight
        if b > ratio * a:
            m = max(n, m)
        elif a > ratio * b:
            n = max(n, m)
        return b * (m + 1) * one.weight < a * (n + 1) * two.weight

    return compare


FORMULAS = {
    "peak EWMA": Formula(power(1, risen=False)),
    "age": Formula(power(1)),
    "age, kept": Formula(power(1), keep=True),
    "age, 3 choices": Formula(power(1), choices=3),
    "age, power 1.5": Formula(power(1.5)),
    "age, power 2": Formula(power(2)),
    "age, power 3": Formula(power(3)),
    "age, follows beyond 4": Formula(follow(4)),
    "age, late beyond 2, power 2": Formula(late(2, 2)),
    "age, late beyond 4, power 3": Formula(late(4, 3)),
    "age, late beyond 2, power 3": Formula(late(2, 3)),
    "the same, mean of logarithms": Formula(late(2, 3), log_after=0),
    "the same, after a silence": Formula(late(2, 3), log_after=DECAY / 64),
}


def policy(name: str, weights: list[int], seed: int) -> Policy:
    return Core(name, weights, seed) if name in KINDS else FORMULAS[name].start(weights, seed)
