"""Deadlines of many, looked at together: a timer for each call costs more than the rest of its waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

TICK = 0.05
"""Seconds between two looks; by so much a deadline may be noticed late."""


class Dated(Protocol):
    """What has a deadline, each by itself."""

    when: float | None
    """On the loop's clock; None while it rests."""

    def pass_by(self) -> None:
        """Called once it has come."""
        ...


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
        self._open: set[Dated] = set()
        self._looking: asyncio.AbstractEventLoop | None = None
        """The loop that looks again soon."""

    def start(self, seconds: float, tell: Callable[[], object]) -> Deadline:
        """Have `tell` called on the loop in so many seconds, once."""
        deadline = Deadline(None, tell)
        self.add(deadline, seconds)
        return deadline

    def add(self, dated: Dated, seconds: float) -> None:
        """Have it passed by in so many seconds."""
        loop = self._looking
        if loop is None or not loop.is_running():
            loop = self._looking = asyncio.get_running_loop()
            loop.call_later(TICK, self._look)
        dated.when = loop.time() + seconds
        self._open.add(dated)

    def drop(self, deadline: Dated) -> None:
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
