"""Runs that go on in another server on the same store: what is asked of it, and what it asks of this one.

Runs that wait as rows are nobody's; with an answer they are this server's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import anyio

from ..errors import ServerError, Unavailable
from ..models import Answers, Run
from ..store.changes import new_id
from ..store.errands import Errand, Errands
from ..store.history import History
from .live import Live
from .past import LOOK, Past

EVERY = 1.0
"""Seconds between two looks at what others ask; only while there are runs that others can find."""
BOUND = 8.0
"""Seconds another server gets to do what it is asked."""

log = logging.getLogger(__name__)


class Waiting(Protocol):
    """Goes on with runs that wait as rows."""

    async def answer(self, run: Run, number: int, answers: Answers) -> None:
        """See `RecordedRuns.answer`."""
        ...

    async def cancel(self, run: Run) -> Run:
        """See `RecordedRuns.cancel`."""
        ...


class Elsewhere:
    """Has other servers stop and answer their runs; while it is entered, does so for them."""

    waiting: Waiting
    """Runs that wait as rows. Set once, by whoever goes on with them."""

    def __init__(self, history: History, past: Past, going: Mapping[str, Live]) -> None:
        """`going` are the runs of this process that have not ended."""
        self._errands = Errands(history)
        self._past = past
        self._going = going

    async def __aenter__(self) -> Elsewhere:
        self._care = asyncio.create_task(self._look_after())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._care.cancel()
        await asyncio.wait([self._care])

    async def cancel(self, run: Run) -> Run:
        """Have a run stopped; gives how it is then, which may be not quite at its end.

        Raises `Unavailable` if the server that has it does not hear.
        """
        if run.parked:
            await self._settled(run)
            return await self.waiting.cancel(run)
        return await self._ask(Errand(new_id(), run.id), run, lambda now: False)

    async def answer(self, run: Run, number: int, answers: Answers) -> Run:
        """Have all or a part of the question `number` answered. Raises as `cancel`."""
        if run.parked:
            await self._settled(run)
            await self.waiting.answer(run, number, answers)
            return run
        return await self._ask(
            Errand(new_id(), run.id, number, answers), run, lambda now: not asks(now, number, answers)
        )

    async def _settled(self, run: Run) -> None:
        """Wait until the work of a run that waits as a row has ended here."""
        if live := self._going.get(run.id):
            await live.end()

    async def _ask(self, errand: Errand, run: Run, is_done: Callable[[Run], bool]) -> Run:
        await self._errands.put(errand)
        with anyio.move_on_after(BOUND):
            while not (run.ended or is_done(run)):
                await asyncio.sleep(LOOK)
                run = await self._past.run(run.caller, run.id)
            return run
        if await self._errands.remove(errand):
            raise Unavailable(f"The server that has run {run.id} does not hear; try again.")
        return run

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            if any(is_known(live) for live in self._going.values()):
                try:
                    await self._do()
                except ServerError as error:  # the next look tries again
                    log.warning("What other servers ask cannot be read: %s", error)

    async def _do(self) -> None:
        for errand in await self._errands.mine():
            if live := self._going.get(errand.run):
                if errand.number is None:
                    live.cancel()
                else:
                    live.add(errand.number, errand.answers or {})
            await self._errands.remove(errand)


def is_known(live: Live) -> bool:
    """True if the store, or somebody, knows the run before its end."""
    return live.shared or (live.recorder is not None and live.recorder.keeps)


def asks(run: Run, number: int, answers: Answers) -> bool:
    """True if the run still waits for one of these answers."""
    asked = run.question
    return asked is not None and asked.number == number and not answers.keys().isdisjoint(asked.requests)
