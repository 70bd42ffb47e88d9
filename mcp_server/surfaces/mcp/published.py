"""The way to what pipelines publish: found in the lists of the moment, run where its pipeline is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ...errors import ServerError
from ...models import Caller, Json, Verb
from ...server import Server
from ..callers import caller_of
from .eras import Request
from .listing import Listing
from .results import blocks
from .running import Running
from .toolsets import VIEWS, Toolset

EVERYONE = Caller()
"""Who sees all there is."""
PATIENCE = 8.0
"""Seconds a request waits for pipelines that still load; clients give up on a server after 10."""


class Published:
    """What `resources`, `prompts` and `completions` share. The lists depend on the address that is asked."""

    def __init__(self, server: Server, running: Running, toolset: Callable[[Request], Toolset]) -> None:
        self._catalog = server.catalog
        self._running = running
        self._toolset = toolset
        self._revision = -1
        self._listings: dict[tuple[Toolset, frozenset[str]], Listing] = {}

    def listing(self, request: Request) -> Listing:
        """The lists at the address of this request, as they are now, for who asks."""
        return self._listing(self._toolset(request), caller_of(request, "mcp"))

    def topics(self) -> Mapping[str, object]:
        """What clients hear changes of, at any address."""
        return self._listing(Toolset(), EVERYONE).topics

    async def loaded(self, request: Request) -> Listing:
        """The lists once all pipelines have loaded, as far as that does not take too long."""
        await self._catalog.ready(PATIENCE)
        return self.listing(request)

    async def run(
        self,
        request: Request,
        params: types.InputResponseRequestParams,
        caller: Caller,
        pipeline: str,
        verb: Verb,
        inputs: Json,
    ) -> list[Any]:
        """What the pipeline gives: contents, messages or values, in wire form.

        Raises `Waiting` if the caller has to answer first, `MCPError` for whatever else went wrong.
        """
        try:
            run = await self._running.run(request, params, caller, pipeline, inputs, verb=verb)
        except ServerError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        given = blocks(run)
        if run.result is not None and run.result.is_error:
            raise MCPError(types.INTERNAL_ERROR, given[0]["text"])
        return given

    def _listing(self, toolset: Toolset, caller: Caller) -> Listing:
        snapshot = self._catalog.snapshot
        if snapshot.revision != self._revision:
            self._revision, self._listings = snapshot.revision, {}
        key = toolset, caller.scopes
        if key not in self._listings:
            if len(self._listings) >= VIEWS:
                self._listings.clear()
            self._listings[key] = Listing(snapshot, toolset, caller)
        return self._listings[key]
