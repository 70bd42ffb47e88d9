"""An execution that goes on by itself: its responses are stored as they come, its stream can be followed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import orjson

from ..engines import Engine
from ..errors import Conflict, ServerError
from ..models import Answers, Caller, Chunk, Emit, Event, Json, Response, Run
from ..runs import ignore, new_id
from ..store.tree import Execution, Kept, Tree, Walk

LONGEST = 100_000
"""Pieces of a stream that are kept for those who listen late."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Said:
    """A piece of one response, as its model streamed it. `time` is in seconds since the epoch."""

    index: int
    model: str
    text: str
    time: float


class Going:
    """One execution of a step. Who started it may leave; it goes on."""

    def __init__(self, walk: Walk, tree: Tree, engine: Engine, listener: Emit = ignore) -> None:
        """`walk` stands at the execution. `listener` hears its events."""
        assert walk.head is not None, "made when an execution was begun"
        self.walk = walk
        self.execution: Execution = walk.head
        self.listener = listener
        self._tree = tree
        self._models: list[str] = self.execution.inputs["models"]
        self._responses = {kept.response.index: kept.response for kept in self.execution.responses}
        self._said: list[Said] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._go(engine))
        self._task.add_done_callback(lambda _: self._news.set())

    @property
    def has_ended(self) -> bool:
        """True once all responses are stored, or none can come any more."""
        return self._task.done()

    async def ended(self) -> None:
        """Wait for the end. Cancelling this wait stops nothing."""
        await asyncio.wait([self._task])

    async def stop(self) -> None:
        """End the work. What is stored stays; the execution is continued when the server starts again."""
        self._task.cancel()
        await self.ended()

    async def follow(self) -> AsyncIterator[Said]:
        """Every piece from the beginning, then those that come, until the end."""
        place = 0
        while True:
            for said in self._said[place:]:
                place += 1
                yield said
            if self._task.done() and place >= len(self._said):
                return
            self._news.clear()
            await self._news.wait()

    async def _go(self, engine: Engine) -> None:
        """Never raises but for cancellation: nobody may be there to hear."""
        try:
            await self._tree.end(self.execution, *await self._outcome(engine))
        except Conflict:
            log.info("execution %s was taken over", self.execution.id)
        except ServerError as error:
            log.error("execution %s cannot be stored: %s", self.execution.id, error)

    async def _outcome(self, engine: Engine) -> tuple[Any, str | None]:
        """Ask what is missing. Gives how the execution ended, and why it failed."""
        try:
            result = await engine.run(self._run(), self._hear)
        except Conflict:
            raise
        except ServerError as error:  # undeployed since the step began
            return "failed", str(error)
        if result.is_error:  # out of time, or its host died
            for index in self._missing():
                await self._hear(self._lost(index, _text(result.content)))
        errors = [response.error for response in self._responses.values() if response.error]
        if len(errors) < len(self._responses):
            return "done", None
        return "failed", "; ".join(dict.fromkeys(errors))

    async def _hear(self, event: Event) -> Answers | None:
        if isinstance(event, Response):
            await self._tree.put(self.execution, kept_as(self.execution, event))
            self._responses[event.index] = event
        elif isinstance(event, Chunk):
            self._say(event)
        return await self.listener(event)

    def _missing(self) -> list[int]:
        return [place for place in range(len(self._models)) if place not in self._responses]

    def _lost(self, index: int, why: str) -> Response:
        model, seconds = self._models[index], round(time.time() - self.execution.started, 3)
        return Response(index=index, asked=model, model=model, prompt="", seconds=seconds, error=why)

    def _say(self, chunk: Chunk) -> None:
        if chunk.source in self._models and len(self._said) < LONGEST:
            index = self._models.index(chunk.source)
            self._said.append(Said(index, chunk.source, chunk.text, time.time()))
            self._news.set()

    def _run(self) -> Run:
        """The engine call: it knows all that the step needs."""
        return run_of(
            self.walk,
            {
                "step": self.execution.step,
                "outputs": {each.step: each.output for each in self.walk.chosen},
                "feedback": self.execution.inputs["feedback"],
                "models": self._models,
                "indexes": self._missing(),
            },
        )


def run_of(walk: Walk, inputs: Json) -> Run:
    """A call of the verb `step`, on behalf of a step-wise run."""
    return Run(
        id=new_id(),
        pipeline=walk.pipeline,
        version=walk.version,
        digest=walk.digest,
        inputs={"inputs": walk.inputs, **inputs},
        verb="step",
        caller=Caller(name=walk.caller, origin=walk.origin),
        timeout=walk.timeout,
    )


def kept_as(execution: Execution, response: Response) -> Kept:
    """A response with its id, unique in the run."""
    return Kept(response_id(execution, response.index), response, time.time())


def response_id(execution: Execution, index: int) -> str:
    """The id of the response at `index`, known before it is there."""
    return f"resp-{execution.inputs['first'] + index:03d}"


def _text(content: bytes) -> str:
    blocks = cast(list[Json], orjson.loads(content))
    return str(blocks[0].get("text", "")) if blocks else ""
