"""The websocket of a step: what its models say as they say it, from the beginning also for late listeners."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..errors import ServerError
from ..models import Json
from ..stepwise import Going, Stepwise
from ..stepwise.going import response_id
from ..stepwise.showing import moment
from ..store.tree import Execution
from .callers import caller_of

NORMAL, REFUSED = 1000, 1008
"""Codes of a closed websocket (RFC 6455 section 7.4.1): all was said; not for you."""


def stream(stepwise: Stepwise) -> Callable[[WebSocket], Awaitable[None]]:
    """The endpoint. Sends `stream_token`s, then `stream_complete` or `error`, and closes."""

    async def serve(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):  # a listener may leave at any time; the step goes on
            await tell(socket, stepwise, str(socket.path_params["run_id"]))

    return serve


async def tell(socket: WebSocket, stepwise: Stepwise, identity: str) -> None:
    """Send everything about the current step of a run."""
    caller = caller_of(socket, "rest")
    try:
        walk = await stepwise.find(caller, identity)
        going = stepwise.going(identity)
        if walk.head is None:
            await failed(socket, "invalid_state_transition", "No step was executed yet.")
        elif going is not None and going.execution.id == walk.head.id:
            await follow(socket, going)
            walk = await stepwise.find(caller, identity)
            await finish(socket, walk.head or going.execution)
        else:
            await replay(socket, walk.head)
            await finish(socket, walk.head)
    except ServerError as error:
        await failed(socket, "pipeline_not_found", str(error))
    await socket.close(NORMAL)


async def follow(socket: WebSocket, going: Going) -> None:
    """Send the pieces as they come."""
    async for said in going.follow():
        await socket.send_json(token(going.execution, said.index, said.model, said.text, said.time))


async def replay(socket: WebSocket, execution: Execution) -> None:
    """Send what is stored: each response in one piece."""
    for kept in execution.responses:
        said = kept.response
        if said.text is not None and not kept.is_merged:
            await socket.send_json(token(execution, said.index, said.asked, said.text, kept.time))


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
