"""Deadlines: told once when their time has come, and not at all once they were dropped or while they rest."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from mcp_server.limits.deadlines import Deadlines

pytestmark = pytest.mark.anyio
LIMIT = 20.0


async def test_each_is_told_once_and_in_its_own_time() -> None:
    deadlines, told, last = Deadlines(), list[str](), anyio.Event()
    late = deadlines.start(0.2, lambda: (told.append("late"), last.set()))
    soon = deadlines.start(0.0, lambda: told.append("soon"))
    dropped = deadlines.start(0.0, lambda: told.append("dropped"))
    deadlines.drop(dropped)
    with anyio.fail_after(LIMIT):
        await last.wait()
    assert told == ["soon", "late"]
    assert (soon.passed, late.passed, dropped.passed) == (True, True, False)


async def test_one_that_rests_is_told_only_when_it_has_a_time_again() -> None:
    deadlines, told, other = Deadlines(), anyio.Event(), anyio.Event()
    resting = deadlines.start(0.0, told.set)
    resting.when = None
    deadlines.start(0.0, other.set)
    with anyio.fail_after(LIMIT):
        await other.wait()
        assert not told.is_set()
        resting.when = asyncio.get_running_loop().time()
        await told.wait()


def test_they_work_on_the_next_loop_though_one_was_left_open() -> None:
    deadlines = Deadlines()

    async def begin() -> None:
        deadlines.start(60.0, lambda: None)

    async def wait() -> None:
        told = asyncio.Event()
        deadlines.start(0.0, told.set)
        await asyncio.wait_for(told.wait(), LIMIT)

    asyncio.run(begin())
    asyncio.run(wait())
