"""Batches: one pipeline called once for each of many inputs, a few at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..access import sight
from ..catalog import Catalog, Stage
from ..content import failure, render
from ..errors import Invalid, ServerError
from ..models import Answers, Caller, Emit, Event, Json, Progress, Question, Result, Run
from ..store import INTERRUPTED
from ..store.history import History
from . import Runs, new_id
from .making import made

ITEMS = 1000
"""Inputs in one batch."""
AT_ONCE = 32
"""Calls of one batch at the same time."""


@dataclass(frozen=True)
class Batch:
    """A batch and its runs by their place; None for what has not begun."""

    run: Run
    items: tuple[Run | None, ...]


class Batches:
    """A batch is a run of the verb `batch`; its items are the runs whose parent it is."""

    def __init__(self, runs: Runs, catalog: Catalog, history: History) -> None:
        self._runs = runs
        self._catalog = catalog
        self._history = history
        self.scored: Callable[[Run], Awaitable[Json]] = unscored
        """Measures a batch with an `evaluation`, once its items have ended; its result holds that, too."""

    async def begin(
        self,
        caller: Caller,
        name: str,
        inputs: Sequence[Json],
        *,
        concurrency: int = 4,
        timeout: float | None = None,
        version: int | None = None,
        stage: Stage | None = None,
        evaluation: Json | None = None,
        key: str | None = None,
    ) -> Run:
        """Begin to call the pipeline for each of the inputs; durable when this returns.

        An item that fails, or that the pipeline does not accept, fails only itself. `timeout` is each item's,
        and so is the `version` or `stage`. An `evaluation` is what `scored` is to know when all have ended;
        the pipeline of the version need not be deployed.
        With a `key` that was given before, it is the batch of that time.
        Raises `Invalid`, and as `Runs.start` for the pipeline and the key.
        """
        if not 0 < len(inputs) <= ITEMS:
            raise Invalid(f"A batch takes 1 to {ITEMS} inputs.")
        if not 0 < concurrency <= AT_ONCE:
            raise Invalid(f"`concurrency` must be from 1 to {AT_ONCE}.")
        choice = {"version": version} if version else {"stage": stage} if stage else {}
        sight.check(caller, "run", name)
        serving = (await self._catalog.find(name, version, stage, resting=bool(evaluation))).version
        given = {"items": [*inputs], "concurrency": concurrency, **choice}
        given |= {"evaluation": evaluation} if evaluation else {}
        run = made(serving, caller, given, timeout or 0.0).model_copy(
            update={"usage": {"items": len(inputs)}, "verb": "batch", "continues": True, "key": key}
        )
        return (await self._runs.launch(run, self._work)).run

    def go_on(self, run: Run) -> None:
        """Go on with a batch whose server is gone: what ended stays, what had not ended is run (again)."""
        self._runs.lasting(run, self._work, "full", None)

    async def get(self, caller: Caller, identity: str) -> Batch:
        """A batch with its runs as they are now. Raises `NotFound`."""
        run = await self._runs.past.run(caller, identity)
        if run.verb != "batch":
            raise Invalid(f"Run {identity} is no batch.")
        items: list[Run | None] = [None] * int((run.usage or {}).get("items", 0))
        for child in await self._runs.past.children(run.id):
            items[int(child.step or 0)] = child
        return Batch(run, tuple(items))

    async def _work(self, run: Run, emit: Emit) -> Result:
        slots = asyncio.Semaphore(run.inputs["concurrency"])
        before = {
            int(child.step or 0): child
            for child in await self._runs.past.children(run.id)
            if child.error != INTERRUPTED
        }
        ended: list[Run] = []

        async def call(place: int, inputs: Json) -> None:
            async with slots:
                known = before.get(place)
                ended.append(await (self._ended(known) if known else self._call(run, place, inputs)))
            await emit(Progress(done=len(ended), total=len(run.inputs["items"])))

        async with asyncio.TaskGroup() as tasks:
            for place, inputs in enumerate(run.inputs["items"]):
                tasks.create_task(call(place, inputs))
        failed = sum(1 for each in ended if each.status != "done")
        told = {"items": len(ended), "done": len(ended) - failed, "failed": failed}
        return render(told | (await self.scored(run) if "evaluation" in run.inputs else {}))

    async def _ended(self, item: Run) -> Run:
        """An item that was begun before the batch's server died, once it has ended."""
        await self._runs.past.followed(item, unanswered)
        return await self._runs.past.run(item.caller, item.id)

    async def _call(self, batch: Run, place: int, inputs: Json) -> Run:
        try:
            live = await self._runs.start(
                batch.caller,
                batch.pipeline,
                inputs,
                timeout=batch.timeout or None,
                listener=unanswered,
                parent=batch.id,
                step=str(place),
                version=batch.inputs.get("version"),
                stage=batch.inputs.get("stage"),
                resting="evaluation" in batch.inputs,
            )
        except ServerError as error:
            refused = failed(batch, place, inputs, str(error))
            self._history.record(refused, promised=True)
            return refused
        live.shared = True
        await self._runs.attend(live)
        return live.run


def failed(batch: Run, place: int, inputs: Json, text: str) -> Run:
    """The run of an item that was not accepted."""
    return batch.model_copy(
        update={
            "id": new_id(),
            "verb": "call",
            "inputs": inputs,
            "usage": None,
            "status": "failed",
            "result": failure(text),
            "error": text,
            "parent": batch.id,
            "step": str(place),
            "started": (now := time.time()),
            "finished": now,
        }
    )


async def unanswered(event: Event) -> Answers | None:
    """Nobody is there to answer what an item asks."""
    return {} if isinstance(event, Question) else None


async def unscored(run: Run) -> Json:
    """Nobody is there to measure it."""
    return {}
