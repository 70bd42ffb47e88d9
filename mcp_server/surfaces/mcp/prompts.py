"""Listing and filling prompts: the server's own, and those of pipelines."""

from __future__ import annotations

import mcp_types as types
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError

from ...models import Json
from ..callers import caller_of
from . import teaching
from .eras import Request
from .listing import Owned, shown
from .pages import page
from .published import Published
from .running import Waiting


class Prompts:
    """The handlers of `prompts/*`."""

    def __init__(self, published: Published) -> None:
        self._published = published

    async def list(self, request: Request, params: types.PaginatedRequestParams) -> HandlerResult:
        """One page of the prompts: the server's own, then what pipelines publish, by pipeline."""
        listing = await self._published.loaded(request)
        return page("prompts", shown(listing.prompts), params.cursor)

    async def get(self, request: Request, params: types.GetPromptRequestParams) -> HandlerResult:
        """Fill a prompt. Raises `MCPError` for an unknown one, and for arguments that do not fit it."""
        entry, pipeline = await self._found(request, params.name)
        arguments = params.arguments or {}
        try:
            messages = (
                await self._filled(request, params, pipeline, arguments) if pipeline else taught(arguments)
            )
        except Waiting as waiting:
            return waiting.result
        return {
            "description": entry.get("description", ""),
            "messages": messages,
            "resultType": "complete",
        }

    async def _filled(
        self, request: Request, params: types.GetPromptRequestParams, pipeline: str, arguments: dict[str, str]
    ) -> list[Json]:
        inputs = {"name": params.name, "arguments": arguments}
        caller = caller_of(request, "mcp")
        return await self._published.run(request, params, caller, pipeline, "prompt", inputs)

    async def _found(self, request: Request, name: str) -> Owned:
        """The prompt and its pipeline; one that still loads is waited for."""
        found = self._published.listing(request).prompts.get(name)
        if found is None:
            found = (await self._published.loaded(request)).prompts.get(name)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {name[:200]}")
        return found


def taught(arguments: dict[str, str]) -> list[Json]:
    """The messages of `write_pipeline`. Raises `MCPError` without a task."""
    if not arguments.get("task"):
        raise MCPError(types.INVALID_PARAMS, "`task`: say what the pipeline is to do.")
    return teaching.messages(arguments)
