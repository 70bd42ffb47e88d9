"""What many cores, replicas and fronts would answer: a formula, and a simulation that it is checked by.

The model, its inputs, what it predicts and what it leaves out are in this folder's README.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import fmean

SECOND = 1e6
"""Microseconds."""
RECORD = 20.0
"""Microseconds of processor that PostgreSQL takes for the record of a run, measured."""
DRIVER = 90.0
"""What such a record costs a front beyond one in a file."""


@dataclass(frozen=True)
class Shape:
    """A deployment, and what a call costs in it, in microseconds."""

    front: float
    """Processor of the process that answers, half of it before the pipeline runs and half after."""
    host: float
    """Processor of the host beside the pipeline's own."""
    work: float = 0.0
    """Processor of the pipeline itself."""
    wait: float = 0.0
    """What the pipeline waits for others, such as a model on the network: no processor."""
    record: float = 0.0
    """Processor of the one database that all fronts share; 0 for a file of each front."""
    fronts: int = 1
    replicas: int = 1
    """Hosts of the pipeline, of each front."""
    slots: int = 64
    """Calls that each front lets run at once."""
    cores: int = 1_000_000
    """Of all machines together."""


def bound(shape: Shape) -> float:
    """The most calls a second it can answer: whatever is exhausted first."""
    busy = shape.host + shape.work
    hosts = min(shape.replicas / busy, shape.slots / (busy + shape.wait))
    limits = [
        shape.fronts * min(1 / shape.front, hosts),
        shape.cores / (shape.front + busy + shape.record),
        *([1 / shape.record] if shape.record else []),
    ]
    return SECOND * min(limits)


@dataclass(frozen=True)
class Outcome:
    """What came of simulated calls."""

    rate: float
    """Answers a second."""
    waits: list[float]
    """Microseconds of each, sorted."""

    @property
    def mean(self) -> float:
        return fmean(self.waits)

    def percentile(self, share: float) -> float:
        return self.waits[min(len(self.waits) - 1, int(len(self.waits) * share))]


class Server:
    """Something with one processor; what comes is done in turn."""

    def __init__(self) -> None:
        self.free = 0.0
        self.calls = 0

    def done(self, now: float, cost: float) -> float:
        """When what comes now will be done."""
        self.free = max(now, self.free) + cost
        return self.free


class Front:
    """A front with its hosts, and the calls that wait for a slot."""

    def __init__(self, shape: Shape) -> None:
        self.server = Server()
        self.hosts = [Server() for _ in range(shape.replicas)]
        self.free = shape.slots
        self.queue: deque[Steps] = deque()


Steps = Iterator[float | None]
"""A call: the times at which it goes on, or None where it waits for a slot."""


class Simulation:
    """Calls that arrive at random, and go to the host with the fewest calls, as the server does it.

    Cores and the database are not simulated: nobody waits for the database, and `bound` knows what it takes.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._fronts = [Front(shape) for _ in range(shape.fronts)]
        self._now = 0.0
        self._events: list[tuple[float, int, Front, Steps]] = []
        self._turn = count()
        self._waits: list[float] = []

    def run(self, rate: float, calls: int = 20_000, seed: int = 1) -> Outcome:
        """So many calls a second, spread evenly over the fronts."""
        draw, arrived = random.Random(seed), 0.0
        for number in range(calls):
            arrived += draw.expovariate(rate / SECOND)
            front = self._fronts[number % len(self._fronts)]
            self._later(arrived, front, self._call(front, arrived))
        while self._events:
            self._now, _, front, steps = heapq.heappop(self._events)
            at = next(steps, 0.0)
            if at is None:
                front.queue.append(steps)
            elif at:
                self._later(at, front, steps)
        return Outcome(SECOND * calls / self._now, sorted(self._waits))

    def _later(self, at: float, front: Front, steps: Steps) -> None:
        heapq.heappush(self._events, (at, next(self._turn), front, steps))

    def _call(self, front: Front, arrived: float) -> Steps:
        shape = self._shape
        yield front.server.done(self._now, shape.front / 2)
        if front.free:
            front.free -= 1
        else:
            yield None  # whoever leaves hands its slot over
        host = min(front.hosts, key=lambda each: each.calls)
        host.calls += 1
        yield host.done(self._now, shape.host + shape.work)
        if shape.wait:
            yield self._now + shape.wait
        host.calls -= 1
        if front.queue:
            self._later(self._now, front, front.queue.popleft())
        else:
            front.free += 1
        yield front.server.done(self._now, shape.front / 2)
        self._waits.append(self._now - arrived)


CALLS = {
    "nothing": {"work": 0.0},
    "4 ms of computing": {"work": 4_000.0},
    "a model that takes 2 s": {"work": 2_000.0, "wait": 2e6, "slots": 256},
}
"""What a pipeline may do; `slots` is its `concurrency`."""
DEPLOYMENTS = {
    "2 cores": {"replicas": 1, "cores": 2},
    "8 cores, 6 replicas": {"replicas": 6, "cores": 8},
    "32 cores, 4 fronts of 6 replicas on PostgreSQL": {
        "fronts": 4,
        "replicas": 6,
        "cores": 32,
        "record": RECORD,
    },
    "128 cores, 16 fronts of 6 replicas on PostgreSQL": {
        "fronts": 16,
        "replicas": 6,
        "cores": 128,
        "record": RECORD,
    },
}


def predictions(front: float, host: float) -> str:
    """The most that each deployment answers of each, and how long it takes at 70 % of that, as Markdown."""
    lines = ["| deployment | pipeline | at most, a second | p50 and p99 at 70 % of it |", "|---|---|---|---|"]
    for deployment, given in DEPLOYMENTS.items():
        for call, costs in CALLS.items():
            own = front + DRIVER if "record" in given else front
            shape = Shape(own, host, **costs, **given)
            most = bound(shape)
            found = Simulation(shape).run(0.7 * most)
            p50, p99 = (found.percentile(share) / 1000 for share in (0.5, 0.99))
            lines.append(f"| {deployment} | {call} | {most:,.0f} | {p50:,.1f} and {p99:,.1f} ms |")
    return "\n".join(lines)
