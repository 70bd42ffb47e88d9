"""Who calls, as every surface asks it."""

from __future__ import annotations

from typing import Any, cast

from mcp.server.context import ServerRequestContext
from starlette.requests import HTTPConnection

from ..models import Caller

Asked = HTTPConnection | ServerRequestContext[Any, Any]
"""A request or websocket of HTTP, or what the MCP SDK hands to a handler."""


def caller_of(asked: Asked, origin: str) -> Caller:
    """The caller as `authentication` found it; on stdio whoever the protocol server was made for."""
    http: Any = asked if isinstance(asked, HTTPConnection) else asked.request
    caller: Caller = http.scope["state"]["caller"] if http is not None else cast(Any, asked).lifespan_context
    peer = http.client.host if http is not None and http.client else ""
    return caller.model_copy(update={"origin": origin, "peer": peer})
