"""Tasks: runs that a client polls, the extension `io.modelcontextprotocol/tasks` (SEP-2663) of 2026-07-28.

A task is a run, and its id is the run's. It is durable before the client hears of it, outlives its connection
and the server, and only its caller sees it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import mcp_types as types
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_NAME_HEADER, decode_header_value
from pydantic import Field, ValidationError
from starlette.requests import HTTPConnection

from ...errors import NotFound, ServerError
from ...models import Answers, Fault, Json, Run
from ...runs import Live
from ...runs.ending import STOPPED
from ...runs.past import given
from ...server import Server
from ...store import INTERRUPTED
from ...store.history import LIFE
from ..callers import caller_of
from .asking import RESULTS, capabilities, declares, dumped
from .eras import Request, is_modern
from .results import joined

EXTENSION = "io.modelcontextprotocol/tasks"
TTL = int(LIFE * 1000)
"""Milliseconds from its beginning that a task can be asked for, at least."""
POLL = 1000
"""Milliseconds between two questions for a task."""


class TaskParams(types.RequestParams):
    """Names a task."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to what a task asks, by the keys of `inputRequests`."""

    input_responses: dict[str, Any] = Field(default_factory=dict)


class Tasks:
    """The handlers of `tasks/get`, `tasks/update` and `tasks/cancel`.

    All raise `MCPError`: for a handshake-era client, one that did not declare the extension, a routing header
    that names another task, and an unknown task.
    """

    def __init__(self, server: Server) -> None:
        self._runs = server.runs

    async def get(self, request: Request, params: TaskParams) -> HandlerResult:
        """How the task is doing; what it asks, and in the end its result or error."""
        run = await self._find(request, params)
        live = self._runs.live(run.id)
        if live and run.ended:
            await live.end()  # an end that was told must not be lost
        outcome = ending(run) if run.ended else going(request, run, live)
        changed = live.changed if live else None
        return {"resultType": "complete", **base(run, changed), **outcome}

    async def update(self, request: Request, params: UpdateParams) -> HandlerResult:
        """Answer what the task asks, all of it or a part. Keys that are not asked are ignored."""
        run = await self._find(request, params)
        answers = answered(run, params.input_responses)
        if run.question and answers:
            try:
                await self._runs.answer(run, run.question.number, answers)
            except ServerError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        return {"resultType": "complete"}

    async def cancel(self, request: Request, params: TaskParams) -> HandlerResult:
        """Ask the task to stop; one that has ended stays as it is."""
        run = await self._find(request, params)
        if live := self._runs.live(run.id):
            live.cancel()
        else:
            try:
                await self._runs.cancel(run.caller, run.id)
            except ServerError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        return {"resultType": "complete"}

    async def _find(self, request: Request, params: TaskParams) -> Run:
        if not is_modern(request):  # the SDK lets every era reach what was added to it
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found", request.method)
        check_route(request, params.task_id)
        if not knows_tasks(request):
            raise missing_tasks("This needs a client that declares the extension of tasks.")
        try:
            run = await self._runs.past.run(caller_of(request, "mcp"), params.task_id)
        except NotFound:
            run = None
        except ServerError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        if run is None or run.verb != "call":
            raise MCPError(types.INVALID_PARAMS, "Unknown task.")
        return run


def knows_tasks(request: Request) -> bool:
    """True if the client declared the extension in this request."""
    return is_modern(request) and EXTENSION in capabilities(request).get("extensions", {})


def missing_tasks(text: str) -> MCPError:
    """The error for a client that did not declare the extension where nothing goes without."""
    wanted: Json = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    return MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, text, wanted)


def check_route(request: Request, task: str) -> None:
    """Raise `MCPError` unless the header for routers names the same task (SEP-2663, routing headers).

    Streamable HTTP has such headers, and the SDK has checked that the one for the method is there.
    """
    http = request.request
    if not isinstance(http, HTTPConnection) or MCP_METHOD_HEADER not in http.headers:
        return
    if decode_header_value(http.headers.get(MCP_NAME_HEADER)) != task:
        raise MCPError(types.HEADER_MISMATCH, "The header Mcp-Name must be the taskId.")


def created(run: Run) -> Json:
    """The result of a call that became a task."""
    return {"resultType": "task", "status": "working", **base(run)}


def base(run: Run, changed: float | None = None) -> Json:
    """What is told of every task; `changed` is when it last turned to another status."""
    return {
        "taskId": run.id,
        "createdAt": moment(run.started),
        "lastUpdatedAt": moment(run.finished or changed or run.started),
        "ttlMs": TTL,
        "pollIntervalMs": POLL,
    }


def going(request: Request, run: Run, live: Live | None) -> Json:
    """How a task goes that has not ended: what it asks, if this client declared that it can answer.

    How far it is knows only the server that runs it: there it is `live`.
    """
    asked = questions(run)
    if asked and all(declares(capabilities(request), wanted) for wanted in asked.values()):
        return {"status": "input_required", "inputRequests": asked}
    doing = live.progress.message if live and live.progress else None
    doing = "It waits for an answer: get_run shows what it asks, answer_run answers." if asked else doing
    return {"status": "working"} | ({"statusMessage": doing} if doing else {})


def ending(run: Run) -> Json:
    """How a task ended. A tool that failed has completed; `failed` is for errors of the protocol."""
    result = given(run)
    if run.status == "cancelled":
        return {"status": "cancelled"}
    if fault := result.fault or (
        run.error == INTERRUPTED and Fault(code=types.INTERNAL_ERROR, message=STOPPED)
    ):
        return {"status": "failed", "error": fault.model_dump(exclude_none=True)}
    return {"status": "completed", "result": joined(run.model_copy(update={"result": result}))}


def questions(run: Run) -> dict[str, Json]:
    """What the run asks and nobody answered yet, under keys that no other question of the run has."""
    asked = run.question
    return {f"{key}-{asked.number}": wanted for key, wanted in asked.requests.items()} if asked else {}


def answered(run: Run, responses: Json) -> Answers:
    """The answers among these responses, in wire form, by the keys the pipeline knows.

    Raises `MCPError` that names a response which is of another kind than what was asked.
    """
    answers: dict[str, Json] = {}
    for unique, wanted in questions(run).items():
        if unique in responses:
            key = unique.rpartition("-")[0]
            try:
                answers[key] = dumped(RESULTS[wanted["method"]].model_validate(responses[unique]))
            except ValidationError:
                text = f"inputResponses: {unique} is no result of {wanted['method']}."
                raise MCPError(types.INVALID_PARAMS, text) from None
    return answers


def moment(seconds: float) -> str:
    """A time as MCP writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
