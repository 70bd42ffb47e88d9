"""The management tools of runs: how one is doing, answering what it asks, stopping it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import anyio

from ...errors import Conflict, Invalid, ServerError, Unavailable
from ...models import Answers, Json, Question, Run
from ...server import Server
from .run_views import detailed, step_detailed, steps_shown, walked
from .schemas import OBJECT, STRING, described, gives, takes, tool
from .views import Invocation

RUN = gives({"run_id": STRING, "status": STRING, "question": OBJECT, "result": OBJECT})
"""What a client needs to know of the answers; they tell more. Kept short, as every list holds it thrice."""
ACTIONS = ("accept", "decline", "cancel")
PATIENCE = 45.0
"""Seconds `answer_run` waits for what follows; clients give up on a call after 60."""
INPUTS = 16 * 1024
"""Bytes of a run's inputs up to which they are shown."""
PIECE = 32 * 1024
"""Bytes of an artifact in one answer: far less than a client cuts off, also after they became JSON."""


class RunTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._runs = server.runs
        self._stepwise = server.stepwise
        self._recorded = server.recorded

    async def show(self, call: Invocation) -> Json:
        """How one run is doing, what it asks, what it gave; or one step; or a piece of an artifact."""
        address: str = call.arguments["run_id"]
        if address.startswith("run://"):
            return (await self._runs.past.part(call.caller, address, PIECE)).wire(address)
        run = await self._runs.past.run(call.caller, address)
        if run.verb == "step":
            return detailed(run) | await self._standing(call)
        if label := call.arguments.get("step"):
            return step_detailed(run, await self._recorded.step(run, label))
        return detailed(run, self._runs.live(address)) | await self._steps(run)

    async def _standing(self, call: Invocation) -> Json:
        """Where a step-wise run stands; a pipeline that is gone does not hide the run."""
        if "step" in call.arguments:
            raise Invalid("list_artifacts shows what the steps of a step-wise run gave.")
        with suppress(ServerError):
            walk = await self._stepwise.find(call.caller, call.arguments["run_id"])
            return walked(walk, await self._stepwise.plan(walk))
        return {}

    async def _steps(self, run: Run) -> Json:
        """The recorded calls of its components; a store that fails does not hide the run."""
        with suppress(Unavailable):
            return steps_shown(run, await self._recorded.line(run))
        return {}

    async def answer(self, call: Invocation) -> Json:
        """Answer what a run asks, then wait for its end or its next question."""
        run = await self._runs.past.run(call.caller, call.arguments["run_id"])
        question = run.question
        if question is None:
            raise Conflict(f"Run {run.id} is not waiting for an answer.")
        await self._runs.answer(run, question.number, completed(question, call.arguments["answers"]))
        live = self._runs.live(run.id)
        with anyio.move_on_after(PATIENCE):
            await (live.next() if live else self._runs.past.moved(run))
        return detailed(await self._runs.past.run(call.caller, run.id), live)

    async def cancel(self, call: Invocation) -> Json:
        """Stop a run."""
        identity: str = call.arguments["run_id"]
        if (await self._runs.past.run(call.caller, identity)).verb == "step":
            await self._stepwise.cancel(call.caller, identity)
            return detailed(await self._runs.past.run(call.caller, identity))
        return detailed(await self._runs.cancel(call.caller, identity))


def completed(question: Question, given: Json) -> Answers:
    """Answers in wire form from what a caller wrote: a form's fields, a text, a list, or the form itself.

    Raises `Invalid` that names a key which is missing or was not asked.
    """
    if given.keys() != question.requests.keys():
        raise Invalid(f"`answers` must be an object with {', '.join(question.requests)}, and nothing else.")
    return {key: wire(question.requests[key]["method"], value) for key, value in given.items()}


def wire(method: str, value: Any) -> Json:
    """One answer as the MCP result of that method."""
    given = cast(Json, value) if isinstance(value, dict) else None
    if method == "roots/list":
        return {"roots": value} if given is None else given
    if method == "sampling/createMessage":
        return {"content": {"type": "text", "text": value}} if given is None else given
    if given is None:
        return {"action": value if value in ACTIONS else "cancel"}
    return given if given.get("action") in ACTIONS else {"action": "accept", "content": given}


RUN_ID: Json = {"run_id": described(STRING, "Id of a run.")}
ANSWERS = described(OBJECT, "By key of the question: the form's fields, or decline or cancel.")
TOOLS: tuple[Json, ...] = (
    tool(
        "get_run",
        "Run status",
        "Tells how a run is doing, what it asks while it waits, and what it gave.",
        takes(RUN_ID | {"step": described(STRING, "Only this step, with inputs and outputs.")}, "run_id"),
        RUN,
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "answer_run",
        "Answer run",
        "Answers what a waiting run asks, then returns its result or its next question.",
        takes(RUN_ID | {"answers": ANSWERS}, "run_id", "answers"),
        RUN,
        openWorldHint=True,
    ),
    tool(
        "cancel_run",
        "Cancel run",
        "Stops a run that is going on or waits.",
        takes(RUN_ID, "run_id"),
        gives({"run_id": STRING, "status": STRING}),
        destructiveHint=True,
        idempotentHint=True,
    ),
)
