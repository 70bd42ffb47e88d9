"""Listing, reading and subscribing to resources: the server's own, and those of pipelines."""

from __future__ import annotations

import mcp_types as types
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError

from ...errors import NotFound, ServerError
from ...models import Caller, Json
from ..callers import caller_of
from .cards import Cards
from .changes import Changes, check_count
from .eras import Request
from .listing import shown
from .pages import page
from .published import Published
from .running import Waiting

URI_LIMIT = 4096
"""Characters of a URI that is read or subscribed to."""


class Resources:
    """The handlers of `resources/*`. A resource that is not there is an error, never empty (SEP-2164)."""

    def __init__(self, published: Published, cards: Cards, changes: Changes) -> None:
        self._published = published
        self._cards = cards
        self._changes = changes

    async def list(self, request: Request, params: types.PaginatedRequestParams) -> HandlerResult:
        """One page of the resources: the cards of all pipelines, then what pipelines publish, by pipeline."""
        listing = await self._published.loaded(request)
        return page("resources", shown(listing.resources), params.cursor)

    async def templates(self, request: Request, params: types.PaginatedRequestParams) -> HandlerResult:
        """One page of the templates: the server's own, then what pipelines publish, by pipeline."""
        listing = await self._published.loaded(request)
        return page("resourceTemplates", shown(listing.templates), params.cursor)

    async def read(self, request: Request, params: types.ReadResourceRequestParams) -> HandlerResult:
        """Read a resource. Raises `MCPError` for an unknown one, and for one whose pipeline fails."""
        caller = caller_of(request, "mcp")
        try:
            own = await self._own(caller, params.uri)
            contents = [own] if own else await self._contents(request, params, caller)
        except Waiting as waiting:
            return waiting.result
        return {"contents": contents, "ttlMs": 0, "cacheScope": "private", "resultType": "complete"}

    async def subscribe(self, request: Request, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell this session when the resource is updated. Raises `MCPError` for an unknown one."""
        await self._find(request, params.uri)
        self._changes.subscribe(request, params.uri)
        return types.EmptyResult()

    async def unsubscribe(
        self, request: Request, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Tell it no more."""
        self._changes.unsubscribe(request, params.uri)
        return types.EmptyResult()

    async def listen(
        self, request: Request, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve a stream of changes (2026-07-28). Of resources, it follows those this caller may read.

        Its acknowledgement tells which. Raises `MCPError` for too many resources or streams.
        """
        wanted = params.notifications
        uris = dict.fromkeys(wanted.resource_subscriptions or ())
        check_count(len(uris))
        seen = [uri for uri in uris if await self._is_there(request, uri)]
        notifications = wanted.model_copy(update={"resource_subscriptions": seen})
        return await self._changes.listen(request, params.model_copy(update={"notifications": notifications}))

    async def _is_there(self, request: Request, uri: str) -> bool:
        try:
            await self._find(request, uri)
        except MCPError:
            return False
        return True

    async def _find(self, request: Request, uri: str) -> None:
        """Raise `MCPError` if there is no such resource for this caller."""
        if not await self._own(caller_of(request, "mcp"), uri):
            await self._reader(request, uri)

    async def _own(self, caller: Caller, uri: str) -> Json | None:
        """The content if it is a resource of the server's own, None if it is not."""
        try:
            return await self._cards.read(caller, uri)
        except NotFound:
            raise unknown(uri) from None
        except ServerError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error), {"uri": uri}) from None

    async def _contents(
        self, request: Request, params: types.ReadResourceRequestParams, caller: Caller
    ) -> list[Json]:
        pipeline = await self._reader(request, params.uri)
        return await self._published.run(request, params, caller, pipeline, "read", {"uri": params.uri})

    async def _reader(self, request: Request, uri: str) -> str:
        """The pipeline that publishes the resource; one that still loads is waited for."""
        if len(uri) > URI_LIMIT:
            raise unknown(uri)
        reader = self._published.listing(request).reader(uri)
        if reader is None:
            reader = (await self._published.loaded(request)).reader(uri)
        if reader is None:
            raise unknown(uri)
        return reader


def unknown(uri: str) -> MCPError:
    """The error for a resource that is not there, or not for this caller (SEP-2164)."""
    return MCPError(types.INVALID_PARAMS, "Unknown resource.", {"uri": uri[:URI_LIMIT]})
