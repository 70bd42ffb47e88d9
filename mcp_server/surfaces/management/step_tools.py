"""The management tools of step-wise runs: execute, select, rewind, fork, export, import, list artifacts.

Rewind and fork are also for calls of other pipelines whose components were recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio

from ...errors import Invalid, NotFound
from ...models import Answers, Event, Json
from ...server import Server
from ...stepwise import Choice, Wish, exporting
from ...stepwise.showing import artifacts, shown
from ...store.tree import Walk
from .run_views import shown as shown_run
from .schemas import COUNT, LIST, OBJECT, STRING, described, gives, takes, tool
from .views import Invocation

PATIENCE = 45.0
"""Seconds `execute_step` waits for the responses; clients give up on a call after 60."""
LIMIT = 100
"""Artifacts listed unless the caller says otherwise."""


class StepTools:
    """Each method gives a structured answer, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._stepwise = server.stepwise
        self._recorded = server.recorded
        self._past = server.runs.past
        self.answers: Mapping[str, Callable[[Invocation], Awaitable[Json]]] = {
            "execute_step": self.execute,
            "select_response": self.select,
            "rewind_run": self.rewind,
            "fork_run": self.fork,
            "export_run": self.export,
            "import_run": self.bring,
            "list_artifacts": self.artifacts,
        }
        """What answers each tool."""

    async def execute(self, call: Invocation) -> Json:
        """Execute the current step, and wait for its responses a while; it goes on without its caller."""
        given = call.arguments
        wish = Wish(
            step=given.get("step_name"),
            feedback=given.get("user_feedback", ""),
            regenerate=given.get("regenerate", False),
            models=tuple(given.get("models", ())),
        )
        going = await self._stepwise.execute(call.caller, given["run_id"], wish, quiet)
        with anyio.move_on_after(PATIENCE):
            await going.ended()
        return await self._shown(await self._find(call))

    async def select(self, call: Invocation) -> Json:
        """Choose responses; the run then stands at its next step."""
        given = call.arguments
        choice = Choice(
            tuple(given["response_ids"]), given.get("user_feedback", ""), given.get("merge_instruction", "")
        )
        return await self._shown(await self._stepwise.select(call.caller, given["run_id"], choice))

    async def rewind(self, call: Invocation) -> Json:
        """Go back to an earlier step."""
        given = call.arguments
        if await self._is_call(call):
            run, later = await self._recorded.rewind(
                call.caller, given["run_id"], given["target_step"], given.get("inputs", {})
            )
            return shown_run(run) | {"invalidated_steps": [*later], "next": FOLLOW}
        if given.get("inputs"):
            raise Invalid("A step-wise run keeps the inputs it began with; `inputs` are for components.")
        walk, later = await self._stepwise.rewind(call.caller, given["run_id"], given["target_step"])
        return await self._shown(walk) | {"invalidated_steps": [*later]}

    async def fork(self, call: Invocation) -> Json:
        """Make a run that shares the past of another."""
        given = call.arguments
        if await self._is_call(call):
            if "step" not in given:
                raise Invalid("Name the `step` to fork at: a component that get_run shows.")
            run = await self._recorded.fork(
                call.caller, given["run_id"], given["step"], given.get("inputs", {}), call.key
            )
            return shown_run(run) | {"parent_run_id": run.parent, "next": FOLLOW}
        if "step" in given or given.get("inputs"):
            raise Invalid("A step-wise run is forked where it stands, or at a response: `from_response_id`.")
        walk = await self._stepwise.fork(
            call.caller,
            given["run_id"],
            given.get("from_response_id"),
            given.get("branch_name", ""),
            key=call.key,
        )
        return await self._shown(walk) | {"parent_run_id": walk.parent}

    async def export(self, call: Invocation) -> Json:
        """The whole run as YAML."""
        walk = await self._find(call)
        history = await self._stepwise.history(call.caller, walk.id)
        with_history = call.arguments.get("include_history", True)
        return {"run_id": walk.id, "yaml": exporting.exported(walk, history, with_history=with_history)}

    async def bring(self, call: Invocation) -> Json:
        """Make a run of an exported one."""
        walk = await exporting.bring(self._stepwise, call.caller, call.arguments["yaml"].encode())
        return await self._shown(walk)

    async def artifacts(self, call: Invocation) -> Json:
        """Every response, prompt and cost of a run."""
        walk = await self._find(call)
        history = await self._stepwise.history(call.caller, walk.id)
        found = artifacts(
            history,
            call.arguments.get("step_name"),
            with_responses=call.arguments.get("include_responses", True),
        )
        limit = call.arguments.get("limit", LIMIT)
        return {"run_id": walk.id, "total_count": len(found), "artifacts": found[:limit]}

    async def _is_call(self, call: Invocation) -> bool:
        """True for a call of a pipeline, false for a step-wise run and for what is no run at all."""
        with suppress(NotFound):
            return (await self._past.run(call.caller, call.arguments["run_id"])).verb != "step"
        return False

    async def _find(self, call: Invocation) -> Walk:
        return await self._stepwise.find(call.caller, call.arguments["run_id"])

    async def _shown(self, walk: Walk) -> Json:
        return shown(walk, await self._stepwise.plan(walk))


async def quiet(event: Event) -> Answers | None:
    """A management tool streams nothing."""
    return None


STRINGS: Json = {"type": "array", "items": STRING}
RUN_ID: Json = {"run_id": described(STRING, "Id of a run.")}
INPUTS: Json = {"inputs": described(OBJECT, "Other inputs for the component, by name.")}
FOLLOW = "It goes on by itself; get_run follows it."
STANDING = gives({"run_id": STRING, "status": STRING, "step": STRING, "output": STRING, "next": STRING})
"""What a client needs to know of the answers; they tell more. Kept short, as every list holds it often."""
FEEDBACK = described(STRING, "What the models are to take into account.")
TOOLS: tuple[Json, ...] = (
    tool(
        "execute_step",
        "Execute step",
        "Asks the models of a run's current step and returns their responses.",
        takes(
            RUN_ID
            | {
                "step_name": described(STRING, "The current step, to be sure."),
                "user_feedback": FEEDBACK,
                "regenerate": {
                    "type": "boolean",
                    "default": False,
                    "description": "Make other responses of a step that has some.",
                },
                "models": described(STRINGS, "Other declared models than the step's."),
            },
            "run_id",
        ),
        STANDING,
        openWorldHint=True,
    ),
    tool(
        "select_response",
        "Select response",
        "Chooses one response of a run's current step, or several that are merged; the next step follows.",
        takes(
            RUN_ID
            | {
                "response_ids": described(STRINGS, "Such as resp-001.", minItems=1),
                "user_feedback": described(STRING, "What the next step is to take into account."),
                "merge_instruction": described(STRING, "How a model merges several; else they are joined."),
            },
            "run_id",
            "response_ids",
        ),
        STANDING,
        openWorldHint=True,
    ),
    tool(
        "rewind_run",
        "Rewind run",
        "Takes a run back to an earlier step, or component. What came later stays in its history.",
        takes(
            RUN_ID | {"target_step": described(STRING, "Name of a step that was passed.")} | INPUTS,
            "run_id",
            "target_step",
        ),
        STANDING,
        destructiveHint=True,
    ),
    tool(
        "fork_run",
        "Fork run",
        "Makes a new run that shares the past of another, up to a component or with another response chosen.",
        takes(
            RUN_ID
            | {
                "step": described(STRING, "The component to run again, as get_run names it."),
                **INPUTS,
                "from_response_id": described(STRING, "The response the new run goes on with."),
                "branch_name": described(STRING, "What to call the branch."),
            },
            "run_id",
        ),
        STANDING,
    ),
    tool(
        "export_run",
        "Export run",
        "Gives a step-wise run as YAML: its result, responses, choices and costs.",
        takes(
            RUN_ID
            | {
                "include_history": {
                    "type": "boolean",
                    "default": True,
                    "description": "What an import needs.",
                }
            },
            "run_id",
        ),
        gives({"run_id": STRING, "yaml": STRING}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
    tool(
        "import_run",
        "Import run",
        "Makes a new run of an exported one; its pipeline must be deployed.",
        takes({"yaml": described(STRING, "What export_run gave.")}, "yaml"),
        STANDING,
    ),
    tool(
        "list_artifacts",
        "List artifacts",
        "Lists the responses of a step-wise run with their prompts, tokens, seconds and costs.",
        takes(
            RUN_ID
            | {
                "step_name": described(STRING, "Only of this step."),
                "include_responses": {
                    "type": "boolean",
                    "default": True,
                    "description": "Prompts and texts too.",
                },
                "limit": described(COUNT, "How many at most.", minimum=1, default=LIMIT),
            },
            "run_id",
        ),
        gives({"run_id": STRING, "total_count": COUNT, "artifacts": LIST}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
)
