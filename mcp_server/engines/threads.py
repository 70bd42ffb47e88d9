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
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._threads: list[Worker] = []
        self._looks = False

    def submit(self, work: Work) -> None:
        """Have it called in a thread, in the order of asking; it must not raise."""
        self._work.append(work)
        if not self._looks:
            self._look()

    def close(self) -> None:
        """Drop what has not begun; the threads end when they can."""
        self._work.clear()
        for _ in self._threads:
            self._wakes.put(False)

    def _look(self) -> None:
        """Wake as many threads as there are calls that wait; look again soon if there are any."""
        waiting = len(self._work)
        self._looks = waiting > 0
        if not waiting:
            return
        free = sum([not each.works for each in self._threads])
        for _ in range(min(waiting, free)):
            self._wakes.put(True)
        for _ in range(min(waiting - free, self._most - len(self._threads))):
            self._threads.append(Worker(self._work, self._wakes, f"{self._name}-{len(self._threads)}"))
        asyncio.get_running_loop().call_later(PATIENCE, self._look)


class Worker:
    """One thread. It does not keep the process alive."""

    def __init__(self, work: deque[Work], wakes: SimpleQueue[bool], name: str) -> None:
        self.works = True
        """False while it waits to be woken."""
        self._work = work
        self._wakes = wakes
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                work = self._work.popleft()
            except IndexError:
                self.works = False
                if not self._wakes.get():
                    return
                self.works = True
                continue
            work()
            del work  # what it holds may be large
