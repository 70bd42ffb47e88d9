"""What is counted while the server runs. In memory and cheap; whoever shows it reads it here."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from ..models import Run

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds of the classes that durations are counted in; the last class has none."""


class Durations:
    """How long things took, by class."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One took so long."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def rising(self) -> Iterator[tuple[str, int]]:
        """How many took no longer than each bound, as Prometheus wants it."""
        return zip((*map(str, BOUNDS), "+Inf"), accumulate(self.counts), strict=True)


class Tally:
    """Runs by pipeline, and answers by HTTP status."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str, str]] = Counter()
        """By pipeline, status and surface."""
        self.durations: dict[str, Durations] = {}
        """Seconds that runs took, by pipeline; waiting for a person counts."""
        self.responses: Counter[int] = Counter()

    def run_ended(self, run: Run) -> None:
        """Count a run."""
        pipeline, started = run.pipeline, run.started
        self.runs[pipeline, run.status, run.caller.origin] += 1
        if (durations := self.durations.get(pipeline)) is None:
            durations = self.durations[pipeline] = Durations()
        durations.add((run.finished or started) - started)

    def answered(self, status: int) -> None:
        """Count an answer."""
        self.responses[status] += 1

    def forget(self, pipeline: str) -> None:
        """Drop what was counted of a pipeline that is gone for good."""
        self.durations.pop(pipeline, None)
        for key in [key for key in self.runs if key[0] == pipeline]:
            del self.runs[key]
