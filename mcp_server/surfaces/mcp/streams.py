"""The streams of `subscriptions/listen` (2026-07-28): how many one client may hold, and what they follow."""

from __future__ import annotations

from dataclasses import dataclass

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ServerEvent
from mcp.shared.exceptions import MCPError
from starlette.requests import HTTPConnection

from ...errors import Unavailable
from ..quotas import Quota, owner_of
from .eras import Request

BACKLOG = 1024
"""Events that may wait for a client that does not read; one more ends its stream."""


@dataclass(frozen=True, eq=False)
class Stream:
    """One that is open, and the resources it follows."""

    uris: frozenset[str]


class Streams:
    """Serves them, and refuses the newest where one too many is asked for.

    Programs on this machine are told apart by the name they give themselves. That keeps one which forgets its
    streams from using up those of others, and no attacker.
    """

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._bus = InMemorySubscriptionBus()
        self._handler = ListenHandler(self._bus, max_subscriptions=quota.most, max_buffered_events=BACKLOG)
        self._open: set[Stream] = set()

    async def serve(
        self, request: Request, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one stream until its client leaves. Raises `MCPError` for one too many."""
        stream = Stream(frozenset(params.notifications.resource_subscriptions or ()))
        try:
            with self._quota.held(client(request)):
                self._open.add(stream)
                try:
                    return await self._handler(request, params)
                finally:
                    self._open.discard(stream)
        except Unavailable as refused:
            raise MCPError(types.INTERNAL_ERROR, str(refused)) from None

    async def publish(self, event: ServerEvent) -> None:
        """Send an event to every stream that asked for it."""
        await self._bus.publish(event)

    def follow(self, uri: str) -> bool:
        """True if a stream follows this resource."""
        return any(uri in stream.uris for stream in self._open)

    @property
    def open(self) -> bool:
        """True if there is any."""
        return bool(self._open)

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
    owner = owner_of(http.scope) if isinstance(http, HTTPConnection) else None
    return owner or f"local {params.client_info.name[:100] if params else ''}"
