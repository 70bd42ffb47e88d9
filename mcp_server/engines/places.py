"""What every generation does, wherever its pipelines are: outcomes, turns, waiting for calls to end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from ..content import failure
from ..limits.deadlines import Deadline
from ..limits.slots import Slots
from ..models import Emit, Group, Manifest, Member, Problem, Result, Run
from . import Locate, Outcome, Report, stays


class Place:
    """A member of a group: what is known of it, and its calls in flight."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.outcome: Outcome | None = None
        self.known = asyncio.Event()
        self.released = False
        self._running = 0
        self._idle: asyncio.Event | None = None
        """While somebody waits for its calls to end."""

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self.member.name

    @property
    def manifest(self) -> Manifest | None:
        """What loading it revealed, once that is known."""
        return self.outcome if isinstance(self.outcome, Manifest) else None

    def __enter__(self) -> None:
        """A call begins, be it only to wait."""
        self._running += 1

    def __exit__(self, *error: object) -> None:
        self._running -= 1
        if not self._running and self._idle is not None:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no call is in flight."""
        while self._running:
            self._idle = self._idle or asyncio.Event()
            self._idle.clear()
            await self._idle.wait()


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

    def replicas(self, name: str) -> Mapping[str, int] | None:
        """See `Generation.replicas`."""
        return None

    def settle(self, place: P, outcome: Outcome) -> None:
        """Loading it has ended so."""
        place.outcome = outcome
        place.known.set()
        if self._report is not None and not place.released:
            self._report(place.name, outcome)

    async def run(self, run: Run, emit: Emit, clock: Deadline, slots: Slots) -> Result:
        """See `Generation.run`."""
        place = self.places[run.pipeline]
        with place:
            async with slots.turn(run, place.member.options, place.manifest) as turn:
                return await self.attempt(place, run, turn.lending(emit), clock)

    async def release(self, name: str) -> None:
        """See `Generation.release`."""
        place = self.places[name]
        place.released = True
        if all(each.released for each in self.places.values()):
            await self.close()
        else:
            await place.idle()
            await self.let_go(place)

    async def close(self) -> None:
        """See `Generation.close`."""
        for place in self.places.values():
            await place.idle()
        await self.end()

    async def ready(self, place: P) -> Result | None:
        """Wait until its loading has ended; a failure if it does not serve."""
        if not place.known.is_set():
            await place.known.wait()
        if isinstance(place.outcome, Problem):
            return failure(f"The pipeline {place.name} does not serve. {place.outcome}")
        return None

    @abstractmethod
    async def attempt(self, place: P, run: Run, emit: Emit, clock: Deadline) -> Result:
        """Run it once it is ready; cancelling stops the work."""

    @abstractmethod
    async def let_go(self, place: P) -> None:
        """Close one pipeline, which is idle."""

    @abstractmethod
    async def end(self) -> None:
        """Close everything, which is idle."""
