"""Threads for calls that block: short ones share one, long ones hold up nobody, and there is a bound."""

from __future__ import annotations

import threading
from collections import deque

import anyio
import pytest

from mcp_server.engines.threads import Threads, Work, Worker

pytestmark = pytest.mark.anyio
LIMIT = 20.0


class Works:
    """Work that begins, and ends when it is let go."""

    def __init__(self, count: int) -> None:
        self._begun = threading.Semaphore(0)
        self._may_end = threading.Event()
        self._ended = threading.Semaphore(0)
        self._count = count

    def __call__(self) -> None:
        self._begun.release()
        self._may_end.wait(LIMIT)
        self._ended.release()

    async def begun(self, count: int) -> None:
        """Wait until so many more have begun."""
        for _ in range(count):
            assert await anyio.to_thread.run_sync(self._begun.acquire, True, LIMIT)

    async def end(self) -> None:
        """Let all go, and wait for them."""
        self._may_end.set()
        for _ in range(self._count):
            assert await anyio.to_thread.run_sync(self._ended.acquire, True, LIMIT)

    @property
    def waits(self) -> bool:
        """True if no other one has begun."""
        return not self._begun.acquire(blocking=False)


async def test_what_waits_behind_long_work_gets_threads_of_its_own_up_to_the_bound() -> None:
    threads, works = Threads(3, "test"), Works(4)
    for _ in range(4):
        threads.submit(works)
    await works.begun(3)
    assert works.waits
    await works.end()
    threads.close()


async def test_work_is_done_in_the_order_of_asking_and_after_a_pause_too() -> None:
    threads, done = Threads(1, "test"), list[int]()
    for start in (0, 50):
        over = threading.Event()
        for number in range(start, start + 50):
            threads.submit(lambda number=number: done.append(number))
        threads.submit(over.set)
        assert await anyio.to_thread.run_sync(over.wait, LIMIT)
    assert done == [*range(100)]
    threads.close()


async def test_what_had_not_begun_when_it_closes_is_dropped() -> None:
    threads, works, later = Threads(1, "test"), Works(1), threading.Event()
    threads.submit(works)
    await works.begun(1)
    threads.submit(later.set)
    threads.close()
    await works.end()
    assert not later.wait(0.2)


class Late(deque[Work]):
    """A queue that gets work in the moment in which a thread has found it empty, and does not wait yet."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._late = [work]

    def popleft(self) -> Work:
        try:
            return super().popleft()
        except IndexError:
            self.extend(self._late)
            self._late.clear()
            raise


async def test_work_that_comes_while_a_thread_is_about_to_wait_is_done_without_waking_it() -> None:
    done = threading.Event()
    worker = Worker(Late(done.set), "test")
    assert await anyio.to_thread.run_sync(done.wait, LIMIT)
    worker.end()
