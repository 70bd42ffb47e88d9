"""The streams of `subscriptions/listen` (2026-07-28): how many one client may hold, and what they follow."""

from __future__ import annotations

from dataclasses import dataclass

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ServerEvent
from mcp.shared.exceptions import MCPError
from starlette.requests import HTTPConnection

from .eras import Request

STREAMS = 1024
"""Streams that may be open in all."""
OF_ONE = 64
"""Streams that one client may hold of them."""
BACKLOG = 1024
"""Events that may wait for a client that does not read; one more ends its stream."""


@dataclass(frozen=True, eq=False)
class Stream:
    """One that is open: whose it is, and the resources it follows."""

    client: str
    uris: frozenset[str]


class Streams:
    """Serves them, and refuses the newest where one too many is asked for.

    As long as the server knows no keys, a client is told apart by its address and by the name it gives
    itself. That keeps a program which forgets its streams from using up those of others, and no attacker.
    """

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._handler = ListenHandler(self._bus, max_subscriptions=STREAMS, max_buffered_events=BACKLOG)
        self._open: set[Stream] = set()

    async def serve(
        self, request: Request, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one stream until its client leaves. Raises `MCPError` for one too many."""
        stream = Stream(client(request), frozenset(params.notifications.resource_subscriptions or ()))
        if sum(each.client == stream.client for each in self._open) >= OF_ONE:
            text = f"This client holds {OF_ONE} listen streams, the most it may; close one first."
            raise MCPError(types.INTERNAL_ERROR, text)
        if len(self._open) >= STREAMS:
            raise MCPError(types.INTERNAL_ERROR, "All listen streams of this server are taken; try later.")
        self._open.add(stream)
        try:
            return await self._handler(request, params)
        finally:
            self._open.discard(stream)

    async def publish(self, event: ServerEvent) -> None:
        """Send an event to every stream that asked for it."""
        await self._bus.publish(event)

    def follow(self, uri: str) -> bool:
        """True if a stream follows this resource."""
        return any(uri in stream.uris for stream in self._open)

    @property
    def followed(self) -> frozenset[str]:
        """All resources that streams follow."""
        return frozenset[str]().union(*(stream.uris for stream in self._open))

    def close(self) -> None:
        """End all of them, which would otherwise keep a stopping server waiting."""
        self._handler.close()


def client(request: Request) -> str:
    """Whose request it is, as far as that can be told."""
    http, params = request.request, request.session.client_params
    address = http.client.host if isinstance(http, HTTPConnection) and http.client else ""
    return f"{address} {params.client_info.name[:100] if params else ''}"
