"""Runs whose components are recorded: gone on with where their server died, forked, rewound, looked into."""

from __future__ import annotations

import asyncio
import logging
import time

from ..access import sight
from ..catalog import Catalog, Serving
from ..content import failure
from ..errors import Conflict, Invalid, ServerError
from ..models import Answers, Caller, Json, Recording, Replay, Run, StepDone
from ..settings import Settings
from ..store import INTERRUPTED
from ..store.history import History
from ..store.steps import Line, Steps, Turn
from . import Runs
from .batches import Batches
from .ending import CANCELLED
from .live import Live
from .making import made
from .recorder import can_continue, recorder_of
from .trail import hour

log = logging.getLogger(__name__)


class RecordedRuns:
    """Everyone reaches their own runs only; another's is `NotFound`. All may raise `Unavailable`."""

    def __init__(
        self,
        runs: Runs,
        batches: Batches,
        catalog: Catalog,
        settings: Settings,
        history: History,
    ) -> None:
        self._runs = runs
        self._batches = batches
        self._catalog = catalog
        self._settings = settings
        self._history = history
        self._steps = Steps(history)
        runs.elsewhere.waiting = self
        self._begun: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RecordedRuns:
        """Begin to go on with what servers that are gone left; returns at once."""
        self._care = asyncio.create_task(self._look_after())
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks = {self._care, *self._begun}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def line(self, run: Run) -> Line:
        """What is recorded of the components of a run; nothing of most runs."""
        return await self._steps.line(run)

    async def step(self, run: Run, label: str) -> StepDone:
        """A component's call with what it got and gave. Raises as `place_of`."""
        line = await self._steps.line(run)
        (whole,) = await self._steps.whole([line.steps[place_of(run, line, label)]])
        return whole

    async def rerun(self, caller: Caller, identity: str, key: str | None = None) -> Live:
        """Begin a run with the inputs of another one, of the pipeline as it is now. `key` as in `Runs.start`.

        Raises as `Past.call` and `Runs.start`.
        """
        run = await self._runs.past.call(caller, identity)
        return await self._runs.start(caller, run.pipeline, run.inputs, key=key, parent=run.id, detached=True)

    async def fork(
        self, caller: Caller, identity: str, label: str, inputs: Json, key: str | None = None
    ) -> Run:
        """Begin a new run that shares what this one did before the call `label`, which is made anew.

        `inputs` are other values for sockets of that component; `key` is as in `Runs.start`.

        Raises `Conflict` for a run that still goes, that was not recorded, whose version is gone, or whose
        past cannot be used again; `Invalid` for an unknown call or socket.
        """
        run = await self._ended(caller, identity)
        entry, line = await self._serving(run), await self._steps.line(run)
        turn = await self._turn(run, line, label, inputs)
        new = made(entry.version, caller, run.inputs, run.timeout).model_copy(
            update={"parent": run.id, "step": label, "continues": can_continue(entry), "key": key}
        )
        known = await self._steps.fork(new, self._recording(entry), turn)
        return known or await self._go_on(new, entry)

    async def rewind(
        self, caller: Caller, identity: str, label: str, inputs: Json
    ) -> tuple[Run, tuple[str, ...]]:
        """The same with this run itself; also gives the calls that this invalidates. Raises as `fork`."""
        run = await self._ended(caller, identity)
        entry, line = await self._serving(run), await self._steps.line(run)
        turn = await self._turn(run, line, label, inputs)
        again = await self._steps.rewind(run.model_copy(update={"continues": can_continue(entry)}), turn)
        later = line.steps[cut(line, place_of(run, line, label)) :]
        return await self._go_on(again, entry), tuple(each.step.label for each in later)

    async def answer(self, run: Run, number: int, answers: Answers) -> None:
        """Answer all or a part of what a run asks that waits as a row; with the rest, it goes on here.

        Raises `Conflict` if it does not wait for this any more, or if its version is gone.
        """
        entry = await self._serving(run)
        again = await self._steps.answer(run, number, answers, continues=can_continue(entry))
        if again is not None:
            await self._go_on(again, entry)

    async def cancel(self, run: Run) -> Run:
        """Stop a run that waits as a row. Raises `Conflict` if it does not wait any more."""
        ended = {"status": "cancelled", "result": failure(CANCELLED), "finished": time.time()}
        stopped = (await self._steps.take(run)).model_copy(update=ended)
        await self._history.commit(stopped, "full")
        self._runs.breakers.ended(stopped)
        self._runs.told(stopped)
        self._runs.turned(run.id)
        return stopped

    async def _ended(self, caller: Caller, identity: str) -> Run:
        run = await self._runs.past.call(caller, identity)
        sight.check(caller, "run", run.pipeline)
        if not run.ended:
            raise Conflict(f"Run {identity} is not over yet; cancel_run ends it.")
        return await self._history.find(identity) or run

    async def _serving(self, run: Run) -> Serving:
        entry = await self._catalog.find(run.pipeline, run.version)
        if entry.version.digest != run.digest:
            raise Conflict(f"Version {run.version} of {run.pipeline}, which made the run, is gone.")
        return entry

    async def _turn(self, run: Run, line: Line, label: str, inputs: Json) -> Turn:
        """Where to begin anew. The call itself tells which sockets there are."""
        place = place_of(run, line, label)
        start = cut(line, place)
        for each in line.steps[:start]:
            if each.step.lost and "." not in each.step.component:
                text = f"{each.step.label} would run again: what it gave is not kept, for {each.step.lost}."
                raise Conflict(f"{text} Choose {each.step.label}, or a call before it.")
        (whole,) = await self._steps.whole([line.steps[place]])
        unknown = [name for name in inputs if whole.inputs and name not in whole.got]
        if unknown:
            known = ", ".join(whole.got)
            raise Invalid(f"{whole.component} got no input {', '.join(unknown)}; it got {known}.")
        return Turn(label, line.steps[start].parent, inputs)

    async def _go_on(self, run: Run, entry: Serving) -> Run:
        """Begin a stored run with all of its recorded past that can be used."""
        line, recording = await self._steps.line(run), self._recording(entry)
        steps = await self._steps.whole(line.steps)
        replay = Replay(steps=tuple(each for each in steps if each.outputs is not None), changes=line.changes)
        recorder = recorder_of(entry, run, recording, self._history, lasts=True, replay=replay)
        if recorder is None:
            raise Conflict(f"The components of {run.pipeline} are not recorded any more.")
        recorder.count([step for kept, step in zip(line.steps, steps, strict=True) if kept.run == run.id])
        recorder.count([kept.step for kept in line.left])
        live = self._runs.lasting(run, self._runs.engine.run, recording, recorder)
        live.trail.last = hour(run)
        return live.run

    async def _look_after(self) -> None:
        while True:
            task = asyncio.create_task(self._continue(await self._history.taken.get()))
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)

    async def _continue(self, identity: str) -> None:
        """Go on with a run that was taken over, or give it up."""
        try:
            run = await self._history.find(identity)
            assert run is not None, "it was there when it was taken over"
            try:
                if run.verb == "batch":
                    self._batches.go_on(run)
                else:
                    await self._go_on(run, await self._serving(run))
                log.info("run %s of %s goes on here", run.id, run.pipeline)
            except ServerError as error:
                log.warning("run %s of %s cannot go on: %s", run.id, run.pipeline, error)
                ended = {"status": "failed", "error": INTERRUPTED, "finished": time.time()}
                await self._history.commit(run.model_copy(update=ended))
        except ServerError as error:
            log.error("run %s is left: %s", identity, error)

    def _recording(self, entry: Serving) -> Recording:
        return entry.options.record or self._settings.record


def place_of(run: Run, line: Line, label: str) -> int:
    """Where in the line the call is. Raises `Invalid` that names those there are, `Conflict` if they went."""
    labels = [each.step.label for each in line.steps]
    if label in labels:
        return labels.index(label)
    if "steps" in line.swept:
        raise Conflict(f"The steps of run {run.id} are no longer kept.")
    if not labels:
        raise Invalid(
            f"No component of run {run.id} was recorded. Runs that start_run begins are; "
            "a pipeline with `record: steps` has all of them recorded."
        )
    raise Invalid(f"Run {run.id} has no step {label[:100]}; it has {', '.join(labels)}."[:400])


def cut(line: Line, place: int) -> int:
    """How many calls had ended when the one at `place` began: what is before it."""
    return min(line.steps[place].step.began, place)
