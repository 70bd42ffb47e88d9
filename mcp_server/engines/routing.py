"""The engine: which generation answers for which pipeline, and the deadline of every run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..errors import NotFound
from ..limits.deadlines import Deadlines
from ..limits.slots import Slots
from ..models import Emit, Group, Result, Run
from ..settings import Settings
from . import Generation, Locate, Report, Workshop, stays
from .ongoing import Ongoing, Tell
from .places import overdue, patient

Key = tuple[str, str]
"""A pipeline's name and its source's digest."""
LINGER = 1.0
"""Seconds that what was displaced still takes runs: time for a call that has chosen it to begin."""


class RoutingEngine:
    """Opens generations in the workshop their group asks for, and routes runs to those adopted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.slots = Slots(settings)
        """Whose turn it is."""
        self._deadlines = Deadlines()
        self._workshops: dict[str, Workshop] = {}
        self._routes: dict[Key, Generation] = {}
        self._leaving: set[Generation] = set()
        """Displaced as a whole: they still get the runs of versions that nobody else has, for a moment."""
        self._closing: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self.patience = settings.drain_timeout
        """Seconds that its hosts get to end by themselves when it closes."""

    async def __aenter__(self) -> RoutingEngine:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._over.set()
        for generation in set(self._routes.values()) - self._leaving:
            self._later(generation.close())
        self._routes.clear()
        if self._closing:
            await asyncio.wait(self._closing, timeout=self.patience)
        for task in self._closing:
            task.cancel()
        for workshop in self._workshops.values():
            await workshop.shut()
        self._workshops.clear()

    def open(self, group: Group) -> Generation:
        """Begin to load; see `Engine.open`."""
        kind = group.engine or self._settings.engine
        if kind not in self._workshops:
            self._workshops[kind] = import_module(f".{kind}", __package__).open_workshop(self._settings)
        return self._workshops[kind].open(group)

    def adopt(self, generation: Generation, report: Report, locate: Locate = stays) -> None:
        """Serve from it; see `Engine.adopt`."""
        mine = {(member.name, member.digest) for member in generation.group.members}
        former = {each for each in self._routes.values() if each.group.name == generation.group.name}
        moved = [(key, each) for key, each in self._routes.items() if key in mine and each not in former]
        self._routes |= dict.fromkeys(mine, generation)
        generation.adopt(report, locate)
        for (name, _), each in moved:
            if each not in self._leaving:
                self._later(each.release(name))
        for each in former - self._leaving:
            self._leaving.add(each)
            self._later(self._close(each))

    async def discard(self, generation: Generation) -> None:
        """Drop it; see `Engine.discard`."""
        await generation.close()

    def release(self, name: str, digest: str) -> None:
        """Let it go; see `Engine.release`."""
        generation = self._routes.get((name, digest))
        if generation is not None and generation not in self._leaving:
            self._later(self._release((name, digest), generation))

    def replicas(self, name: str, digest: str) -> Mapping[str, int] | None:
        """How many hosts it has; see `Engine.replicas`."""
        generation = self._routes.get((name, digest))
        return generation.replicas(name) if generation else None

    async def answering(self, within: float) -> Mapping[str, bool]:
        """Ask all at once; see `Engine.answering`."""
        generations = {each.group.name: each for each in self._routes.values() if each not in self._leaving}

        async def answers(generation: Generation) -> bool:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    return await generation.answers()
            return False

        told = await asyncio.gather(*map(answers, generations.values()))
        return dict(zip(generations, told, strict=True))

    def begin(self, run: Run, emit: Emit, tell: Tell) -> Ongoing | None:
        """Begin a run if nothing has to be waited for; see `Runner.begin`."""
        generation = self._routes.get((run.pipeline, run.digest))
        if generation is None:
            return None
        return generation.begin(run, emit, tell, self._deadlines, self.slots)

    async def run(self, run: Run, emit: Emit) -> Result:
        """Run within the deadline; see `Engine.run`."""
        generation = self._routes.get((run.pipeline, run.digest))
        if generation is None:
            raise NotFound(f"This version of {run.pipeline} does not serve any more; call it again.")
        task = asyncio.current_task()
        assert task is not None, "called in a task"
        cancelling = task.cancelling()
        clock = self._deadlines.start(run.timeout, task.cancel)
        try:
            return await generation.run(run, patient(emit, clock), clock, self.slots)
        except asyncio.CancelledError:
            if not clock.passed or task.uncancel() > cancelling:  # or somebody else cancelled it, too
                raise
            return overdue(run)
        finally:
            self._deadlines.drop(clock)

    async def _close(self, generation: Generation) -> None:
        await self._linger()
        self._routes = {key: each for key, each in self._routes.items() if each is not generation}
        await generation.close()
        self._leaving.discard(generation)

    async def _release(self, key: Key, generation: Generation) -> None:
        await self._linger()
        if generation not in self._leaving and self._routes.get(key) is generation:
            del self._routes[key]
            await generation.release(key[0])

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                await self._over.wait()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
