"""Runs on behalf of a request: its events become notifications, its questions reach the caller."""

from __future__ import annotations

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from ...catalog import Stage
from ...errors import Conflict
from ...models import Answers, Caller, Client, Emit, Event, Json, Notice, Question, Run, Verb
from ...runs import Live, ignore
from ...server import Server
from ..management.run_views import parked
from . import session_tasks
from .asking import answers_to, asked, can_be_asked, capabilities, pushed, question_of, run_of
from .begun import begun_by
from .eras import Request, is_modern
from .measuring import carrier_of
from .patience import EVER, Patience, handed
from .reports import reported
from .results import unfinished
from .session_tasks import wants_task
from .tasks import created


class Waiting(Exception):
    """The run has not ended: it waits for an answer that this request did not bring, or outlasts the request.

    `result` is what the client gets now: MCP's way to ask, a task, or the id of the run.
    """

    def __init__(self, result: Json) -> None:
        super().__init__()
        self.result = result


class Running:
    """The way from a request to an ended run."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def run(
        self,
        request: Request,
        params: types.InputResponseRequestParams,
        caller: Caller,
        name: str,
        inputs: Json,
        *,
        verb: Verb = "call",
        timeout: float | None = None,
        version: int | None = None,
        stage: Stage | None = None,
        key: str | None = None,
        patience: Patience = EVER,
    ) -> Run:
        """Run to the end, or go on with the run that this request answers. Raises as `Runs.start`, `MCPError`
        if the pipeline raised one, `Waiting` if its caller has to answer first, or to come back later."""
        task = wants_task(request, params)
        async with reported(request, name, partial=self._server.settings.partial_results) as emit:
            listener = ignore if task else self._listener(request, params, emit)
            if begun := begun_by(request):
                live = begun.take(listener)
            elif params.request_state is None:
                live = await self._server.runs.start(
                    caller,
                    name,
                    inputs,
                    verb=verb,
                    client=self._client(request),
                    request_id=request_id(request),
                    timeout=timeout,
                    listener=listener,
                    version=version,
                    stage=stage,
                    key=key,
                    detached=task,
                    task=patience.task,
                )
            else:
                live = await self._resumed(caller, params, listener)
            question = await self._server.runs.attend(live, patience.seconds)
            if not live.run.ended and live.listener is listener:  # another request may listen to the same run
                live.listener = ignore
        if question is not None:
            raise Waiting(self._asked(request, live, question))
        if not live.run.ended or (patience.at_once and live.lasting):
            raise Waiting(self._outlasted(request, live.run, patience))
        return checked(live.run)

    async def _resumed(
        self, caller: Caller, params: types.InputResponseRequestParams, listener: Emit
    ) -> Live:
        """The run that waits for this request, with the answers it brings; without them it waits on."""
        runs, state = self._server.runs, params.request_state or ""
        live = await runs.taken_up(caller, run_of(state))
        question = question_of(live, state)
        answers = answers_to(question, params.input_responses) if question else None
        if question is not None and answers is not None and runs.live(live.run.id) is not live:
            await runs.answer(live.run, question.number, answers)
            live.cancel()  # it only followed
            live = await runs.taken_up(caller, live.run.id)
        if live.run.finished is None:
            live.listener = listener
        if answers is not None and live.question is question:
            live.answer(answers)
        return live

    def _asked(self, request: Request, live: Live, question: Question) -> Json:
        if not can_be_asked(request, question) and live.run.verb != "call":
            live.cancel()
            raise MCPError(types.INVALID_REQUEST, "This needs a client that can be asked for input.")
        if is_modern(request) and can_be_asked(request, question):
            return asked(live, question)
        return unfinished(live.run, parked(live, question))

    def _outlasted(self, request: Request, run: Run, patience: Patience) -> Json:
        if not patience.task:
            return unfinished(run, handed(run))
        return created(run) if is_modern(request) else session_tasks.created(request, run)

    def _listener(self, request: Request, params: types.InputResponseRequestParams, emit: Emit) -> Emit:
        async def hear(event: Event) -> Answers | None:
            match event:
                case Question():
                    if (known := told_before(params, event)) is not None:
                        return known
                    with anyio.move_on_after(self._server.settings.answer_timeout):
                        return await pushed(request, event)
                    return {}  # nobody answered in time
                case Notice(what="stream"):
                    if request.close_sse_stream is not None:
                        await request.close_sse_stream()
                case _:
                    await emit(event)
            return None

        return hear

    def _client(self, request: Request) -> Client:
        """The client as its pipeline may know it."""
        tracing = self._server.tracing
        trace = (tracing.carrier() if tracing else {}) or carrier_of(request)
        return Client(capabilities=capabilities(request), headers=self._headers(request), trace=trace)

    def _headers(self, request: Request) -> dict[str, str]:
        """What the operator lets pipelines see of the request's headers."""
        headers = getattr(request.request, "headers", None)  # None over stdio
        if not isinstance(headers, Headers):
            return {}
        names = self._server.settings.shared_headers
        return {name.lower(): headers[name] for name in names if name in headers}


def request_id(request: Request) -> str:
    """The id of its HTTP request; empty over stdio."""
    http = request.request
    return http.scope["state"]["request_id"] if isinstance(http, HTTPConnection) else ""


def told_before(params: types.InputResponseRequestParams, question: Question) -> Answers | None:
    """The answers to a run's first question if the request that began it brought them along."""
    first = params.request_state is None and question.number == 1
    return answers_to(question, params.input_responses) if first else None


def checked(run: Run) -> Run:
    """The same run, ended. Raises `MCPError` if its pipeline asked for a protocol error.

    Raises `Conflict` if it was cancelled, be it by another request or before this one came.
    """
    if run.status == "cancelled":
        raise Conflict(f"Run {run.id} was cancelled. Call {run.pipeline} again to start anew.")
    if run.result is not None and (fault := run.result.fault):
        raise MCPError(fault.code, fault.message, data=fault.data)
    return run
