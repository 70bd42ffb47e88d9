"""Deadlines of many, looked at together: a timer for each call costs more than the rest of its waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK = 0.05
"""Seconds between two looks; by so much a deadline may be noticed late."""


class Deadline:
    """When somebody is to be told, unless it is dropped before."""

    __slots__ = ("_tell", "passed", "when")

    def __init__(self, when: float | None, tell: Callable[[], object]) -> None:
        self.when = when
        """On the loop's clock; None while it rests."""
        self.passed = False
        """True once it was told."""
        self._tell = tell

    def pass_by(self) -> None:
        """Tell it."""
        self.passed = True
        self._tell()


class Deadlines:
    """Those that are open, on one event loop at a time."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._looking: asyncio.AbstractEventLoop | None = None
        """The loop that looks again soon."""

    def start(self, seconds: float, tell: Callable[[], object]) -> Deadline:
        """Have `tell` called on the loop in so many seconds, once."""
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + seconds, tell)
        self._open.add(deadline)
        if self._looking is not loop:
            self._looking = loop
            loop.call_later(TICK, self._look)
        return deadline

    def drop(self, deadline: Deadline) -> None:
        """Nobody is to be told any more."""
        self._open.discard(deadline)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = [each for each in self._open if each.when is not None and each.when <= now]
        self._open.difference_update(due)
        for each in due:
            each.pass_by()
        self._looking = loop if self._open else None
        if self._open:
            loop.call_later(TICK, self._look)
