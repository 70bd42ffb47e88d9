"""Circuit breakers: a pipeline that only fails is not called for a while, so that callers hear at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Unavailable
from ..models import CALLS, Json, Run

LONGEST = 60.0
"""Seconds that calls are refused at the most, until one is let through again."""
ERROR = 200
"""Characters of the last failure that a refusal repeats."""


@dataclass
class Breaker:
    """One pipeline's: how often it failed in a row, and until when its calls are refused."""

    digest: str
    failures: int = 0
    error: str = ""
    pause: float = 0.0
    until: float = 0.0
    trial: str | None = None
    """The run that was let through to see whether it works again."""


class Breakers:
    """Closed until `limit` runs in a row failed; then open for `pause` seconds, twice as long each time.

    Half-open after that: one call is let through; the others are refused until it is done, or for as long
    again. A run counts as failed if the pipeline raised, ran out of time or lost its process; arguments it
    refuses, errors it raises for its client, and runs that were cancelled say nothing about it. A new version
    begins anew. With a limit of 0 nothing is refused.
    """

    def __init__(self, limit: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._pause = pause
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}

    def check(self, run: Run) -> None:
        """Let this run begin. Raises `Unavailable` while the breaker of its pipeline is open."""
        breaker = self._breakers.get(run.pipeline)
        if breaker is None or not breaker.until or breaker.digest != run.digest or run.verb not in CALLS:
            return
        if reason := self.resting(run.pipeline):
            raise Unavailable(reason)
        breaker.trial, breaker.until = run.id, self._clock() + breaker.pause

    def ended(self, run: Run) -> None:
        """Count how a run ended."""
        if run.verb not in CALLS:
            return
        breaker = self._breakers.get(run.pipeline)
        if breaker is not None and breaker.digest != run.digest:
            breaker = None  # another version's failures
        if run.status == "done":
            self._breakers.pop(run.pipeline, None)
        elif run.status == "failed" and self._limit and not meant(run):
            self._failed(breaker or self._begun(run), run)
        elif breaker is not None and breaker.trial == run.id:
            breaker.until = self._clock()  # it told nothing: let another one try

    def resting(self, pipeline: str) -> str | None:
        """Why calls of this pipeline are refused now; None if they are not."""
        breaker = self._breakers.get(pipeline)
        wait = breaker.until - self._clock() if breaker else 0.0
        if breaker is None or wait <= 0:
            return None
        return (
            f"{pipeline} failed {breaker.failures} times in a row; call it again in {math.ceil(wait)} s. "
            f"The last failure: {breaker.error}"
        )

    def reset(self, pipeline: str) -> bool:
        """Forget the failures of a pipeline; true if there were any."""
        return self._breakers.pop(pipeline, None) is not None

    def states(self) -> dict[str, Json]:
        """The breakers of pipelines that failed last, by name; all others are closed."""
        return {name: self._state(breaker) for name, breaker in sorted(self._breakers.items())}

    def _begun(self, run: Run) -> Breaker:
        breaker = self._breakers[run.pipeline] = Breaker(run.digest)
        return breaker

    def _failed(self, breaker: Breaker, run: Run) -> None:
        breaker.failures += 1
        breaker.error = (run.error or "")[:ERROR]
        if breaker.trial not in (None, run.id):
            return  # one that began before the trial: the trial decides
        breaker.trial = None
        if breaker.failures >= self._limit:
            breaker.pause = min(LONGEST, 2 * breaker.pause or self._pause)
            breaker.until = self._clock() + breaker.pause

    def _state(self, breaker: Breaker) -> Json:
        left = breaker.until - self._clock()
        state = "closed" if not breaker.until else "half_open" if left <= 0 or breaker.trial else "open"
        known: Json = {"state": state, "failures": breaker.failures, "error": breaker.error}
        return known | ({"seconds": round(left, 1)} if left > 0 else {})


def meant(run: Run) -> bool:
    """True if the pipeline failed on purpose: it refused its arguments, or raised an error for its client."""
    return run.result is not None and (run.result.refused or run.result.fault is not None)
