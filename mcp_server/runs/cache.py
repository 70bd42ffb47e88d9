"""What calls gave, to be given again for a while: in this process's memory, bounded in number and bytes."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from dataclasses import dataclass

from ..catalog import Serving
from ..models import Run
from .live import Live

KEPT = 10_000
"""Results that are kept; those not asked for longest go first."""
BYTES = 64 * 1024 * 1024
"""Bytes of all of them."""
LARGEST = 4 * 1024 * 1024
"""Bytes of a result that is kept."""


@dataclass(frozen=True)
class Kept:
    """A run that was successful, until when it is given again (monotonic seconds), and its bytes."""

    run: Run
    until: float
    size: int


class Cache:
    """The runs of pipelines that declare `cache`. It ends with the server, and each server has its own."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def find(self, entry: Serving, run: Run) -> Run | None:
        """The ended run that stands for this one, if there is one that is fresh, marked as `cached`."""
        if not entry.caches:
            return None
        key = key_of(run)
        kept = self._kept.get(key)
        if kept is None or kept.until < time.monotonic():
            return None
        self._kept.move_to_end(key)
        return kept.run.model_copy(update={"cached": True})

    def keep(self, entry: Serving, live: Live) -> None:
        """Keep an ended run, if its pipeline caches, nobody was asked, and its result is whole.

        A result with artifacts is not kept: they may go sooner.
        """
        result, lasts = live.run.result, entry.caches
        if not lasts or live.run.status != "done" or live.run.verb != "call" or live.asked:
            return
        if not result or result.artifacts:
            return
        size = len(result.content) + len(result.structured or b"")
        if size > LARGEST:
            return
        key = key_of(live.run)
        self._drop(key)
        run = live.run.model_copy(update={"inputs": {}, "has_inputs": False})
        self._kept[key] = Kept(run, time.monotonic() + lasts, size)
        self._bytes += size
        while len(self._kept) > KEPT or self._bytes > BYTES:
            self._drop(next(iter(self._kept)))

    def clear(self, pipeline: str | None = None) -> int:
        """Forget the results of a pipeline, or all; gives how many."""
        gone = [key for key, kept in self._kept.items() if pipeline in (None, kept.run.pipeline)]
        for key in gone:
            self._drop(key)
        return len(gone)

    def _drop(self, key: str) -> None:
        if kept := self._kept.pop(key, None):
            self._bytes -= kept.size


def key_of(run: Run) -> str:
    """The same for the same version, arguments and caller, and what the pipeline may see of its client."""
    client = run.client.model_dump(mode="json", exclude={"trace"})
    seen = [run.pipeline, run.digest, run.caller.name, client, run.inputs]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
