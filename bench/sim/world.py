"""Simulated time: an open loop of requests, endpoints that answer as a scenario says, and what came of it."""

import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

MS = 1_000_000
SECOND = 1_000_000_000
START = 10**12


class Policy(Protocol):
    """What chooses. Times in nanoseconds."""

    def pick(self, now: int) -> int: ...
    def begin(self, endpoint: int, now: int) -> None: ...
    def oldest(self, endpoint: int, sent: int) -> None: ...
    def end(self, endpoint: int, rtt: int, ok: bool, now: int) -> None: ...


@dataclass
class Answer:
    """What an endpoint makes of a request: how long it works on it (ns), and whether the answer is a good one."""

    work: int
    ok: bool = True


# (endpoint, time since the start in ns, how many it was sent before, random numbers) -> its answer
Service = Callable[[int, int, int, random.Random], Answer]


@dataclass
class Scenario:
    name: str
    what: str
    service: Service
    arrivals: Callable[[random.Random], Iterator[int]]  # times since the start, ns, rising
    weights: list[int]
    deadline: int = SECOND  # success: a good answer within this
    servers: int = 0  # requests an endpoint works on at once, others wait for it; 0 = all
    odd: int | None = None  # the endpoint that is not like the others,
    odd_from: int = 0  # between these times
    odd_until: int = 0


@dataclass
class Endpoint:
    sent: int = 0
    busy: int = 0
    queue: deque[tuple[int, int]] = field(default_factory=deque)  # (request, when it was sent)
    waiting: "OrderedDict[int, int]" = field(default_factory=OrderedDict)  # request -> when it was sent


@dataclass
class Outcome:
    latencies: list[int] = field(default_factory=list)  # ns, of good answers and of bad ones
    late: int = 0  # bad, or after the deadline
    sent: list[int] = field(default_factory=list)  # by endpoint
    sent_odd: int = 0  # to the odd one in its time
    sent_in_odd: int = 0  # to all in that time
    after: list[int] = field(default_factory=list)  # times at which the odd one was chosen once it was like the others


class World:
    """One run of a scenario under a policy."""

    def __init__(self, scenario: Scenario, policy: Policy, seed: int) -> None:
        self.scenario, self.policy = scenario, policy
        self.random = random.Random(seed)
        self.endpoints = [Endpoint() for _ in scenario.weights]
        self.events: list[tuple[int, int, int, int, bool]] = []  # (time, request, endpoint, sent, ok)
        self.outcome = Outcome(sent=[0] * len(scenario.weights))

    def run(self) -> Outcome:
        for number, since in enumerate(self.scenario.arrivals(random.Random(self.random.random()))):
            while self.events and self.events[0][0] <= START + since:
                self.answer()
            self.arrive(number, START + since)
        while self.events:
            self.answer()
        return self.outcome

    def arrive(self, request: int, now: int) -> None:
        chosen = self.policy.pick(now)
        endpoint = self.endpoints[chosen]
        self.policy.begin(chosen, now)
        endpoint.waiting[request] = now
        if len(endpoint.waiting) == 1:
            self.policy.oldest(chosen, now)
        self.count(chosen, now - START)
        if self.scenario.servers and endpoint.busy >= self.scenario.servers:
            endpoint.queue.append((request, now))
        else:
            self.work(chosen, request, now, now)

    def count(self, chosen: int, since: int) -> None:
        scenario, outcome = self.scenario, self.outcome
        outcome.sent[chosen] += 1
        if scenario.odd is not None and scenario.odd_from <= since < scenario.odd_until:
            outcome.sent_in_odd += 1
            outcome.sent_odd += chosen == scenario.odd
        elif chosen == scenario.odd and since >= scenario.odd_until:
            outcome.after.append(since - scenario.odd_until)

    def work(self, chosen: int, request: int, sent: int, now: int) -> None:
        endpoint = self.endpoints[chosen]
        answer = self.scenario.service(chosen, now - START, endpoint.sent, self.random)
        endpoint.sent += 1
        endpoint.busy += 1
        heapq.heappush(self.events, (now + answer.work, request, chosen, sent, answer.ok))

    def answer(self) -> None:
        now, request, chosen, sent, ok = heapq.heappop(self.events)
        endpoint = self.endpoints[chosen]
        endpoint.busy -= 1
        was_oldest = next(iter(endpoint.waiting)) == request
        del endpoint.waiting[request]
        if was_oldest:
            self.policy.oldest(chosen, next(iter(endpoint.waiting.values()), 0))
        self.policy.end(chosen, now - sent, ok, now)
        self.outcome.latencies.append(now - sent)
        self.outcome.late += not ok or now - sent > self.scenario.deadline
        if endpoint.queue:
            self.work(chosen, *endpoint.queue.popleft(), now)
