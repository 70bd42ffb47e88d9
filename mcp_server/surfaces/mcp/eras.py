"""The two protocol eras and the client's connection: the one place that reaches into the SDK.

Handshake era: versions up to 2025-11-25, a session opened by `initialize`. Modern era: 2026-07-28, where
every request stands for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Request = ServerRequestContext[Any, Any]
"""What the SDK hands to a handler: one request of one client."""
Handler = Callable[[Request, Any], Awaitable[HandlerResult]]


def is_modern(request: Request) -> bool:
    """True if the request stands for itself, false if it belongs to a session."""
    return request.protocol_version in MODERN_PROTOCOL_VERSIONS


def by_era(modern: Handler, session: Handler) -> Handler:
    """One handler for both eras."""

    async def handle(request: Request, params: Any) -> HandlerResult:
        return await (modern if is_modern(request) else session)(request, params)

    return handle


def connection(request: Request) -> Connection:
    """The client's connection: a whole session in the handshake era, this one request in the modern one."""
    return request.session._connection  # pyright: ignore[reportPrivateUsage]  # no public way in SDK 2.3
