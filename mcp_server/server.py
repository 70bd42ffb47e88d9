"""The whole server as one object, and the only place where its parts meet."""

from __future__ import annotations

from contextlib import AsyncExitStack

from .catalog import Catalog
from .engines.routing import RoutingEngine
from .runs import Runs
from .settings import Settings


class Server:
    """Catalog, runs and engine, joined. Making one does no I/O; `async with` opens it.

    Entering returns at once: the store opens and the pipelines load in the background, so that a client
    is answered before either is done.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = RoutingEngine(settings)
        self.catalog = Catalog(settings, self.engine)
        self.runs = Runs(self.catalog, self.engine, settings)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Server:
        await self._stack.enter_async_context(self.engine)
        await self._stack.enter_async_context(self.catalog)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
