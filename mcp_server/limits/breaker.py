"""A circuit breaker: what only fails is left alone for a while, so that callers hear at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

LONGEST = 60.0
"""Seconds that calls are refused at the most, until one is let through again."""
ERROR = 200
"""Characters of the last failure that is repeated."""

Circuit = Literal["closed", "open", "half_open"]


class Breaker:
    """Closed until `limit` calls in a row failed; then open for `pause` seconds, twice as long each time.

    Half-open after that: one call is let through; the others are refused until it has ended, or for as long
    again. With a limit of 0 it never opens.
    """

    def __init__(self, limit: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._first = pause
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0
        self.error = ""
        """The last failure."""
        self.failed_at: float | None = None
        """When that was, in seconds since the epoch."""
        self._pause = 0.0
        self._until = 0.0
        self._trial: object = None

    @property
    def seconds(self) -> float:
        """How long calls are refused from now on; 0 if one would be let through."""
        return max(0.0, self._until - self._clock())

    @property
    def state(self) -> Circuit:
        """Whether calls are let through."""
        if not self._until:
            return "closed"
        return "half_open" if not self.seconds or self._trial is not None else "open"

    def begin(self, who: object) -> bool:
        """True if `who` may call. Where the circuit was open, it is then the one that tries."""
        if not self._until:
            return True
        if self.seconds:
            return False
        self._trial, self._until = who, self._clock() + self._pause
        return True

    def failed(self, who: object, error: str) -> None:
        """A call failed."""
        self.failures += 1
        self.error, self.failed_at = error[:ERROR], time.time()
        if self._trial not in (None, who):
            return  # it began before the one that tries, which decides
        self._trial = None
        if self._limit and self.failures >= self._limit:
            self._pause = min(LONGEST, 2 * self._pause or self._first)
            self._until = self._clock() + self._pause

    def told_nothing(self, who: object) -> None:
        """A call ended in a way that says nothing; if it was the one that tried, another one may."""
        if self._trial == who:
            self._until = self._clock()
