"""What every generation does, wherever its pipelines are: outcomes, slots, waiting for calls to end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import Generic, TypeVar

from ..content import failure
from ..models import Answers, Emit, Event, Group, Member, Problem, Question, Result, Run
from . import Locate, Outcome, Report, stays


class Place:
    """A member of a group: what is known of it, and its calls in flight."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.outcome: Outcome | None = None
        self.known = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self.released = False
        self._running = 0
        limit = member.options.concurrency
        self.slots: AbstractAsyncContextManager[None] = asyncio.Semaphore(limit) if limit else nullcontext()

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self.member.name

    def __enter__(self) -> None:
        """A call begins, be it only to wait."""
        self._running += 1
        self.idle.clear()

    def __exit__(self, *error: object) -> None:
        self._running -= 1
        if not self._running:
            self.idle.set()


P = TypeVar("P", bound=Place)


class PlacesGeneration(ABC, Generic[P]):
    """A generation as a set of places. What a place is beyond its member, subclasses know."""

    def __init__(self, group: Group, places: Mapping[str, P]) -> None:
        self.group = group
        self.places = places
        self._report: Report | None = None
        self.locate: Locate = stays

    @property
    def adopted(self) -> bool:
        """True once it serves."""
        return self._report is not None

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """See `Generation.outcomes`."""
        return {name: place.outcome for name, place in self.places.items() if place.outcome is not None}

    async def settled(self) -> Mapping[str, Outcome]:
        """See `Generation.settled`."""
        for place in self.places.values():
            await place.known.wait()
        return self.outcomes

    def adopt(self, report: Report, locate: Locate) -> None:
        """See `Generation.adopt`."""
        self._report, self.locate = report, locate
        for name, outcome in self.outcomes.items():
            report(name, outcome)

    def settle(self, place: P, outcome: Outcome) -> None:
        """Loading it has ended so."""
        place.outcome = outcome
        place.known.set()
        if self._report is not None and not place.released:
            self._report(place.name, outcome)

    async def run(self, run: Run, emit: Emit, clock: asyncio.Timeout) -> Result:
        """See `Generation.run`."""
        place = self.places[run.pipeline]
        with place:
            async with AsyncExitStack() as held:
                await held.enter_async_context(place.slots)

                async def lending(event: Event) -> Answers | None:
                    """While this run asks, another one may have its slot."""
                    if not isinstance(event, Question):
                        return await emit(event)
                    await held.aclose()
                    answers = await emit(event)
                    await held.enter_async_context(place.slots)
                    return answers

                return await self.attempt(place, run, lending, clock)

    async def release(self, name: str) -> None:
        """See `Generation.release`."""
        place = self.places[name]
        place.released = True
        if all(each.released for each in self.places.values()):
            await self.close()
        else:
            await place.idle.wait()
            await self.let_go(place)

    async def close(self) -> None:
        """See `Generation.close`."""
        for place in self.places.values():
            await place.idle.wait()
        await self.end()

    async def ready(self, place: P) -> Result | None:
        """Wait until its loading has ended; a failure if it does not serve."""
        await place.known.wait()
        if isinstance(place.outcome, Problem):
            return failure(f"The pipeline {place.name} does not serve. {place.outcome}")
        return None

    @abstractmethod
    async def attempt(self, place: P, run: Run, emit: Emit, clock: asyncio.Timeout) -> Result:
        """Run it once it is ready; cancelling stops the work."""

    @abstractmethod
    async def let_go(self, place: P) -> None:
        """Close one pipeline, which is idle."""

    @abstractmethod
    async def end(self) -> None:
        """Close everything, which is idle."""
