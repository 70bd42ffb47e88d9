"""What is left to do about runs once their callers have their answers: to record, count and tell of them.

It is done for all that end in one turn of the event loop together. For each by itself it made a call a
seventh dearer: what a call runs through does not fit into a processor's nearest cache, and this drove it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

from ..catalog import Catalog
from ..models import CALLS, Run
from ..store.history import History
from .live import Live


class Aftermath:
    """Made anywhere, used on one event loop."""

    def __init__(self, history: History, catalog: Catalog, tell: Callable[[Run], None]) -> None:
        """`tell` hears of each run, also of one that goes on elsewhere; it must not wait."""
        self._history = history
        self._catalog = catalog
        self._tell = tell
        self._ended: list[Live] = []

    def add(self, live: Live) -> None:
        """It has ended here. Whoever is woken after this finds it done."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self.settle, context=Context())  # of no request
        self._ended.append(live)

    def settle(self) -> None:
        """Do it now."""
        ended, self._ended = self._ended, []
        for live in ended:
            if live.unrecorded is not None:
                self._history.record(live.unrecorded, live.recording)
        for live in ended:
            run = live.run
            if run.ended and run.verb in CALLS and run.status != "cancelled":
                self._catalog.count(run.pipeline, failed=run.status == "failed")
            self._tell(run)
