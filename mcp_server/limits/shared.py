"""The ledger that several servers share: the counters of a caller are a row, which one has at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from ..errors import Unavailable
from ..settings import Settings
from .rates import Ledger, Memory, Rule, Standing, taken

if TYPE_CHECKING:
    from ..store.shared_counters import SharedCounters

AT_ONCE = 4
"""Connections to the database for this."""
log = logging.getLogger(__name__)


def ledger(settings: Settings) -> Ledger:
    """The one to count in: shared where the store is a PostgreSQL."""
    place = settings.database()
    return Shared(place) if isinstance(place, str) else Memory()


class Shared:
    """Exact over all servers on one PostgreSQL. While that does not answer, each server counts for itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads = CapacityLimiter(AT_ONCE)
        self._rows: asyncio.Task[SharedCounters] | None = None
        self._alone = Memory()
        self._warned = False

    async def take(self, caller: str, rules: Sequence[Rule]) -> Standing:
        """See `Ledger`."""
        try:
            rows = await self._opened()
            take = partial(taken, rules)
            standing = await to_thread.run_sync(rows.change, caller, take, limiter=self._threads)
        except Unavailable as error:
            if not self._warned:
                log.warning("Rates are counted by this server alone for now: %s", error)
            self._warned = True
            return await self._alone.take(caller, rules)
        self._warned = False
        return standing

    async def close(self) -> None:
        """Let go of the database."""
        if self._rows is not None:
            rows = await self._rows
            self._rows = None
            await to_thread.run_sync(rows.close)

    async def _opened(self) -> SharedCounters:
        if self._rows is None:
            self._rows = asyncio.create_task(to_thread.run_sync(_open, self._url))
        return await asyncio.shield(self._rows)


def _open(url: str) -> SharedCounters:
    from ..store.shared_counters import (
        SharedCounters,
    )  # SQLAlchemy costs 0.1 s: not before the server answers

    return SharedCounters(url)
