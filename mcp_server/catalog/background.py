"""What goes on by itself while the catalog is open: first load, writing down, the folder, other servers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from ..errors import ServerError
from ..settings import Settings
from .board import Board
from .keeper import Keeper
from .watch import changes

POLL = 0.5
"""Seconds between two looks at what other servers changed."""
logger = logging.getLogger(__name__)


class Background:
    """The tasks of an open catalog. A failure in one is logged, and what serves goes on serving."""

    def __init__(self, settings: Settings, board: Board, keeper: Keeper) -> None:
        self._settings = settings
        self._board = board
        self._keeper = keeper
        self._stack = AsyncExitStack()
        self._stop = anyio.Event()

    async def __aenter__(self) -> Background:
        self._stack.push_async_callback(self._close)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        self._stack.callback(self._stop.set)
        tasks.start_soon(self._record)
        tasks.start_soon(self._follow)
        if self._settings.reload and self._settings.folder:
            tasks.start_soon(self._watch, self._settings.folder)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _follow(self) -> None:
        """Begin, then look again and again whether another server changed the store, and what is idle."""
        while not self._board.started:
            await self._try(self._keeper.begin())
            if not self._board.started:
                await anyio.sleep(POLL)
        while True:
            await anyio.sleep(POLL)
            self._keeper.beside.sweep()
            await self._try(self._catch_up())

    async def _catch_up(self) -> None:
        if self._keeper.ledger.fault is None and await self._keeper.ledger.moved():
            await self._keeper.refresh(scan=False)

    async def _watch(self, folder: Path) -> None:
        await self._board.until(lambda: self._board.started)
        try:
            async for _ in changes(folder, self._settings.state_folder(), self._stop):
                await self._try(self._keeper.refresh(scan=True))
        except (OSError, RuntimeError) as error:
            logger.warning("Changes in the folder are no longer noticed: %s", error)

    async def _record(self) -> None:
        """Write down what loads, all that came meanwhile in one go."""
        while True:
            await self._keeper.news.arrived()
            with anyio.CancelScope(shield=True):
                await self._try(self._keeper.record())

    async def _try(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (ServerError, OSError) as error:
            logger.warning("The catalog could not be brought up to date: %s", error)

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._try(self._keeper.record())
            await self._keeper.close()
