"""The circuit breakers of pipelines: one that only fails is not called for a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..errors import Unavailable
from ..limits.breaker import Breaker
from ..models import CALLS, Json, Run


class Breakers:
    """One for each pipeline that failed last.

    A run counts as failed if the pipeline raised, ran out of time or lost its process; arguments it refuses,
    errors it raises for its client, and runs that were cancelled say nothing about it. A new version begins
    anew.
    """

    def __init__(self, limit: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._made = lambda: Breaker(limit, pause, clock)
        self._breakers: dict[str, tuple[str, Breaker]] = {}
        """By pipeline, with the digest of the version that failed."""

    def check(self, run: Run) -> None:
        """Let this run begin. Raises `Unavailable` while the breaker of its pipeline is open."""
        digest, breaker = self._breakers.get(run.pipeline, ("", None))
        if breaker is None or digest != run.digest or run.verb not in CALLS or breaker.begin(run.id):
            return
        raise Unavailable(self.resting(run.pipeline) or f"{run.pipeline} is being tried; call it again.")

    def ended(self, run: Run) -> None:
        """Count how a run ended."""
        if run.verb not in CALLS:
            return
        if run.status == "done":
            self._breakers.pop(run.pipeline, None)
            return
        digest, breaker = self._breakers.get(run.pipeline, ("", None))
        if run.status == "failed" and not meant(run):
            if breaker is None or digest != run.digest:
                breaker = self._made()
                self._breakers[run.pipeline] = run.digest, breaker
            breaker.failed(run.id, run.error or "")
        elif breaker is not None:
            breaker.told_nothing(run.id)

    def resting(self, pipeline: str) -> str | None:
        """Why calls of this pipeline are refused now; None if they are not."""
        _, breaker = self._breakers.get(pipeline, ("", None))
        if breaker is None or not breaker.seconds:
            return None
        return (
            f"{pipeline} failed {breaker.failures} times in a row; call it again in "
            f"{math.ceil(breaker.seconds)} s. The last failure: {breaker.error}"
        )

    def reset(self, pipeline: str) -> bool:
        """Forget the failures of a pipeline; true if there were any."""
        return self._breakers.pop(pipeline, None) is not None

    def states(self) -> dict[str, Json]:
        """The breakers of pipelines that failed last, by name; all others are closed."""
        return {name: shown(breaker) for name, (_, breaker) in sorted(self._breakers.items())}


def shown(breaker: Breaker) -> Json:
    """A breaker as a status shows it."""
    known: Json = {"state": breaker.state, "failures": breaker.failures, "error": breaker.error}
    return known | ({"seconds": round(breaker.seconds, 1)} if breaker.seconds else {})


def meant(run: Run) -> bool:
    """True if the pipeline failed on purpose: it refused its arguments, or raised an error for its client."""
    return run.result is not None and (run.result.refused or run.result.fault is not None)
