"""The routes of step-wise pipelines, as their seed names them: start, execute, select, rewind, fork, …

`step_stream` has the websocket, `step_answers` the shape of answers and errors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.routing import WebSocketRoute

from ..errors import NotFound
from ..models import Caller, Json
from ..server import Server
from ..stepwise import Choice, Plan, Wish
from ..stepwise.exporting import exported
from ..stepwise.showing import artifacts, moment
from ..store.tree import Walk
from . import Surface
from .operations import OBJECT, Operation, routes
from .quotas import Quota
from .step_answers import Answer, Refused, answering, body_of, flag, number
from .step_stream import stream

EXPORTS = "exports"
"""The folder of the state that exports are written to."""
GUESS = 30
"""Seconds a step is said to take before any has been executed."""
QUERY: Json = {
    "step_name": {"type": "string", "description": "Only of this step."},
    "limit": {"type": "integer", "minimum": 1, "description": "How many at most."},
    "include_responses": {"type": "boolean", "description": "With their texts."},
}
"""What `/artifacts` takes."""
STATES = {
    "queued": "INITIALIZING",
    "running": "RUNNING",
    "waiting": "PAUSED",
    "done": "COMPLETED",
    "failed": "ERROR",
    "cancelled": "ERROR",
}


class Body(BaseModel):
    """Base of what is posted; unknown keys are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Start(Body):
    pipeline_path: str
    user_inputs: Json = Field(default_factory=dict)


class Execute(Body):
    step_name: str | None = None
    user_feedback: str = ""
    regenerate: bool = False


class Select(Body):
    response_ids: list[str] = Field(min_length=1)
    user_feedback: str = ""
    merge_instruction: str = ""


class Rewind(Body):
    target_step: str


class Fork(Body):
    from_response_id: str | None = None
    branch_name: str = ""


class Save(Body):
    output_path: str | None = None
    include_history: bool = True


def surface(server: Server) -> Surface:
    """The seed's routes, and nothing else."""
    made = operations(server)
    quota = Quota("websockets", server.settings.max_streams, server.settings.max_streams_per_caller)
    websocket = WebSocketRoute("/step/{run_id}/stream", stream(server.stepwise, quota))
    return Surface([*routes(made), websocket], operations=made)


def operations(server: Server) -> tuple[Operation, ...]:
    """Every route but the websocket, with its description."""
    steps = Steps(server)
    known: tuple[tuple[str, Callable[[Request, Caller], Awaitable[Answer]], int, type[Body] | None], ...] = (
        ("/pipeline/start", steps.start, 201, Start),
        ("/pipeline/{run_id}/status", steps.status, 200, None),
        ("/pipeline/{run_id}/save", steps.save, 200, Save),
        ("/step/{run_id}/execute", steps.execute, 202, Execute),
        ("/step/{run_id}/select", steps.select, 200, Select),
        ("/step/{run_id}/rewind", steps.rewind, 200, Rewind),
        ("/step/{run_id}/fork", steps.fork, 201, Fork),
        ("/artifacts/{run_id}", steps.artifacts, 200, None),
    )
    return tuple(
        Operation(
            "POST" if body else "GET",
            path,
            answering(do, server.stepwise),
            (do.__doc__ or "").partition(".")[0],
            query=QUERY if do == steps.artifacts else {},
            takes=body.model_json_schema() if body else None,
            answer=OBJECT,
            status=status,
        )
        for path, do, status, body in known
    )


class Steps:
    """What answers each route."""

    def __init__(self, server: Server) -> None:
        self._stepwise = server.stepwise
        self._state = server.settings.state_folder()

    async def start(self, request: Request, caller: Caller) -> Answer:
        """Begin a run. `pipeline_path` is a name, or a path whose stem is one: no file is opened."""
        given = await body_of(request, Start)
        name = PurePosixPath(given.pipeline_path).stem
        try:
            entry = await self._stepwise.pipeline(name, caller=caller)
        except NotFound:
            message = f"Pipeline configuration not found: {given.pipeline_path[:200]}"
            details = {"pipeline_path": given.pipeline_path[:200]}
            raise Refused(404, "config_not_found", message, details) from None
        assert entry.version.manifest is not None, "a step-wise pipeline was loaded once"
        for wanted in entry.version.manifest.tool["inputSchema"]["required"]:
            if wanted not in given.user_inputs:
                details = {"field": f"user_inputs.{wanted}", "constraint": "required"}
                raise Refused(400, "validation_error", f"{wanted} is required", details)
        walk = await self._stepwise.start(caller, name, given.user_inputs)
        first = step_of(walk, await self._stepwise.plan(walk))
        tag = f'"config-{name}-v{entry.version.number}"'
        return Answer({"pipeline_run_id": walk.id, "first_step": first}, 201, walk, {"ETag": tag})

    async def status(self, request: Request, caller: Caller) -> Answer:
        """How far a run is."""
        walk, plan = await self._found(request, caller)
        return Answer(
            {
                "current_step": plan[walk.position]["name"] if walk.position < len(plan) else None,
                "completed_steps": [each.step for each in walk.chosen],
                "status": STATES[walk.status],
                "progress_percent": round(100 * len(walk.chosen) / len(plan)),
                "created_at": moment(walk.started),
                "last_activity": moment(walk.changed),
            },
            200,
            walk,
        )

    async def execute(self, request: Request, caller: Caller) -> Answer:
        """Begin to execute the current step; the websocket tells how it goes."""
        given = await body_of(request, Execute)
        identity = run_id(request)
        wish = Wish(given.step_name, given.user_feedback, given.regenerate)
        going = await self._stepwise.execute(caller, identity, wish)
        seconds = [kept.response.seconds for each in going.walk.path for kept in each.responses]
        scheme, root = "wss" if request.url.scheme == "https" else "ws", request.scope.get("root_path", "")
        return Answer(
            {
                "websocket_url": f"{scheme}://{request.url.netloc}{root}/step/{identity}/stream",
                "models": going.execution.inputs["models"],
                "estimated_time_seconds": math.ceil(max(seconds)) if seconds else GUESS,
            },
            202,
            going.walk,
        )

    async def select(self, request: Request, caller: Caller) -> Answer:
        """Choose responses; what was chosen, and the step that is next."""
        given = await body_of(request, Select)
        choice = Choice(tuple(given.response_ids), given.user_feedback, given.merge_instruction)
        walk = await self._stepwise.select(caller, run_id(request), choice)
        following = step_of(walk, await self._stepwise.plan(walk))
        return Answer({"merged_output": walk.chosen[-1].output, "next_step": following}, 200, walk)

    async def rewind(self, request: Request, caller: Caller) -> Answer:
        """Go back to an earlier step."""
        given = await body_of(request, Rewind)
        walk, later = await self._stepwise.rewind(caller, run_id(request), given.target_step)
        return Answer(
            {
                "new_current_step": given.target_step,
                "invalidated_steps": [*later],
                "rewind_timestamp": moment(time.time()),
            },
            200,
            walk,
        )

    async def fork(self, request: Request, caller: Caller) -> Answer:
        """A new run that shares the past of this one."""
        given = await body_of(request, Fork)
        identity = run_id(request)
        walk = await self._stepwise.fork(caller, identity, given.from_response_id, given.branch_name)
        return Answer(
            {
                "new_pipeline_run_id": walk.id,
                "branch_point": walk.branch,
                "parent_pipeline_run_id": identity,
                "branch_name": given.branch_name,
            },
            201,
            walk,
        )

    async def save(self, request: Request, caller: Caller) -> Answer:
        """Write the run as YAML, below the state folder."""
        given = await body_of(request, Save)
        walk = await self._stepwise.find(caller, run_id(request))
        history = await self._stepwise.history(caller, walk.id)
        text = exported(walk, history, with_history=given.include_history)
        path = export_path(given.output_path or f"{walk.id}.yaml")
        await to_thread.run_sync(written, self._state / path, text)
        return Answer(
            {
                "saved_path": path.as_posix(),
                "file_size": len(text.encode()),
                "export_format": "yaml",
                "export_timestamp": moment(time.time()),
            },
            200,
            walk,
        )

    async def artifacts(self, request: Request, caller: Caller) -> Answer:
        """Every response of a run, with how it came about."""
        walk = await self._stepwise.find(caller, run_id(request))
        history = await self._stepwise.history(caller, walk.id)
        step, limit = request.query_params.get("step_name"), number(request, "limit", 100)
        found = artifacts(history, step, with_responses=flag(request, "include_responses", default=True))
        body: Json = {"pipeline_run_id": walk.id, "total_count": len(found), "artifacts": found[:limit]}
        return Answer(body, 200, walk)

    async def _found(self, request: Request, caller: Caller) -> tuple[Walk, Plan]:
        walk = await self._stepwise.find(caller, run_id(request))
        return walk, await self._stepwise.plan(walk)


def run_id(request: Request) -> str:
    """The run that the address names."""
    return str(request.path_params["run_id"])


def step_of(walk: Walk, plan: Plan) -> Json | None:
    """The step the run stands at, as the seed shows one; None at the end."""
    if walk.position >= len(plan):
        return None
    step = plan[walk.position]
    return {"step_name": step["name"], **{key: step[key] for key in ("description", "models", "template")}}


def export_path(given: str) -> PurePosixPath:
    """Where to write, relative to the state folder. Refuses what is not plainly below the exports."""
    path = PurePosixPath(given)
    parts = path.parts[1:] if path.parts[:1] == (EXPORTS,) else path.parts
    plain = all(part.isprintable() and not part.startswith(".") and "\\" not in part for part in parts)
    if (
        path.is_absolute()
        or not parts
        or not plain
        or path.suffix not in (".yaml", ".yml")
        or len(given) > 200
    ):
        details = {"field": "output_path", "constraint": "a relative path that ends with .yaml"}
        raise Refused(400, "validation_error", "output_path must be a relative path to a .yaml file", details)
    return PurePosixPath(EXPORTS, *parts)


def written(path: Path, text: str) -> None:
    """Write the file, private to its user."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
