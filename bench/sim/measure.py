"""What a run is judged by."""

import math
import random
from collections import Counter

from bench.sim.policies import policy
from bench.sim.scenarios import SCENARIOS
from bench.sim.world import MS, SECOND, Outcome, Scenario, World

Row = dict[str, str | float | None]


def jain(loads: list[float]) -> float:
    """Fairness after Jain: 1 when all carry the same, 1/n when one carries it all."""
    squares = sum(load * load for load in loads)
    return sum(loads) ** 2 / (len(loads) * squares) if squares else 1.0


def returned_s(scenario: Scenario, outcome: Outcome) -> float | None:
    """Seconds until the odd one, like the others again, had half of its fair share; None: not in this run."""
    arrivals = list(scenario.arrivals(random.Random(0)))
    fair = len(arrivals) * SECOND / arrivals[-1] / len(scenario.weights)  # per second
    window = max(0.5, 10 / fair)
    taken = Counter(int(since / SECOND / window) for since in outcome.after)
    enough = [number for number, count in taken.items() if count >= fair * window / 2]
    return (min(enough) + 1) * window if enough else None


def measure(name: str, balancer: str, seed: int) -> Row:
    scenario = SCENARIOS[name]
    outcome = World(scenario, policy(balancer, scenario.weights, seed), seed).run()
    latencies = sorted(outcome.latencies)
    count = len(latencies)

    def percentile_ms(share: float) -> float:
        return latencies[min(count - 1, math.ceil(count * share) - 1)] / MS

    equals = [
        sent / weight
        for endpoint, (sent, weight) in enumerate(zip(outcome.sent, scenario.weights, strict=True))
        if endpoint != scenario.odd
    ]
    row: Row = {
        "scenario": name, "balancer": balancer, "seed": seed, "requests": count, "late": outcome.late,
        "success_percent": 100 * (1 - outcome.late / count), "mean_ms": sum(latencies) / count / MS,
        "p50_ms": percentile_ms(0.5), "p99_ms": percentile_ms(0.99), "p99.9_ms": percentile_ms(0.999),
        "jain": jain(equals),
    }
    if scenario.odd is not None:
        row["odd_share_percent"] = 100 * outcome.sent_odd / max(1, outcome.sent_in_odd)
        row["returned_s"] = returned_s(scenario, outcome)
    return row
