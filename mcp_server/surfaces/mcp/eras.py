"""The two protocol eras and the client's connection: the one place that reaches into the SDK.

Handshake era: versions up to 2025-11-25, a session opened by `initialize`. Modern era: 2026-07-28, where
every request stands for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ...models import Caller

Request = ServerRequestContext[Any, Any]
"""What the SDK hands to a handler: one request of one client."""
RENEWAL = 1.0
"""Seconds by which a session may seem to be unused for longer than it is."""
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


def admits(manager: StreamableHTTPSessionManager, session: str, caller: Caller, now: float) -> bool:
    """True if the SDK would serve a request of this caller in that session, which then counts as used.

    A session is its caller's alone. `now` is by the loop's clock.
    """
    transport = manager._server_instances.get(session)  # pyright: ignore[reportPrivateUsage]
    owner = manager._session_owners.get(session)  # pyright: ignore[reportPrivateUsage]
    if transport is None or transport.is_terminated or owner is None or owner["client_id"] != caller.name:
        return False
    idle, lasts = transport.idle_scope, transport._idle_timeout  # pyright: ignore[reportPrivateUsage]
    if idle is None or lasts is None or idle.cancel_called:
        return False
    ends = now + lasts
    if ends - idle.deadline > RENEWAL:  # it has none while a request is in flight
        idle.deadline = ends
    return True
