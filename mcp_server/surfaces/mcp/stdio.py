"""The protocol on stdin and stdout."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from ...server import Server
from .protocol import ProtocolServer

Received = SessionMessage | Exception
"""What the SDK made of one line: a message, or why it is none."""


async def serve_stdio(server: Server) -> None:
    """Serve one client until it closes stdin; opens `server` and closes it again.

    The transport takes both streams for itself before anything of `server` starts, so what pipelines,
    libraries and worker processes print goes to stderr.
    """
    protocol = ProtocolServer(server)
    send, receive = anyio.create_memory_object_stream[Received]()
    async with AsyncExitStack() as stack:
        lines, answers = await stack.enter_async_context(stdio_server())
        await stack.enter_async_context(server)
        await stack.enter_async_context(protocol.announcing())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(check, lines, send, answers.send)
        await protocol.run(receive, answers, protocol.create_initialization_options())


async def check(
    lines: AsyncIterable[Received],
    messages: MemoryObjectSendStream[Received],
    answer: Callable[[SessionMessage], Awaitable[None]],
) -> None:
    """Pass messages on, and answer what is none, which the SDK would drop (JSON-RPC 2.0, section 5)."""
    async with messages:
        async for line in lines:
            if (fault := fault_of(line)) is None:
                await messages.send(line)
            else:
                await answer(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=fault)))


def fault_of(line: Received) -> types.ErrorData | None:
    """Why a line is no message; None if it is one.

    A request with an illegal id reads as a notification, whose method would begin with `notifications/`.
    """
    match line:
        case ValidationError() if line.errors()[0]["type"] == "json_invalid":
            return types.ErrorData(code=types.PARSE_ERROR, message="The line is not JSON.")
        case Exception():
            return types.ErrorData(
                code=types.INVALID_REQUEST, message="The line must be one JSON-RPC 2.0 message."
            )
        case SessionMessage(message=types.JSONRPCNotification(method=method)) if not method.startswith(
            "notifications/"
        ):
            text = "The id must be a string or an integer, and not null."
            return types.ErrorData(code=types.INVALID_REQUEST, message=text)
        case _:
            return None
