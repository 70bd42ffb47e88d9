"""What a run said, by number: kept within bounds, for who listens late or comes back after a break."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator

import anyio

from ..models import Chunk, Event, Notice, Run

KEPT = 500
"""Events of a run that are kept; the oldest go first."""
SIZE = 256 * 1024
"""Characters that they may have."""


class Trail:
    """The events of one run. Numbers rise by one, from 1; in a later life of the run, from its `hour`."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        """The number of the newest event."""
        self.size = 0
        """Characters of the events that are kept."""
        self._said: deque[tuple[int, Event]] = deque()
        self._over = False
        self._news = asyncio.Event()

    def add(self, event: Event) -> None:
        """Keep an event, and wake who follows."""
        if isinstance(event, Notice):  # for clients that hold lists, not for who follows a run
            return
        self.last += 1
        self._said.append((self.last, event))
        self.size += size_of(event)
        while len(self._said) > KEPT or (self.size > SIZE and len(self._said) > 1):
            self.size -= size_of(self._said.popleft()[1])
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._news.set()

    async def follow(self, after: int, silence: float) -> AsyncGenerator[tuple[int, Event] | None]:
        """The events after that number: those that are kept, then as they come, until the end.

        None for each so many seconds of silence.
        """
        while True:
            news = self._news
            for number, event in [each for each in self._said if each[0] > after]:
                after = number
                yield number, event
            if news is not self._news:
                continue
            if self._over:
                return
            with anyio.move_on_after(silence) as quiet:
                await news.wait()
            if quiet.cancelled_caught:
                yield None

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def hour(run: Run) -> int:
    """Above the numbers of all that a run has said so far, on whatever server: its age in microseconds."""
    return max(1, int(((run.finished or time.time()) - run.started) * 1e6))


def size_of(event: Event) -> int:
    """What an event counts for."""
    return len(event.text) if isinstance(event, Chunk) else len(repr(event))
