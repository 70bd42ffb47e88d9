"""Runs on behalf of a request: its events become notifications, its questions reach the caller."""

from __future__ import annotations

import mcp_types as types
import orjson
from mcp.shared.exceptions import MCPError
from starlette.datastructures import Headers

from ...models import Answers, Caller, Client, Emit, Event, Json, Notice, Question, Run, Verb
from ...runs import Live
from ...server import Server
from .asking import answers_to, asked, can_be_asked, capabilities, parked, pushed, question_of, run_of
from .changes import Changes
from .eras import Request, is_modern
from .reports import reported


class Waiting(Exception):
    """The run waits for an answer that this request did not bring; `result` asks for it in MCP's way."""

    def __init__(self, result: Json) -> None:
        super().__init__()
        self.result = result


class Running:
    """The way from a request to an ended run."""

    def __init__(self, server: Server, changes: Changes) -> None:
        self._server = server
        self._changes = changes

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
    ) -> Run:
        """Run to the end, or go on with the run that this request answers.

        Raises `Waiting` if the caller has to answer first, `MCPError` if the pipeline raised one, and what
        `Runs.start` raises.
        """
        async with reported(request) as emit:
            listener = self._listener(request, emit)
            if params.request_state is None:
                client = Client(capabilities=capabilities(request), headers=self._headers(request))
                live = await self._server.runs.start(
                    caller, name, inputs, verb=verb, client=client, timeout=timeout, listener=listener
                )
            else:
                live = self._resumed(caller, params, listener)
            question = await self._server.runs.attend(live)
        if question is not None:
            raise Waiting(self._asked(request, live, question))
        return checked(live.run)

    def _resumed(self, caller: Caller, params: types.InputResponseRequestParams, listener: Emit) -> Live:
        """The run that waits for this request, with the answers it brings; without them it waits on."""
        state = params.request_state or ""
        live = self._server.runs.find(caller, run_of(state))
        live.listener = listener
        if question := question_of(live, state):
            answers = answers_to(question, params.input_responses)
            if answers is not None:
                live.answer(answers)
        return live

    def _asked(self, request: Request, live: Live, question: Question) -> Json:
        if not can_be_asked(request, question) and live.run.verb != "call":
            live.cancel()
            raise MCPError(types.INVALID_REQUEST, "This needs a client that can be asked for input.")
        if is_modern(request) and can_be_asked(request, question):
            return asked(live, question)
        text = {"type": "text", "text": parked(live, question)}
        # An error, because without one the structured content would have to fit the tool's output schema.
        return {"content": [text], "isError": True, "resultType": "complete"}

    def _listener(self, request: Request, emit: Emit) -> Emit:
        async def hear(event: Event) -> Answers | None:
            match event:
                case Question():
                    return await pushed(request, event)
                case Notice(what="stream"):
                    if request.close_sse_stream is not None:
                        await request.close_sse_stream()
                case Notice():
                    await self._changes.announce(event)
                case _:
                    await emit(event)
            return None

        return hear

    def _headers(self, request: Request) -> dict[str, str]:
        """What the operator lets pipelines see of the request's headers."""
        headers = getattr(request.request, "headers", None)  # None over stdio
        if not isinstance(headers, Headers):
            return {}
        names = self._server.settings.shared_headers
        return {name.lower(): headers[name] for name in names if name in headers}


def checked(run: Run) -> Run:
    """The same run. Raises `MCPError` if its pipeline asked for a protocol error."""
    if run.result is not None and (fault := run.result.fault):
        raise MCPError(fault.code, fault.message, data=fault.data)
    return run


def blocks(run: Run) -> list[Json]:
    """The content of an ended run."""
    assert run.result is not None, "only a cancelled run has no result, and nobody waits for that"
    return orjson.loads(run.result.content)
