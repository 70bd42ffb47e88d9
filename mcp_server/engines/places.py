"""What every generation does, wherever its pipelines are: outcomes, turns, waiting for calls to end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Generic, TypeVar

from ..content import failure
from ..limits.deadlines import Dated, Deadline, Deadlines
from ..limits.queue import Place as Slot
from ..limits.slots import Slots, Turn
from ..models import Answers, Emit, Event, Group, Manifest, Member, Problem, Question, Result, Run
from . import Locate, Outcome, Report, stays
from .ongoing import Home, Ongoing, Tell


class Place:
    """A member of a group: what is known of it, and its calls in flight."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.manifest: Manifest | None = None
        """What loading it revealed, once that is known."""
        self._outcome: Outcome | None = None
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
    def outcome(self) -> Outcome | None:
        """How loading it ended; None until then."""
        return self._outcome

    @outcome.setter
    def outcome(self, outcome: Outcome | None) -> None:
        self._outcome = outcome
        self.manifest = outcome if isinstance(outcome, Manifest) else None

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
        self._launching: set[asyncio.Task[None]] = set()
        self._home = Home()
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

    def begin(self, run: Run, emit: Emit, tell: Tell, deadlines: Deadlines, slots: Slots) -> Ongoing | None:
        """See `Generation.begin`."""
        place = self.places[run.pipeline]
        if not self.is_ready(place) or (slot := slots.reserved(run)) is None:
            return None
        ongoing = Holding(run, emit, tell, self._home, place, slots, slot, deadlines)
        if slot.is_granted:
            self.launch(place, run, ongoing)
        else:
            slot.then = partial(self._granted, place, run, ongoing)
        return ongoing

    def _granted(self, place: P, run: Run, ongoing: Ongoing) -> None:
        """Its turn has come."""
        if self.is_ready(place):
            self.launch(place, run, ongoing)
        else:
            task = asyncio.create_task(self._launch_later(place, run, ongoing))
            self._launching.add(task)
            task.add_done_callback(self._launching.discard)

    async def _launch_later(self, place: P, run: Run, ongoing: Ongoing) -> None:
        if broken := await self.ready(place):
            ongoing.put(broken)
        elif not ongoing.over:
            self.launch(place, run, ongoing)

    async def run(self, run: Run, emit: Emit, clock: Deadline, slots: Slots) -> Result:
        """See `Generation.run`."""
        place = self.places[run.pipeline]
        with place:
            async with slots.turn(run, place.member.options, place.manifest) as turn:
                if not self.is_ready(place) and (broken := await self.ready(place)):
                    return broken
                ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
                ongoing = Ongoing(turn.lending(emit), partial(settle, ended), self._home)
                self.launch(place, run, ongoing)
                try:
                    return await ended
                except BaseException:  # cancelled, or out of time: the work must not go on
                    ongoing.stop(late=clock.passed)
                    raise

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

    def is_ready(self, place: P) -> bool:
        """True if it can be launched."""
        return place.manifest is not None

    async def ready(self, place: P) -> Result | None:
        """Wait until its loading has ended; a failure if it does not serve."""
        if not place.known.is_set():
            await place.known.wait()
        if isinstance(place.outcome, Problem):
            return failure(f"The pipeline {place.name} does not serve. {place.outcome}")
        return None

    @abstractmethod
    def launch(self, place: P, run: Run, ongoing: Ongoing) -> None:
        """Begin the work of a run, once the place is ready; `ongoing` hears of it."""

    @abstractmethod
    async def let_go(self, place: P) -> None:
        """Close one pipeline, which is idle."""

    @abstractmethod
    async def end(self) -> None:
        """Close everything, which is idle."""


class Holding(Ongoing):
    """A run that holds its slot until it is over, and keeps its deadline itself."""

    when: float | None = None
    """On the loop's clock; None while it rests."""
    _turn: Turn | None = None
    """Set once it has said something."""

    def __init__(
        self,
        run: Run,
        emit: Emit,
        tell: Tell,
        home: Home,
        place: Place,
        slots: Slots,
        slot: Slot,
        deadlines: Deadlines,
    ) -> None:
        super().__init__(emit, tell, home)
        self._run = run
        self._place = place
        self._slots = slots
        self._slot = slot
        self._deadlines = deadlines
        deadlines.add(self, run.timeout)
        place.__enter__()

    def pass_by(self) -> None:
        """Its time is up."""
        tell = self._tell
        self.stop(late=True)
        tell(overdue(self._run))

    async def _emitted(self, event: Event) -> Answers | None:
        self._turn = turn = self._turn or Turn(self._slots, self._run, self._slot)
        try:
            return await patient(turn.lending(self._emit), self)(event)
        finally:
            if self.over:  # the slot may have been taken again since
                turn.leave()

    def _leave(self) -> None:
        self._deadlines.drop(self)
        self._slots.leave(self._slot if self._turn is None else self._turn.place)
        self._place.__exit__()
        super()._leave()


def patient(emit: Emit, clock: Dated) -> Emit:
    """An `emit` that stops the clock while a question waits for its answer."""
    loop = asyncio.get_running_loop()

    async def wait(event: Event) -> Answers | None:
        if not isinstance(event, Question):
            return await emit(event)
        deadline, since = clock.when, loop.time()
        clock.when = None
        try:
            return await emit(event)
        finally:
            if deadline is not None:
                clock.when = deadline + loop.time() - since

    return wait


def overdue(run: Run) -> Result:
    """What becomes of a run that is out of time."""
    return failure(f"The run took longer than its timeout of {run.timeout:g} s and was stopped.")


def settle(ended: asyncio.Future[Result], told: Result | BaseException) -> None:
    """Wake who waits for the end."""
    if ended.done():
        return
    if isinstance(told, Result):
        ended.set_result(told)
    else:
        ended.set_exception(told)
