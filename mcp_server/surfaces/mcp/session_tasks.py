"""Tasks as sessions of 2025-11-25 have them: a call that asks for one with `task` in its params.

The same runs as `tasks` serves to the modern era; there the form is another (specification 2025-11-25,
basic/utilities/tasks).
"""

from __future__ import annotations

from contextlib import suppress

import anyio
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError

from ...errors import Conflict, NotFound, ServerError
from ...models import Json, Question, Run
from ...runs import Live
from ...server import Server
from ..callers import caller_of
from .asking import can_be_asked, pushed
from .eras import Request
from .tasks import TTL, TaskParams, base, ending

VERSION = "2025-11-25"
RELATED = "io.modelcontextprotocol/related-task"
"""Where a message says in `_meta` to which task it belongs."""
CREATED = "haystack-mcp-server/task"
"""Where the result of a call holds the task that it became, until it leaves."""
LISTED = 50
"""Tasks on a page."""
LOOK = 0.25
"""Seconds between two looks at a question that is answered elsewhere."""
CAPABILITY = types.ServerTasksCapability(
    list=types.TasksListCapability(),
    cancel=types.TasksCancelCapability(),
    requests=types.ServerTasksRequestsCapability(
        tools=types.TasksToolsCapability(call=types.TasksCallCapability())
    ),
)


class SessionTasks:
    """The handlers of `tasks/get`, `tasks/result`, `tasks/list` and `tasks/cancel`. All raise `MCPError`."""

    def __init__(self, server: Server) -> None:
        self._runs = server.runs

    async def get(self, request: Request, params: TaskParams) -> HandlerResult:
        """How the task is doing."""
        return self._shown(request, await self._find(request, params.task_id))

    async def list(self, request: Request, params: types.PaginatedRequestParams) -> HandlerResult:
        """A page of the caller's tasks, the newest first: every call is one, however it was made."""
        check(request)
        page = await self._runs.past.list(caller_of(request, "mcp"), limit=LISTED, cursor=params.cursor)
        shown = {"tasks": [self._shown(request, run) for run in page.runs if run.verb == "call"]}
        return shown | ({"nextCursor": page.next} if page.next else {})

    async def cancel(self, request: Request, params: TaskParams) -> HandlerResult:
        """Stop the task; one that has ended is refused."""
        run = await self._find(request, params.task_id)
        if run.ended:
            raise MCPError(types.INVALID_PARAMS, f"The task has ended already: {run.status}.")
        try:
            return self._shown(request, await self._runs.cancel(run.caller, run.id))
        except ServerError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None

    async def result(self, request: Request, params: TaskParams) -> HandlerResult:
        """Wait for the end, asking the client on the way, and answer as the call would have."""
        run = await self._find(request, params.task_id)
        while not run.ended:
            if (live := self._runs.live(run.id)) and not run.parked:
                await attended(request, live)
            else:
                await self._asked(request, run)
            run = await self._find(request, run.id)
        if live := self._runs.live(run.id):
            await live.end()  # an end that was told must not be lost
        end = ending(run)
        if fault := end.get("error"):
            raise MCPError(fault["code"], fault["message"], fault.get("data"))
        if "result" not in end:
            raise MCPError(types.INVALID_REQUEST, "The task was cancelled.")
        result = {key: value for key, value in end["result"].items() if key != "resultType"}
        return result | {"_meta": result["_meta"] | related(run.id)}

    async def _asked(self, request: Request, run: Run) -> None:
        """Ask the client what a run asks that waits as a row; or wait until somebody else answers."""
        if run.parked and run.question is not None:
            answers = await pushed(request, tagged(run.question, run.id))
            if answers:
                with suppress(Conflict):  # somebody was faster
                    await self._runs.answer(run, run.question.number, answers)
                return
        await self._runs.past.moved(run)

    async def _find(self, request: Request, identity: str) -> Run:
        check(request)
        try:
            run = await self._runs.past.run(caller_of(request, "mcp"), identity)
        except NotFound:
            run = None
        except ServerError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        if run is None or run.verb != "call":
            raise MCPError(types.INVALID_PARAMS, "Unknown task.")
        return run

    def _shown(self, request: Request, run: Run) -> Json:
        return task_of(request, run, self._runs.live(run.id))


def check(request: Request) -> None:
    """Raise `MCPError` for a client of another version: it knows no such method."""
    if request.protocol_version != VERSION:
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found", request.method)


def wants_task(request: Request, params: types.InputResponseRequestParams) -> bool:
    """True if the call asks to become a task, in a version that has this."""
    return request.protocol_version == VERSION and getattr(params, "task", None) is not None


def task_of(request: Request, run: Run, live: Live | None) -> Json:
    """A task in wire form."""
    known = base(run, live.changed if live else None)
    view: Json = {key: known[key] for key in ("taskId", "createdAt", "lastUpdatedAt")}
    view |= {"ttl": TTL, "pollInterval": known["pollIntervalMs"]}
    if run.ended:
        view["status"] = {"done": "completed"}.get(run.status, run.status)
        return view | ({"statusMessage": run.error} if run.error else {})
    question = run.question if run.parked else live and live.question
    asks = question is not None and can_be_asked(request, question)
    return view | {"status": "input_required" if asks else "working"}


async def attended(request: Request, live: Live) -> None:
    """Wait for the end of a run. What it asks, its client is asked; or somebody else answers it."""
    while (question := await live.next()) is not None and not live.run.parked:
        answers = await pushed(request, tagged(question, live.run.id))
        if answers is not None and live.question is question:
            live.answer(answers)
        while live.question is question:
            with anyio.move_on_after(LOOK):
                await live.end()


def tagged(question: Question, task: str) -> Question:
    """The same question, saying which task asks."""
    meta = {"_meta": related(task)}
    requests = {
        key: {**wanted, "params": wanted.get("params", {}) | meta}
        for key, wanted in question.requests.items()
    }
    return Question(number=question.number, requests=requests)


def related(task: str) -> Json:
    """What a message says of its task."""
    return {RELATED: {"taskId": task}}


def created(request: Request, run: Run) -> Json:
    """The result of a call that became a task, as `unpacked` knows it.

    Every task begins as working (2025-11-25, Tasks), however fast the run was.
    """
    task = task_of(request, run, None) | {"status": "working"}
    task.pop("statusMessage", None)
    return {"content": [], "_meta": {CREATED: task}}


async def unpacked(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Answer a call that became a task with the task alone: the SDK's results of calls have no room."""
    result = await call_next(ctx)
    if ctx.method != "tools/call" or not isinstance(result, dict):
        return result
    meta: Json = result.get("_meta") or {}
    return {"task": meta[CREATED]} if CREATED in meta else result
