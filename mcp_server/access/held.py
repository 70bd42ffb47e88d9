"""What callers with a key or token have open: requests, streams, websockets, sessions. It ends with that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

GRACE = 60.0
"""Seconds that sessions outlast the last token of their caller, who may be about to renew it."""


class Held:
    """The tasks that serve callers, by their names. For one event loop."""

    def __init__(self, gone: Iterable[Callable[[str], None]]) -> None:
        """They hear the name of a caller whose last token has expired."""
        self._gone = gone
        self._of: dict[str, set[asyncio.Task[object]]] = {}
        self._ended: set[asyncio.Task[object]] = set()
        self._until: dict[str, float] = {}

    @contextmanager
    def by(self, caller: str, until: float | None = None) -> Generator[None]:
        """The current task serves this caller until the block ends.

        Raises `Ended` if the key ends before, or the time that `until` is, in seconds since the epoch.
        """
        task = asyncio.current_task()
        assert task is not None, "an event loop runs tasks only"
        mine = self._of.setdefault(caller, set())
        mine.add(task)
        timer = None
        if until is not None:
            left = max(0.0, until - time.time())
            timer = asyncio.get_running_loop().call_later(left, self._end, task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise Ended from None
        finally:
            if timer is not None:
                timer.cancel()
            self._ended.discard(task)
            mine.discard(task)
            if not mine and self._of.get(caller) is mine:
                del self._of[caller]

    def end(self, caller: str) -> None:
        """End all that this caller has open."""
        for task in self._of.get(caller, ()):
            self._end(task)

    def expires(self, caller: str, when: float) -> None:
        """A token of this caller is good until then, in seconds since the epoch."""
        is_new = caller not in self._until
        self._until[caller] = max(when, self._until.get(caller, 0.0))
        if is_new:
            self._look(caller)

    def _look(self, caller: str) -> None:
        left = self._until[caller] + GRACE - time.time()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._look, caller)
            return
        del self._until[caller]
        for each in self._gone:
            each(caller)

    def _end(self, task: asyncio.Task[object]) -> None:
        self._ended.add(task)
        task.cancel()


class Ended(Exception):
    """What was served belongs to a key or token that is no good any more."""
