"""The websocket of a step: what its models say as they say it, from the beginning also for late listeners."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..errors import ServerError, Unavailable
from ..models import Caller, Json
from ..stepwise import Going, Stepwise
from ..stepwise.going import response_id
from ..stepwise.showing import moment
from ..store.tree import Execution
from .callers import caller_of
from .quotas import Quota, owner_of

NORMAL, LATER = 1000, 1013
"""Codes of a closed websocket (RFC 6455 section 7.4.1 and its registry): all was said; try again later."""
PIECE = 2**16
"""Characters of a response that are sent at once, so that no more of it waits for who does not read."""


def stream(stepwise: Stepwise, quota: Quota) -> Callable[[WebSocket], Awaitable[None]]:
    """The endpoint. Sends `stream_token`s, then `stream_complete` or `error`, and closes."""

    async def serve(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):  # a listener may leave at any time; the step goes on
            try:
                with quota.held(owner_of(socket.scope)):
                    await tell(socket, stepwise, str(socket.path_params["run_id"]))
            except Unavailable as refused:
                await failed(socket, "overloaded", str(refused))
                await socket.close(LATER)

    return serve


async def tell(socket: WebSocket, stepwise: Stepwise, identity: str) -> None:
    """Send everything about the current step of a run."""
    caller = caller_of(socket, "rest")
    try:
        head = await head_of(stepwise, caller, identity)
        going = stepwise.going(identity)
        if head is None:
            await failed(socket, "invalid_state_transition", "No step was executed yet.")
        elif going is not None and going.execution.id == head.id:
            await follow(socket, going)
            await finish(socket, await head_of(stepwise, caller, identity) or going.execution)
        else:
            await replay(socket, head)
            await finish(socket, head)
    except ServerError as error:
        await failed(socket, "pipeline_not_found", str(error))
    await socket.close(NORMAL)


async def head_of(stepwise: Stepwise, caller: Caller, identity: str) -> Execution | None:
    """The latest execution of the run, without prompts: who reads slowly holds it, and they may be long."""
    walk = await stepwise.find(caller, identity)
    if walk.head is None:
        return None
    short = [each.response.model_copy(update={"prompt": ""}) for each in walk.head.responses]
    kept = zip(walk.head.responses, short, strict=True)
    return replace(walk.head, responses=tuple(replace(each, response=said) for each, said in kept))


async def follow(socket: WebSocket, going: Going) -> None:
    """Send the pieces as they come."""
    async for said in going.follow():
        await socket.send_json(token(going.execution, said.index, said.model, said.text, said.time))


async def replay(socket: WebSocket, execution: Execution) -> None:
    """Send what is stored, each response as a whole if it is not long."""
    for kept in execution.responses:
        said = kept.response
        if said.text is not None and not kept.is_merged:
            for start in range(0, len(said.text) or 1, PIECE):
                text = said.text[start : start + PIECE]
                await socket.send_json(token(execution, said.index, said.asked, text, kept.time))


async def finish(socket: WebSocket, execution: Execution) -> None:
    """Send how the step ended."""
    if execution.status == "failed":
        await failed(socket, "llm_provider_error", execution.error or "No model answered.")
        return
    responses = [kept for kept in execution.responses if not kept.is_merged]
    ended = execution.finished or time.time()
    await socket.send_json(
        {
            "type": "stream_complete",
            "step_name": execution.step,
            "total_responses": len(responses),
            "total_time_seconds": round(ended - execution.started, 3),
            "response_ids": [kept.id for kept in responses],
        }
    )


async def failed(socket: WebSocket, code: str, message: str) -> None:
    """Send an error."""
    await socket.send_json(
        {"type": "error", "error": code, "message": message, "timestamp": moment(time.time())}
    )


def token(execution: Execution, index: int, model: str, text: str, when: float) -> Json:
    """A piece of a response."""
    return {
        "type": "stream_token",
        "model": model,
        "content": text,
        "response_index": index,
        "response_id": response_id(execution, index),
        "timestamp": moment(when),
    }
