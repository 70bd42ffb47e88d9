"""Threads that work for calls which block.

To wake one costs more than a short call does: short ones that come together share a thread. Those that wait
behind a longer one get threads of their own after `PATIENCE`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

PATIENCE = 0.001
"""Seconds that a call may wait behind others before another thread looks."""

Work = Callable[[], object]


class Threads:
    """At most so many, begun as they are needed. Used on one event loop."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: deque[Work] = deque()
        self._threads: list[Worker] = []
        self._until = 0.0
        """The time of the event loop until which calls may wait behind those that run."""
        self._looks = False
        """True while a look is due."""

    def submit(self, work: Work) -> None:
        """Have it called in a thread, in the order of asking; it must not raise."""
        self._work.append(work)
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until or not any(each.works for each in self._threads):
            self._look(loop)
        elif not self._looks:
            self._looks = True
            loop.call_at(self._until, self._again, loop)

    def close(self) -> None:
        """Drop what has not begun; the threads end when they can."""
        self._work.clear()
        for each in self._threads:
            each.end()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put as many threads to work as there are calls that wait."""
        self._until = loop.time() + PATIENCE
        waiting = len(self._work)
        for each in [each for each in self._threads if not each.works][:waiting]:
            each.wake()
            waiting -= 1
        for _ in range(min(waiting, self._most - len(self._threads))):
            self._threads.append(Worker(self._work, f"{self._name}-{len(self._threads)}"))

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = False
        if self._work:
            self._look(loop)


class Worker:
    """One thread. It does not keep the process alive."""

    def __init__(self, work: deque[Work], name: str) -> None:
        self.works = True
        """False while it waits to be woken."""
        self._work = work
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def wake(self) -> None:
        """There is work."""
        self.works = True
        self._wakes.put(True)

    def end(self) -> None:
        """There will be none any more."""
        self._wakes.put(False)

    def _serve(self) -> None:
        while True:
            try:
                work = self._work.popleft()
            except IndexError:
                self.works = False
                if not self._work and not self._wakes.get():  # some may have come, for one who seemed at work
                    return
                self.works = True
                continue
            work()
            del work  # what it holds may be large
