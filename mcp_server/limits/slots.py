"""Slots: how many calls of a pipeline, and of a caller, go on at once; who waits, and who is next.

A pipeline has slots and a short queue. Where several callers wait they take turns, so that one who asks for
much holds up itself. What does not fit into the queue is refused at once, before anything was begun.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import Overloaded
from ..models import Answers, Emit, Event, Manifest, Options, Question, Run
from ..settings import Settings
from .queue import Bounds, Place, Queue

RETRY = 1.0
"""Seconds after which a refused caller may try again."""
KEPT = 1000
"""Queues from which on those that nobody uses are forgotten."""
EVERYONE = "anyone"
"""The name of all callers that nobody tells apart; each is trusted with all there is."""

Key = tuple[str, str]
"""A pipeline's name and its source's digest: a version that hangs takes no slot of the next one."""


class Slots:
    """The slots of every pipeline, on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queues: dict[Key, Queue] = {}
        self._waited: set[Queue] = set()
        """Those in which a call waits."""
        self._reserved: dict[str, Place] = {}
        """What was reserved and not used so far, by the id of its run."""
        self._running: dict[str, int] = {}
        """Calls that run, by their caller's name."""

    @property
    def idle(self) -> bool:
        """True if nothing runs, waits or is reserved."""
        busy = any(not queue.is_idle for queue in self._queues.values())
        return not (busy or self._reserved or self._running)

    def reserve(self, run: Run, options: Options, manifest: Manifest | None) -> None:
        """Keep a slot, or a place in the queue, for this run. Raises `Overloaded` where there is none.

        Its `turn` uses it; a run that never comes to that gives it back by `drop`.
        """
        queue, caller = self._queue(run, options, manifest), run.caller.name
        may_run = caller == EVERYONE or self._may_run(caller)
        if may_run and (place := queue.take(caller)) is not None:  # nearly all
            self._running[caller] = self._running.get(caller, 0) + 1
            self._reserved[run.id] = place
            return
        if queue.is_full(caller, self._share(caller, queue)):
            text = f"{run.pipeline} has more calls than it can take; try again in a moment."
            raise Overloaded(text, RETRY)
        self._reserved[run.id] = self._enter(queue, run)

    def drop(self, run: Run) -> None:
        """Give back what was reserved for this run, unless it was used."""
        if place := self._reserved.pop(run.id, None):
            self.leave(place)

    def reserved(self, run: Run) -> Place | None:
        """What was reserved for this run, to be left when it is over; None if it reserved nothing."""
        return self._reserved.pop(run.id, None)

    def turn(self, run: Run, options: Options, manifest: Manifest | None) -> Turn:
        """To be entered with `async with`: waits for a slot, and holds it until the block ends.

        A run that reserved nothing is never refused: it was accepted before, and only goes on.
        """
        place = self._reserved.pop(run.id, None) or self._enter(self._queue(run, options, manifest), run)
        return Turn(self, run, place)

    def again(self, run: Run, queue: Queue) -> Place:
        """A new place for a run that had lent its own."""
        return self._enter(self._queues.setdefault((run.pipeline, run.digest), queue), run)

    def _queue(self, run: Run, options: Options, manifest: Manifest | None) -> Queue:
        """Of the run's version. One that nobody uses is kept for the next call, with its bounds."""
        key = run.pipeline, run.digest
        known = self._queues.get(key)
        if known is not None and (known.of is options or not known.is_idle):
            return known
        if len(self._queues) >= KEPT:
            self._queues = {each: queue for each, queue in self._queues.items() if not queue.is_idle}
        queue = self._queues[key] = Queue(self._bounds(options, manifest), options)
        return queue

    def _bounds(self, options: Options, manifest: Manifest | None) -> Bounds:
        """What the pipeline declares, else what the settings give its kind, in each of its replicas."""
        blocking = manifest is not None and manifest.blocking
        usual = self._settings.sync_calls if blocking else self._settings.async_calls
        return Bounds(options.concurrency or usual * options.replicas, self._settings.waiting_calls)

    def _share(self, caller: str, queue: Queue) -> int:
        """How many calls of this caller may wait: half of the queue is for others."""
        waiting = queue.bounds.waiting
        return waiting if caller == EVERYONE else (waiting + 1) // 2

    def _may_run(self, caller: str) -> bool:
        limit = self._settings.caller_calls
        return caller == EVERYONE or not limit or self._running.get(caller, 0) < limit

    def _enter(self, queue: Queue, run: Run) -> Place:
        place = queue.add(run.caller.name)
        self._advance([queue])
        return place

    def leave(self, place: Place) -> None:
        """Let another call have the slot."""
        queue, caller = place.queue, place.caller
        if not queue.remove(place):
            return
        if not place.is_granted:
            self._advance([queue])
            return
        left = self._running[caller] - 1
        if left:
            self._running[caller] = left
        else:
            del self._running[caller]
        if self._waited:
            # elsewhere a call may have waited only because its caller had all it may have
            self._advance([queue, *(each for each in self._waited if each is not queue and each.has(caller))])

    def _advance(self, queues: Iterable[Queue]) -> None:
        """Grant what can be granted."""
        for queue in queues:
            while place := queue.next(self._may_run):
                self._running[place.caller] = self._running.get(place.caller, 0) + 1
                place.grant()
            (self._waited.add if queue.waits else self._waited.discard)(queue)


class Turn:
    """A slot that a run holds. While it asks a person, another run may have it."""

    def __init__(self, slots: Slots, run: Run, place: Place) -> None:
        self._slots = slots
        self._run = run
        self.place = place

    async def __aenter__(self) -> Turn:
        if not self.place.is_granted:
            try:
                await self.place.granted()
            except BaseException:  # cancelled: the place is for another one
                self._slots.leave(self.place)
                raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Let another call have the slot."""
        self._slots.leave(self.place)

    def lending(self, emit: Emit) -> Emit:
        """An `emit` that gives the slot away while a question waits for its answer."""

        async def hear(event: Event) -> Answers | None:
            if not isinstance(event, Question):
                return await emit(event)
            self._slots.leave(self.place)
            answers = await emit(event)
            self.place = self._slots.again(self._run, self.place.queue)
            await self.place.granted()
            return answers

        return hear
