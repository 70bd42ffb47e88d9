"""What runs were: those that go on here and those in history, as their callers may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypedDict, Unpack

from ..artifacts import PART, Address, Artifacts, Part
from ..content import failure
from ..errors import Conflict, NotFound
from ..models import CALLS, Caller, Emit, Result, Run, RunStatus
from ..store import INTERRUPTED, Filter, Page, Statistics
from ..store.changes import earliest_id
from ..store.history import History
from .ending import CANCELLED, STOPPED
from .live import Live

LOOK = 0.25
"""Seconds between two looks at a run of another server."""
UNRECORDED = "What this run gave was not recorded."


class Wanted(TypedDict, total=False):
    """Which runs to list; see `Filter`."""

    pipeline: str | None
    status: RunStatus | None
    parent: str | None
    version: int | None
    origin: str | None
    since: float | None
    until: float | None


class Past:
    """Everyone sees their own runs only. All may raise `Unavailable`."""

    def __init__(self, history: History, here: Mapping[str, Live], artifacts: Artifacts) -> None:
        """`here` are the runs of this process that are not forgotten yet, `artifacts` what they left."""
        self._history = history
        self._here = here
        self._artifacts = artifacts

    async def run(self, caller: Caller, identity: str) -> Run:
        """A run as it is now. Raises `NotFound` if there is none, or if it is another caller's."""
        live = self._here.get(identity)
        run = live.run if live else await self._history.find(identity)
        if run is None or run.caller.name != caller.name:
            raise NotFound(f"There is no run {identity[:64]}.")
        return run

    async def call(self, caller: Caller, identity: str) -> Run:
        """The same for a call that can be made again. Raises `Conflict` if its inputs were not recorded."""
        run = await self.run(caller, identity)
        if run.verb != "call":
            raise Conflict(f"Run {identity} is no call of a pipeline.")
        if not run.has_inputs:
            raise Conflict(f"The inputs of run {identity} were not recorded.")
        return run

    async def list(
        self,
        caller: Caller,
        *,
        limit: int = 50,
        cursor: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> Page:
        """Runs without inputs and results, the newest first. A cursor is the `next` of the page before."""
        chosen = Filter(caller.name, **wanted)
        page = await self._history.listed(chosen, limit, cursor)
        found = {run.id: run for run in page.runs if run.id not in self._here}
        for live in self._here.values():
            if fits(live.run, chosen) and (cursor is None or live.run.id < cursor):
                found[live.run.id] = live.run
        newest = sorted(found.values(), key=lambda run: run.id, reverse=True)
        more = page.next is not None or len(newest) > limit
        return Page(tuple(newest[:limit]), newest[:limit][-1].id if more and newest else None)

    async def children(self, parent: str) -> tuple[Run, ...]:
        """The runs made from this one as they are now, with inputs and results, the oldest first."""
        found = {run.id: run for run in await self._history.children(parent)}
        found |= {live.run.id: live.run for live in self._here.values() if live.run.parent == parent}
        return tuple(found[identity] for identity in sorted(found))

    async def part(self, caller: Caller, uri: str, size: int = PART) -> Part:
        """The part of an artifact at this address, of at most `size` bytes. Raises `NotFound`."""
        try:
            return self._artifacts.read(caller, uri, size)
        except NotFound:
            address = Address.of(uri)
            artifact = await self._history.artifact(address.run, address.name)
            owner = artifact and await self._history.find(address.run)
            if not artifact or not owner or owner.caller.name != caller.name:
                raise
            return address.part(artifact, size)

    async def statistics(
        self, pipeline: str | None = None, version: int | None = None, days: int = 30
    ) -> Statistics:
        """How the calls went, whoever called: of all, a pipeline, or a version. Without calls it is zeros."""
        return await self._history.statistics(pipeline, days, version)

    async def moved(self, run: Run) -> None:
        """Wait until a run that goes on elsewhere ends, or asks something that `run` does not ask."""
        known = run.question and run.question.number
        while not run.ended and (run.question is None or run.question.number == known):
            await asyncio.sleep(LOOK)
            run = await self.run(run.caller, run.id)

    async def followed(self, run: Run, emit: Emit) -> Result:
        """Wait for the end of a run that was begun elsewhere, and give what it gave.

        Of what it asks, `emit` hears what `run` does not ask already; the answer must go its own way.
        """
        told = run.question
        while not run.ended:
            if run.question and run.question.number != (told and told.number):
                told = run.question
                await emit(told)
            await asyncio.sleep(LOOK)
            run = await self.run(run.caller, run.id)
        return given(run)


def given(run: Run) -> Result:
    """What an ended run gave; a failure with the reason if it gave nothing, or nothing was kept."""
    if run.result is not None:
        return run.result
    if run.status == "done":
        return failure(UNRECORDED).model_copy(update={"is_error": False})
    if run.error == INTERRUPTED:
        return failure(STOPPED)
    return failure(CANCELLED if run.status == "cancelled" else run.error or UNRECORDED)


def fits(run: Run, chosen: Filter) -> bool:
    """True if a run is among those to be listed."""
    return (
        run.verb in {*CALLS, "batch"}
        and chosen.caller in (None, run.caller.name)
        and chosen.pipeline in (None, run.pipeline)
        and chosen.status in (None, run.status)
        and chosen.parent in (None, run.parent)
        and chosen.version in (None, run.version)
        and chosen.origin in (None, run.caller.origin)
        and (chosen.since is None or run.id >= earliest_id(chosen.since))
        and (chosen.until is None or run.id < earliest_id(chosen.until))
    )
