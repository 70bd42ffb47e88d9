"""What happened, kept: the async face of runs, of what they left, and of how pipelines do.

Opens in its writer's thread, after the server answers. Without a database that works, history is kept in
memory, and what would have to last is refused.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread

from ..errors import ServerError, Unavailable
from ..models import Artifact, Question, Recording, Run, StepDone
from . import Bound, Filter, Kind, Page, Place, Retention, Statistics
from .changes import CACHED, DAY, Count, RunChange, changed, new_id
from .plain_rows import SIZE, plain
from .writer import Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .journal import Journal

READERS = 3
CARE = 15.0
"""Seconds between two looks at other servers."""
LIFE = float(DAY)
"""Seconds from its beginning that a run can be asked for whose id was given away before its end."""
TIDY = 60.0
"""Seconds between two looks at what is too much."""
SWEEP = 3600.0
"""Seconds between two looks at files that nobody needs."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class History:
    """Journal runs and answers for them. `async with` opens it and returns at once.

    Whatever reads may raise `Unavailable`, and sees everything that was recorded before.
    """

    def __init__(self, place: Place, kept: Retention | None = None) -> None:
        self.instance = new_id()
        """The id of this server among those on the same store."""
        self._place = place
        self._kept = kept or Retention()
        self._threads = CapacityLimiter(READERS)
        self.outdated = asyncio.Event()
        """Set once it is known that a newer release wrote the state; `fault` says it in words."""

    async def __aenter__(self) -> History:
        self._writer = Writer(self._open)
        self._leaving = asyncio.Event()
        self.taken = asyncio.Queue[str]()
        """Runs of servers that are gone, to go on with here."""
        self._care = asyncio.create_task(self._look_after())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._leaving.set()
        await self._care  # not cancelled: a thread that reads must end before the database is closed
        await self._writer.close()

    @property
    def fault(self) -> str | None:
        """Why runs are not recorded for good; None when all is well."""
        opened = self._writer.opened
        return (opened.result().fault if opened.done() else None) or self._writer.fault

    @property
    def lost(self) -> int:
        """Runs that could not be recorded since the server started."""
        return self._writer.lost

    def record(self, run: Run, record: Recording = "full", *, promised: bool = False) -> None:
        """Keep this state of a run, soon. Returns at once and never fails; see `lost`.

        `promised` is true for a run whose id was given away; see `LIFE`.
        """
        row = None if promised else plain(run, record, self.instance)
        if row is not None:
            self._writer.add(row, row[SIZE])
        else:
            self._writer.put(changed(run, record, self.instance, LIFE if promised else None))

    def hit(self, pipeline: str, version: int) -> None:
        """Count a call that was answered with a kept result, soon. Never fails."""
        self._writer.put(
            RunChange(None, Count(pipeline, version, int(time.time() // DAY), CACHED, False, 0.0))
        )

    def step(self, run: Run, step: StepDone) -> None:
        """Keep a component call of a run, soon and in order. Returns at once and never fails; see `lost`."""
        size = len(step.inputs or "") + len(step.outputs or "")
        self._writer.put(lambda journal, connection: journal.step(connection, run, step), size)

    def changed(self, run: Run, record: Recording = "full") -> RunChange:
        """What is to be written of this state of a run whose id will be given away."""
        return changed(run, record, self.instance, LIFE)

    async def commit(self, run: Run, record: Recording = "full") -> None:
        """Keep this state of a run, for `LIFE` at least; durable when this returns. Raises `Unavailable`."""
        await self._lasting()
        await self._writer.commit(self.changed(run, record))

    async def claim(self, run: Run, record: Recording = "full") -> Run | None:
        """Commit a run with an idempotency key, or give the run its caller began with that key before.

        Raises `Conflict` if that one was asked for something else, and `Unavailable`.
        """
        await self._lasting()
        change = self.changed(run, record)
        return await self._writer.commit(lambda journal, connection: journal.claim(connection, run, change))

    async def park(self, run: Run, question: Question) -> None:
        """Let a run that is recorded wait as a row of no server; durable when this returns."""
        await self._lasting()
        change = self.changed(run.model_copy(update={"status": "waiting", "question": question}))
        await self._writer.commit(lambda journal, connection: journal.park(connection, change))

    async def find(self, identity: str) -> Run | None:
        """A run as it was last recorded, without its artifacts."""
        return await self._read(lambda journal: journal.find(identity))

    async def listed(self, chosen: Filter, limit: int = 50, before: str | None = None) -> Page:
        """A page of runs, the newest first; `before` is the `next` of the page before."""
        return await self._read(lambda journal: journal.listed(chosen, limit, before))

    async def children(self, parent: str) -> tuple[Run, ...]:
        """The runs made from this one, with inputs and results, the oldest first."""
        return await self._read(lambda journal: journal.children(parent))

    async def artifact(self, run: str, name: str) -> Artifact | None:
        """What a recorded run left, with its content."""
        return await self._read(lambda journal: journal.artifact(run, name))

    async def statistics(
        self, pipeline: str | None, days: int = 30, version: int | None = None
    ) -> Statistics:
        """How the calls went, of a pipeline or of all, of a version or of all: ever, and on the last days."""
        return await self._read(lambda journal: journal.statistics(pipeline, days, version))

    async def change(self, work: Callable[[Connection], T]) -> T:
        """Make a change of the run tree; it is durable when this returns. Raises what it raises."""
        await self._lasting()
        return await self._writer.commit(lambda _, connection: work(connection))

    def later(self, work: Callable[[Connection], object]) -> None:
        """Make a change soon. Returns at once and never fails."""
        self._writer.put(lambda _, connection: work(connection))

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """The secret of that name, the same for every server on the store: `fresh` if there was none."""
        await self._lasting()
        return await self._writer.commit(lambda journal, connection: journal.secret(connection, name, fresh))

    async def ask(self, work: Callable[[Connection], T]) -> T:
        """Give what `work` reads."""
        return await self._read(lambda journal: journal.ask(work))

    async def trim(self) -> None:
        """Remove what is too much."""
        await self._trim("runs", self._kept.runs)
        await self._trim("steps", self._kept.steps)
        await self._trim("artifacts", self._kept.artifacts)

    async def sweep(self) -> None:
        """Remove the files of artifacts that are gone."""
        await self._writer.commit(lambda journal, connection: journal.sweep(connection))

    async def recover(self) -> None:
        """Take over the runs of servers that are gone; it is done at the start, and again and again."""
        for identity in await self._writer.commit(lambda journal, connection: journal.look_after(connection)):
            self.taken.put_nowait(identity)

    def _open(self) -> Journal:
        from .journal import Journal  # SQLAlchemy costs 0.1 s: in the thread, not before the server answers

        return Journal(self._place, self.instance)

    async def _trim(self, kind: Kind, kept: Bound) -> None:
        before = await self._read(lambda journal: journal.surplus(kind, kept))
        while before and not self._leaving.is_set():
            if not await self._writer.commit(
                lambda journal, connection: journal.remove(connection, kind, before, kept.days)
            ):
                return

    async def _lasting(self) -> None:
        """Raise `Unavailable` if nothing lasts here."""
        opened = self._writer.opened
        if fault := (opened.result() if opened.done() else await asyncio.shield(opened)).fault:
            raise Unavailable(f"Nothing can be saved: {fault}")

    async def _read(self, work: Callable[[Journal], T]) -> T:
        opened = await asyncio.shield(self._writer.opened)
        with suppress(Unavailable):  # what was written before can still be read
            await self._writer.flushed()
        return await to_thread.run_sync(work, opened, limiter=self._threads)

    async def _look_after(self) -> None:
        """What goes on by itself. A failure is logged; the next round tries again."""
        if (await asyncio.shield(self._writer.opened)).outdated:
            self.outdated.set()
        due = {self.recover: CARE, self.trim: TIDY, self.sweep: SWEEP}
        done = dict.fromkeys(due, -SWEEP)
        while not self._leaving.is_set():
            for work, every in due.items():
                if time.monotonic() - done[work] >= every:
                    await self._try(work)
                    done[work] = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(CARE):
                    await self._leaving.wait()

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except ServerError as error:
            log.warning("History could not be tidied: %s", error)
