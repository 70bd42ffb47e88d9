"""Completing the arguments of prompts and the variables of resource templates."""

from __future__ import annotations

import mcp_types as types
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError

from ...errors import ServerError
from ...models import Caller, Json
from ...pipelines.contents import fitting
from ..callers import caller_of
from .cards import Cards
from .eras import Request
from .listing import Listing
from .published import Published

MOST = 100
"""Values MCP allows in one answer (2025-11-25, utilities/completion)."""


class Completions:
    """The handler of `completion/complete`."""

    def __init__(self, published: Published, cards: Cards) -> None:
        self._published = published
        self._cards = cards

    async def complete(self, request: Request, params: types.CompleteRequestParams) -> HandlerResult:
        """Values that fit what was typed, best first. Raises `MCPError` for what cannot be completed."""
        values = await self._values(request, params)
        shown = {"values": values[:MOST], "total": len(values), "hasMore": len(values) > MOST}
        return {"completion": shown, "resultType": "complete"}

    async def _values(self, request: Request, params: types.CompleteRequestParams) -> list[str]:
        caller, argument = caller_of(request, "mcp"), params.argument
        of = named(params.ref)
        given = (params.context.arguments if params.context else None) or {}
        pipeline = publisher(self._published.listing(request), params.ref)
        if pipeline is None:
            pipeline = publisher(await self._published.loaded(request), params.ref)
        if pipeline is None:
            raise MCPError(types.INVALID_PARAMS, f"There is nothing to complete under {of[:200]}.")
        if not pipeline:
            return fitting(await self._own(caller, of, argument.name, given), argument.value)
        inputs = {"of": of, "argument": argument.name, "value": argument.value, "arguments": given}
        nothing = types.InputResponseRequestParams()
        return await self._published.run(request, nothing, caller, pipeline, "complete", inputs)

    async def _own(self, caller: Caller, of: str, argument: str, given: Json) -> list[str]:
        """Values for a template of the server's own; none if what was given before leads nowhere."""
        try:
            return await self._cards.complete(caller, of, argument, given)
        except ServerError:
            return []


def named(reference: types.ResourceTemplateReference | types.PromptReference) -> str:
    """The name of the prompt, or the template."""
    return reference.name if isinstance(reference, types.PromptReference) else reference.uri


def publisher(
    listing: Listing, reference: types.ResourceTemplateReference | types.PromptReference
) -> str | None:
    """Who completes it: a pipeline's name, empty for the server; None for what nobody publishes."""
    lists = (
        (listing.prompts,)
        if isinstance(reference, types.PromptReference)
        else (listing.templates, listing.resources)
    )
    return next((each[named(reference)][1] for each in lists if named(reference) in each), None)
