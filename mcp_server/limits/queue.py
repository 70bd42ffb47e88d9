"""The queue of a pipeline: which calls run, which wait, and whose turn is next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Calls that may run at once, and calls that may wait for it."""

    running: int
    waiting: int


class Place:
    """A call in a queue; it runs once it is granted."""

    __slots__ = ("_waiter", "caller", "is_granted", "queue", "then")

    def __init__(self, queue: Queue, caller: str) -> None:
        self.queue = queue
        self.caller = caller
        self.is_granted = False
        self.then: Callable[[], None] | None = None
        """Called once it runs, if it had to wait."""
        self._waiter: asyncio.Future[None] | None = None

    def grant(self) -> None:
        """It runs from now on."""
        self.is_granted = True
        if self.then is not None:
            then, self.then = self.then, None
            then()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def granted(self) -> None:
        """Wait for that; one waits at a time."""
        if not self.is_granted:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class Queue:
    """Callers take turns; the calls of one caller keep their order."""

    def __init__(self, bounds: Bounds, of: object = None) -> None:
        """`of` is what its bounds come from."""
        self.bounds = bounds
        self.of = of
        self._running: set[Place] = set()
        self._waiting: dict[str, deque[Place]] = {}
        """By caller, in the order of their turns. None is empty."""

    @property
    def is_idle(self) -> bool:
        """True if nothing runs or waits."""
        return not self._running and not self._waiting

    @property
    def waits(self) -> bool:
        """True if a call waits."""
        return bool(self._waiting)

    def has(self, caller: str) -> bool:
        """True if a call of this caller waits."""
        return caller in self._waiting

    def is_full(self, caller: str, share: int) -> bool:
        """True if no call of this caller may wait any more; `share` is how many of its own may at most."""
        waiting = sum(map(len, self._waiting.values()))
        return waiting >= self.bounds.waiting or len(self._waiting.get(caller, ())) >= share

    def take(self, caller: str) -> Place | None:
        """A place that runs at once; None if the queue is busy."""
        if self._waiting or len(self._running) >= self.bounds.running:
            return None
        place = Place(self, caller)
        self._running.add(place)
        place.is_granted = True
        return place

    def add(self, caller: str) -> Place:
        """A place behind the caller's others."""
        place = Place(self, caller)
        self._waiting.setdefault(caller, deque()).append(place)
        return place

    def remove(self, place: Place) -> bool:
        """Take a place away, whether it runs or waits; false if it was taken away before."""
        if place in self._running:
            self._running.remove(place)
            return True
        line = self._waiting.get(place.caller, deque())
        if place not in line:
            return False
        line.remove(place)
        if not line:
            del self._waiting[place.caller]
        return True

    def next(self, may_run: Callable[[str], bool]) -> Place | None:
        """The place whose turn it is, running from now on; None if there is no slot, or nobody for it."""
        if len(self._running) >= self.bounds.running:
            return None
        caller = next(filter(may_run, self._waiting), None)
        if caller is None:
            return None
        line = self._waiting.pop(caller)
        place = line.popleft()
        if line:
            self._waiting[caller] = line  # behind all others
        self._running.add(place)
        return place
