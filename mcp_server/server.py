"""The whole server as one object, and the only place where its parts meet."""

from __future__ import annotations

from contextlib import AsyncExitStack

from .catalog import Catalog
from .engines.routing import RoutingEngine
from .runs import Runs
from .runs.batches import Batches
from .settings import Settings
from .stepwise import Stepwise
from .stepwise.conducting import Conductor
from .store import Retention
from .store.history import History
from .store.tree import Tree


class Server:
    """Catalog, runs, history and engine, joined. Making one does no I/O; `async with` opens it.

    Entering returns at once: the store opens and the pipelines load in the background, so that a client
    is answered before either is done.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = RoutingEngine(settings)
        self.catalog = Catalog(settings, self.engine)
        kept = Retention(settings.keep_runs, settings.keep_days, settings.keep_bytes)
        self.history = History(settings.database(), kept)
        self.stepwise = Stepwise(self.catalog, self.engine, settings, Tree(self.history))
        conductor = Conductor(self.catalog, self.engine, self.stepwise)
        self.runs = Runs(self.catalog, conductor, settings, self.history)
        self.batches = Batches(self.runs, self.catalog)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Server:
        await self._stack.enter_async_context(self.history)
        await self._stack.enter_async_context(self.engine)
        await self._stack.enter_async_context(self.catalog)
        await self._stack.enter_async_context(self.stepwise)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.runs.close()
        await self._stack.aclose()
