"""The protocol server: one object of the SDK's low-level `Server` behind every transport and both eras."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import NotificationOptions
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from ...server import Server
from .changes import Changes
from .eras import Request
from .reports import set_level
from .running import Running
from .tools import Tools

NAME = "haystack-mcp-server"
INSTRUCTIONS = """\
Every tool whose name does not end in _pipeline, _status or _statuses is a Haystack pipeline: a program \
that searches, generates or transforms and was put here by the operator or by deploy_pipeline. Results \
carry structured content that fits the tool's output schema, and the same as text.
Pipelines can appear, change and vanish while you are connected. get_all_pipeline_statuses names them all, \
also those that do not load, with the reason. After deploy_pipeline the new tool can be called at once under \
the pipeline's name; its answer carries the input schema for clients that do not refresh their list.
A result marked as an error says what to change: the argument's name and what was expected."""

log = logging.getLogger(__name__)


class ProtocolServer(LowLevelServer[Any]):
    """Serves tools, announces changes, and lets nothing a request does end more than that request."""

    def __init__(self, server: Server) -> None:
        self.changes = Changes()
        self._catalog = server.catalog
        tools = Tools(server, Running(server, self.changes))
        super().__init__(
            NAME,
            version=version(NAME),
            title="Haystack pipelines",
            instructions=INSTRUCTIONS,
            cache_hints={"server/discover": CacheHint(60_000, "public")},
            get_tool_input_schema=tools.input_schema,  # or the SDK walks tools/list on every modern call
            on_subscriptions_listen=self.changes.listen,
        )
        self.add_request_handler("tools/list", types.PaginatedRequestParams, tools.list)
        self.add_request_handler("tools/call", types.CallToolRequestParams, tools.call)
        self.add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)
        security = RequestStateSecurity.ephemeral(ttl=server.settings.answer_timeout)
        sealed = RequestStateBoundary(security, default_audience=NAME)
        self.middleware.extend((contain, self._admit, sealed))

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Say that the list of tools can change, also on HTTP, where the SDK passes no options."""
        options = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)

    @asynccontextmanager
    async def announcing(self) -> AsyncGenerator[None]:
        """Tell clients of changes until the block ends; the catalog must be open."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.changes.follow, self._catalog.subscribe())
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _admit(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        if ctx.method == "notifications/initialized":
            self.changes.admit(ctx)
        return await call_next(ctx)


async def contain(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Turn whatever escapes a handler into an answer to this one request.

    The SDK catches `Exception` only, and shows its text to handshake-era clients; a `SystemExit` would end
    every session. A cancellation is let through if somebody really cancelled this task.
    """
    try:
        return await call_next(ctx)
    except (MCPError, ValidationError, GeneratorExit):
        raise
    except (
        BaseException
    ) as error:  # pipelines run in this process with engine `local`, and may raise anything
        if is_cancellation(error):
            raise
        reference = os.urandom(4).hex()
        log.error("%s failed, reference %s", ctx.method, reference, exc_info=error)
        text = f"The server failed inside; its log says why under reference {reference}."
        raise MCPError(types.INTERNAL_ERROR, text) from None


def is_cancellation(error: BaseException) -> bool:
    """True if the current task was cancelled from outside, false if code just raised `CancelledError`."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
