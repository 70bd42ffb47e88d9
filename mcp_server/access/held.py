"""What callers with a key have open: requests, streams, websockets. It ends with the key."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


class Held:
    """The tasks that serve callers, by their names. For one event loop."""

    def __init__(self) -> None:
        self._of: dict[str, set[asyncio.Task[object]]] = {}
        self._ended: set[asyncio.Task[object]] = set()

    @contextmanager
    def by(self, caller: str) -> Generator[None]:
        """The current task serves this caller until the block ends. Raises `Ended` if the key ends before."""
        task = asyncio.current_task()
        assert task is not None, "an event loop runs tasks only"
        mine = self._of.setdefault(caller, set())
        mine.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise Ended from None
        finally:
            self._ended.discard(task)
            mine.discard(task)
            if not mine and self._of.get(caller) is mine:
                del self._of[caller]

    def end(self, caller: str) -> None:
        """End all that this caller has open."""
        for task in self._of.get(caller, ()):
            self._ended.add(task)
            task.cancel()


class Ended(Exception):
    """What was served belongs to a key that is no good any more."""
