"""A call in flight: which pipeline, and what has come back of it and was not yet taken."""

from __future__ import annotations

import asyncio
from collections import deque

from ...models import Aside, Chunk, Event, Log, Notice, Progress, Result

MANY = 100
"""Waiting events of one call from which on chunks are joined: a slow client costs text, not objects."""
FLOOD = 10_000
"""Waiting events of one call from which on what only accompanies it is dropped."""
ASIDE = (Aside, Log, Notice, Progress)


class HostDied(Exception):
    """The process ended under a call or a load. `alone` if nothing else was going on in it."""

    def __init__(self, reason: str, alone: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alone = alone


News = Event | Result | HostDied


class Pending:
    """A call in flight: which pipeline, and what has come back and was not yet taken."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        self.stopping = False
        self.computed = 0.0
        """Seconds."""
        self._loop = asyncio.get_running_loop()
        self._news: deque[News] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: News) -> None:
        """Add an item; behind many, text is joined to text and progress takes the place of progress."""
        if len(self._news) <= MANY or not self._joins(item):
            self._news.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _joins(self, item: News) -> bool:
        """True if nothing more has to wait because of this item."""
        last = self._news[-1]
        if isinstance(item, ASIDE) and len(self._news) > FLOOD:
            return True
        if isinstance(item, Progress) and isinstance(last, Progress):
            self._news[-1] = item
        elif isinstance(item, Chunk) and isinstance(last, Chunk) and last.source == item.source:
            self._news[-1] = last.model_copy(update={"text": last.text + item.text})
        else:
            return False
        return True

    async def next(self) -> News:
        """The oldest item, once there is one."""
        while not self._news:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._news.popleft()
