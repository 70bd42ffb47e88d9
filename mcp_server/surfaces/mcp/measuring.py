"""What OpenTelemetry is told of requests beside the SDK's spans: how long they took, and in which trace.

Attributes are those of the semantic conventions for MCP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from starlette.datastructures import Headers

from ...models import Json
from ...server import Server
from ...telemetry.spans import carried
from .eras import Request


class Measuring:
    """The outermost middleware while tracing is on."""

    def __init__(self, server: Server, serves: Callable[[str], bool]) -> None:
        """`serves` tells whether there is such a tool: unknown names would be attributes without end."""
        self._server = server
        self._serves = serves

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Measure one request."""
        tracing = self._server.tracing
        if tracing is None:  # not open yet
            return await call_next(ctx)
        since, failed = time.perf_counter(), ""
        try:
            with tracing.below(carrier) if (carrier := carrier_of(ctx)) else nullcontext():
                result = await call_next(ctx)
            failed = "tool_error" if ctx.method == "tools/call" and is_error(result) else ""
            return result
        except MCPError as error:
            failed = str(error.error.code)
            raise
        except BaseException as error:
            failed = type(error).__qualname__
            raise
        finally:
            tracing.measured(time.perf_counter() - since, self._attributes(ctx, failed))

    def _attributes(self, ctx: Request, failed: str) -> Mapping[str, str]:
        over = {"network.transport": "pipe" if ctx.request is None else "tcp"}
        about = {"mcp.method.name": ctx.method, "mcp.protocol.version": str(ctx.protocol_version), **over}
        name = (ctx.params or {}).get("name")
        if ctx.method == "tools/call" and isinstance(name, str) and self._serves(name):
            about |= {"gen_ai.tool.name": name, "gen_ai.operation.name": "execute_tool"}
        return about | ({"error.type": failed} if failed else {})


def carrier_of(ctx: Request) -> dict[str, str]:
    """What carries the trace of a request: its `_meta`, else its HTTP headers."""
    meta: Mapping[str, Any] = ctx.meta or {}
    http: object = ctx.request  # None over stdio
    headers: object = getattr(http, "headers", None)
    return carried(meta) or (carried(headers) if isinstance(headers, Headers) else {})


def is_error(result: Any) -> bool:
    """True for the result of a tool that failed."""
    return cast(Json, result).get("isError") is True if isinstance(result, dict) else False
