"""The engine: which generation answers for which pipeline, and the deadline of every run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

from ..content import failure
from ..errors import NotFound
from ..models import Answers, Emit, Event, Group, Question, Result, Run
from ..settings import Settings
from . import Generation, Report, Workshop


def patient(emit: Emit, clock: asyncio.Timeout) -> Emit:
    """An `emit` that stops the clock while a question waits for its answer."""
    loop = asyncio.get_running_loop()

    async def wait(event: Event) -> Answers | None:
        if not isinstance(event, Question):
            return await emit(event)
        deadline, since = clock.when(), loop.time()
        clock.reschedule(None)
        try:
            return await emit(event)
        finally:
            if deadline is not None:
                clock.reschedule(deadline + loop.time() - since)

    return wait


class RoutingEngine:
    """Opens generations in the workshop their group asks for, and routes runs to those adopted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workshops: dict[str, Workshop] = {}
        self._serving: dict[str, Generation] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RoutingEngine:
        return self

    async def __aexit__(self, *error: object) -> None:
        for generation in set(self._serving.values()):
            self._later(generation.close())
        self._serving.clear()
        if self._closing:
            await asyncio.wait(self._closing, timeout=self._settings.drain_timeout)
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

    def adopt(self, generation: Generation, report: Report) -> None:
        """Serve from it; see `Engine.adopt`."""
        names = {member.name for member in generation.group.members}
        former = {each for each in self._serving.values() if each.group.name == generation.group.name}
        for name, holder in list(self._serving.items()):
            if name in names and holder not in former:
                self.release(name)  # it moved here from another group
        self._serving = {name: each for name, each in self._serving.items() if each not in former}
        self._serving |= dict.fromkeys(names, generation)
        generation.adopt(report)
        for each in former:
            self._later(each.close())

    async def discard(self, generation: Generation) -> None:
        """Drop it; see `Engine.discard`."""
        await generation.close()

    def release(self, name: str) -> None:
        """Let it go; see `Engine.release`."""
        if generation := self._serving.pop(name, None):
            self._later(generation.release(name))

    async def run(self, run: Run, emit: Emit) -> Result:
        """Run within the deadline; see `Engine.run`."""
        generation = self._serving.get(run.pipeline)
        if generation is None:
            raise NotFound(f"There is no pipeline named {run.pipeline}.")
        clock = asyncio.timeout(run.timeout)
        try:
            async with clock:
                return await generation.run(run, patient(emit, clock), clock)
        except TimeoutError:
            return failure(f"The run took longer than its timeout of {run.timeout:g} s and was stopped.")

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
