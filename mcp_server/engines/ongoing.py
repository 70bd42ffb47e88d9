"""A run whose work goes on: what it says is heard in order, and how it ended is told.

Nobody waits in a task for the end. One is made for those that say something before, to hear it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..models import Answers, Aside, Chunk, Emit, Event, Log, Notice, Progress, Question, Result

MANY = 100
"""Waiting events of one run from which on chunks are joined: a slow client costs text, not objects."""
FLOOD = 10_000
"""Waiting events of one run from which on what only accompanies it is dropped."""
ASIDE = (Aside, Log, Notice, Progress)

Tell = Callable[[Result | BaseException], None]
"""Told the result, once; or what whoever listens raised, and then the work was stopped."""


class Work(Protocol):
    """What goes on, wherever that is."""

    def stop(self, *, late: bool = False) -> None:
        """Ask it to stop; returns at once. `late` if its time is up."""
        ...

    def answer(self, number: int, answers: Answers) -> None:
        """Give the answers to the question of that number."""
        ...


class Home:
    """The event loop of this thread, asked for once: CPython 3.11 asks the system for it each time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()


class Ongoing:
    """Made on the event loop, then told what work it stands for. What few calls need is set when they do."""

    work: Work | None = None
    """Set as soon as it has begun, until it is over."""
    over = False
    """True once its end was told, or nobody wants to hear of it."""
    left: Callable[[], None] | None = None
    """Called when it is over."""
    _items: deque[Event | Result] | None = None
    """What was said and not yet heard, once something was."""
    _waiter: asyncio.Future[None] | None = None
    _asking: asyncio.Future[None] | None = None
    """While a question waits for its answer; done once nobody waits for that."""
    _hearing: asyncio.Task[None] | None = None

    def __init__(self, emit: Emit, tell: Tell, home: Home) -> None:
        self._emit = emit
        self._tell = tell
        self._home = home

    def say(self, event: Event) -> None:
        """Hear an event, from any thread. What the loop's own tells must not come after the result."""
        if threading.get_ident() == self._home.thread:
            self.put(event)
        else:
            self._home.loop.call_soon_threadsafe(self.put, event)

    def put(self, item: Event | Result) -> None:
        """Hear an event or the result, on the loop; behind many, text is joined to text and progress takes
        the place of progress."""
        if self.over:
            return
        if self._hearing is None:
            if isinstance(item, Result):
                self._end(item)
                return
            self._items = deque()
            self._hearing = self._home.loop.create_task(self._hear(self._items))
        assert self._items is not None, "made with the task"
        if len(self._items) <= MANY or not joins(self._items, item):
            self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop(self, *, late: bool = False) -> None:
        """Stop the work. Nobody is told of its end."""
        if not self.over:
            if self.work is not None:
                self.work.stop(late=late)
            self._leave()

    def hush(self) -> None:
        """Nobody waits for the answer to its question any more."""
        if self._asking is not None and not self._asking.done():
            self._asking.set_result(None)

    def _end(self, result: Result | BaseException) -> None:
        tell = self._tell
        self._leave()
        tell(result)

    def _leave(self) -> None:
        self.over = True
        self.work, self._tell = None, unheard  # or work and run would hold each other: no garbage of a call
        if self._hearing is not None:
            if self._hearing is not asyncio.current_task():
                self._hearing.cancel()
            self._hearing = None
        if self.left is not None:
            self.left()

    async def _emitted(self, event: Event) -> Answers | None:
        """Let it be heard."""
        return await self._emit(event)

    async def _hear(self, items: deque[Event | Result]) -> None:
        try:
            while not isinstance(item := await self._next(items), Result):
                if not isinstance(item, Question):
                    await self._emitted(item)
                    continue
                answers = await self._answered(self._emitted(item))
                if self.work is not None:
                    self.work.answer(item.number, answers or {})
        except BaseException as error:
            if not self.over:
                if self.work is not None:
                    self.work.stop()
                self._end(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if not self.over:
                self._end(item)

    async def _answered(self, asking: Awaitable[Answers | None]) -> Answers | None:
        """What was answered; None at once if nobody waits for it any more."""
        answered, hushed = asyncio.ensure_future(asking), self._home.loop.create_future()
        self._asking = hushed
        try:
            await asyncio.wait([answered, hushed], return_when=asyncio.FIRST_COMPLETED)
            return answered.result() if answered.done() else None
        finally:
            self._asking = None
            if not answered.done():
                answered.cancel()
                await asyncio.wait([answered])

    async def _next(self, items: deque[Event | Result]) -> Event | Result:
        """The oldest item, once there is one."""
        while not items:
            self._waiter = self._home.loop.create_future()
            await self._waiter
        return items.popleft()


def joins(items: deque[Event | Result], item: Event | Result) -> bool:
    """True if nothing more has to wait because of this item."""
    last = items[-1]
    if isinstance(item, ASIDE) and len(items) > FLOOD:
        return True
    if isinstance(item, Progress) and isinstance(last, Progress):
        items[-1] = item
    elif isinstance(item, Chunk) and isinstance(last, Chunk) and last.source == item.source:
        items[-1] = last.model_copy(update={"text": last.text + item.text})
    else:
        return False
    return True


def unheard(told: Result | BaseException) -> None:
    """Nobody hears of the end."""
