"""The one thread that writes. What many ask for at the same time becomes durable in one commit."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from ..errors import Unavailable
from .changes import RunChange
from .plain_rows import SIZE, Plain, Plains

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .journal import Journal

WINDOW = 0.1
"""Seconds in which changes that nobody waits for are gathered."""
GATHERED = 2000
"""Changes that are enough for a commit before that."""
LARGE, MUCH = 64 * 1024, 8 * 1024 * 1024
"""Bytes of a change that holds many, and of changes that are enough for a commit before that."""
STATEMENT = 256
"""Of more changes than that it takes a multiple, and the rest in the next window; see `insertion`."""
WAITING = 50_000
"""Changes nobody waits for that may be queued; what comes then is lost, and counted."""
HELD = 256 * 1024 * 1024
"""Bytes of them."""

Work = Callable[["Journal", "Connection"], Any]
"""A change made by calling it within the transaction."""
Change = RunChange | Plains | Work
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """A change, who waits for it, and what came of it."""

    change: Change
    waiter: asyncio.Future[Any] | None = None
    size: int = 0
    value: Any = None
    error: Exception | None = None
    missed: int = 0
    """How many runs or other changes of it could not be written."""


class Writer:
    """Applies changes in the order they were asked for; made on the event loop.

    A change that cannot be applied fails by itself, and the rest of its commit goes on.
    """

    def __init__(self, open: Callable[[], Journal]) -> None:
        """`open` is called in the thread before anything is written; it must not raise."""
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._asked: deque[Asked | Plain] = deque()
        """The loop adds, the thread takes away; neither waits for the other."""
        self._given = self._taken = 0
        """Bytes of what was put, which only the loop counts, and of what was written, the thread."""
        self._urgent = self._busy = self._closing = False
        self.opened: asyncio.Future[Journal] = self._loop.create_future()
        self.lost = 0
        """Changes nobody waited for that could not be written."""
        self.fault: str | None = None
        """Why the last commit failed; None when it did not."""
        self._thread = threading.Thread(target=self._write, args=(open,), name="store", daemon=True)
        self._thread.start()

    def put(self, change: Change, size: int = 0) -> None:
        """Write it soon. Returns at once and never fails; what cannot be written is counted in `lost`.

        `size` is the bytes it holds; a run tells by itself.
        """
        size = change.row.size if isinstance(change, RunChange) and change.row else size
        self.add(Asked(change, size=size), size)

    def add(self, asked: Asked | Plain, size: int) -> None:
        """The same for what is made already; it holds `size` bytes."""
        if len(self._asked) >= WAITING or self._given - self._taken + size > HELD:
            self.lost += 1
            return
        self._given += size
        self._asked.append(asked)
        if len(self._asked) in (1, GATHERED) or (size > LARGE and self._is_much):
            # after it was added: who takes them away may be between
            with self._condition:
                self._condition.notify()

    async def commit(self, change: Change) -> Any:
        """Write it now; it is durable when this returns. Gives what the change gives.

        Raises what the change raises, and `Unavailable` if it cannot be written. It is written even if this
        wait is cancelled.
        """
        waiter: asyncio.Future[Any] = self._loop.create_future()
        with self._condition:
            if self._closing:
                raise Unavailable("The server is stopping.")
            self._asked.append(Asked(change, waiter))
            self._urgent = True
            self._condition.notify()
        return await waiter

    async def flushed(self) -> None:
        """Wait until what was put so far was written."""
        if self._busy or self._asked:
            await self.commit(nothing)

    async def close(self) -> None:
        """Write what is left, then end."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        await asyncio.to_thread(self._thread.join)

    def _write(self, open: Callable[[], Journal]) -> None:
        journal = open()
        self._loop.call_soon_threadsafe(self.opened.set_result, journal)
        while asked := self._next():
            self._account(asked, journal.commit(asked))
            self._busy = False
            if any(each.waiter for each in asked):
                self._loop.call_soon_threadsafe(settle, asked)
        journal.close()

    def _next(self) -> list[Asked]:
        """What to write next; empty at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._asked or self._closing)
            self._condition.wait_for(self._is_time, WINDOW)
            self._busy = True
            found = self._due()
        asked = grouped(found)
        self._taken += sum([each.size for each in asked])
        return asked

    def _due(self) -> list[Asked | Plain]:
        """What to write now: all, or of many that nobody waits for as many as few statements take; of what
        holds much only so much, for the database's driver copies it."""
        left = len(self._asked)
        if left >= STATEMENT and not (self._urgent or self._closing):
            left -= left % STATEMENT
        found: list[Asked | Plain] = []
        most = MUCH if self._is_much else None
        while left and (most is None or most > 0):
            each = self._asked.popleft()
            found.append(each)
            left -= 1
            if most is not None:
                most -= each.size if isinstance(each, Asked) else each[SIZE]
        self._urgent = self._urgent and left > 0
        return found

    def _is_time(self) -> bool:
        return self._urgent or self._closing or len(self._asked) >= GATHERED or self._is_much

    @property
    def _is_much(self) -> bool:
        return self._given - self._taken > MUCH

    def _account(self, asked: Sequence[Asked], failed: Exception | None) -> None:
        self.lost += sum([each.missed for each in asked if each.waiter is None])
        if failed and not self.fault:
            log.error("Runs are not recorded for now: %s", asked[-1].error, exc_info=failed)
        self.fault = str(asked[-1].error) if failed else None


def grouped(found: Sequence[Asked | Plain]) -> list[Asked]:
    """In the same order; plain calls that follow each other are one change."""
    asked: list[Asked] = []
    for kind, some in groupby(found, type):
        if kind is tuple:
            rows = Plains(cast(Iterator[Plain], some))
            asked.append(Asked(rows, size=sum([row[SIZE] for row in rows])))
        else:
            asked += cast(Iterator[Asked], some)
    return asked


def settle(asked: Sequence[Asked]) -> None:
    """Tell those who wait; called on the loop."""
    for each in asked:
        if each.waiter is None or each.waiter.done():
            continue
        if each.error is not None:
            each.waiter.set_exception(each.error)
        else:
            each.waiter.set_result(each.value)


def nothing(journal: Journal, connection: Connection) -> None:
    """A change that changes nothing: once it was applied, so was all before it."""
