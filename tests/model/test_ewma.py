"""The peak EWMA equals its definition in Python to 1e-12."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.probe.routing_ewma import EwmaProbe

DECAY_NS = 10e9


@dataclass
class Model:
    value: float
    stamp: int

    def share(self, now: int, decay: float) -> float:
        age = max(0, now - self.stamp)
        if age == 0:
            return 1.0
        return math.exp(-age / decay) if decay > 0 else 0.0

    def add(self, rtt: float, now: int, decay: float) -> None:
        rtt = max(1.0, rtt)
        share = self.share(now, decay)
        if rtt >= self.value:
            self.value = rtt
        elif (now - self.stamp) * 64 < decay:
            self.value = self.value * share + rtt * (1 - share)
        else:  # after a silence: the mean of the logarithms
            self.value = math.exp(math.log(self.value) * share + math.log(rtt) * (1 - share))
        self.stamp = max(self.stamp, now)

    def read(self, now: int, decay: float) -> float:
        return self.value * self.share(now, decay)


rtts = st.one_of(st.floats(-1e6, 1e12), st.floats(1e5, 1e8))
steps = st.one_of(st.integers(0, 10**7), st.integers(-(10**6), 10**11), st.integers(156_240_000, 156_260_000))
decays = st.sampled_from([DECAY_NS, 1e6, 1.0, 0.0, -1.0])


@settings(max_examples=500, deadline=None)
@given(
    first=st.floats(0, 1e10), decay=decays, samples=st.lists(st.tuples(st.booleans(), rtts, steps), max_size=60)
)
def test_ewma_equals_model(first: float, decay: float, samples: list[tuple[bool, float, int]]) -> None:
    now = 10**12
    core, model = EwmaProbe(first, now), Model(first, now)
    for is_sample, rtt, step in samples:
        now += step
        if is_sample:
            core.add(rtt, now, decay)
            model.add(rtt, now, decay)
        assert core.read(now, decay) == pytest.approx(model.read(now, decay), rel=1e-12, abs=1e-300)
        assert core.value_ns() == pytest.approx(model.value, rel=1e-12, abs=1e-300)


@given(first=st.floats(0, 1e10), rtt=st.floats(0, 1e10), step=st.integers(0, 10**12))
def test_a_peak_is_kept_and_a_dip_is_worn_in(first: float, rtt: float, step: int) -> None:
    core = EwmaProbe(first, 0)
    core.add(rtt, step, DECAY_NS)
    rtt = max(rtt, 1.0)
    if rtt >= first:
        assert core.value_ns() == rtt
    else:
        assert rtt * (1 - 1e-12) <= core.value_ns() <= first * (1 + 1e-12)


def test_unread_estimate_decays_to_a_share_of_e_in_one_decay() -> None:
    core = EwmaProbe(1e9, 0)
    assert core.read(10**10, DECAY_NS) == pytest.approx(1e9 / math.e, rel=1e-12)
    assert core.value_ns() == 1e9


def test_an_answer_after_a_silence_counts_more_than_one_in_a_row() -> None:
    silent, busy = EwmaProbe(1e9, 0), EwmaProbe(1e9, 0)
    silent.add(1e8, 10**10, DECAY_NS)
    for step in range(1, 1001):
        busy.add(1e8, step * 10**7, DECAY_NS)
    assert silent.value_ns() == pytest.approx(1e8 * 10 ** (1 / math.e), rel=1e-12)
    assert busy.value_ns() == pytest.approx(1e8 + 9e8 / math.e, rel=1e-9)
