"""Runs pipelines in this process: for embedding, for trusted code, and inside every host.

A pipeline that blocks the event loop, hangs a thread or ends the process hurts everything here; the
default, `hosts`, is what isolates.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from ..errors import Broken
from ..models import Event, Group, Limits, Manifest, Member, Problem, Result, Run
from ..pipelines import Pipeline, haystack, load
from ..pipelines.hastening import hasten
from ..settings import Settings
from ..telemetry.spans import spans
from .calls import Call, explain
from .confinement.hints import hinted
from .ongoing import Ongoing
from .places import Place, PlacesGeneration
from .threads import Threads

log = logging.getLogger(__name__)


def open_workshop(settings: Settings) -> LocalWorkshop:
    """The workshop for this process."""
    return LocalWorkshop(Workbench(settings.limits()))


class Workbench:
    """Loads pipelines and starts calls in this process; blocking ones share a bounded pool of threads."""

    def __init__(self, limits: Limits) -> None:
        self.pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="loading")
        """For what is not a call: it loads and closes pipelines."""
        self._threads = Threads(limits.threads, "pipeline")
        self._limits = limits
        self._spans = spans(limits.otlp_endpoint)
        self._loop: asyncio.AbstractEventLoop | None = None
        sys.path += [folder for folder in map(str, limits.python_path) if folder not in sys.path]

    async def load(self, member: Member) -> Pipeline | Problem:
        """Load in a thread; whatever the pipeline's code does there comes back as a problem."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, attempt, member, self._limits)

    def start(
        self,
        pipeline: Pipeline,
        run: Run,
        emit: Callable[[Event], None],
        tell: Callable[[Result], object],
    ) -> Call:
        """Begin a run. `emit` is called from any thread; see `Call`."""
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._loop = asyncio.get_running_loop()  # in CPython 3.11 a system call
        return Call(pipeline, run, emit, tell, loop, self._threads, self._limits, self._spans)

    def shut(self) -> None:
        """Take no more work."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._threads.close()

    async def close(self, pipeline: Pipeline) -> None:
        """Let the pipeline clean up, whatever its code does."""
        await asyncio.get_running_loop().run_in_executor(self.pool, end, pipeline)


def attempt(member: Member, limits: Limits) -> Pipeline | Problem:
    """Load a pipeline; a problem instead of any exception, which says so if the walls are the reason.

    What code handed over stays as it made it.
    """
    haystack.install()
    try:
        if member.load:
            return cast(Pipeline, member.load())
        loaded = load(member.name, member.root)
        if limits.fast_pipelines:
            hasten(loaded.holder)
        return loaded
    except Broken as broken:
        told = hinted(broken.problem.message, broken, limits.walls)
        return broken.problem.model_copy(update={"message": told})
    except BaseException as error:  # foreign code runs while loading: may raise anything
        return Problem(message=hinted(explain(error), error, limits.walls))


def end(pipeline: Pipeline) -> None:
    """Close a pipeline; an error in its teardown is logged, there is nobody to tell."""
    try:
        pipeline.close()
    except BaseException as error:  # foreign code: teardown may raise anything
        log.warning("%s did not close: %s", pipeline.manifest.tool["name"], explain(error))


class LocalWorkshop:
    """Opens generations in this process."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def open(self, group: Group) -> LocalGeneration:
        """Begin to load the group, one pipeline after the other."""
        return LocalGeneration(group, self._bench)

    async def shut(self) -> None:
        """Take no more work; threads that hang are left behind."""
        self._bench.shut()


class LocalPlace(Place):
    """A pipeline in this process."""

    pipeline: Pipeline
    closed = False


class LocalGeneration(PlacesGeneration[LocalPlace]):
    """The pipelines of a group, loaded in this process."""

    def __init__(self, group: Group, bench: Workbench) -> None:
        super().__init__(group, {member.name: LocalPlace(member) for member in group.members})
        self._bench = bench
        self._loading = asyncio.create_task(self._load())

    def launch(self, place: LocalPlace, run: Run, ongoing: Ongoing) -> None:
        """Run on the loop or in a thread."""
        ongoing.work = self._bench.start(place.pipeline, run, ongoing.say, ongoing.put)

    async def answers(self) -> bool:
        """Nothing is between: who asks is answered."""
        return True

    async def let_go(self, place: LocalPlace) -> None:
        """Close one pipeline."""
        await place.known.wait()
        if isinstance(place.outcome, Manifest) and not place.closed:
            place.closed = True
            await self._bench.close(place.pipeline)

    async def end(self) -> None:
        """Close every pipeline that was not released before."""
        for place in self.places.values():
            await self.let_go(place)

    async def _load(self) -> None:
        for place in self.places.values():
            loaded = await self._bench.load(place.member)
            if not isinstance(loaded, Problem):
                place.pipeline = loaded
            self.settle(place, loaded if isinstance(loaded, Problem) else loaded.manifest)
